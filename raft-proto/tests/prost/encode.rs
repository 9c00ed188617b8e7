//! Typed → bytes.
//!
//! What is written when it is zero: the fields that [`Entry::encoded_len`] counts, the type of a message,
//! and all of what goes to disk (hard state, configuration, snapshot), which thereby has the bytes that
//! etcd would write.
//!
//! [`Entry::encoded_len`]: raft_proto::Entry::encoded_len

use bytes::{Bytes, BytesMut};

use super::CAMPAIGN_TRANSFER;
use super::raftpb::{self, MessageType};
use raft_proto::{
    AppendEntriesReply, Body, ConfChange, ConfChangeKind, ConfChangeTransition, ConfChangeV2, ConfState,
    Entry, HardState, LogPosition, Message, NodeId, Payload, RequestVote, Snapshot, VoteReply,
};

/// Appends a message to the buffer.
///
/// In a [`Body::TransferLeader`] the sender is lost, as in etcd: the transferee stands in its place.
pub fn encode_message(message: &Message, buf: &mut BytesMut) {
    let common = raftpb::Message {
        to: Some(message.to.get()),
        from: Some(message.from.get()),
        term: unless_zero(message.term.get()),
        ..raftpb::Message::default()
    };
    put(&with_body(common, &message.body), buf);
}

/// Appends an entry to the buffer: [`Entry::encoded_len`] bytes.
pub fn encode_entry(entry: &Entry, buf: &mut BytesMut) {
    put(&raw_entry(entry), buf);
}

/// Appends a hard state to the buffer.
pub fn encode_hard_state(state: &HardState, buf: &mut BytesMut) {
    let raw = raftpb::HardState {
        term: Some(state.term.get()),
        vote: Some(number(state.vote)),
        commit: Some(state.commit.get()),
    };
    put(&raw, buf);
}

/// Appends a configuration to the buffer.
pub fn encode_conf_state(state: &ConfState, buf: &mut BytesMut) {
    put(&raw_conf_state(state), buf);
}

/// Appends a snapshot to the buffer.
pub fn encode_snapshot(snapshot: &Snapshot, buf: &mut BytesMut) {
    put(&raw_snapshot(snapshot), buf);
}

/// Appends a membership change in the older format to the buffer.
pub fn encode_conf_change(change: &ConfChange, buf: &mut BytesMut) {
    put(&raw_conf_change(change), buf);
}

/// Appends a membership change in the newer format to the buffer.
pub fn encode_conf_change_v2(change: &ConfChangeV2, buf: &mut BytesMut) {
    put(&raw_conf_change_v2(change), buf);
}

fn put(raw: &impl prost::Message, buf: &mut BytesMut) {
    buf.reserve(raw.encoded_len());
    // The only error is a buffer that is too short, and this one grows.
    let _ = raw.encode(buf);
}

