//! What happens when: draws from the seed what to do next, and in simulated time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

use super::action::Action;
use super::faults::Fault;
use super::setup::Plan;
use super::world::{Sent, World};
use crate::machine::CLIENTS;
use crate::network::{Kind, Links, Weather};
use crate::oracle::{Check, broken};
use crate::parts::Parts;
use crate::reached::Situation;

/// Something that is due. What belongs to a life of a node that is over is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Tick(usize, u32),
    Arrival(usize),
    Write(usize, u32),
    Apply(usize, u32),
    Start(usize),
    Client(usize),
    Campaign(usize),
    Operator,
    Fault,
    Report { at: usize, peer: usize, finished: bool },
    Fetched(usize),
    Rescue(usize),
    Damage(usize),
    Withdraw(usize, u32),
}

/// What the driver remembers of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// The life in which a write, or the application of a batch, is due.
    write_due: Option<u32>,
    apply_due: Option<u32>,
    /// It doesn't run before.
    asleep_until: u64,
    /// Its disk does nothing before.
    stuck_until: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) rng: Rng,
    pub(super) plan: Plan,
    pub(super) weather: Weather,
    pub(super) links: Links,
    pub(super) chaos: bool,
    /// Simulated time from which a client asks again, elsewhere; and how often it did.
    pub(super) patience: [(u64, u32); CLIENTS],
    due: BinaryHeap<Reverse<(u64, u32, Due)>>,
    scheduled: u32,
    parcels: Vec<Option<Sent>>,
    free: Vec<usize>,
    watches: Vec<Watch>,
    outgoing: Vec<Sent>,
    /// Messages of the past, that may come again.
    hoard: Vec<Sent>,
}

/// So many messages may come again.
const HOARD: usize = 64;

impl Driver {
    pub(super) fn new(mut rng: Rng, plan: Plan, nodes: usize) -> Driver {
        Driver {
            weather: Weather::any(&mut rng),
            rng,
            plan,
            links: Links::default(),
            chaos: true,
            patience: [(0, 0); CLIENTS],
            due: BinaryHeap::new(),
            scheduled: 0,
            parcels: Vec::new(),
            free: Vec::new(),
            watches: vec![Watch::default(); nodes],
            outgoing: Vec::new(),
            hoard: Vec::new(),
        }
    }

    pub(super) fn schedule(&mut self, at: u64, due: Due) {
        self.scheduled += 1;
        self.due.push(Reverse((at, self.scheduled, due)));
    }

    /// Everything on its way is lost, and whatever is due, but for what the nodes do by themselves.
    pub(super) fn calm(&mut self) {
        self.chaos = false;
        self.weather = Weather::fair();
        self.links.mend();
        self.due.clear();
        self.parcels.clear();
        self.hoard.clear();
        self.free.clear();
        self.watches.fill(Watch::default());
    }

    /// The clients, the operator and the faults begin.
    pub(super) fn begin(&mut self) {
        for client in 0..self.plan.clients {
            self.schedule(0, Due::Client(client));
        }
        self.schedule(self.plan.operator.0, Due::Operator);
        self.schedule(self.plan.fault.0, Due::Fault);
    }

    /// A node's clock begins to tick.
    pub(super) fn wind_up<P: Parts>(&mut self, world: &World<P>, at: usize) {
        let node = &world.nodes[at];
        let phase = self.rng.u64(0..=node.options.tick_every);
        self.schedule(world.now + phase, Due::Tick(at, node.lives));
    }

    /// One time in so many a node's caller has no time to look for a `Ready` when what comes next is done. Drawn aside, so that seeds
    /// go on to mean what they meant.
    pub(super) fn keep_busy<P: Parts>(&mut self, world: &mut World<P>, at: usize, one_in: u32) -> Check {
        let mut aside = Rng::with_seed(self.rng.clone().u64(..));
        if self.chaos && aside.u32(0..one_in) == 0 { self.perform(world, Action::Busy(at)) } else { Ok(()) }
    }

    /// Does something, and sees to what follows.
    pub(super) fn perform<P: Parts>(&mut self, world: &mut World<P>, action: Action) -> Check {
        self.perform_with(world, action, &mut None)
    }

