//! What must come about when everything works (25 to 27).

use bytes::Bytes;
use fastrand::Rng;
use raft_core::{ConfChangeKind, ConfChangeProposal, NodeId, PeerState, RoleKind, Status};

use super::action::{Action, Change};
use super::driver::{Driver, Due};
use super::world::World;
use crate::cluster::Node;
use crate::disk::ReadFault;
use crate::members::{Members, Set};
use crate::oracle::{Check, broken};
use crate::parts::Parts;

/// In so many election time-outs there is a leader again, and all that waits is done.
const PATIENCE: u64 = 60;

/// So many election time-outs must pass without an election, once all is well.
const STABLE: u64 = 5;

impl Driver {
    /// Everything works from here on, but that a minority may stay down for a while. What is drawn doesn't depend on what went
    /// before.
    pub(super) fn heal<P: Parts>(&mut self, world: &mut World<P>, seed: u64) -> Check {
        self.rng = Rng::with_seed(seed);
        world.perform(Action::Heal, &mut None)?;
        world.sent.clear();
        self.calm();
        world.oracle.clients.give_up_all();
        // Whether the rest can do without a disk shows once the rest is up: a crash may have cost a node the commit index by which it
        // knew that an older configuration was left.
        let (spoilt, sound) = (0..world.nodes.len()).partition::<Vec<_>, _>(|at| world.nodes[*at].spoilt);
        for at in sound.into_iter().chain(spoilt) {
            world.nodes[at].fuse = None;
            world.nodes[at].disk.fail_reads(0, ReadFault::Fetching);
            if world.nodes[at].spoilt && !self.can_spare(world, Set::EMPTY.with(world.nodes[at].id)) {
                // It can't be taken out, so what is on the disk must be saved.
                self.perform(world, Action::Repair(at))?;
            }
            self.perform(world, Action::Groups { at, second: None })?;
            let ticks = world.nodes[at].options.config.election_ticks + self.rng.u32(0..5);
            self.perform(world, Action::Hurry { at, ticks })?;
            if world.nodes[at].raw.is_some() {
                // Ticks and writes that were due went with the rest.
                self.wind_up(world, at);
            } else {
                self.start(world, at)?;
            }
        }
        self.report_snapshots(world);
        let dead = self.rng.usize(0..world.nodes.len());
        let spoilt = world.nodes.iter().any(|node| node.spoilt);
        if self.rng.bool() && !spoilt && self.can_spare(world, Set::EMPTY.with(world.nodes[dead].id)) {
            self.perform(world, Action::Crash { at: dead, keep: 0, torn: false })?;
        }
        Ok(())
    }

    /// The snapshots that were on their way are lost, and their senders are told.
    fn report_snapshots<P: Parts>(&mut self, world: &World<P>) {
        for (at, node) in world.nodes.iter().enumerate() {
            let Some(raw) = &node.raw else { continue };
            for peer in raw.progress() {
                let Some(to) = world.nodes.iter().position(|node| node.id == peer.id) else { continue };
                if !matches!(peer.state, PeerState::Snapshot { .. }) && !world.nodes[to].damaged {
                    continue;
                }
                self.schedule(world.now + 10_000, Due::Report { at, peer: to, finished: false });
            }
        }
    }