fn unless_zero(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

fn unless_empty(bytes: &Bytes) -> Option<Bytes> {
    (!bytes.is_empty()).then(|| bytes.clone())
}

fn number(node: Option<NodeId>) -> u64 {
    node.map_or(0, NodeId::get)
}

fn with_body(common: raftpb::Message, body: &Body) -> raftpb::Message {
    let kind = |kind: MessageType| Some(kind.into());
    match body {
        Body::Propose(propose) => raftpb::Message {
            r#type: kind(MessageType::MsgProp),
            entries: raw_entries(&propose.entries),
            ..common
        },
        Body::AppendEntries(append) => raftpb::Message {
            r#type: kind(MessageType::MsgApp),
            log_term: unless_zero(append.prev.term.get()),
            index: unless_zero(append.prev.index.get()),
            entries: raw_entries(&append.entries),
            commit: unless_zero(append.commit.get()),
            ..common
        },
        Body::AppendEntriesReply(reply) => {
            append_entries_reply(raftpb::Message { r#type: kind(MessageType::MsgAppResp), ..common }, reply)
        }
        Body::RequestVote(request) => {
            request_vote(raftpb::Message { r#type: kind(MessageType::MsgVote), ..common }, request)
        }
        Body::RequestVoteReply(reply) => {
            vote_reply(raftpb::Message { r#type: kind(MessageType::MsgVoteResp), ..common }, *reply)
        }
        Body::PreVote(request) => {
            request_vote(raftpb::Message { r#type: kind(MessageType::MsgPreVote), ..common }, request)
        }
        Body::PreVoteReply(reply) => {
            vote_reply(raftpb::Message { r#type: kind(MessageType::MsgPreVoteResp), ..common }, *reply)
        }
        Body::InstallSnapshot(install) => raftpb::Message {
            r#type: kind(MessageType::MsgSnap),
            snapshot: Some(raw_snapshot(&install.snapshot)),
            ..common
        },
        Body::Heartbeat(heartbeat) => raftpb::Message {
            r#type: kind(MessageType::MsgHeartbeat),
            commit: unless_zero(heartbeat.commit.get()),
            relied_match: unless_zero(heartbeat.relied.index.get()),
            relied_term: unless_zero(heartbeat.relied.term.get()),
            context: unless_empty(&heartbeat.context),
            ..common
        },
        Body::HeartbeatReply(reply) => raftpb::Message {
            r#type: kind(MessageType::MsgHeartbeatResp),
            context: unless_empty(&reply.context),
            ..common
        },
        Body::TransferLeader(transfer) => raftpb::Message {
            r#type: kind(MessageType::MsgTransferLeader),
            from: Some(transfer.transferee.get()),
            ..common
        },
        Body::TimeoutNow => raftpb::Message { r#type: kind(MessageType::MsgTimeoutNow), ..common },
        Body::ReadIndex(read) => raftpb::Message {
            r#type: kind(MessageType::MsgReadIndex),
            entries: read_context(&read.context),
            read_id: unless_zero(read.id),
            lease_read: read.lease.then_some(true),
            ..common
        },
        Body::ReadIndexReply(reply) => raftpb::Message {
            r#type: kind(MessageType::MsgReadIndexResp),
            index: unless_zero(reply.index.get()),
            entries: read_context(&reply.context),
            read_id: unless_zero(reply.id),
            ..common
        },
    }
}

fn append_entries_reply(common: raftpb::Message, reply: &AppendEntriesReply) -> raftpb::Message {
    match *reply {
        AppendEntriesReply::Accepted { index } => {
            raftpb::Message { index: unless_zero(index.get()), ..common }
        }
        AppendEntriesReply::Rejected { rejected, hint: LogPosition { term, index } } => raftpb::Message {
            log_term: unless_zero(term.get()),
            index: unless_zero(rejected.get()),
            reject: Some(true),
            reject_hint: unless_zero(index.get()),
            ..common
        },
        AppendEntriesReply::SnapshotWanted { at_least } => {
            raftpb::Message { reject: Some(true), snapshot_at_least: unless_zero(at_least.get()), ..common }
        }
    }
}

fn request_vote(common: raftpb::Message, request: &RequestVote) -> raftpb::Message {
    raftpb::Message {
        log_term: unless_zero(request.last.term.get()),
        index: unless_zero(request.last.index.get()),
        priority: (request.priority != 0).then_some(request.priority),
        context: request.by_transfer.then(|| Bytes::from_static(CAMPAIGN_TRANSFER)),
        ..common
    }
}

fn vote_reply(common: raftpb::Message, reply: VoteReply) -> raftpb::Message {
    match reply {
        VoteReply::Granted => common,
        VoteReply::Refused { commit } => raftpb::Message {
            reject: Some(true),
            commit_index: unless_zero(commit.index.get()),
            commit_term: unless_zero(commit.term.get()),
            ..common
        },
    }
}

/// The entry in which a read request and its answer carry the caller's bytes. There even if these are
/// empty: etcd takes it to be there.
fn read_context(context: &Bytes) -> Vec<raftpb::Entry> {
    Vec::from([raw_entry(&Entry { payload: Payload::Normal(context.clone()), ..Entry::default() })])
}

fn raw_entries(entries: &[Entry]) -> Vec<raftpb::Entry> {
    entries.iter().map(raw_entry).collect()
}

fn raw_entry(entry: &Entry) -> raftpb::Entry {
    let (kind, data) = match &entry.payload {
        Payload::Normal(data) => (None, Some(data.clone())),
        Payload::TermStart => (None, None),
        Payload::RefusedChange => (Some(raftpb::EntryType::EntryNormal), None),
        Payload::LeaveJoint => (Some(raftpb::EntryType::EntryConfChangeV2), None),
        Payload::ConfChange(change) => {
            (Some(raftpb::EntryType::EntryConfChange), Some(to_bytes(&raw_conf_change(change))))
        }
        Payload::ConfChangeV2(change) => {
            (Some(raftpb::EntryType::EntryConfChangeV2), Some(to_bytes(&raw_conf_change_v2(change))))
        }
    };
    raftpb::Entry {
        r#type: kind.map(i32::from),
        term: Some(entry.term.get()),
        index: Some(entry.index.get()),
        data,
    }
}

fn to_bytes(raw: &impl prost::Message) -> Bytes {
    let mut buf = BytesMut::new();
    put(raw, &mut buf);
    buf.freeze()
}

fn raw_conf_change(change: &ConfChange) -> raftpb::ConfChange {
    raftpb::ConfChange {
        id: unless_zero(change.id),
        r#type: Some(conf_change_type(change.kind)),
        node_id: Some(number(change.node)),
        context: unless_empty(&change.context),
    }
}

fn raw_conf_change_v2(change: &ConfChangeV2) -> raftpb::ConfChangeV2 {
    let transition = match change.transition {
        ConfChangeTransition::Auto => raftpb::ConfChangeTransition::Auto,
        ConfChangeTransition::JointImplicit => raftpb::ConfChangeTransition::JointImplicit,
        ConfChangeTransition::JointExplicit => raftpb::ConfChangeTransition::JointExplicit,
    };
    let single = |single: &raft_proto::ConfChangeSingle| raftpb::ConfChangeSingle {
        r#type: Some(conf_change_type(single.kind)),
        node_id: Some(number(single.node)),
    };
    raftpb::ConfChangeV2 {
        transition: Some(transition.into()),
        changes: change.changes.iter().map(single).collect(),
        context: unless_empty(&change.context),
    }
}

fn conf_change_type(kind: ConfChangeKind) -> i32 {
    i32::from(match kind {
        ConfChangeKind::AddVoter => raftpb::ConfChangeType::ConfChangeAddNode,
        ConfChangeKind::Remove => raftpb::ConfChangeType::ConfChangeRemoveNode,
        ConfChangeKind::Update => raftpb::ConfChangeType::ConfChangeUpdateNode,
        ConfChangeKind::AddLearner => raftpb::ConfChangeType::ConfChangeAddLearnerNode,
    })
}

fn raw_conf_state(state: &ConfState) -> raftpb::ConfState {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect();
    raftpb::ConfState {
        voters: numbers(&state.voters),
        learners: numbers(&state.learners),
        voters_outgoing: numbers(&state.voters_outgoing),
        learners_next: numbers(&state.learners_next),
        auto_leave: Some(state.auto_leave),
    }
}

fn raw_snapshot(snapshot: &Snapshot) -> raftpb::Snapshot {
    raftpb::Snapshot {
        data: unless_empty(&snapshot.data),
        metadata: Some(raftpb::SnapshotMetadata {
            conf_state: Some(raw_conf_state(&snapshot.metadata.conf_state)),
            index: Some(snapshot.metadata.index.get()),
            term: Some(snapshot.metadata.term.get()),
        }),
    }
}
