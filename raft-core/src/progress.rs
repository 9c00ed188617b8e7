//! What a leader knows of each peer's log (§5.3, nextIndex and matchIndex), and how fast it may send (thesis §10.2.1).
//!
//! ```text
//!                 first acknowledgement                      its log is compacted away
//!      Probe  ───────────────────────────▶  Replicate  ─────────────────────────────────▶  Snapshot
//!        ▲    one message at a time,           │        a pipeline of `inflights`,             │  nothing is sent
//!        │    until the logs' agreement        │        next runs ahead of match               │
//!        └─────────────────────────────────────┘                                               │
//!        │           a rejection, or the peer is unreachable                                   │
//!        └─────────────────────────────────────────────────────────────────────────────────────┘
//!                            the transfer is reported to have ended
//! ```
//!
//! The rules and the names of the states are those of etcd's documentation of its progress.

mod inflights;
mod table;
#[cfg(test)]
mod tests;

use raft_proto::Index;

pub(crate) use inflights::Inflights;
pub(crate) use table::ProgressTable;

/// How the leader sends to a peer.
#[derive(Clone, Debug, Hash)]
pub(crate) enum ProgressState {
    /// The leader doesn't know where the logs agree: one message at a time.
    Probe,
    /// The logs agree up to match: a pipeline.
    Replicate(Inflights),
    /// A snapshot is on its way; it covers up to this index.
    Snapshot {
        /// The last index that the snapshot covers.
        pending: Index,
    },
}

/// A peer, as its leader sees it.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Progress {
    /// The log is known to agree, durably, up to here.
    match_index: Index,
    /// The next index to send.
    next_index: Index,
    state: ProgressState,
    /// Nothing more is sent until the peer is heard.
    paused: bool,
    /// The highest commit index that was sent.
    sent_commit: Index,
    /// It was heard since the last time that all were marked silent.
    pub(crate) recently_active: bool,
    /// The tick at which it was heard last.
    last_heard: u64,
    /// The last heartbeat round that it answered.
    acked_round: u64,
    /// What the pipeline may hold: messages, and bytes. Apart, since a [`Window`] would take more.
    max_messages: u32,
    max_bytes: u64,
    /// A snapshot that it asked for was sent, and nobody has told how that ended.
    snapshot_sent: bool,
    /// The window was lowered below what is on its way, and that hasn't arrived yet.
    draining: bool,
}

/// The limits on what is on its way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    pub(crate) messages: u32,
    pub(crate) bytes: u64,
}

impl Progress {
    /// A peer of whom nothing is known but that the log may be sent to it from `next` on.
    pub(crate) fn new(next: Index, window: Window) -> Progress {
        Progress {
            match_index: Index::ZERO,
            next_index: next,
            state: ProgressState::Probe,
            paused: false,
            sent_commit: Index::ZERO,
            recently_active: false,
            snapshot_sent: false,
            last_heard: 0,
            acked_round: 0,
            max_messages: window.messages,
            max_bytes: window.bytes,
            draining: false,
        }
    }

    /// The leader itself, whose log ends at `last`.
    pub(crate) fn of_leader(last: Index, window: Window) -> Progress {
        let mut progress = Progress::new(last.next(), window);
        progress.match_index = last;
        progress.become_replicate();
        progress.recently_active = true;
        progress
    }

    pub(crate) fn window(&self) -> Window {
        Window { messages: self.max_messages, bytes: self.max_bytes }
    }

    /// What is on its way stays there, also beyond a window that is smaller now.
    pub(crate) fn set_window(&mut self, window: Window) {
        (self.max_messages, self.max_bytes) = (window.messages, window.bytes);
        if let ProgressState::Replicate(inflights) = &self.state {
            self.paused &= inflights.is_full(window);
            self.draining = inflights.exceeds(window);
        }
    }

    /// Is more on its way than the window allowed when it was sent?
    pub(crate) fn exceeds_window(&self) -> bool {
        match &self.state {
            ProgressState::Replicate(inflights) => inflights.exceeds(self.window()) && !self.draining,
            ProgressState::Probe | ProgressState::Snapshot { .. } => false,
        }
    }

    pub(crate) fn match_index(&self) -> Index {
        self.match_index
    }

    pub(crate) fn next_index(&self) -> Index {
        self.next_index
    }

    pub(crate) fn state(&self) -> &ProgressState {
        &self.state
    }

    pub(crate) fn is_probe(&self) -> bool {
        matches!(self.state, ProgressState::Probe)
    }

    pub(crate) fn is_snapshot(&self) -> bool {
        matches!(self.state, ProgressState::Snapshot { .. })
    }

    /// The peer was heard, at this tick.
    pub(crate) fn hear(&mut self, now: u64) {
        self.recently_active = true;
        self.last_heard = now;
    }

    pub(crate) fn last_heard(&self) -> u64 {
        self.last_heard
    }

    pub(crate) fn acked_round(&self) -> u64 {
        self.acked_round
    }

    /// It answered the heartbeats of this round. Answers may come out of order.
    pub(crate) fn on_round(&mut self, round: u64) {
        self.acked_round = self.acked_round.max(round);
    }

