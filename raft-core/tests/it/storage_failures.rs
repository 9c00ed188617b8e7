//! A storage that can't be read: the message that needed it is as good as lost, and nothing is half done.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use raft_core::{
    CampaignError, Config, Entries, Entry, HardState, Inconsistency, Index, InitialState, MemoryStorage,
    Message, NodeId, Payload, RawNode, Snapshot, Status, StepError, Storage, StorageError, Term,
};

use crate::cluster::{disk_with, figure_2};
use crate::words::*;

/// How a read goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Fails,
    Fetches,
    Gap,
    TooMuch,
    Nothing,
    TermsGoDown,
}

/// Fails the reads that its plan names.
#[derive(Clone, Debug)]
struct Flaky {
    disk: MemoryStorage,
    calls: Cell<u64>,
    /// The first of the reads that fail, and every how many from there on.
    plan: Cell<Option<(u64, u64)>>,
    how: How,
}

impl Flaky {
    fn on(disk: MemoryStorage, how: How) -> Flaky {
        Flaky { disk, calls: Cell::new(0), plan: Cell::new(None), how }
    }

    fn fails(&self) -> Result<bool, StorageError> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        let fails =
            self.plan.get().is_some_and(|(first, each)| call >= first && (call - first).is_multiple_of(each));
        match (fails, self.how) {
            (true, How::Fails) => Err(StorageError::Other("the disk is on fire".into())),
            (true, How::Fetches) => Err(StorageError::Fetching),
            _ => Ok(fails),
        }
    }
}

impl Storage for Flaky {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.disk.initial_state()
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        self.fails()?;
        self.disk.first_index()
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        self.disk.last_index()
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        self.fails()?;
        self.disk.term(index)
    }

    fn entries(&self, range: Range<Index>, max: u64) -> Result<Entries, StorageError> {
        let wrong = self.fails()?;
        let mut entries = self.disk.entries(range, max)?.to_vec();
        if wrong {
            let last = entries.last().unwrap().clone();
            match self.how {
                How::Gap => entries[0].index = entries[0].index.next(),
                How::TooMuch => entries.push(Entry { index: last.index.next(), ..last }),
                How::Nothing => entries.clear(),
                How::TermsGoDown => {
                    entries.push(Entry { index: last.index.next(), term: Term::ZERO, ..last })
                }
                How::Fails | How::Fetches => {}
            }
        }
        Ok(entries.into())
    }

    fn snapshot(&self, at_least: Index, to: NodeId) -> Result<Snapshot, StorageError> {
        self.fails()?;
        self.disk.snapshot(at_least, to)
    }
}

/// What is left of a status without its counters.
fn bare(node: &RawNode<Flaky>) -> (Status, bool) {
    let mut status = node.status();
    status.basic.counters = Default::default();
    (status, node.has_ready())
}

struct Nodes {
    nodes: BTreeMap<u64, RawNode<Flaky>>,
    network: VecDeque<Message>,
    applied: BTreeMap<u64, Vec<Entry>>,
    refused: u64,
}

impl Nodes {
    /// Three nodes whose logs differ and whose storages fail alike. The log of the first is compacted.
    fn new(how: How) -> Nodes {
        let logs: [&[u64]; 3] = [&[1, 1, 1, 1, 4, 4], &[1, 1, 1, 2, 2], &[1, 1, 1, 1, 4]];
        let start = |(n, terms): (u64, &&[u64])| {
            let mut disk = disk_with(&[1, 2, 3], terms, if n == 2 { 1 } else { 3 });
            if n == 1 {
                disk.set_snapshot(snapshot(at(1, 3), conf_state(&[1, 2, 3], &[])));
                disk.compact(index(2)).unwrap();
            }
            let mut config = Config::new(id(n), 0);
            figure_2(&mut config);
            (n, RawNode::new(config, Flaky::on(disk, how)).unwrap())
        };
        let nodes: BTreeMap<u64, RawNode<Flaky>> = (1..).zip(&logs).map(start).collect();
        let mut applied = BTreeMap::from([(1, vec![]), (2, vec![]), (3, vec![])]);
        applied.insert(1, entries(1, &[1, 1]).to_vec());
        Nodes { nodes, network: VecDeque::new(), applied, refused: 0 }
    }

    fn plan(&mut self, plan: Option<(u64, u64)>) {
        for node in self.nodes.values_mut() {
            node.storage_mut().calls.set(0);
            node.storage_mut().plan.set(plan);
        }
    }

