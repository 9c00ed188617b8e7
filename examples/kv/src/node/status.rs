//! What the node says of itself.

use raft_core::{DataLoss, PeerState, PeerStatus, RoleKind, WhyPaused};
use raft_proto::ConfState;
use serde::Serialize;

use super::members::ids;

/// The node's part of `GET /status`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeStatus {
    pub(crate) id: u64,
    pub(crate) role: &'static str,
    pub(crate) term: u64,
    pub(crate) vote: Option<u64>,
    pub(crate) leader: Option<u64>,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) commit: u64,
    pub(crate) applied: u64,
    /// The index of the latest snapshot, zero if there is none.
    pub(crate) snapshot: u64,
    /// How many writes the data folder has seen, each with one flush, however many entries it brought.
    pub(crate) disk_writes: u64,
    pub(crate) keys: usize,
    pub(crate) sessions: usize,
    pub(crate) voters: Vec<u64>,
    /// The whole configuration, as of `applied`.
    pub(crate) conf_state: Members,
    /// Why this node doesn't lead, in a sentence; none if it does.
    pub(crate) why_not_leader: Option<String>,
    /// Why the last entry of its log isn't committed here; none if it is.
    pub(crate) why_not_committed: Option<String>,
    /// Why the oldest of the reads that wait here isn't answered; none if none waits.
    pub(crate) why_read_waits: Option<String>,
    /// What this node has lost of what it had acknowledged.
    pub(crate) lost: Option<Lost>,
    /// To whom a leader is handing over.
    pub(crate) transferee: Option<u64>,
    /// Writes and reads that wait here.
    pub(crate) waiting_writes: usize,
    pub(crate) waiting_reads: usize,
    /// How far each other node is; known to the leader alone.
    pub(crate) progress: Vec<Progress>,
}

/// A configuration.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Members {
    pub(crate) voters: Vec<u64>,
    pub(crate) learners: Vec<u64>,
    pub(crate) voters_outgoing: Vec<u64>,
    pub(crate) learners_next: Vec<u64>,
}

impl Members {
    pub(super) fn of(state: &ConfState) -> Members {
        Members {
            voters: ids(&state.voters),
            learners: ids(&state.learners),
            voters_outgoing: ids(&state.voters_outgoing),
            learners_next: ids(&state.learners_next),
        }
    }
}

/// What was acknowledged, and what was there when the loss was noticed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Lost {
    pub(crate) acknowledged: u64,
    pub(crate) last: u64,
}

impl Lost {
    pub(super) fn of(lost: DataLoss) -> Lost {
        Lost { acknowledged: lost.acknowledged.get(), last: lost.last.get() }
    }
}

/// A follower, as its leader knows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Progress {
    pub(crate) id: u64,
    pub(crate) state: &'static str,
    #[serde(rename = "match")]
    pub(crate) matched: u64,
    pub(crate) next: u64,
    pub(crate) recently_active: bool,
    pub(crate) paused: bool,
    /// Why no more is sent to it for now; none if it is.
    pub(crate) why_paused: Option<String>,
    pub(crate) inflight: usize,
    pub(crate) pending_snapshot: Option<u64>,
}

impl Progress {
    pub(super) fn of(peer: &PeerStatus, why_paused: Option<WhyPaused>) -> Progress {
        let (state, pending_snapshot) = match peer.state {
            PeerState::Probe => ("probe", None),
            PeerState::Replicate => ("replicate", None),
            PeerState::Snapshot { pending } => ("snapshot", Some(pending.get())),
        };
        Progress {
            id: peer.id.get(),
            state,
            matched: peer.match_index.get(),
            next: peer.next_index.get(),
            recently_active: peer.recently_active,
            paused: peer.paused,
            why_paused: why_paused.map(|why| why.to_string()),
            inflight: peer.inflight_messages,
            pending_snapshot,
        }
    }
}

/// A role, as it is written in the status and in the log.
pub(crate) fn role_name(role: RoleKind) -> &'static str {
    match role {
        RoleKind::Follower => "follower",
        RoleKind::PreCandidate => "pre-candidate",
        RoleKind::Candidate => "candidate",
        RoleKind::Leader => "leader",
    }
}
