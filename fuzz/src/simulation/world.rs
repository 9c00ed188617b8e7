//! The cluster, and what each action does to it.

use std::collections::BTreeMap;

use raft_core::{Index, Message, NodeId, PeerState, RoleKind, SnapshotStatus, StepError};

use super::Report;
use super::action::{Action, Limits, Parcel};
use super::trail::Trail;
use crate::cluster::{Node, Raw, Stage, windows_of};
use crate::members::Members;
use crate::network::{Kind, Summary};
use crate::oracle::{Cause, Check, Context, Oracle, broken};
use crate::parts::{Parts, StateMachine};
use crate::reached::{Reached, Situation};

/// A message on its way, and the disks that its two ends had when it was sent: with another disk a node is another.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) parcel: Parcel,
    disks: (u32, u32),
    pub(super) message: Message,
}

/// See the module.
pub(super) struct World<P: Parts> {
    pub(super) now: u64,
    /// What the nodes are made of.
    pub(super) parts: P,
    pub(super) nodes: Vec<Node<P>>,
    pub(super) oracle: Oracle,
    pub(super) reached: Reached,
    pub(super) report: Report,
    /// What left the nodes since this was emptied last.
    pub(super) sent: Vec<Sent>,
    /// What happened, if somebody wants to know.
    pub(super) trail: Option<Trail>,
    pub(super) ready: Box<raft_core::Ready>,
    numbers: Vec<u32>,
}

impl<P: Parts> World<P> {
    pub(super) fn new(parts: P, nodes: Vec<Node<P>>, oracle: Oracle) -> World<P> {
        let count = nodes.len();
        World {
            now: 0,
            parts,
            nodes,
            oracle,
            reached: Reached::default(),
            report: Report::default(),
            sent: Vec::new(),
            trail: None,
            ready: Box::default(),
            numbers: vec![0; count * count * Kind::ALL.len()],
        }
    }

    /// The oracle, and what it may look at.
    pub(super) fn look(&mut self, at: usize) -> (&mut Oracle, Context<'_, P>) {
        let World { oracle, nodes, reached, now, .. } = self;
        (oracle, Context { nodes, at, now: *now, reached })
    }

    /// Does something, with the message if one arrives.
    ///
    /// # Errors
    /// A statement that doesn't hold.
    pub(super) fn perform(&mut self, action: Action, sent: &mut Option<Sent>) -> Check {
        self.report.events += 1;
        if let Some(trail) = &mut self.trail {
            trail.begin(self.now, action, sent.as_ref().map(|sent| &sent.message));
        }
        let result = self.carry_out(action, sent);
        if self.trail.is_some() {
            let left: Vec<String> =
                self.sent.iter().map(|sent| super::trail::describe(&sent.message)).collect();
            let World { trail: Some(trail), nodes, .. } = self else { return result };
            trail.end(action, nodes, &left);
        }
        result
    }