    fn pump(&mut self, n: u64) {
        let node = self.nodes.get_mut(&n).unwrap();
        for _ in 0..100 {
            node.check_invariants().unwrap();
            if !node.has_ready() {
                break;
            }
            let mut ready = node.ready();
            assert!(!ready.is_empty());
            assert!(ready.storage_error.is_none() || ready.committed_entries.is_empty());
            node.storage_mut().disk.persist(&ready).unwrap();
            if let Some(snapshot) = &ready.snapshot {
                let covered = snapshot.metadata.index.get() as usize;
                self.applied.insert(n, entries(1, &[1; 3])[..covered].to_vec());
            }
            self.network.extend(ready.messages.drain(..));
            self.network.extend(ready.persisted_messages.drain(..));
            self.applied.get_mut(&n).unwrap().extend(ready.committed_entries.iter().cloned());
            node.advance(ready).unwrap();
        }
    }

    fn round(&mut self) {
        for n in 1..=3 {
            self.nodes.get_mut(&n).unwrap().tick();
            self.pump(n);
        }
        for _ in 0..2_000 {
            let Some(message) = self.network.pop_front() else { break };
            let to = message.to.get();
            let node = self.nodes.get_mut(&to).unwrap();
            let before = bare(node);
            match node.step(message) {
                Ok(()) => {}
                Err(StepError::Storage(_)) => {
                    self.refused += 1;
                    assert_eq!(bare(node), before, "after an error nothing has changed");
                }
                Err(error) => panic!("{error}"),
            }
            self.pump(to);
        }
    }

    /// Elects node 1, which is the only one that can win, and lets it replicate a command.
    fn play(&mut self) {
        for _ in 0..3 {
            let node = self.nodes.get_mut(&1).unwrap();
            let before = bare(node);
            match node.campaign() {
                Ok(()) => {}
                Err(CampaignError::Storage(_)) => assert_eq!(bare(node), before),
                Err(CampaignError::AlreadyLeader) => {
                    let _ = node.propose("x".into());
                }
                Err(error) => panic!("{error}"),
            }
            self.pump(1);
            self.round();
        }
    }

    fn check_converged(&mut self) {
        for _ in 0..60 {
            self.round();
        }
        let leader = self.nodes.values().find(|node| node.leader() == Some(node.id())).expect("a leader");
        let last = leader.last_index();
        for (n, node) in &self.nodes {
            assert_eq!((node.commit_index(), node.applied_index(), node.last_index()), (last, last, last));
            let applied = &self.applied[n];
            let positions: Vec<u64> = applied.iter().map(|entry| entry.index.get()).collect();
            assert_eq!(positions, (1..=last.get()).collect::<Vec<_>>(), "node {n}");
            assert_eq!(applied, &self.applied[&1]);
        }
    }
}

#[test]
fn any_single_read_may_fail_and_the_cluster_recovers() {
    let mut refused = 0;
    let mut counted = 0;
    for how in [How::Fails, How::Fetches, How::Gap, How::TooMuch, How::Nothing, How::TermsGoDown] {
        for call in 0..40 {
            let mut nodes = Nodes::new(how);
            nodes.plan(Some((call, u64::MAX)));
            nodes.play();
            nodes.check_converged();
            refused += nodes.refused;
            counted += nodes.nodes.values().map(|node| node.status().counters.storage_failures).sum::<u64>();
        }
    }
    assert!(refused > 10, "the plan reaches the reads of handlers: {refused}");
    assert!(counted > 20, "and those of senders and of application: {counted}");
}

#[test]
fn many_reads_may_fail_and_the_cluster_recovers_when_they_work_again() {
    for how in [How::Fails, How::Fetches, How::Gap, How::Nothing] {
        for each in 1..8 {
            let mut nodes = Nodes::new(how);
            nodes.plan(Some((each, each)));
            nodes.play();
            nodes.plan(None);
            nodes.check_converged();
        }
    }
}

#[test]
fn committed_entries_that_cannot_be_read_are_asked_for_again_at_the_next_tick() {
    let disk = disk_with(&[1, 2, 3], &[1, 1, 1], 3);
    let expected = [
        (How::Fails, "the disk is on fire"),
        (How::Fetches, "being fetched"),
        (How::Gap, "aren't consecutive"),
        (How::TooMuch, "more entries than asked"),
        (How::Nothing, "no entry for a range"),
    ];
    for (how, text) in expected {
        let mut node = RawNode::new(Config::new(id(1), 0), Flaky::on(disk.clone(), how)).unwrap();
        // From now on its clock sleeps until something is due.
        node.tick();
        node.storage_mut().calls.set(0);
        node.storage_mut().plan.set(Some((0, u64::MAX)));
        let ready = node.ready();
        assert!(ready.committed_entries.is_empty());
        assert!(ready.storage_error.as_ref().unwrap().to_string().contains(text), "{how:?}");
        node.advance(ready).unwrap();
        assert!(!node.has_ready(), "no loop without end");
        assert_eq!(node.status().counters.storage_failures, 1);
        node.tick();
        assert_eq!(node.ready().committed_entries.len(), 3);
    }
}