    fn perform_with<P: Parts>(
        &mut self,
        world: &mut World<P>,
        action: Action,
        sent: &mut Option<Sent>,
    ) -> Check {
        world.perform(action, sent)?;
        self.post(world);
        if let Some(at) = node_of(action) {
            self.see_to(world, at);
        }
        Ok(())
    }

    /// What left the nodes goes its way.
    fn post<P: Parts>(&mut self, world: &mut World<P>) {
        if world.sent.is_empty() {
            return;
        }
        std::mem::swap(&mut world.sent, &mut self.outgoing);
        let mut outgoing = std::mem::take(&mut self.outgoing);
        for sent in outgoing.drain(..) {
            self.send(world, sent);
        }
        self.outgoing = outgoing;
    }

    fn send<P: Parts>(&mut self, world: &mut World<P>, sent: Sent) {
        let (from, to) = (sent.parcel.from, sent.parcel.to);
        self.remember(&sent);
        let Weather { loss, repetition, .. } = self.weather;
        let lost = self.links.is_cut(from, to) || (loss > 0 && self.rng.u32(0..1000) < loss);
        if lost {
            world.report.lost += 1;
            if sent.parcel.kind == Kind::Snapshot {
                let report = Due::Report { at: from, peer: to, finished: false };
                self.schedule(world.now + 500_000, report);
            }
            return;
        }
        if repetition > 0 && self.rng.u32(0..1000) < repetition {
            world.reached.reach(Situation::Duplicate);
            self.put_on_its_way(world, sent.clone());
        }
        self.put_on_its_way(world, sent);
    }

    fn put_on_its_way<P: Parts>(&mut self, world: &World<P>, sent: Sent) {
        let (delay, straggles) = self.weather.delay(&mut self.rng);
        world.reached.reach_if(straggles, Situation::Straggler);
        self.put_down(world.now + delay, sent);
    }