    /// Can the cluster do without these nodes, whatever configuration any node acts by or is about to?
    fn can_spare<P: Parts>(&self, world: &World<P>, dead: Set) -> bool {
        let newest = world.oracle.newest_members();
        let up = world.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, node, node.raw.as_ref()?)));
        let settled = |(at, node, raw): (usize, &Node<P>, &raft_core::RawNode<_>)| {
            let members = Members::of(raw.configuration());
            let unapplied =
                world.oracle.shadow(at).behind(node.machine.index()).any(|(_, line)| line.is_change);
            !unapplied && (members == newest || members.voters.is_empty())
        };
        let others: Set = newest.all().iter().filter(|id| !dead.contains(*id)).fold(Set::EMPTY, Set::with);
        newest.is_quorum(others) && up.into_iter().all(settled)
    }

    /// A leader, equal logs, and nothing that waits: soon, and again after a proposal, when the last node is back, after a
    /// change of the membership, and after a transfer.
    pub(super) fn demand_progress<P: Parts>(&mut self, world: &mut World<P>) -> Check {
        let slowest = world.nodes.iter().map(|node| node.options.tick_every).max().unwrap_or(1);
        let election = u64::from(world.nodes[0].options.config.election_ticks) * slowest;
        for round in ["at first", "after a proposal"] {
            let leader = self.settle(world, election, round)?;
            self.propose(world, leader)?;
        }
        for at in 0..world.nodes.len() {
            if !self.is_retired(world, at) {
                self.start(world, at)?;
            }
        }
        let leader = self.settle(world, election, "with all nodes")?;
        self.demand_stability(world, election, leader)?;
        if self.plan.changes {
            self.demand_change(world, election)?;
            self.demand_readmission(world, election)?;
        }
        self.demand_transfer(world, election)
    }

    fn propose<P: Parts>(&mut self, world: &mut World<P>, leader: usize) -> Check {
        let Some(raw) = &mut world.nodes[leader].raw else { return Ok(()) };
        if let Err(error) = raw.propose(Bytes::from_static(b"after")) {
            return broken("26", format!("a proposal is refused at rest: {error}"));
        }
        self.perform(world, Action::Ping(leader))
    }

    /// Waits until the cluster is at rest. Returns who leads.
    fn settle<P: Parts>(&mut self, world: &mut World<P>, election: u64, when: &str) -> Check<usize> {
        let begun = world.now;
        loop {
            if let Some(leader) = settled(world) {
                let waited = (world.now - begun) / election;
                world.report.longest_wait = world.report.longest_wait.max(waited);
                return Ok(leader);
            }
            if world.now >= begun + PATIENCE * election {
                let statement = if world.leader().is_some() { "26" } else { "25" };
                return broken(
                    statement,
                    format!("no rest in {PATIENCE} election time-outs {when}: {}", picture(world)),
                );
            }
            self.run_until(world, world.now + election)?;
            if world.leader().is_none() {
                self.do_without_snapshots(world)?;
            }
            if self.plan.changes {
                self.retire(world)?;
            }
        }
    }

    /// Nobody leads, perhaps since the only one who could win waits for a snapshot.
    fn do_without_snapshots<P: Parts>(&mut self, world: &mut World<P>) -> Check {
        for at in 0..world.nodes.len() {
            if world.nodes[at].damaged {
                self.perform(world, Action::Withdraw(at))?;
            }
        }
        Ok(())
    }

    /// Nobody campaigns while a leader is heard (27).
    fn demand_stability<P: Parts>(&mut self, world: &mut World<P>, election: u64, leader: usize) -> Check {
        let term = world.nodes[leader].raw.as_ref().map(|raw| raw.term());
        self.run_until(world, world.now + STABLE * election)?;
        let now = world.leader().map(|at| (at, world.nodes[at].raw.as_ref().map(|raw| raw.term())));
        if now != Some((leader, term)) {
            return broken(
                "27",
                format!("leader {} is gone, though all is well: {}", world.nodes[leader].id, picture(world)),
            );
        }
        Ok(())
    }

    /// A membership change is accepted and made.
    fn demand_change<P: Parts>(&mut self, world: &mut World<P>, election: u64) -> Check {
        let Some(leader) = settled(world) else { return Ok(()) };
        let members = world.oracle.newest_members();
        let stranger = world.nodes.iter().find(|node| node.raw.is_some() && !members.contains(node.id));
        let change = match stranger {
            _ if members.is_joint() => Change::LEAVE,
            Some(stranger) => Change::of(ConfChangeKind::AddLearner, stranger.id),
            None => Change::of(ConfChangeKind::AddVoter, world.nodes[leader].id),
        };
        let Some(raw) = &mut world.nodes[leader].raw else { return Ok(()) };
        match raw.propose_conf_change(change.to_v2()) {
            Ok(ConfChangeProposal::Appended { .. }) => {}
            other => return broken("26", format!("a membership change at rest: {other:?}")),
        }
        self.perform(world, Action::Ping(leader))?;
        self.settle(world, election, "after a membership change")?;
        let wanted = members.after(&change.to_v2());
        if wanted != Some(world.oracle.newest_members()) {
            return broken(
                "26",
                format!("{members} was to be changed, and is {}", world.oracle.newest_members()),
            );
        }
        Ok(())
    }

    /// A follower whose disk is replaced notices that it lost what it had acknowledged, keeps still, over a restart too, and serves
    /// again when another leads, or when it was taken out and brought in again.
    fn demand_readmission<P: Parts>(&mut self, world: &mut World<P>, election: u64) -> Check {
        let Some(leader) = settled(world) else { return Ok(()) };
        let members = world.oracle.newest_members();
        let at = self.rng.usize(0..world.nodes.len());
        let id = world.nodes[at].id;
        let rest = members.voters.iter().filter(|other| *other != id).count();
        if at == leader
            || members.is_joint()
            || !members.voters.contains(id)
            || world.nodes[at].raw.is_none()
            || rest < 2
        {
            return Ok(());
        }
        // So the snapshot that it will be sent may end before what it acknowledged.
        for _ in 0..self.rng.u32(0..6) {
            self.propose(world, leader)?;
            self.settle(world, election, "before a disk is replaced")?;
        }
        let quorum_checked = world.nodes[at].options.config.check_quorum;
        let may_mislead = rest >= 3 && !quorum_checked && self.rng.bool();
        let mut may_be_whole = may_mislead && self.mislead(world, (leader, at), election)?;
        if !may_be_whole {
            let Some(leader) = world.leader().filter(|leader| *leader != at) else {
                // It was elected meanwhile.
                return Ok(());
            };
            self.empty_disk(world, at)?;
            if self.rng.bool() {
                // So it knows the term before a heartbeat shows what it lost.
                self.propose(world, leader)?;
                may_be_whole = true;
            }
            self.run_until(world, world.now + election)?;
        }
        let lost = |world: &World<P>| {
            world.nodes[at].raw.as_ref().is_some_and(|raw| raw.status().basic.lost.is_some())
        };
        if !lost(world) {
            if may_be_whole {
                // It had told the next leader nothing that it lacks now, or was sent a snapshot of all that it had lost.
                return self.settle(world, election, "after a disk was replaced").map(|_| ());
            }
            return broken(
                "loss",
                format!("node {id} doesn't notice that its disk is another: {}", picture(world)),
            );
        }
        if self.rng.bool() {
            self.perform(world, Action::Crash { at, keep: 0, torn: false })?;
            self.start(world, at)?;
        }
        self.perform(world, Action::Campaign(at))?;
        if self.rng.bool() {
            // Its vote is asked for, though it hears a leader.
            let to = (0..world.nodes.len()).find(|to| {
                let node = &world.nodes[*to];
                *to != at && *to != leader && members.voters.contains(node.id) && node.raw.is_some()
            });
            if let Some(leader) = world.leader() {
                self.perform(world, Action::Transfer { at: leader, to })?;
            }
            self.run_until(world, world.now + election)?;
        }
        for kind in [ConfChangeKind::Remove, ConfChangeKind::AddLearner, ConfChangeKind::AddVoter] {
            // A change is refused while one is on its way, or a new leader's first entry. And without pre-vote a node that was taken
            // out campaigns, and unseats who takes it in again, or wins.
            for _ in 0..5 {
                if let Some(leader) = world.leader() {
                    let change = Change::of(kind, id);
                    self.perform(world, Action::Change { at: leader, change, old_format: false })?;
                }
                self.run_until(world, world.now + election)?;
                self.retire(world)?;
                let members = world.oracle.newest_members();
                let now = (members.voters.contains(id), members.learners.contains(id));
                if now == (kind == ConfChangeKind::AddVoter, kind == ConfChangeKind::AddLearner) {
                    break;
                }
            }
            if world.nodes[at].raw.is_none() {
                // It was switched off with those who are out.
                self.start(world, at)?;
            }
        }
        self.settle(world, election, "after a readmission")?;
        if lost(world) || !world.oracle.newest_members().voters.contains(id) {
            return broken("loss", format!("node {id} isn't readmitted: {}", picture(world)));
        }
        Ok(())
    }

    fn empty_disk<P: Parts>(&mut self, world: &mut World<P>, at: usize) -> Check {
        world.nodes[at].lossy = true;
        self.perform(world, Action::Spoil(at))?;
        self.perform(world, Action::Replace(at))?;
        self.wind_up(world, at);
        Ok(())
    }

    /// A leader whom nobody hears any more meets one whose disk was replaced since it acknowledged what the next leader appended,
    /// and fills it with its own entries: so that they stand in the place of what was lost. Returns whether it came to that.
    fn mislead<P: Parts>(
        &mut self,
        world: &mut World<P>,
        (leader, at): (usize, usize),
        election: u64,
    ) -> Check<bool> {
        // So the leader that will be stale doesn't count on it.
        self.perform(world, Action::Crash { at, keep: 0, torn: false })?;
        self.perform(world, Action::Transfer { at: leader, to: None })?;
        self.run_until(world, world.now + election)?;
        let Some(stale) = world.leader() else { return self.give_in(world, at, election) };
        let others = (0..world.nodes.len()).filter(|other| *other != stale);
        others.clone().for_each(|other| {
            self.links.cut(stale, other);
            self.links.cut(other, stale);
        });
        self.start(world, at)?;
        for _ in 0..8 {
            self.run_until(world, world.now + election)?;
        }
        let Some(now) = world.leader().filter(|now| *now != stale && *now != at) else {
            return self.give_in(world, at, election);
        };
        for _ in 0..3 {
            if let Some(raw) = &mut world.nodes[stale].raw {
                // Refused if not even one may wait to be committed.
                let _ = raw.propose(Bytes::from_static(b"stale"));
                self.perform(world, Action::Ping(stale))?;
            }
        }
        self.links.mend();
        let rest = others.filter(|other| *other != at);
        rest.for_each(|other| {
            for (from, to) in [(stale, other), (other, stale), (at, other), (other, at)] {
                self.links.cut(from, to);
            }
        });
        self.empty_disk(world, at)?;
        let forgets = self.rng.bool();
        if forgets {
            self.propose(world, now)?;
        }
        self.run_until(world, world.now + 2 * election)?;
        if forgets {
            // It no longer knows the term of what it counts on.
            self.perform(world, Action::Compact(now))?;
        }
        self.links.mend();
        self.run_until(world, world.now + election)?;
        Ok(true)
    }

    /// It didn't come to that: all is well again.
    fn give_in<P: Parts>(&mut self, world: &mut World<P>, at: usize, election: u64) -> Check<bool> {
        self.links.mend();
        self.start(world, at)?;
        self.settle(world, election, "after a leader was cut off").map(|_| false)
    }

    /// Leadership is handed over, to a voter who has everything, in one election time-out; if a node that was taken out campaigns
    /// just then, the next time.
    fn demand_transfer<P: Parts>(&mut self, world: &mut World<P>, election: u64) -> Check {
        for _ in 0..2 {
            if self.hands_over(world, election)? {
                return Ok(());
            }
        }
        broken("26", format!("leadership isn't handed over: {}", picture(world)))
    }

    /// Hands over once, if there is anyone fit for it. Returns whether that went well.
    fn hands_over<P: Parts>(&mut self, world: &mut World<P>, election: u64) -> Check<bool> {
        let Some(leader) = settled(world) else { return Ok(true) };
        let members = world.oracle.newest_members();
        let Some(raw) = &world.nodes[leader].raw else { return Ok(true) };
        let fit = |(at, node): &(usize, &Node<P>)| {
            let last = raw.last_position();
            *at != leader
                && members.voters.contains(node.id)
                && node
                    .raw
                    .as_ref()
                    .is_some_and(|raw| raw.last_position() == last && raw.configuration().contains(node.id))
        };
        let Some((to, _)) = world.nodes.iter().enumerate().find(fit) else { return Ok(true) };
        // Among equals a voter of higher priority may refuse.
        let priority = |at: usize| world.nodes[at].raw.as_ref().map_or(0, |raw| raw.config().priority);
        let highest = (0..world.nodes.len()).map(priority).max();
        if highest.is_some_and(|highest| priority(to) < highest) {
            return Ok(true);
        }
        self.perform(world, Action::Transfer { at: leader, to: Some(to) })?;
        self.run_until(world, world.now + election)?;
        let done = world.leader() == Some(to);
        self.settle(world, election, "after a transfer").map(|_| done)
    }

    /// Is the node out, and switched off?
    fn is_retired<P: Parts>(&self, world: &World<P>, at: usize) -> bool {
        self.plan.changes
            && world.nodes[at].raw.is_none()
            && !world.oracle.newest_members().contains(world.nodes[at].id)
    }

    /// What whoever runs the cluster does: a leader that isn't a voter hands over, and nodes that were removed are switched
    /// off once every voter knows that they were. (Without pre-vote and check-quorum they would campaign for ever.) A node whose
    /// disk was spoilt is taken out.
    fn retire<P: Parts>(&mut self, world: &mut World<P>) -> Check {
        let Some(at) = world.leader() else { return Ok(()) };
        let Some(raw) = &world.nodes[at].raw else { return Ok(()) };
        let (id, members) = (raw.id(), Members::of(raw.configuration()));
        if !members.is_voter(id) {
            // Anyone who is up: the best might not be preferred by the others.
            let fit = |(_, node): &(usize, &Node<P>)| node.raw.is_some() && members.is_voter(node.id);
            let fit: Vec<usize> = world.nodes.iter().enumerate().filter(fit).map(|(to, _)| to).collect();
            let to = fit.get(self.rng.usize(0..fit.len().max(1))).copied();
            return self.perform(world, Action::Transfer { at, to });
        }
        if let Some(spoilt) = world.nodes.iter().find(|node| node.spoilt && members.contains(node.id)) {
            let joint = members.is_joint();
            let change = if joint { Change::LEAVE } else { Change::of(ConfChangeKind::Remove, spoilt.id) };
            return self.perform(world, Action::Change { at, change, old_format: false });
        }
        let applied = raw.applied_index() == raw.last_index();
        let knows = |id: NodeId| {
            let raw = world.nodes.iter().find(|node| node.id == id).and_then(|node| node.raw.as_ref());
            raw.is_none_or(|raw| Members::of(raw.configuration()) == members)
        };
        // A change that isn't applied yet may bring back whom another removed.
        if !applied || !members.voters.iter().all(knows) {
            return Ok(());
        }
        for at in 0..world.nodes.len() {
            if !members.contains(world.nodes[at].id) {
                self.perform(world, Action::Crash { at, keep: 0, torn: false })?;
            }
        }
        Ok(())
    }
}