    fn carry_out(&mut self, action: Action, sent: &mut Option<Sent>) -> Check {
        match action {
            Action::Tick(at) => self.tick(at),
            Action::Deliver(_) => self.deliver(sent),
            Action::Complete { at, count } => self.complete(at, count),
            Action::Apply(at) => self.apply(at),
            Action::Crash { at, keep, torn } => self.crash(at, keep, torn),
            Action::Fuse { at, stage } => {
                self.nodes[at].fuse = Some(stage);
                Ok(())
            }
            Action::Start(at) => self.start(at),
            Action::Spoil(at) => self.spoil(at),
            Action::Replace(at) => self.replace(at),
            Action::Repair(at) => {
                self.nodes[at].spoilt = false;
                self.start(at)
            }
            Action::LoseVote(at) => {
                let node = &self.nodes[at];
                if node.raw.is_none() {
                    node.disk.lose_vote();
                }
                Ok(())
            }
            Action::FailReads { at, count, fault } => {
                self.nodes[at].disk.fail_reads(count, fault);
                Ok(())
            }
            Action::Fetched(at) => {
                self.reached.reach(Situation::Fetched);
                self.nodes[at].disk.fetch();
                self.call(at, |raw| raw.on_entries_fetched())
            }
            Action::Write { at, client, first, count, padding } => {
                self.write(at, client, first, count, padding)
            }
            Action::Read { at, client, lease } => self.read(at, client, lease),
            Action::GiveUp(client) => {
                self.oracle.clients.give_up(client);
                Ok(())
            }
            Action::Change { at, change, old_format } => self.change(at, change, old_format),
            Action::Changes { at, from, ahead, changes } => self.changes(at, from, ahead, changes),
            Action::Transfer { at, to } => self.transfer(at, to),
            Action::Campaign(at) => {
                let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
                let _ = raw.campaign();
                self.drain(at, Cause::Campaign)
            }
            Action::Forget(at) => self.call(at, |raw| {
                let _ = raw.forget_leader();
            }),
            Action::Ping(at) => self.call(at, |raw| raw.ping()),
            Action::Unreachable { at, peer } => self.unreachable(at, peer),
            Action::Report { at, peer, finished } => self.report_snapshot(at, peer, finished),
            Action::Reconfigure { at, limits } => self.reconfigure(at, limits),
            Action::Window { at, peer, messages } => {
                let peer = self.nodes[peer].id;
                let windows = &mut self.nodes[at].windows;
                windows.0 = windows.0.max(messages);
                self.call(at, |raw| {
                    raw.set_max_inflight(peer, messages);
                })
            }
            Action::Hurry { at, ticks } => {
                self.oracle.on_hurried(at, ticks);
                self.call(at, |raw| raw.set_election_timeout(ticks))
            }
            Action::Busy(at) => {
                self.nodes[at].busy = true;
                Ok(())
            }
            Action::Shrink(at) => self.call(at, |raw| raw.shrink_to_fit()),
            Action::Compact(at) => {
                let node = &mut self.nodes[at];
                if node.raw.is_some() { node.make_snapshot(0) } else { Ok(()) }
            }
            Action::Propose { at, count, bytes } => self.propose(at, count, bytes),
            Action::Damage(at) => self.damage(at),
            Action::Withdraw(at) => {
                self.nodes[at].damaged = false;
                self.call(at, |raw| raw.withdraw_snapshot_request())
            }
            Action::Groups { at, second } => {
                let groups = second.map(|second| self.groups(second));
                self.nodes[at].second_group = second;
                self.call(at, |raw| raw.set_commit_groups(groups))
            }
            Action::Heal => Ok(()),
        }
    }

    fn groups(&self, second: u16) -> BTreeMap<NodeId, u64> {
        let ids = self.nodes.iter().enumerate();
        ids.map(|(at, node)| (node.id, if second >> at & 1 == 1 { 2 } else { 1 })).collect()
    }

    /// Calls the core, and does what follows.
    fn call(&mut self, at: usize, call: impl FnOnce(&mut Raw<P>)) -> Check {
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        call(raw);
        self.drain(at, Cause::Other)
    }

    fn tick(&mut self, at: usize) -> Check {
        let node = &mut self.nodes[at];
        let Some(raw) = &mut node.raw else { return Ok(()) };
        raw.tick();
        node.make_wanted_snapshot()?;
        let (oracle, cx) = self.look(at);
        oracle.on_tick(&cx);
        self.drain_unless_busy(at, Cause::Tick)
    }

    fn deliver(&mut self, sent: &mut Option<Sent>) -> Check {
        let Some(Sent { parcel: Parcel { from, to: at, .. }, disks, message }) = sent else { return Ok(()) };
        let at = *at;
        if *disks != (self.nodes[*from].disks, self.nodes[at].disks) || self.nodes[at].raw.is_none() {
            return Ok(());
        }
        self.report.delivered += 1;
        let summary = Summary::of(message);
        let (oracle, cx) = self.look(at);
        oracle.before_step(&cx, &summary, message);
        self.nodes[at].unpack(message)?;
        let (Some(raw), Some(Sent { message, .. })) = (&mut self.nodes[at].raw, sent.take()) else {
            return Ok(());
        };
        let result = raw.step(message);
        let (oracle, cx) = self.look(at);
        oracle.after_step(&cx, &summary, &result)?;
        match result {
            Ok(()) | Err(StepError::Storage(_) | StepError::Proposal(_)) => {}
            // One that has left, or whose coming isn't applied here yet.
            Err(StepError::UnknownPeer(_)) => self.reached.reach(Situation::StrangerAnswers),
            Err(error) => {
                let (id, kind) = (self.nodes[at].id, summary.kind.text());
                return broken("refusal", format!("node {id} refuses an honest peer's {kind}: {error}"));
            }
        }
        self.drain(at, Cause::Message(summary.kind))
    }

    fn complete(&mut self, at: usize, count: usize) -> Check {
        if self.nodes[at].raw.is_none() {
            return Ok(());
        }
        for _ in 0..count.min(self.nodes[at].disk.queued()) {
            self.complete_one(at)?;
        }
        self.drain(at, Cause::Persisted)
    }

    fn apply(&mut self, at: usize) -> Check {
        if self.nodes[at].raw.is_none() || self.nodes[at].damaged {
            return Ok(());
        }
        if let Some(batch) = self.nodes[at].to_apply.pop_front() {
            self.apply_batch(at, &batch)?;
            self.acknowledge_applied(at)?;
        }
        self.drain(at, Cause::Other)
    }