    /// It will arrive at this time.
    fn put_down(&mut self, at: u64, sent: Sent) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.parcels[slot] = Some(sent);
                slot
            }
            None => {
                self.parcels.push(Some(sent));
                self.parcels.len() - 1
            }
        };
        self.schedule(at, Due::Arrival(slot));
    }

    /// Most that is rare is remembered, and little of what is sent all the time.
    fn remember(&mut self, sent: &Sent) {
        let one_in = match sent.parcel.kind {
            Kind::Append | Kind::Heartbeat | Kind::HeartbeatReply | Kind::AppendReply => 32,
            _ => 2,
        };
        if !self.chaos || self.rng.u32(0..one_in) > 0 {
            return;
        }
        if self.hoard.len() < HOARD {
            self.hoard.push(sent.clone());
        } else {
            let slot = self.rng.usize(0..HOARD);
            self.hoard[slot] = sent.clone();
        }
    }

    /// What was sent long ago arrives soon, in any order: for the second time, or after it was thought lost.
    pub(super) fn echo<P: Parts>(&mut self, world: &World<P>) {
        for sent in std::mem::take(&mut self.hoard) {
            let delay = self.rng.u64(0..300_000);
            self.put_down(world.now + delay, sent);
        }
    }

    /// A node may have something to write, or to apply.
    fn see_to<P: Parts>(&mut self, world: &World<P>, at: usize) {
        let node = &world.nodes[at];
        if node.raw.is_none() {
            return;
        }
        let (life, now) = (Some(node.lives), world.now);
        if node.disk.take_was_fetching() {
            let after = self.rng.u64(1_000..300_000);
            self.schedule(now + after, Due::Fetched(at));
        }
        if !node.is_async() {
            return;
        }
        if self.chaos {
            self.make_trouble(world, at);
        }
        if node.disk.queued() > 0 && self.watches[at].write_due != life {
            let slow = if self.chaos && self.rng.u32(0..20) == 0 { 100 } else { 1 };
            let after = self.rng.u64(self.plan.write.0..self.plan.write.1) * slow;
            let due = (now + after).max(self.watches[at].stuck_until);
            self.watches[at].write_due = life;
            self.schedule(due, Due::Write(at, node.lives));
        }
        if !node.to_apply.is_empty() && self.watches[at].apply_due != life {
            // A backlog of single entries must not look like a standstill once all is well.
            let slowest = if self.chaos { self.plan.apply } else { 1_000 };
            let after = self.rng.u64(100..slowest);
            self.watches[at].apply_due = life;
            self.schedule(now + after, Due::Apply(at, node.lives));
        }
    }

    /// What a node has on its way to its disk is worth most trouble: a campaign, or the want of another snapshot, while one isn't
    /// durable, another leader while entries aren't.
    fn make_trouble<P: Parts>(&mut self, world: &World<P>, at: usize) {
        let disk = &world.nodes[at].disk;
        let (queued, snapshot) = (disk.queued(), disk.queued_snapshot().is_some());
        let soon = world.now + 1_000;
        if snapshot && self.rng.u32(0..8) == 0 {
            if self.rng.bool() {
                self.schedule(soon, Due::Campaign(at));
            } else if self.plan.faults.contains(&Fault::Damage) {
                // Time enough for another snapshot to come.
                let micros = self.rng.u64(500_000..3_000_000);
                self.stick(world, at, micros);
                self.schedule(soon, Due::Damage(at));
            }
        } else if queued > 2 && self.rng.u32(0..64) == 0 {
            let other = self.rng.usize(0..world.nodes.len());
            self.schedule(soon, Due::Campaign(other));
        }
    }

    /// Goes on until `end`, in simulated microseconds.
    pub(super) fn run_until<P: Parts>(&mut self, world: &mut World<P>, end: u64) -> Check {
        while let Some(Reverse((at, _, due))) = self.due.peek().copied() {
            if at >= end {
                break;
            }
            self.due.pop();
            world.now = at;
            self.fire(world, due)?;
        }
        if self.due.is_empty() {
            return broken("harness", "nothing is due");
        }
        world.now = end;
        Ok(())
    }

    fn fire<P: Parts>(&mut self, world: &mut World<P>, due: Due) -> Check {
        if self.is_asleep(world, due) {
            return Ok(());
        }
        match due {
            Due::Tick(at, life) => {
                if world.nodes[at].lives == life && world.nodes[at].raw.is_some() {
                    let next = world.now + world.nodes[at].options.tick_every;
                    self.schedule(next, Due::Tick(at, life));
                    world.report.ticks += 1;
                    self.keep_busy(world, at, 16)?;
                    self.perform(world, Action::Tick(at))?;
                }
                Ok(())
            }
            Due::Arrival(slot) => {
                self.free.push(slot);
                let mut sent = self.parcels[slot].take();
                self.arrive(world, &mut sent)
            }
            Due::Write(at, life) => {
                if self.watches[at].write_due == Some(life) {
                    self.watches[at].write_due = None;
                }
                if world.nodes[at].lives != life {
                    return Ok(());
                }
                let count = if self.chaos { self.rng.usize(1..=4) } else { usize::MAX };
                self.perform(world, Action::Complete { at, count })
            }
            Due::Apply(at, life) => {
                if self.watches[at].apply_due == Some(life) {
                    self.watches[at].apply_due = None;
                }
                if world.nodes[at].lives != life {
                    return Ok(());
                }
                self.perform(world, Action::Apply(at))
            }
            Due::Start(at) => self.start(world, at),
            Due::Campaign(at) => self.perform(world, Action::Campaign(at)),
            Due::Client(client) => self.client(world, client),
            Due::Operator => self.operator(world),
            Due::Fault => self.fault(world),
            Due::Report { at, peer, finished } => self.perform(world, Action::Report { at, peer, finished }),
            Due::Fetched(at) => self.perform(world, Action::Fetched(at)),
            Due::Rescue(at) => self.rescue(world, at),
            Due::Damage(at) => self.damage(world, at).map(|_| ()),
            Due::Withdraw(at, life) if world.nodes[at].lives == life => {
                self.perform(world, Action::Withdraw(at))
            }
            Due::Withdraw(..) => Ok(()),
        }
    }

    /// A node that doesn't run: what is due there is late.
    fn is_asleep<P: Parts>(&mut self, world: &World<P>, due: Due) -> bool {
        let at = match due {
            Due::Tick(at, _) | Due::Write(at, _) | Due::Apply(at, _) | Due::Fetched(at) => at,
            Due::Arrival(slot) => self.parcels[slot].as_ref().map_or(0, |sent| sent.parcel.to),
            Due::Report { at, .. } => at,
            Due::Start(_)
            | Due::Client(_)
            | Due::Campaign(_)
            | Due::Operator
            | Due::Fault
            | Due::Rescue(_)
            | Due::Damage(_)
            | Due::Withdraw(..) => return false,
        };
        let until = self.watches[at].asleep_until;
        if until > world.now {
            self.schedule(until, due);
        }
        until > world.now
    }

    fn arrive<P: Parts>(&mut self, world: &mut World<P>, sent: &mut Option<Sent>) -> Check {
        let Some(parcel) = sent.as_ref().map(|sent| sent.parcel) else { return Ok(()) };
        if parcel.kind == Kind::Snapshot {
            let finished = world.nodes[parcel.to].raw.is_some();
            let report = Due::Report { at: parcel.from, peer: parcel.to, finished };
            self.schedule(world.now + 10_000, report);
        }
        self.perform_with(world, Action::Deliver(parcel), sent)
    }

    /// A node that is down starts.
    pub(super) fn start<P: Parts>(&mut self, world: &mut World<P>, at: usize) -> Check {
        if world.nodes[at].raw.is_some() {
            if world.nodes[at].fuse.is_none() {
                return Ok(());
            }
            // It was to lose power, and nothing came by: now it does.
            self.perform(world, Action::Crash { at, keep: 0, torn: false })?;
        }
        if world.nodes[at].spoilt {
            return self.replace_if_out(world, at);
        }
        self.perform(world, Action::Start(at))?;
        self.wind_up(world, at);
        Ok(())
    }

    /// A node whose disk was spoilt comes back with an empty one when nobody counts on it any more.
    pub(super) fn replace_if_out<P: Parts>(&mut self, world: &mut World<P>, at: usize) -> Check {
        if world.is_forgotten(at) {
            self.perform(world, Action::Replace(at))?;
            self.wind_up(world, at);
            return Ok(());
        }
        let again = self.rng.u64(500_000..2_000_000);
        self.schedule(world.now + again, Due::Start(at));
        Ok(())
    }

    /// A node doesn't run for a while.
    pub(super) fn pause<P: Parts>(&mut self, world: &World<P>, at: usize, micros: u64) {
        self.watches[at].asleep_until = world.now + micros;
    }

    /// A disk does nothing for a while.
    pub(super) fn stick<P: Parts>(&mut self, world: &World<P>, at: usize, micros: u64) {
        self.watches[at].stuck_until = world.now + micros;
    }
}

