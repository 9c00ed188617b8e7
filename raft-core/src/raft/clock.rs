//! Time, as far as the core knows it: the ticks that the caller counts out.

#[cfg(test)]
mod tests;

use super::rng::Rng;

/// The timers of a node (§5.2).
#[derive(Clone, Debug, Hash)]
pub(crate) struct Clock {
    election_ticks: u32,
    heartbeat_ticks: u32,
    /// Ticks since the node started.
    now: u64,
    /// Ticks since the leader was heard, the vote was given, or the campaign began; for a leader since its last
    /// check of the quorum.
    election_elapsed: u32,
    /// Ticks since a leader's last heartbeats.
    heartbeat_elapsed: u32,
    /// When `election_elapsed` reaches it, the node campaigns.
    election_timeout: u32,
}

impl Clock {
    pub(crate) fn new(election_ticks: u32, heartbeat_ticks: u32, rng: &mut Rng) -> Clock {
        let mut clock = Clock {
            election_ticks,
            heartbeat_ticks,
            now: 0,
            election_elapsed: 0,
            heartbeat_elapsed: 0,
            election_timeout: election_ticks,
        };
        clock.restart(rng);
        clock
    }

    /// Sets both timers to zero and draws a new election time-out from `election_ticks .. 2 * election_ticks`.
    pub(crate) fn restart(&mut self, rng: &mut Rng) {
        self.election_elapsed = 0;
        self.heartbeat_elapsed = 0;
        self.election_timeout = self.election_ticks.saturating_add(rng.below(self.election_ticks));
    }

    /// One more tick.
    pub(crate) fn tick(&mut self) {
        self.now = self.now.saturating_add(1);
        self.election_elapsed = self.election_elapsed.saturating_add(1);
        self.heartbeat_elapsed = self.heartbeat_elapsed.saturating_add(1);
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Ticks since the leader was heard (or as the field says).
    pub(crate) fn election_elapsed(&self) -> u32 {
        self.election_elapsed
    }

    pub(crate) fn election_timeout(&self) -> u32 {
        self.election_timeout
    }

    pub(crate) fn set_election_timeout(&mut self, ticks: u32) {
        self.election_timeout = ticks;
    }

    /// The configured (smallest) election time-out.
    pub(crate) fn election_ticks(&self) -> u32 {
        self.election_ticks
    }

    /// The leader was heard, or a vote given.
    pub(crate) fn restart_election(&mut self) {
        self.election_elapsed = 0;
    }

    /// Is it time to campaign?
    pub(crate) fn election_due(&self) -> bool {
        self.election_elapsed >= self.election_timeout
    }

    /// Fewer ticks since the leader was heard than any node waits before it campaigns?
    pub(crate) fn within_election_ticks(&self) -> bool {
        self.election_elapsed < self.election_ticks
    }

    /// Is it time for a leader to mark its peers as silent, and to give up a transfer? If so the timer starts again.
    pub(crate) fn take_quorum_check_due(&mut self) -> bool {
        let due = self.election_elapsed >= self.election_ticks;
        if due {
            self.election_elapsed = 0;
        }
        due
    }

    /// Is it time for a leader's heartbeats? If so the timer starts again.
    pub(crate) fn take_heartbeat_due(&mut self) -> bool {
        let due = self.heartbeat_elapsed >= self.heartbeat_ticks;
        if due {
            self.heartbeat_elapsed = 0;
        }
        due
    }
}