/// Who leads, if nothing is left to be done among those who are up.
fn settled<P: Parts>(world: &World<P>) -> Option<usize> {
    let at = world.leader()?;
    let leader = world.nodes[at].raw.as_ref()?.status();
    let members = Members::of_state(&leader.conf_state);
    let machine = &world.nodes[at].machine;
    let up = |id: NodeId| world.nodes.iter().any(|node| node.id == id && node.raw.is_some());
    let quiet = leader.uncommitted_bytes == 0
        && leader.transferee.is_none()
        && members.is_voter(leader.id)
        && !members.auto_leave
        && world.oracle.clients.pending_reads() == 0;
    let sent = leader.progress.iter().filter(|peer| up(peer.id)).all(|peer| {
        peer.match_index == leader.last && peer.inflight_messages == 0 && peer.state == PeerState::Replicate
    });
    let member = |node: &&Node<P>| members.contains(node.id) && node.raw.is_some();
    let equal = world.nodes.iter().filter(member).all(|node| {
        let Some(status) = node.raw.as_ref().map(|raw| raw.status()) else { return false };
        is_equal(&status, &leader) && node.machine == *machine && node.disk.queued() == 0
    });
    (quiet && sent && equal).then_some(at)
}

fn is_equal(status: &Status, leader: &Status) -> bool {
    status.term == leader.term
        && status.leader == Some(leader.id)
        && (status.role == RoleKind::Leader) == (status.id == leader.id)
        && status.commit == leader.last
        && status.applied == leader.last
        && status.last == leader.last
        && status.durable == leader.last
        && status.pending_reads == 0
        && status.writes_in_flight == 0
        && status.log_bytes_in_memory == 0
        && status.conf_state == leader.conf_state
}

fn picture<P: Parts>(world: &World<P>) -> String {
    let mut picture = format!("{} reads pending", world.oracle.clients.pending_reads());
    for node in &world.nodes {
        match &node.raw {
            Some(raw) => picture.push_str(&format!("\n    {:?}", raw.status())),
            None => picture.push_str(&format!("\n    node {} is down", node.id)),
        }
    }
    picture
}