    /// A node loses power.
    pub(super) fn crash(&mut self, at: usize, keep: usize, torn: bool) -> Check {
        let node = &mut self.nodes[at];
        let Some(raw) = &node.raw else { return Ok(()) };
        let queued = node.disk.queued();
        let keep = keep.min(queued);
        let joint = Members::of(raw.configuration()).is_joint();
        self.reached.reach_if(joint, Situation::CrashInJoint);
        self.reached.reach_if(node.disk.queued_snapshot().is_some(), Situation::CrashWithSnapshot);
        self.reached.reach_if(keep < queued, Situation::WriteLost);
        self.reached.reach_if(torn && keep < queued, Situation::WriteTorn);
        let (stored, synced) = (node.disk.look(raft_core::MemoryStorage::hard_state), node.disk.synced());
        self.reached.reach_if(stored != synced, Situation::CommitLost);
        let promised = raw.hard_state();
        let halved = node.crash(keep, torn)?;
        self.reached.reach_if(halved, Situation::WriteHalved);
        let synced = node.disk.synced();
        let forgotten = (promised.term, promised.vote) != (synced.term, synced.vote);
        self.reached.reach_if(forgotten && promised.vote.is_some(), Situation::VoteLost);
        self.report.crashes += 1;
        self.oracle.clients.on_crash(at);
        // What reached the disk by then counts, though nobody was told.
        let (oracle, cx) = self.look(at);
        oracle.on_durable(&cx, true)
    }

    /// A node that is down starts.
    pub(super) fn start(&mut self, at: usize) -> Check {
        let World { nodes, parts, oracle, .. } = self;
        let node = &mut nodes[at];
        if node.raw.is_some() || node.spoilt {
            return Ok(());
        }
        node.start(parts)?;
        let id = node.id;
        oracle.on_restored(id, node.machine.index(), node.tested.digest())?;
        let snapshot = node.disk.newest_snapshot().map_or(Index::ZERO, |snapshot| snapshot.metadata.index);
        let applied = node.machine.index();
        self.reached.reach_if(applied > snapshot && node.lives > 1, Situation::RestartedAhead);
        let (oracle, cx) = self.look(at);
        oracle.on_start(&cx)?;
        let unapplied = self.oracle.shadow(at).behind(applied).any(|(_, line)| line.is_change);
        self.reached.reach_if(unapplied, Situation::RestartedUnapplied);
        if self.oracle.committed() < applied {
            return broken("5", format!("node {id} starts with {applied} applied, which isn't committed"));
        }
        self.drain(at, Cause::Other)
    }

    /// A node's disk can't be read any more, unless the cluster couldn't do without it.
    fn spoil(&mut self, at: usize) -> Check {
        if !self.nodes[at].lossy && !self.is_dispensable(at) {
            return Ok(());
        }
        self.reached.reach(Situation::DiskSpoilt);
        self.nodes[at].spoilt = true;
        self.crash(at, usize::MAX, false)
    }

    /// Could the cluster do without this node? It is a voter of at least three, the only one whose disk is spoilt, and no change is
    /// on its way by which the others could come to need it.
    fn is_dispensable(&self, at: usize) -> bool {
        let (node, newest) = (&self.nodes[at], self.oracle.newest_members());
        let unapplied = |(at, node): (usize, &Node<P>)| {
            self.oracle.shadow(at).behind(node.machine.index()).any(|(_, line)| line.is_change)
        };
        let follows = node.raw.as_ref().is_some_and(|raw| raw.role() == RoleKind::Follower);
        follows
            && newest.voters.contains(node.id)
            && newest.voters.len() >= 3
            && !newest.is_joint()
            && self.nodes.iter().all(|node| !node.spoilt)
            && !self.nodes.iter().enumerate().any(unapplied)
    }

