//! Every public call of a node, in any order, with any arguments.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hasher};

use raft_core::{
    Config, Index, MemoryStorage, NodeId, Payload, RawNode, ReadMode, Ready, SnapshotStatus, Storage,
};

use super::any::{self, Near};
use super::dice::Dice;
use super::watched::Watched;

/// A storage that the target can write to.
pub(super) trait Disk: Storage + Clone + Debug {
    fn memory(&mut self) -> &mut MemoryStorage;
}

impl Disk for MemoryStorage {
    fn memory(&mut self) -> &mut MemoryStorage {
        self
    }
}

/// A call whose arguments are decided.
pub(super) type Call<S> = Box<dyn FnOnce(&mut Watched<S>)>;

/// A node starts from any disk, if it does, and its caller does anything with it.
pub fn any_calls(data: &[u8]) {
    let mut dice = Dice::new(data);
    let disk = any_disk(&mut dice);
    let config = any_config(&mut dice);
    let Ok(raw) = RawNode::new(config, disk) else { return };
    let mut node = Watched::new(raw, Default::default());
    while !dice.is_spent() {
        any_call(&mut dice, Near::of(node.node()), node.node().id())(&mut node);
    }
}

/// A disk that a node could have left, or one that makes less sense.
pub(super) fn any_disk(dice: &mut Dice) -> MemoryStorage {
    let mut disk = match dice.below(4) {
        0 => MemoryStorage::with_voters(NodeId::new(1)),
        1 => MemoryStorage::default(),
        _ => MemoryStorage::with_conf_state(any::conf_state(dice)),
    };
    if dice.one_in(2) {
        return disk;
    }
    let near = Near { term: 1, last: 1, commit: 1 };
    if dice.one_in(4) {
        // The first snapshot always fits.
        let _ = disk.apply_snapshot(any::snapshot(dice, near));
    }
    let before = disk.last_index().unwrap_or_default();
    let entries = dice.list(5, |dice| any::entry(dice, near)).into_iter().zip(1..);
    let entries = entries.map(|(entry, nth)| raft_core::Entry { index: before.plus(nth), ..entry }).collect();
    let _ = disk.append(&entries);
    disk.set_hard_state(any::hard_state(dice, near));
    disk.set_lost(any::loss(dice, near));
    disk
}

/// Settings that a node could be given, allowed or not.
pub(super) fn any_config(dice: &mut Dice) -> Config {
    let mut config = Config::new(any::node(dice), 0);
    if dice.one_in(4) {
        config.applied = any::index(dice, Near { term: 1, last: 3, commit: 1 });
    }
    config.election_ticks = dice.pick(&[3, 10, 2, 0]);
    config.async_writes = dice.one_in(2);
    for _ in 0..dice.below(8) {
        change_config(dice)(&mut config);
    }
    config
}

/// A change of one setting.
fn change_config(dice: &mut Dice) -> Box<dyn FnOnce(&mut Config)> {
    let flag = dice.one_in(2);
    let small = dice.pick(&[1, 2, 40, 1 << 20, 0, u64::MAX]);
    let few = dice.pick(&[1, 2, 256, u32::MAX, 0]);
    let any = dice.number();
    match dice.below(19) {
        0 => Box::new(move |config| config.pre_vote = flag),
        1 => Box::new(move |config| config.check_quorum = flag),
        2 => Box::new(move |config| config.check_quorum_each_tick = flag),
        3 => Box::new(move |config| config.lease_reads = flag),
        4 => Box::new(move |config| config.lease_drift_ticks = few),
        5 => Box::new(move |config| config.max_message_bytes = small),
        6 => Box::new(move |config| config.max_inflight_messages = few),
        7 => Box::new(move |config| config.max_inflight_bytes = small),
        8 => Box::new(move |config| config.max_committed_bytes = small),
        9 => Box::new(move |config| config.max_uncommitted_bytes = small),
        10 => Box::new(move |config| config.forward_proposals = flag),
        11 => Box::new(move |config| config.disable_conf_change_validation = flag),
        12 => Box::new(move |config| config.step_down_on_removal = flag),
        13 => Box::new(move |config| config.max_apply_ahead = few),
        14 => Box::new(move |config| config.skip_commit_broadcast = flag),
        15 => Box::new(move |config| config.priority = any as i64),
        16 => Box::new(move |config| config.batch_messages = flag),
        17 => Box::new(move |config| config.heartbeat_ticks = few),
        _ => Box::new(move |config| config.seed = any),
    }
}