/// The node at which it happens, if it does at one.
pub(super) fn node_of(action: Action) -> Option<usize> {
    match action {
        Action::Deliver(parcel) => Some(parcel.to),
        Action::Tick(at)
        | Action::Apply(at)
        | Action::Start(at)
        | Action::Spoil(at)
        | Action::Replace(at)
        | Action::Repair(at)
        | Action::LoseVote(at)
        | Action::Fetched(at)
        | Action::Campaign(at)
        | Action::Forget(at)
        | Action::Ping(at)
        | Action::Busy(at)
        | Action::Shrink(at)
        | Action::Compact(at)
        | Action::Damage(at)
        | Action::Withdraw(at)
        | Action::Hurry { at, .. }
        | Action::Propose { at, .. }
        | Action::Complete { at, .. }
        | Action::Crash { at, .. }
        | Action::Fuse { at, .. }
        | Action::FailReads { at, .. }
        | Action::Write { at, .. }
        | Action::Read { at, .. }
        | Action::Change { at, .. }
        | Action::Changes { at, .. }
        | Action::Transfer { at, .. }
        | Action::Unreachable { at, .. }
        | Action::Report { at, .. }
        | Action::Reconfigure { at, .. }
        | Action::Window { at, .. }
        | Action::Groups { at, .. } => Some(at),
        Action::GiveUp(_) | Action::Heal => None,
    }
}
