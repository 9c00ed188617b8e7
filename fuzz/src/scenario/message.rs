//! Messages of a scripted cluster: those that travel between nodes, and those that etcd's asynchronous mode sends to and
//! from its storage threads, which stand for our numbered writes.

use raft_core::{
    Body, Entries, EntryBatches, HardState, LogPosition, Message, NodeId, Snapshot, Term, VoteReply,
};

/// A message in the cluster's list.
#[derive(Clone, Debug)]
pub(super) enum Wire {
    /// Between two nodes.
    Peer(Message),
    /// What a node tells itself when a write is durable.
    Own { message: Message, write: u64 },
    /// The append thread is done with a write.
    Appended { to: NodeId, term: Term, last: LogPosition, snapshot: Option<Snapshot>, write: u64 },
    /// The apply thread is done with a batch.
    Applied { to: NodeId, entries: Entries },
}

/// Work for the append thread.
#[derive(Clone, Debug)]
pub(super) struct Append {
    pub(super) from: NodeId,
    pub(super) hard_state: Option<HardState>,
    pub(super) entries: EntryBatches,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) responses: Vec<Wire>,
}

/// Work for the apply thread.
#[derive(Clone, Debug)]
pub(super) struct Apply {
    pub(super) from: NodeId,
    pub(super) entries: Entries,
}

impl Wire {
    pub(super) fn to(&self) -> NodeId {
        match self {
            Wire::Peer(message) | Wire::Own { message, .. } => message.to,
            Wire::Appended { to, .. } | Wire::Applied { to, .. } => *to,
        }
    }

    /// Does it stay within a node?
    pub(super) fn is_local(&self) -> bool {
        match self {
            Wire::Peer(message) => message.from == message.to,
            Wire::Own { .. } | Wire::Appended { .. } | Wire::Applied { .. } => true,
        }
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Wire::Peer(message) | Wire::Own { message, .. } => type_name(&message.body),
            Wire::Appended { .. } => "MsgStorageAppendResp",
            Wire::Applied { .. } => "MsgStorageApplyResp",
        }
    }
}

/// The name that a message has in the scripts.
pub(super) fn type_name(body: &Body) -> &'static str {
    match body {
        Body::Propose(_) => "MsgProp",
        Body::AppendEntries(_) => "MsgApp",
        Body::AppendEntriesReply(_) => "MsgAppResp",
        Body::RequestVote(_) => "MsgVote",
        Body::RequestVoteReply(_) => "MsgVoteResp",
        Body::PreVote(_) => "MsgPreVote",
        Body::PreVoteReply(_) => "MsgPreVoteResp",
        Body::InstallSnapshot(_) => "MsgSnap",
        Body::Heartbeat(_) => "MsgHeartbeat",
        Body::HeartbeatReply(_) => "MsgHeartbeatResp",
        Body::TransferLeader(_) => "MsgTransferLeader",
        Body::TimeoutNow => "MsgTimeoutNow",
        Body::ReadIndex(_) => "MsgReadIndex",
        Body::ReadIndexReply(_) => "MsgReadIndexResp",
    }
}

/// Is it a refused vote?
pub(super) fn is_refusal(body: &Body) -> bool {
    matches!(
        body,
        Body::RequestVoteReply(VoteReply::Refused { .. }) | Body::PreVoteReply(VoteReply::Refused { .. })
    )
}