/// Any call at a node with these numbers.
pub(super) fn any_call<S: Disk>(dice: &mut Dice, near: Near, id: NodeId) -> Call<S> {
    match dice.below(32) {
        0..10 => {
            let message = any::message(dice, near, id);
            Box::new(move |node| node.call(|node| node.step(message)))
        }
        10..14 => client_call(dice),
        14..18 => caller_call(dice),
        18 => any_setting(dice),
        19..23 => {
            let reuse = dice.one_in(2);
            Box::new(move |node| node.take(reuse))
        }
        23..28 => any_acknowledgement(dice, near),
        28 => any_getter(dice, near),
        _ => any_disk_write(dice, near),
    }
}

/// What clients want.
fn client_call<S: Disk>(dice: &mut Dice) -> Call<S> {
    match dice.below(7) {
        0 => {
            let data = dice.bytes(20);
            Box::new(|node| node.call(|node| node.propose(data)))
        }
        1 => {
            let batch = dice.list(4, |dice| dice.bytes(20));
            Box::new(|node| node.call(|node| node.propose_batch(batch)))
        }
        2 | 3 => {
            let change = any::conf_change_v2(dice);
            Box::new(|node| node.call(|node| node.propose_conf_change(change)))
        }
        4 => {
            let change = any::conf_change(dice);
            Box::new(|node| node.call(|node| node.propose_conf_change_v1(change)))
        }
        _ => {
            let (context, lease) = (any::context(dice), dice.one_in(2));
            let mode = if lease { ReadMode::Lease } else { ReadMode::Quorum };
            Box::new(move |node| node.call(|node| node.read_index(context, mode)))
        }
    }
}

/// What whoever runs the node does.
fn caller_call<S: Disk>(dice: &mut Dice) -> Call<S> {
    let peer = any::node(dice);
    match dice.below(18) {
        0..5 => {
            let count = dice.below(12);
            Box::new(move |node| node.tell(|node| (0..=count).for_each(|_| node.tick())))
        }
        5..8 => Box::new(|node| node.call(|node| node.campaign())),
        8 => Box::new(move |node| node.call(|node| node.transfer_leader(peer))),
        9 => Box::new(|node| node.call(|node| node.transfer_leader_to_best())),
        10 => Box::new(|node| node.call(|node| node.forget_leader())),
        11 => Box::new(move |node| node.tell(|node| node.report_unreachable(peer))),
        12 => {
            let status = dice.pick(&[SnapshotStatus::Finished, SnapshotStatus::Failed]);
            Box::new(move |node| node.tell(|node| node.report_snapshot(peer, status)))
        }
        13 => Box::new(|node| node.tell(|node| node.on_entries_fetched())),
        14 if dice.one_in(4) => Box::new(|node| node.tell(|node| node.shrink_to_fit())),
        14 => Box::new(|node| node.tell(|node| node.ping())),
        15 => Box::new(|node| node.call(|node| node.request_snapshot())),
        16 => Box::new(|node| node.tell(|node| node.withdraw_snapshot_request())),
        _ => {
            let peers = dice.list(3, |dice| (any::node(dice), dice.bytes(3)));
            Box::new(move |node| node.call(|node| node.bootstrap(&peers)))
        }
    }
}

/// What can be changed while it runs.
fn any_setting<S: Disk>(dice: &mut Dice) -> Call<S> {
    match dice.below(4) {
        0 => {
            let ticks = dice.pick(&[1, 5, 0, u32::MAX]);
            Box::new(move |node| node.tell(|node| node.set_election_timeout(ticks)))
        }
        1 => {
            let group = |dice: &mut Dice| (any::node(dice), dice.below(3));
            let groups = dice.one_in(2).then(|| dice.list(5, group).into_iter().collect());
            Box::new(|node| node.tell(|node| node.set_commit_groups(groups)))
        }
        2 => {
            let (peer, messages) = (any::node(dice), dice.pick(&[1, 3, 1000, 0]));
            Box::new(move |node| node.tell(|node| node.set_max_inflight(peer, messages)))
        }
        _ => {
            let change = change_config(dice);
            Box::new(|node| node.call(|node| node.reconfigure(change)))
        }
    }
}

