//! What must hold between any two calls. Run by tests and by the adversary after every event, never by the shipped path.

use core::fmt;

use raft_proto::{Index, NodeId};

use super::{Raft, Role};
use crate::storage::Storage;

/// A statement that doesn't hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// `applied ≤ commit ≤ last`.
    CursorsOutOfOrder {
        /// The applied index.
        applied: Index,
        /// The commit index.
        commit: Index,
        /// The last index.
        last: Index,
    },
    /// What isn't known to be durable is in memory.
    NotDurableAndForgotten {
        /// The index behind which entries are in memory.
        kept: Index,
        /// The last index that is known to be durable.
        durable: Index,
    },
    /// No timer runs out at a tick that is slept through.
    SleepsTooLong {
        /// The tick until which nothing is done.
        until: u64,
        /// The tick at which there may be something to do.
        due: u64,
    },
    /// If anything is due, there is a `Ready`.
    ReadyOverlooked,
    /// Match is below next for every peer.
    MatchNotBelowNext {
        /// The peer.
        peer: NodeId,
    },
    /// No peer's match lies beyond the leader's log.
    MatchBeyondLog {
        /// The peer.
        peer: NodeId,
    },
    /// No more messages are on their way than the peer's window held when they were sent.
    WindowExceeded {
        /// The peer.
        peer: NodeId,
    },
    /// A leader voted for itself, and is a voter or was one.
    LeaderWithoutOwnVote,
    /// Exactly the members have a progress.
    ProgressIsNotOfMembers,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::CursorsOutOfOrder { applied, commit, last } => {
                write!(f, "applied {applied}, commit {commit}, last {last} are out of order")
            }
            Violation::NotDurableAndForgotten { kept, durable } => {
                write!(f, "entries up to {durable} are durable, and only those behind {kept} are in memory")
            }
            Violation::SleepsTooLong { until, due } => {
                write!(f, "nothing is done before tick {until}, and something is due at {due}")
            }
            Violation::ReadyOverlooked => f.write_str("something is due, and has_ready doesn't say so"),
            Violation::MatchNotBelowNext { peer } => write!(f, "match of node {peer} is not below its next"),
            Violation::MatchBeyondLog { peer } => {
                write!(f, "match of node {peer} is beyond the leader's log")
            }
            Violation::WindowExceeded { peer } => write!(f, "more is on its way to node {peer} than allowed"),
            Violation::LeaderWithoutOwnVote => f.write_str("the leader didn't vote for itself"),
            Violation::ProgressIsNotOfMembers => f.write_str("the progress table isn't that of the members"),
        }
    }
}

impl core::error::Error for Violation {}

/// Checks a node.
pub(crate) fn check<S: Storage>(raft: &Raft<S>) -> Result<(), Violation> {
    let common = &raft.common;
    let (applied, commit, last) = (common.log.applied(), common.log.committed(), common.log.last().index);
    if applied > commit || commit > last {
        return Err(Violation::CursorsOutOfOrder { applied, commit, last });
    }
    if let Some((kept, durable)) = common.log.gap_in_memory() {
        return Err(Violation::NotDurableAndForgotten { kept, durable });
    }
    let (until, due) = (common.clock.sleeps_until(), raft.next_due());
    if until > due {
        return Err(Violation::SleepsTooLong { until, due });
    }
    let Role::Leader(leader) = &raft.role else { return Ok(()) };
    if common.vote != Some(common.id()) {
        return Err(Violation::LeaderWithoutOwnVote);
    }
    if !leader.progress.iter().map(|(id, _)| id).eq(common.membership.members()) {
        return Err(Violation::ProgressIsNotOfMembers);
    }
    for (peer, progress) in leader.progress.iter() {
        if progress.match_index() >= progress.next_index() {
            return Err(Violation::MatchNotBelowNext { peer });
        }
        if progress.match_index() > last {
            return Err(Violation::MatchBeyondLog { peer });
        }
        if progress.exceeds_window() {
            return Err(Violation::WindowExceeded { peer });
        }
    }
    Ok(())
}