    /// Is this node out, and does everybody know? Its name may be used again only then: one that was away, and acts by a
    /// configuration of long ago, could win with a vote that is given in ignorance of what its owner once acknowledged.
    pub(super) fn is_forgotten(&self, at: usize) -> bool {
        let (id, removed_at) = (self.nodes[at].id, self.oracle.changed_at());
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != at);
        !self.oracle.newest_members().contains(id)
            && !others.into_iter().any(|(_, node)| node.may_count_on(id, removed_at))
    }

    /// A node whose disk was spoilt starts with an empty one, when nobody counts on it any more.
    fn replace(&mut self, at: usize) -> Check {
        let node = &self.nodes[at];
        if !node.spoilt || !(node.lossy || self.is_forgotten(at)) {
            return Ok(());
        }
        self.reached.reach(Situation::DiskReplaced);
        self.nodes[at].replace_disk(&self.parts)?;
        self.oracle.on_replaced(at);
        self.start(at)
    }

    fn unreachable(&mut self, at: usize, peer: usize) -> Check {
        let id = self.nodes[peer].id;
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        let before = raw.peer(id);
        raw.report_unreachable(id);
        if let (Some(before), Some(after)) = (before, raw.peer(id)) {
            let ahead = after.next_index != after.match_index.next() || after.state != PeerState::Probe;
            if before.state == PeerState::Replicate && ahead && peer != at {
                return broken("unreachable", format!("node {} sends on to {after:?}", raw.id()));
            }
        }
        self.drain(at, Cause::Other)
    }

    /// A node's state machine is found to be damaged. What it was given to apply is covered by the snapshot that it asks for.
    fn damage(&mut self, at: usize) -> Check {
        let node = &mut self.nodes[at];
        let Some(raw) = &mut node.raw else { return Ok(()) };
        if raw.request_snapshot().is_ok() {
            node.damaged = true;
            self.reached.reach(Situation::SnapshotWanted);
            self.reached.reach_if(node.disk.queued_snapshot().is_some(), Situation::SnapshotTwice);
        }
        self.drain(at, Cause::Other)
    }

    fn report_snapshot(&mut self, at: usize, peer: usize, finished: bool) -> Check {
        let id = self.nodes[peer].id;
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        let before = raw.peer(id).map(|peer| peer.state);
        let status = if finished { SnapshotStatus::Finished } else { SnapshotStatus::Failed };
        self.reached.reach_if(!finished && raw.role() == RoleKind::Leader, Situation::SnapshotLost);
        raw.report_snapshot(id, status);
        if let Some(before) = before {
            Oracle::on_report(raw, id, before, status)?;
        }
        self.drain(at, Cause::Other)
    }

    fn reconfigure(&mut self, at: usize, limits: Limits) -> Check {
        let node = &mut self.nodes[at];
        let Some(raw) = &mut node.raw else { return Ok(()) };
        let result = raw.reconfigure(|config| {
            config.max_message_bytes = limits.message;
            config.max_inflight_messages = limits.inflight;
            config.max_inflight_bytes = limits.inflight_bytes;
            config.max_committed_bytes = limits.committed;
            config.max_uncommitted_bytes = limits.uncommitted;
            config.priority = limits.priority;
        });
        if let Err(error) = result {
            return broken("config", format!("node {} refuses {limits:?}: {error}", node.id));
        }
        let (messages, bytes) = windows_of(raw.config());
        node.windows = (node.windows.0.max(messages), node.windows.1.max(bytes));
        self.reached.reach(Situation::Reconfigured);
        self.drain(at, Cause::Other)
    }

    /// Does the node lose power here?
    pub(super) fn blows(&mut self, at: usize, stage: Stage) -> Check<bool> {
        if self.nodes[at].fuse.is_none_or(|fuse| fuse > stage) {
            return Ok(false);
        }
        self.reached.reach(match stage {
            Stage::Taken | Stage::Sent => Situation::CrashBeforeWrite,
            Stage::Written => Situation::CrashAfterWrite,
            Stage::Released => Situation::CrashBeforeApply,
            Stage::Applied => Situation::CrashBeforeAdvance,
        });
        self.nodes[at].fuse = None;
        self.crash(at, 0, false)?;
        Ok(true)
    }

    /// A message leaves a node.
    pub(super) fn leaves(&mut self, at: usize, mut message: Message) -> Check {
        self.nodes[at].pack(&mut message)?;
        let (oracle, cx) = self.look(at);
        oracle.on_send(&cx, &message)?;
        let kind = Kind::of(&message.body);
        let to = usize::try_from(message.to.get() - 1).unwrap_or(usize::MAX);
        let Some(receiver) = self.nodes.get(to) else {
            return broken("message", format!("node {} writes to node {}", self.nodes[at].id, message.to));
        };
        let disks = (self.nodes[at].disks, receiver.disks);
        let slot = (at * self.nodes.len() + to) * Kind::ALL.len() + kind as usize;
        let number = self.numbers[slot];
        self.numbers[slot] += 1;
        self.report.snapshots_sent += u64::from(kind == Kind::Snapshot);
        self.sent.push(Sent { parcel: Parcel { from: at, to, kind, number }, disks, message });
        Ok(())
    }

    /// The leader of the newest term that has one.
    pub(super) fn leader(&self) -> Option<usize> {
        let up = self.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, node.raw.as_ref()?)));
        let leaders = up.filter(|(_, raw)| raw.role() == RoleKind::Leader);
        leaders.max_by_key(|(_, raw)| raw.term()).map(|(at, _)| at)
    }
}
