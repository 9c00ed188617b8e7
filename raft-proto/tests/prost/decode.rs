//! Bytes → typed.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::raftpb::{self, MessageType};
use super::{CAMPAIGN_TRANSFER, Refusal};
use raft_proto::wire::DecodeError;
use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, ConfChange, ConfChangeKind, ConfChangeSingle,
    ConfChangeTransition, ConfChangeV2, ConfState, Entries, Entry, HardState, Heartbeat, HeartbeatReply,
    Index, InstallSnapshot, LogPosition, Message, NodeId, Payload, Propose, ReadIndex, ReadIndexReply,
    RequestVote, Snapshot, SnapshotMetadata, Term, TransferLeader, VoteReply,
};

type Result<T> = std::result::Result<T, Refusal>;

/// Reads a message that came over the network.
///
/// In a [`Body::TransferLeader`] the sender is lost, as in etcd: `from` is the transferee. In a
/// [`Body::Propose`] the terms and indexes of the entries are zero, whatever the sender wrote.
pub fn decode_message(bytes: Bytes) -> Result<Message> {
    let raw = raftpb::Message::decode(bytes).map_err(malformed)?;
    if !raw.responses.is_empty() {
        return refuse(DecodeError::Responses);
    }
    let kind = message_type(raw.r#type)?;
    let from = raw.from.and_then(NodeId::new);
    let to = raw.to.and_then(NodeId::new);
    let term = term(raw.term)?;
    let body = body(kind, raw)?;
    let from = from.ok_or(DecodeError::NoSender)?;
    let to = to.ok_or(DecodeError::NoReceiver)?;
    match body {
        Body::Propose(_) | Body::ReadIndex(_) if !term.is_zero() => {
            return refuse(DecodeError::UnexpectedTerm);
        }
        // An application that asks an etcd node's leader for a transfer sends no term.
        Body::Propose(_) | Body::ReadIndex(_) | Body::TransferLeader(_) => {}
        Body::AppendEntries(_)
        | Body::AppendEntriesReply(_)
        | Body::RequestVote(_)
        | Body::RequestVoteReply(_)
        | Body::PreVote(_)
        | Body::PreVoteReply(_)
        | Body::InstallSnapshot(_)
        | Body::Heartbeat(_)
        | Body::HeartbeatReply(_)
        | Body::TimeoutNow
        | Body::ReadIndexReply(_) => {
            if term.is_zero() {
                return refuse(DecodeError::NoTerm);
            }
        }
    }
    Ok(Message { from, to, term, body })
}

/// Reads an entry, as it stands in a log.
pub fn decode_entry(bytes: Bytes) -> Result<Entry> {
    entry(raftpb::Entry::decode(bytes).map_err(malformed)?)
}

/// Reads a hard state.
pub fn decode_hard_state(bytes: Bytes) -> Result<HardState> {
    let raw = raftpb::HardState::decode(bytes).map_err(malformed)?;
    Ok(HardState { term: term(raw.term)?, vote: raw.vote.and_then(NodeId::new), commit: index(raw.commit)? })
}

/// Reads a configuration.
pub fn decode_conf_state(bytes: Bytes) -> Result<ConfState> {
    conf_state(raftpb::ConfState::decode(bytes).map_err(malformed)?)
}

/// Reads a snapshot, which may be the empty one.
pub fn decode_snapshot(bytes: Bytes) -> Result<Snapshot> {
    snapshot(raftpb::Snapshot::decode(bytes).map_err(malformed)?)
}

/// Reads a membership change in the older format: the data of an entry of that kind. No bytes are the
/// default.
pub fn decode_conf_change(bytes: Bytes) -> Result<ConfChange> {
    let raw = raftpb::ConfChange::decode(bytes).map_err(|_| Refusal::MalformedConfChange)?;
    Ok(ConfChange {
        id: raw.id.unwrap_or_default(),
        kind: conf_change_kind(raw.r#type)?,
        node: raw.node_id.and_then(NodeId::new),
        context: raw.context.unwrap_or_default(),
    })
}

/// Reads a membership change in the newer format: the data of an entry of that kind. No bytes are the
/// default, which leaves the joint configuration.
pub fn decode_conf_change_v2(bytes: Bytes) -> Result<ConfChangeV2> {
    let raw = raftpb::ConfChangeV2::decode(bytes).map_err(|_| Refusal::MalformedConfChange)?;
    let transition = raw.transition.unwrap_or_default();
    let mut changes = Vec::with_capacity(raw.changes.len());
    for single in raw.changes {
        changes.push(ConfChangeSingle {
            kind: conf_change_kind(single.r#type)?,
            node: single.node_id.and_then(NodeId::new),
        });
    }
    Ok(ConfChangeV2 {
        transition: match raftpb::ConfChangeTransition::try_from(transition) {
            Ok(raftpb::ConfChangeTransition::Auto) => ConfChangeTransition::Auto,
            Ok(raftpb::ConfChangeTransition::JointImplicit) => ConfChangeTransition::JointImplicit,
            Ok(raftpb::ConfChangeTransition::JointExplicit) => ConfChangeTransition::JointExplicit,
            Err(_) => return refuse(DecodeError::UnknownTransition(transition)),
        },
        changes,
        context: raw.context.unwrap_or_default(),
    })
}

fn refuse<T>(error: DecodeError) -> Result<T> {
    Err(Refusal::from(error))
}

/// Drops what prost says: it says it in a string.
fn malformed(_: prost::DecodeError) -> Refusal {
    Refusal::Malformed
}

fn message_type(raw: Option<i32>) -> Result<MessageType> {
    let raw = raw.unwrap_or_default();
    MessageType::try_from(raw).map_err(|_| DecodeError::UnknownMessageType(raw).into())
}

fn body(kind: MessageType, raw: raftpb::Message) -> Result<Body> {
    Ok(match kind {
        MessageType::MsgProp => Body::Propose(Propose { entries: proposals(raw.entries)? }),
        MessageType::MsgApp => Body::AppendEntries(AppendEntries {
            prev: position(raw.log_term, raw.index)?,
            entries: entries(raw.entries)?,
            commit: index(raw.commit)?,
        }),
        MessageType::MsgAppResp => Body::AppendEntriesReply(append_entries_reply(&raw)?),
        MessageType::MsgVote => Body::RequestVote(request_vote(&raw)?),
        MessageType::MsgVoteResp => Body::RequestVoteReply(vote_reply(&raw)?),
        MessageType::MsgPreVote => Body::PreVote(request_vote(&raw)?),
        MessageType::MsgPreVoteResp => Body::PreVoteReply(vote_reply(&raw)?),
        MessageType::MsgSnap => {
            let snapshot = snapshot(raw.snapshot.unwrap_or_default())?;
            if snapshot.metadata.index.is_zero() {
                return refuse(DecodeError::NoSnapshot);
            }
            Body::InstallSnapshot(InstallSnapshot { snapshot }.into())
        }
        MessageType::MsgHeartbeat => Body::Heartbeat(Heartbeat {
            commit: index(raw.commit)?,
            relied: position(raw.relied_term, raw.relied_match)?,
            context: raw.context.unwrap_or_default(),
        }),
        MessageType::MsgHeartbeatResp => {
            Body::HeartbeatReply(HeartbeatReply { context: raw.context.unwrap_or_default() })
        }
        MessageType::MsgTransferLeader => Body::TransferLeader(TransferLeader {
            transferee: raw.from.and_then(NodeId::new).ok_or(DecodeError::NoTransferee)?,
        }),
        MessageType::MsgTimeoutNow => Body::TimeoutNow,
        MessageType::MsgReadIndex => Body::ReadIndex(ReadIndex {
            id: raw.read_id.unwrap_or_default(),
            context: read_context(raw.entries)?,
            lease: raw.lease_read.unwrap_or_default(),
        }),
        MessageType::MsgReadIndexResp => Body::ReadIndexReply(ReadIndexReply {
            id: raw.read_id.unwrap_or_default(),
            context: read_context(raw.entries)?,
            index: index(raw.index)?,
        }),
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgStorageAppend
        | MessageType::MsgStorageAppendResp
        | MessageType::MsgStorageApply
        | MessageType::MsgStorageApplyResp
        | MessageType::MsgForgetLeader => return refuse(DecodeError::LocalMessage(kind.into())),
    })
}

fn term(raw: Option<u64>) -> Result<Term> {
    let term = Term::new(raw.unwrap_or_default());
    if term > Term::LIMIT { refuse(DecodeError::TermPastLimit(term.get())) } else { Ok(term) }
}

fn index(raw: Option<u64>) -> Result<Index> {
    let index = Index::new(raw.unwrap_or_default());
    if index > Index::LIMIT { refuse(DecodeError::IndexPastLimit(index.get())) } else { Ok(index) }
}

fn position(raw_term: Option<u64>, raw_index: Option<u64>) -> Result<LogPosition> {
    Ok(LogPosition { term: term(raw_term)?, index: index(raw_index)? })
}

fn request_vote(raw: &raftpb::Message) -> Result<RequestVote> {
    Ok(RequestVote {
        last: position(raw.log_term, raw.index)?,
        by_transfer: raw.context.as_deref() == Some(CAMPAIGN_TRANSFER),
        priority: raw.priority.unwrap_or_default(),
    })
}

fn append_entries_reply(raw: &raftpb::Message) -> Result<AppendEntriesReply> {
    let wanted = index(raw.snapshot_at_least)?;
    Ok(match raw.reject.unwrap_or_default() {
        false => AppendEntriesReply::Accepted { index: index(raw.index)? },
        true if wanted.is_zero() => AppendEntriesReply::Rejected {
            rejected: index(raw.index)?,
            hint: position(raw.log_term, raw.reject_hint)?,
        },
        true => AppendEntriesReply::SnapshotWanted { at_least: wanted },
    })
}

fn vote_reply(raw: &raftpb::Message) -> Result<VoteReply> {
    if !raw.reject.unwrap_or_default() {
        return Ok(VoteReply::Granted);
    }
    Ok(VoteReply::Refused { commit: position(raw.commit_term, raw.commit_index)? })
}

/// An entry without data is a leader's own, and which one is told by its type: this is the one place where a field that is
/// missing isn't one that is zero.
fn payload(kind: Option<i32>, data: Option<Bytes>) -> Result<Payload> {
    let number = kind.unwrap_or_default();
    let Ok(known) = raftpb::EntryType::try_from(number) else {
        return refuse(DecodeError::UnknownEntryType(number));
    };
    Ok(match (known, data) {
        (raftpb::EntryType::EntryNormal, Some(data)) => Payload::Normal(data),
        (raftpb::EntryType::EntryNormal, None) if kind.is_some() => Payload::RefusedChange,
        (raftpb::EntryType::EntryNormal, None) => Payload::TermStart,
        (raftpb::EntryType::EntryConfChange, data) => {
            Payload::ConfChange(Arc::new(decode_conf_change(data.unwrap_or_default())?))
        }
        (raftpb::EntryType::EntryConfChangeV2, Some(data)) => {
            Payload::ConfChangeV2(Arc::new(decode_conf_change_v2(data)?))
        }
        (raftpb::EntryType::EntryConfChangeV2, None) => Payload::LeaveJoint,
    })
}

fn entry(raw: raftpb::Entry) -> Result<Entry> {
    Ok(Entry { term: term(raw.term)?, index: index(raw.index)?, payload: payload(raw.r#type, raw.data)? })
}

/// An entry that has no place in the log yet: a client's, though it may have no data.
fn proposal(raw: raftpb::Entry) -> Result<Entry> {
    let data = Some(raw.data.unwrap_or_default());
    entry(raftpb::Entry { term: None, index: None, data, ..raw })
}

fn entries(raw: Vec<raftpb::Entry>) -> Result<Entries> {
    convert(raw, entry)
}

fn proposals(raw: Vec<raftpb::Entry>) -> Result<Entries> {
    convert(raw, proposal)
}

/// A loop and not `collect`, which through a `Result` can't know how many there will be and would grow as
/// it goes.
fn convert(raw: Vec<raftpb::Entry>, one: fn(raftpb::Entry) -> Result<Entry>) -> Result<Entries> {
    let mut entries = Vec::with_capacity(raw.len());
    for raw in raw {
        entries.push(one(raw)?);
    }
    Ok(entries.into())
}

/// The caller's bytes in a read request and in its answer: the data of the only entry, whose other fields
/// say nothing.
fn read_context(raw: Vec<raftpb::Entry>) -> Result<Bytes> {
    match <[raftpb::Entry; 1]>::try_from(raw) {
        Ok([entry]) => Ok(entry.data.unwrap_or_default()),
        Err(raw) => refuse(DecodeError::NotOneContext(raw.len())),
    }
}

fn conf_change_kind(raw: Option<i32>) -> Result<ConfChangeKind> {
    let raw = raw.unwrap_or_default();
    Ok(match raftpb::ConfChangeType::try_from(raw) {
        Ok(raftpb::ConfChangeType::ConfChangeAddNode) => ConfChangeKind::AddVoter,
        Ok(raftpb::ConfChangeType::ConfChangeRemoveNode) => ConfChangeKind::Remove,
        Ok(raftpb::ConfChangeType::ConfChangeUpdateNode) => ConfChangeKind::Update,
        Ok(raftpb::ConfChangeType::ConfChangeAddLearnerNode) => ConfChangeKind::AddLearner,
        Err(_) => return refuse(DecodeError::UnknownConfChangeType(raw)),
    })
}

fn snapshot(raw: raftpb::Snapshot) -> Result<Snapshot> {
    let metadata = raw.metadata.unwrap_or_default();
    Ok(Snapshot {
        metadata: SnapshotMetadata {
            conf_state: conf_state(metadata.conf_state.unwrap_or_default())?,
            index: index(metadata.index)?,
            term: term(metadata.term)?,
        },
        data: raw.data.unwrap_or_default(),
    })
}

fn conf_state(raw: raftpb::ConfState) -> Result<ConfState> {
    Ok(ConfState {
        voters: nodes(&raw.voters)?,
        learners: nodes(&raw.learners)?,
        voters_outgoing: nodes(&raw.voters_outgoing)?,
        learners_next: nodes(&raw.learners_next)?,
        auto_leave: raw.auto_leave.unwrap_or_default(),
    })
}

fn nodes(raw: &[u64]) -> Result<Vec<NodeId>> {
    let mut nodes = Vec::with_capacity(raw.len());
    for id in raw {
        nodes.push(NodeId::new(*id).ok_or(DecodeError::ZeroInConfState)?);
    }
    Ok(nodes)
}