/// An acknowledgement, of what was done as a rule.
fn any_acknowledgement<S: Disk>(dice: &mut Dice, near: Near) -> Call<S> {
    match dice.below(12) {
        written @ 0..7 => Box::new(move |node| {
            let Some(mut ready) = node.out.pop_front() else { return };
            if written > 0 {
                write(node, &ready);
            }
            let committed = std::mem::take(&mut ready.committed_entries);
            node.call(|node| node.advance(ready));
            for entry in &committed {
                apply(node, &entry.payload);
                node.call(|node| node.on_applied(entry.index));
            }
        }),
        7 => Box::new(|node| {
            let Some(ready) = node.out.pop_front() else { return };
            write(node, &ready);
            node.call(|node| node.on_persisted(ready.number));
            node.done = Some(ready);
        }),
        8 => {
            let number = any::index(dice, near).get();
            Box::new(move |node| node.call(|node| node.on_persisted(number)))
        }
        9 => {
            let index = any::index(dice, near);
            Box::new(move |node| node.call(|node| node.on_applied(index)))
        }
        10 => {
            let number = dice.below(40);
            Box::new(move |node| node.call(|node| node.on_persisted(number)))
        }
        _ => {
            let change = any::conf_change_v2(dice);
            Box::new(move |node| node.call(|node| node.apply_conf_change(&change)))
        }
    }
}

/// What was written before may not fit, after all that was done to the disk.
fn write<S: Disk>(node: &mut Watched<S>, ready: &Ready) {
    let _ = node.storage_mut().memory().persist(ready);
}

fn apply<S: Disk>(node: &mut Watched<S>, payload: &Payload) {
    if let Some(change) = payload.as_conf_change() {
        node.call(|node| node.apply_conf_change(&change));
    }
}

/// The disk is the caller's.
fn any_disk_write<S: Disk>(dice: &mut Dice, near: Near) -> Call<S> {
    let index = any::index(dice, near);
    match dice.below(4) {
        0 => {
            let snapshot = any::snapshot(dice, near);
            Box::new(|node| node.storage_mut().memory().set_snapshot(snapshot))
        }
        1 => {
            let entry = any::entry(dice, near);
            Box::new(|node| drop(node.storage_mut().memory().append(&vec![entry].into())))
        }
        _ => Box::new(move |node| drop(node.storage_mut().memory().compact(index))),
    }
}

/// What a getter says is as it is; that it says anything is what counts here.
fn any_getter<S: Disk>(dice: &mut Dice, near: Near) -> Call<S> {
    let (index, peer) = (any::index(dice, near), any::node(dice));
    let context = any::context(dice);
    Box::new(move |watched| {
        let node = watched.node();
        let said = (
            (node.id(), node.term(), node.role(), node.leader(), node.commit_index(), node.applied_index()),
            (node.last_index(), node.last_position(), node.hard_state(), node.conf_state(), node.progress()),
            (node.has_committed_in_term(), node.is_group_consistent(), node.holds_lease(), node.transferee()),
            (
                node.uncommitted_bytes(),
                node.pending_reads(),
                node.peer(peer),
                node.status(),
                node.basic_status(),
            ),
            (node.why_not_leader(), node.why_not_committed(index), node.why_paused(peer)),
            (node.why_read_waits(&context), node.own_answers(index.get()).count(), node.configuration()),
            node.has_applied_in_term(),
            (node.config(), node.storage().first_index().map(Index::prev).ok()),
        );
        let mut hasher = DefaultHasher::new();
        node.hash_state(&mut hasher);
        assert!(!format!("{said:?} {}", hasher.finish()).is_empty());
    })
}