#[test]
fn terms_that_go_down_in_a_storages_answer_are_noticed() {
    let mut disk = MemoryStorage::with_voters(ids(&[1, 2, 3]));
    disk.append(&[entry(2, 1), entry(1, 2), entry(2, 3)].into()).unwrap();
    disk.set_hard_state(HardState { term: term(2), vote: None, commit: index(3) });
    let mut node = RawNode::new(Config::new(id(1), 0), disk).unwrap();
    let error = node.ready().storage_error;
    assert!(matches!(error, Some(StorageError::Inconsistent(Inconsistency::TermsOutOfOrder))));
}

#[test]
fn a_campaign_that_needs_a_failed_read_does_not_start() {
    let mut disk = disk_with(&[1, 2, 3], &[1], 2);
    let change = Entry { term: term(1), index: index(2), payload: Payload::ConfChange(Default::default()) };
    disk.append(&[change].into()).unwrap();
    let mut node = RawNode::new(Config::new(id(1), 0), Flaky::on(disk, How::Fails)).unwrap();
    node.storage_mut().calls.set(0);
    node.storage_mut().plan.set(Some((0, u64::MAX)));
    let before = bare(&node);
    assert!(matches!(node.campaign(), Err(CampaignError::Storage(_))));
    assert_eq!(bare(&node), before);
}

#[test]
fn entries_that_were_being_fetched_are_taken_as_soon_as_they_are_there() {
    let disk = disk_with(&[1, 2, 3], &[1, 1, 1], 3);
    let mut config = Config::new(id(1), 0);
    config.applied = index(1);
    let mut node = RawNode::new(config, Flaky::on(disk, How::Fetches)).unwrap();
    node.storage().plan.set(Some((0, 1)));
    let ready = node.ready();
    assert!(matches!(ready.storage_error, Some(StorageError::Fetching)));
    assert!(ready.committed_entries.is_empty());
    node.storage().plan.set(None);
    assert!(!node.has_ready(), "it doesn't ask in a circle");
    node.on_entries_fetched();
    let ready = node.ready();
    assert_eq!(
        ready.committed_entries.iter().map(|entry| entry.index).collect::<Vec<_>>(),
        [index(2), index(3)]
    );
}

/// Does what each `Ready` of a node asks. Returns the messages.
fn drive(node: &mut RawNode<Flaky>) -> Vec<Message> {
    let mut messages = Vec::new();
    while node.has_ready() {
        let mut ready = node.ready();
        node.storage_mut().disk.persist(&ready).unwrap();
        messages.append(&mut ready.messages);
        messages.append(&mut ready.persisted_messages);
        node.advance(ready).unwrap();
    }
    messages
}

#[test]
fn a_leader_sends_what_was_being_fetched_for_a_peer_as_soon_as_it_is_there() {
    let mut config = Config::new(id(1), 0);
    figure_2(&mut config);
    let mut node =
        RawNode::new(config, Flaky::on(disk_with(&[1, 2, 3], &[1, 1, 1], 3), How::Fetches)).unwrap();
    drive(&mut node);
    node.campaign().unwrap();
    drive(&mut node);
    node.step(message(2, 1, 2, granted())).unwrap();
    drive(&mut node);
    node.step(message(2, 1, 2, accepted(4))).unwrap();
    drive(&mut node);

    // Node 3 has nothing, and what it lacks isn't at hand.
    node.storage().plan.set(Some((0, 1)));
    node.step(message(3, 1, 2, rejected(3, at(0, 0)))).unwrap();
    assert_eq!(drive(&mut node), []);
    assert!(node.status().counters.storage_failures > 0);
    node.on_entries_fetched();
    assert_eq!(drive(&mut node), [], "it isn't there yet");

    node.storage().plan.set(None);
    node.on_entries_fetched();
    let sent = drive(&mut node);
    assert_eq!(sent.len(), 1, "no heartbeat had to come first: {sent:?}");
    assert_eq!(
        sent[0],
        message(1, 3, 2, append(at(0, 0), node.storage().disk.all_entries().cloned().collect(), 4))
    );
}
