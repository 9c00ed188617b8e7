//! One struct for each RPC: those of the paper (figures 2 and 13) and those of the thesis.

use alloc::boxed::Box;

use bytes::Bytes;

use crate::{Entries, Index, LogPosition, NodeId, Snapshot, Term};

/// A message from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The sender's term (§5.1). A pre-vote and its grant carry the term that the candidate would have.
    /// Zero for [`Body::Propose`] and [`Body::ReadIndex`], which are valid in any term.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// A follower passes on proposals to its leader.
    Propose(Propose),
    /// AppendEntries (§5.3).
    AppendEntries(AppendEntries),
    /// The answer to AppendEntries and to InstallSnapshot.
    AppendEntriesReply(AppendEntriesReply),
    /// RequestVote (§5.2).
    RequestVote(RequestVote),
    /// The answer to RequestVote.
    RequestVoteReply(VoteReply),
    /// A pre-vote: would you vote for me? (thesis §9.6)
    PreVote(RequestVote),
    /// The answer to a pre-vote.
    PreVoteReply(VoteReply),
    /// InstallSnapshot (§7), in one piece.
    InstallSnapshot(Box<InstallSnapshot>),
    /// The heartbeat: an AppendEntries without a log check.
    Heartbeat(Heartbeat),
    /// The answer to a heartbeat.
    HeartbeatReply(HeartbeatReply),
    /// A follower passes on the wish that a node take over as leader (thesis §3.10).
    TransferLeader(TransferLeader),
    /// Campaign now: the leader hands over (thesis §3.10).
    TimeoutNow,
    /// A follower asks for a read index (thesis §6.4).
    ReadIndex(ReadIndex),
    /// The answer to it.
    ReadIndexReply(ReadIndexReply),
}

impl Body {
    /// The name of the message, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Body::Propose(_) => "Propose",
            Body::AppendEntries(_) => "AppendEntries",
            Body::AppendEntriesReply(_) => "AppendEntriesReply",
            Body::RequestVote(_) => "RequestVote",
            Body::RequestVoteReply(_) => "RequestVoteReply",
            Body::PreVote(_) => "PreVote",
            Body::PreVoteReply(_) => "PreVoteReply",
            Body::InstallSnapshot(_) => "InstallSnapshot",
            Body::Heartbeat(_) => "Heartbeat",
            Body::HeartbeatReply(_) => "HeartbeatReply",
            Body::TransferLeader(_) => "TransferLeader",
            Body::TimeoutNow => "TimeoutNow",
            Body::ReadIndex(_) => "ReadIndex",
            Body::ReadIndexReply(_) => "ReadIndexReply",
        }
    }
}

/// Proposals on their way to the leader. Their terms and indexes are zero until it appends them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Propose {
    /// What is proposed.
    pub entries: Entries,
}

/// AppendEntries (§5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AppendEntries {
    /// The entry right before the first of `entries`.
    pub prev: LogPosition,
    /// The new entries, consecutive from there; none in a probe or when only the commit index is told.
    pub entries: Entries,
    /// The leader's commit index. It may lie beyond these entries.
    pub commit: Index,
}

/// The answer to AppendEntries, and to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppendEntriesReply {
    /// The logs agree up to here, and the receiver has that on its disk.
    Accepted {
        /// The last index on which they agree.
        index: Index,
    },
    /// The receiver has no entry `prev`.
    Rejected {
        /// The index of the `prev` that it refused.
        rejected: Index,
        /// The last entry of the receiver at which the logs could agree (§5.3, the optimisation at its end).
        /// Its term is zero where the receiver no longer knows it.
        hint: LogPosition,
    },
    /// The receiver's state machine needs a snapshot, though its log may be whole. Unlike the others this answers no message in
    /// particular.
    SnapshotWanted {
        /// The index, at least one, that the snapshot must cover to be of use.
        at_least: Index,
    },
}

/// RequestVote (§5.2), and the pre-vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestVote {
    /// The candidate's last entry.
    pub last: LogPosition,
    /// The leader asked for this campaign, so that followers needn't wait until they miss it (thesis §4.2.3).
    pub by_transfer: bool,
    /// A voter with an equal log and a higher priority refuses.
    pub priority: i64,
}

/// The answer to a vote or a pre-vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteReply {
    /// You have my vote.
    Granted,
    /// You haven't.
    Refused {
        /// The last entry that the voter knows to be committed: a candidate that has it may learn of a membership change
        /// by which it can win. Zero from a node that doesn't tell (etcd's).
        commit: LogPosition,
    },
}

impl VoteReply {
    /// A refusal that tells nothing.
    pub const REFUSED: VoteReply = VoteReply::Refused { commit: LogPosition::ZERO };
}

/// InstallSnapshot (§7).
///
/// A follower takes the sender for the leader of the message's term, as with an append. So who brings a snapshot in the
/// leader's place (a node nearby, a snapshot store) sends it under the leader's id and in the leader's term, and the answer goes
/// to the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct InstallSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
}

/// The leader lives, and knows this much to be committed on the receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// A commit index that lies within what the receiver has acknowledged.
    pub commit: Index,
    /// The entry at the receiver's match index, up to which the leader counts on it. One that doesn't hold it has lost what it had
    /// acknowledged. Zero from a leader that doesn't tell (etcd's); its term alone is zero where the leader no longer knows it.
    pub relied: LogPosition,
    /// Comes back in the answer. Our leader puts the number of its heartbeat round here.
    pub context: Bytes,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeartbeatReply {
    /// The context of the heartbeat that is answered.
    pub context: Bytes,
}

/// The wish that a node become leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferLeader {
    /// Who is to take over. On the wire it stands in the place of the sender, as in etcd.
    pub transferee: NodeId,
}

/// A request for a read index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReadIndex {
    /// The asking node's own number for this request, never used before, which its answer must repeat. Zero from
    /// a node that has no such numbers (etcd's).
    pub id: u64,
    /// The caller's own bytes. They come back in the answer.
    pub context: Bytes,
    /// The leader may answer from its lease.
    pub lease: bool,
}

/// A read index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReadIndexReply {
    /// The number of the request.
    pub id: u64,
    /// The caller's own bytes.
    pub context: Bytes,
    /// A state machine that has applied this index may serve the read.
    pub index: Index,
}