    /// Nothing may be sent, not even an empty append.
    pub(crate) fn is_paused(&self) -> bool {
        match self.state {
            ProgressState::Probe | ProgressState::Replicate(_) => self.paused,
            ProgressState::Snapshot { .. } => true,
        }
    }

    /// Nothing but an empty append may be sent.
    pub(crate) fn is_full(&self) -> bool {
        match &self.state {
            ProgressState::Replicate(inflights) => inflights.is_full(self.window()),
            ProgressState::Probe | ProgressState::Snapshot { .. } => false,
        }
    }

    /// The peer was heard: a paused one may be sent to again.
    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    /// It can be sent to only after it is heard again.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    pub(crate) fn become_probe(&mut self) {
        let next = match self.state {
            ProgressState::Snapshot { pending } => self.match_index.max(pending).next(),
            ProgressState::Probe | ProgressState::Replicate(_) => self.match_index.next(),
        };
        self.enter(ProgressState::Probe, next);
    }

    pub(crate) fn become_replicate(&mut self) {
        self.enter(ProgressState::Replicate(Inflights::default()), self.match_index.next());
    }

    /// A snapshot that covers up to `index` was sent. It can be older than what the peer has: a storage may give
    /// any that was taken.
    pub(crate) fn become_snapshot(&mut self, index: Index) {
        self.enter(ProgressState::Snapshot { pending: index }, self.match_index.max(index).next());
        self.sent_commit = index;
    }

    /// Is one that it asked for on its way?
    pub(crate) fn awaits_wanted_snapshot(&self) -> bool {
        self.snapshot_sent || self.is_snapshot()
    }

    /// A snapshot that it asked for leaves. Its log may be whole, so it is sent the log as before.
    pub(crate) fn on_wanted_snapshot_sent(&mut self) {
        self.snapshot_sent = true;
    }

    /// The transfer of a snapshot has ended.
    pub(crate) fn on_wanted_snapshot_reported(&mut self) {
        self.snapshot_sent = false;
    }

    /// The snapshot on its way didn't arrive: what it covers is no longer counted on.
    pub(crate) fn forget_snapshot(&mut self) {
        if let ProgressState::Snapshot { pending } = &mut self.state {
            *pending = Index::ZERO;
        }
    }

    fn enter(&mut self, state: ProgressState, next: Index) {
        self.state = state;
        self.paused = false;
        self.draining = false;
        self.next_index = next;
        self.sent_commit = self.sent_commit.min(next.prev());
    }

    /// The peer has the log up to `index`. Returns whether that is news.
    pub(crate) fn on_match(&mut self, index: Index) -> bool {
        let news = index > self.match_index;
        if news {
            self.match_index = index;
            self.paused = false;
        }
        self.next_index = self.next_index.max(index.next());
        news
    }

    /// Gives back memory for messages that aren't on their way.
    pub(crate) fn shrink_to_fit(&mut self) {
        if let ProgressState::Replicate(inflights) = &mut self.state {
            inflights.shrink_to_fit();
        }
    }

    /// What was acknowledged no longer fills the window.
    pub(crate) fn free_up_to(&mut self, index: Index) {
        let window = self.window();
        if let ProgressState::Replicate(inflights) = &mut self.state {
            inflights.free_up_to(index);
            self.draining &= inflights.exceeds(window);
        }
    }

    /// The peer refused the entry at `rejected`; the logs may agree at `hint`. Returns false for an answer to an
    /// earlier message, which changes nothing.
    pub(crate) fn on_reject(&mut self, rejected: Index, hint: Index) -> bool {
        if matches!(self.state, ProgressState::Replicate(_)) {
            if rejected <= self.match_index {
                return false;
            }
            self.become_probe();
            return true;
        }
        if rejected != self.next_index.prev() {
            return false;
        }
        let lower = rejected.min(hint.next()).max(self.match_index.next());
        if lower == self.next_index {
            // It refuses what it had acknowledged: it has lost data, and would refuse the same again for ever.
            self.paused = true;
            return false;
        }
        self.next_index = lower;
        self.sent_commit = self.sent_commit.min(self.next_index.prev());
        self.paused = false;
        true
    }

    /// An append of `count` entries with `bytes` of payload, the last at `last`, leaves with the commit index.
    pub(crate) fn on_sent(&mut self, count: usize, last: Index, bytes: u64, commit: Index) {
        let window = self.window();
        match &mut self.state {
            ProgressState::Replicate(inflights) => {
                if count > 0 {
                    self.next_index = last.next();
                    inflights.add(last, bytes);
                }
                self.paused = inflights.is_full(window);
            }
            ProgressState::Probe => {
                if count > 0 {
                    self.paused = true;
                }
            }
            ProgressState::Snapshot { .. } => {}
        }
        self.sent_commit = commit;
    }

    /// A heartbeat leaves with this commit index.
    pub(crate) fn on_heartbeat_sent(&mut self, commit: Index) {
        self.sent_commit = commit;
    }

    /// Would telling this commit index move the peer's, as far as is known?
    pub(crate) fn lacks_commit(&self, commit: Index) -> bool {
        commit > self.sent_commit && self.sent_commit < self.next_index.prev()
    }
}
