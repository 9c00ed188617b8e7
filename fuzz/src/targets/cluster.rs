//! A small cluster that bytes drive: what arrives when, what is lost, who crashes with how much written.

mod history;
mod member;

use raft_core::{
    Body, ConfState, Config, Index, LogPosition, MemoryStorage, Message, NodeId, RawNode, ReadMode,
    SnapshotStatus, StepError, Term,
};

use self::history::History;
pub(super) use self::member::Member;
use super::any;
use super::dice::Dice;

/// Three voters, a learner, and one that isn't a member at first. They began with a snapshot.
const NODES: u64 = 5;
const VOTERS: u64 = 3;
const FOUNDED: LogPosition = LogPosition::new(Term::new(1), Index::new(1));
const ELECTION_TICKS: u32 = 4;

/// Whatever happens to a cluster, it keeps the promises of Raft; and where its membership stays, everybody agrees in the end.
pub fn cluster(data: &[u8]) {
    let mut dice = Dice::new(data);
    let mut cluster = Cluster::any(&mut dice);
    while !dice.is_spent() {
        cluster.act(&mut dice);
    }
    if !cluster.changes {
        cluster.must_settle();
    }
}

/// The cluster, and what was seen of it.
pub(super) struct Cluster {
    members: Vec<Member>,
    network: Vec<Message>,
    history: History,
    /// The membership may change, and leadership be handed over.
    changes: bool,
}

impl Cluster {
    /// A cluster whose settings the dice decide.
    pub(super) fn any(dice: &mut Dice) -> Cluster {
        let ids = |range: std::ops::RangeInclusive<u64>| range.filter_map(NodeId::new).collect::<Vec<_>>();
        let changes = dice.one_in(2);
        let conf_state = ConfState {
            voters: ids(1..=VOTERS),
            learners: ids(VOTERS + 1..=NODES - 1),
            ..ConfState::default()
        };
        let shared = any_config(dice);
        let members = ids(1..=if changes { NODES } else { NODES - 1 });
        let member = |id: &NodeId| {
            let mut config = Config { id: *id, ..shared.clone() };
            config.async_writes = dice.one_in(2);
            let founder = id.get() < NODES;
            Member::new(config, founder.then_some(&conf_state))
        };
        let members = members.iter().map(member).collect();
        let mut cluster =
            Cluster { members, network: Vec::new(), history: History::founded(FOUNDED.index), changes };
        for at in 0..cluster.members.len() {
            cluster.members[at].start();
        }
        cluster
    }

    /// Something happens.
    pub(super) fn act(&mut self, dice: &mut Dice) {
        let at = dice.index(self.members.len());
        match dice.below(32) {
            0..4 => {
                let count = 1 + dice.below(u64::from(2 * ELECTION_TICKS));
                self.with(at, |raw| (0..count).for_each(|_| raw.tick()));
            }
            4..12 => self.deliver(dice),
            12 => self.lose(dice),
            13 if !self.network.is_empty() => {
                let again = self.network[dice.index(self.network.len())].clone();
                self.network.push(again);
            }
            14..17 => {
                let data = dice.bytes(20);
                self.with(at, |raw| raw.propose(data).ok());
            }
            17 => self.read(at, dice.one_in(2)),
            18 => self.with(at, |raw| raw.campaign().ok()),
            19..22 => self.members[at].persist_one(&mut self.network, &mut self.history),
            22 | 23 => self.members[at].apply_one(&mut self.history),
            24 => self.members[at].crash(&mut self.history),
            25 => self.members[at].start(),
            26 => self.members[at].compact(dice.below(4)),
            27 if self.changes => {
                let change = any::conf_change_v2(dice);
                self.with(at, |raw| raw.propose_conf_change(change).ok());
            }
            28 if self.changes => {
                let to = any::node(dice);
                self.with(at, |raw| raw.transfer_leader(to).ok());
            }
            29 => {
                let what = dice.below(3);
                self.with(at, |raw| match what {
                    0 => raw.forget_leader().unwrap_or_default(),
                    1 => raw.ping(),
                    _ => raw.on_entries_fetched(),
                });
            }
            _ => self.round(),
        }
        self.drain(at);
    }

    /// All clocks tick once, all that is on its way arrives, and all disks write.
    fn round(&mut self) {
        for at in 0..self.members.len() {
            self.with(at, RawNode::tick);
            self.drain(at);
        }
        for message in std::mem::take(&mut self.network) {
            self.arrive(message);
        }
        for at in 0..self.members.len() {
            self.members[at].finish(&mut self.network, &mut self.history);
            self.drain(at);
        }
    }

