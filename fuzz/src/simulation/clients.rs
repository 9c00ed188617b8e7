//! What the clients do, and who runs the cluster.

use raft_core::{ConfChangeKind, ConfChangeTransition};

use super::action::{Action, Change, Limits};
use super::driver::{Driver, Due, node_of};
use super::world::World;
use crate::oracle::{Check, Request};
use crate::parts::Parts;

impl Driver {
    /// A client has thought long enough.
    pub(super) fn client<P: Parts>(&mut self, world: &mut World<P>, client: usize) -> Check {
        if !self.chaos {
            return Ok(());
        }
        let think = self.rng.u64(self.plan.think.0..self.plan.think.1);
        self.schedule(world.now + think, Due::Client(client));
        let (until, tries) = self.patience[client];
        let action = match world.oracle.clients.request(client) {
            Some(_) if world.now < until => return Ok(()),
            // The same commands again, to another node: they must take effect once.
            Some((Request::Write { first, count }, _)) if tries < 3 => {
                Action::Write { at: self.any_node(world), client, first, count, padding: 0 }
            }
            Some(_) => {
                self.patience[client].1 = 0;
                return self.perform(world, Action::GiveUp(client));
            }
            None if self.rng.u32(0..100) < 60 => {
                let first = world.oracle.clients.next_command(client);
                let count = if self.rng.bool() { 1 } else { self.rng.u32(2..=5) };
                let padding = [12, 12, 0, 300][self.rng.usize(0..4)];
                Action::Write { at: self.any_node(world), client, first, count, padding }
            }
            None => {
                let lease = self.plan.leases && self.rng.bool();
                Action::Read { at: self.any_node(world), client, lease }
            }
        };
        self.patience[client] = (world.now + self.rng.u64(300_000..3_000_000), tries + 1);
        if let Some(at) = node_of(action) {
            self.keep_busy(world, at, 8)?;
        }
        self.perform(world, action)?;
        if world.oracle.clients.request(client).is_none() {
            self.patience[client].1 = 0;
        }
        Ok(())
    }

    /// A node that somebody turns to: one that leads, mostly.
    fn any_node<P: Parts>(&mut self, world: &World<P>) -> usize {
        if self.rng.bool()
            && let Some(leader) = world.leader()
        {
            return leader;
        }
        self.rng.usize(0..world.nodes.len())
    }

    /// Who runs the cluster does something.
    pub(super) fn operator<P: Parts>(&mut self, world: &mut World<P>) -> Check {
        if !self.chaos {
            return Ok(());
        }
        let after = self.rng.u64(self.plan.operator.0..self.plan.operator.1);
        self.schedule(world.now + after, Due::Operator);
        let at = self.any_node(world);
        let other = self.rng.usize(0..world.nodes.len());
        let action = match self.rng.u32(0..22) {
            8 if self.plan.changes && other != at => {
                let changes = [self.any_change(world), self.any_change(world)];
                // Drawn aside, so that seeds go on to mean what they meant.
                let ahead = self.rng.clone().u32(0..4);
                Action::Changes { at, from: other, ahead, changes }
            }
            0..9 if self.plan.changes => {
                let change = self.any_change(world);
                Action::Change { at, change, old_format: self.rng.u32(0..4) == 0 }
            }
            9..13 if self.plan.changes => {
                let to = if self.rng.u32(0..4) == 0 { None } else { Some(other) };
                Action::Transfer { at, to }
            }
            13 => Action::Forget(at),
            14 => Action::Ping(at),
            15 => Action::Unreachable { at, peer: other },
            16 => Action::Report { at, peer: other, finished: self.rng.bool() },
            17 => Action::Reconfigure { at, limits: self.any_limits() },
            18 => Action::Window { at, peer: other, messages: self.rng.u32(1..20) },
            20 => Action::Shrink(at),
            21 => Action::Compact(at),
            19 if self.plan.groups => {
                let second = if self.rng.bool() { Some(self.rng.u16(..)) } else { None };
                Action::Groups { at, second }
            }
            _ => Action::Campaign(self.rng.usize(0..world.nodes.len())),
        };
        self.perform(world, action)
    }

    /// Limits of any size, for a node that runs.
    pub(super) fn any_limits(&mut self) -> Limits {
        let message = [0, 100, 4_000, 1 << 20][self.rng.usize(0..4)];
        // A long pipeline of tiny messages over a network that reorders is rejected and sent again many times over.
        let windows = if message < 1_000 { 3 } else { 4 };
        Limits {
            message,
            inflight: [1, 2, 16, 256][self.rng.usize(0..windows)],
            inflight_bytes: [1, 1_000, 1 << 30][self.rng.usize(0..3)],
            committed: [1, 200, 1 << 30][self.rng.usize(0..3)],
            uncommitted: [1, 2_000, 1 << 30][self.rng.usize(0..3)],
            priority: if self.rng.u32(0..8) == 0 { 1 } else { 0 },
        }
    }

    /// Any change: of one node or several, joint or not, sensible or not. One without voters is refused when it is applied.
    /// While a node waits for another disk it is only taken out.
    pub(super) fn any_change<P: Parts>(&mut self, world: &World<P>) -> Change {
        if let Some(spoilt) = world.nodes.iter().find(|node| node.spoilt) {
            let joint = world.oracle.newest_members().is_joint();
            return if joint { Change::LEAVE } else { Change::of(ConfChangeKind::Remove, spoilt.id) };
        }
        if self.rng.u32(0..4) == 0 {
            return Change::LEAVE;
        }
        if self.rng.u32(0..8) == 0 {
            return self.any_renewal(world);
        }
        let count = if self.rng.bool() { 1 } else { self.rng.usize(0..=4) };
        let transition = match self.rng.u32(0..6) {
            0..4 => ConfChangeTransition::Auto,
            4 => ConfChangeTransition::JointImplicit,
            _ => ConfChangeTransition::JointExplicit,
        };
        let mut steps = [None; 4];
        for step in steps.iter_mut().take(count) {
            let id = world.nodes[self.rng.usize(0..world.nodes.len())].id;
            let kind = match self.rng.u32(0..10) {
                0..4 => ConfChangeKind::AddVoter,
                4..7 => ConfChangeKind::Remove,
                7..9 => ConfChangeKind::AddLearner,
                _ => ConfChangeKind::Update,
            };
            *step = Some((kind, id));
        }
        Change { transition, steps }
    }

    /// A node is taken out and brought in again at once, if it only learns: as is done when its disk was replaced.
    fn any_renewal<P: Parts>(&mut self, world: &World<P>) -> Change {
        let members = world.oracle.newest_members();
        let learners: Vec<_> = members.learners.iter().collect();
        let id = match learners.as_slice() {
            [] => world.nodes[self.rng.usize(0..world.nodes.len())].id,
            some => some[self.rng.usize(0..some.len())],
        };
        let again = if self.rng.bool() { ConfChangeKind::AddLearner } else { ConfChangeKind::AddVoter };
        Change {
            transition: ConfChangeTransition::Auto,
            steps: [Some((ConfChangeKind::Remove, id)), Some((again, id)), None, None],
        }
    }
}
