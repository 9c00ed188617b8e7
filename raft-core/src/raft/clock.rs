//! Time, as far as the core knows it: the ticks that the caller counts out.

#[cfg(test)]
mod tests;

use core::hash::{Hash, Hasher};

use super::rng::Rng;

/// The timers of a node (§5.2).
///
/// A tick at which nothing is due is one comparison: the clock sleeps until the first tick at which the role may have
/// something to do. It may wake too early, which costs the role a look at its timers, but never too late: whatever brings
/// a deadline forward calls [`wake`](Clock::wake).
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// Ticks since the node started.
    now: u64,
    /// Before this tick nothing is due.
    sleeps_until: u64,
    /// The tick at which the leader was heard, the vote was given, or the campaign began; for a leader that of its last
    /// check of the quorum.
    election_since: u64,
    /// So many ticks after that the node campaigns.
    election_timeout: u32,
    election_ticks: u32,
}

/// What [`RawNode::hash_state`](crate::RawNode::hash_state) says of it: not how long it sleeps, which decides nothing.
impl Hash for Clock {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Clock { now, sleeps_until: _, election_since, election_timeout, election_ticks } = self;
        (now, election_since, election_timeout, election_ticks).hash(state);
    }
}

impl Clock {
    pub(crate) fn new(election_ticks: u32, rng: &mut Rng) -> Clock {
        let mut clock = Clock {
            now: 0,
            sleeps_until: 0,
            election_since: 0,
            election_timeout: election_ticks,
            election_ticks,
        };
        clock.restart(rng);
        clock
    }

    /// Starts the election timer again and draws a new election time-out from `election_ticks .. 2 * election_ticks`.
    pub(crate) fn restart(&mut self, rng: &mut Rng) {
        self.election_since = self.now;
        self.election_timeout = self.election_ticks.saturating_add(rng.below(self.election_ticks));
        self.wake();
    }

    /// One more tick. Returns whether anything may be due.
    pub(crate) fn tick(&mut self) -> bool {
        self.now = self.now.saturating_add(1);
        self.now >= self.sleeps_until
    }

    /// Nothing is due before this tick.
    pub(crate) fn sleep_until(&mut self, tick: u64) {
        self.sleeps_until = tick;
    }

    /// Something may be due at the next tick.
    pub(crate) fn wake(&mut self) {
        self.sleeps_until = 0;
    }

    pub(crate) fn sleeps_until(&self) -> u64 {
        self.sleeps_until
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Ticks since the leader was heard (or as the field says).
    pub(crate) fn election_elapsed(&self) -> u32 {
        u32::try_from(self.now.saturating_sub(self.election_since)).unwrap_or(u32::MAX)
    }

    pub(crate) fn election_timeout(&self) -> u32 {
        self.election_timeout
    }

    pub(crate) fn set_election_timeout(&mut self, ticks: u32) {
        self.election_timeout = ticks;
        self.wake();
    }

    /// The configured (smallest) election time-out.
    pub(crate) fn election_ticks(&self) -> u32 {
        self.election_ticks
    }

    /// The leader was heard, or a vote given.
    pub(crate) fn restart_election(&mut self) {
        self.election_since = self.now;
    }

    /// The tick at which it is time to campaign.
    pub(crate) fn election_at(&self) -> u64 {
        self.election_since.saturating_add(u64::from(self.election_timeout))
    }

    /// Is it time to campaign?
    pub(crate) fn election_due(&self) -> bool {
        self.now >= self.election_at()
    }

    /// Fewer ticks since the leader was heard than any node waits before it campaigns?
    pub(crate) fn within_election_ticks(&self) -> bool {
        self.now < self.quorum_check_at()
    }

    /// The tick at which it is time for a leader to mark its peers as silent, and to give up a transfer.
    pub(crate) fn quorum_check_at(&self) -> u64 {
        self.election_since.saturating_add(u64::from(self.election_ticks))
    }

    /// Is it time for that? If so the timer starts again.
    pub(crate) fn take_quorum_check_due(&mut self) -> bool {
        let due = self.now >= self.quorum_check_at();
        if due {
            self.election_since = self.now;
        }
        due
    }
}