    /// A membership can become one in which nobody can win, but this one stayed. With everybody up and every message delivered, a leader is found, and all come to agree with it.
    fn must_settle(&mut self) {
        for member in &mut self.members {
            member.start();
        }
        for _ in 0..60 * ELECTION_TICKS {
            for member in &mut self.members {
                member.take_snapshot();
            }
            self.round();
            if self.is_settled() {
                return;
            }
        }
        let picture: Vec<_> = self.members.iter().map(Member::status).collect();
        panic!("no agreement after 60 election time-outs: {picture:#?}");
    }

    /// A node that is up, for other things to be done to it.
    pub(super) fn into_member(mut self, at: usize) -> Member {
        let mut member = self.members.swap_remove(at % self.members.len());
        member.start();
        member
    }

    fn is_settled(&self) -> bool {
        let statuses: Vec<_> = self.members.iter().filter_map(Member::status).collect();
        let Some(leader) = statuses.iter().rfind(|status| status.leader == Some(status.id)) else {
            return false;
        };
        statuses.iter().all(|status| {
            status.leader == Some(leader.id)
                && status.term == leader.term
                && [status.last, status.commit, status.applied, status.durable] == [leader.last; 4]
        })
    }

    /// A call at a node that is up. What it comes to is seen in what follows: it may well be refused.
    fn with<T>(&mut self, at: usize, call: impl FnOnce(&mut RawNode<MemoryStorage>) -> T) {
        if let Some(raw) = &mut self.members[at].raw {
            call(raw);
        }
    }

    fn at(&self, id: NodeId) -> Option<usize> {
        self.members.iter().position(|member| member.config.id == id)
    }

    fn deliver(&mut self, dice: &mut Dice) {
        if !self.network.is_empty() {
            let message = self.network.remove(dice.index(self.network.len()));
            self.arrive(message);
        }
    }

    fn lose(&mut self, dice: &mut Dice) {
        if !self.network.is_empty() {
            let message = self.network.remove(dice.index(self.network.len()));
            self.report(&message, SnapshotStatus::Failed);
        }
    }

    /// A transport tells how the transfer of a snapshot ended: else its leader waits for it, and for ever if the node that it
    /// reached goes down before it is written.
    fn report(&mut self, message: &Message, status: SnapshotStatus) {
        if let (Body::InstallSnapshot(_), Some(at)) = (&message.body, self.at(message.from)) {
            self.with(at, |raw| raw.report_snapshot(message.to, status));
            self.drain(at);
        }
    }

    fn arrive(&mut self, message: Message) {
        let Some(at) = self.at(message.to) else { return };
        let Some(raw) = &mut self.members[at].raw else {
            return self.report(&message, SnapshotStatus::Failed);
        };
        match raw.step(message.clone()) {
            Ok(()) | Err(StepError::Storage(_) | StepError::Proposal(_)) => {}
            // One that has left, or whose coming isn't applied here yet.
            Err(StepError::UnknownPeer(_)) if self.changes => {}
            Err(error) => panic!("an honest peer is accused: {error}: {message:?}"),
        }
        self.report(&message, SnapshotStatus::Finished);
        self.drain(at);
    }

    fn read(&mut self, at: usize, lease: bool) {
        let mode = if lease { ReadMode::Lease } else { ReadMode::Quorum };
        let Some(raw) = &mut self.members[at].raw else { return };
        let context = self.history.next_read();
        if raw.read_index(context.clone(), mode).is_ok() {
            // Clocks run as they like here, so a lease promises nothing.
            let least = if lease { Index::ZERO } else { self.history.committed() };
            self.history.on_read(raw.id(), &context, least);
        }
    }

    fn drain(&mut self, at: usize) {
        self.members[at].drain(&mut self.network, &mut self.history);
    }
}

fn any_config(dice: &mut Dice) -> Config {
    let mut config = Config::new(any::node(dice), 0);
    config.election_ticks = ELECTION_TICKS;
    config.pre_vote = dice.one_in(2);
    config.check_quorum = dice.one_in(2);
    config.check_quorum_each_tick = dice.one_in(2);
    config.lease_reads = config.check_quorum && dice.one_in(2);
    config.max_message_bytes = dice.pick(&[1 << 20, 0, 40]);
    config.max_inflight_messages = dice.pick(&[256, 1, 3]);
    config.max_inflight_bytes = dice.pick(&[1 << 20, 1, 60]);
    config.max_committed_bytes = dice.pick(&[1 << 20, 1, 50]);
    config.max_uncommitted_bytes = dice.pick(&[1 << 20, 1, 100]);
    config.skip_commit_broadcast = dice.one_in(2);
    config.forward_proposals = dice.one_in(2);
    config.step_down_on_removal = !dice.one_in(2);
    config
}
