//! Bytes → typed.
//!
//! A message is read in two steps. The first passes over its fields once and notes what they hold, in the order and with the
//! meaning that protobuf gives to repetitions: of numbers and bytes the last counts, messages are merged, lists go on. The
//! second makes a value of this crate's types from that. Entries are counted in the first and read in the second, right into
//! the memory in which they stay.

mod changes;
mod entries;
mod snapshot;

use core::ops::Range;

use bytes::Bytes;

use self::changes::{read_conf_change, read_conf_change_v2};
use self::entries::{RawEntries, RawEntry};
use self::snapshot::{RawConfState, RawSnapshot};
use super::numbers::{self, hard_state, message, message_type};
use super::reader::{DEPTH, Reader};
use super::{CAMPAIGN_TRANSFER, DecodeError, Flaw};
use crate::{
    AppendEntries, AppendEntriesReply, Body, ConfChange, ConfChangeV2, ConfState, Entry, HardState,
    Heartbeat, HeartbeatReply, Index, InstallSnapshot, LogPosition, Message, NodeId, Propose, ReadIndex,
    ReadIndexReply, RequestVote, Snapshot, Term, TransferLeader, VoteReply,
};

type Result<T, E = DecodeError> = core::result::Result<T, E>;

/// How many levels there may yet be in a message that is in the outermost one.
const NESTED: u8 = DEPTH - 1;

/// Reads a message that came over the network.
///
/// In a [`Body::TransferLeader`] the sender is lost, as in etcd: `from` is the transferee. In a
/// [`Body::Propose`] the terms and indexes of the entries are zero, whatever the sender wrote.
///
/// # Errors
/// What is wrong with it. That it isn't protobuf comes before all else.
pub fn decode_message(bytes: Bytes) -> Result<Message> {
    let mut raw = RawMessage::read(Reader::new(&bytes))?;
    let message = raw.message(&bytes);
    // Entries that weren't read, or not all of them, must be protobuf too.
    let all_read = message.as_ref().is_ok_and(|message| carries_entries(&message.body));
    if !all_read {
        raw.entries.check()?;
    }
    message
}

/// Reads an entry, as it stands in a log.
///
/// # Errors
/// What is wrong with it.
pub fn decode_entry(bytes: Bytes) -> Result<Entry> {
    RawEntry::read(Reader::new(&bytes), DEPTH)?.entry(&bytes)
}

/// Reads a hard state.
///
/// # Errors
/// What is wrong with it.
pub fn decode_hard_state(bytes: Bytes) -> Result<HardState> {
    let mut reader = Reader::new(&bytes);
    let (mut raw_term, mut vote, mut commit) = (0, 0, 0);
    while let Some(key) = reader.key()? {
        match key {
            hard_state::TERM => raw_term = reader.varint()?,
            hard_state::VOTE => vote = reader.varint()?,
            hard_state::COMMIT => commit = reader.varint()?,
            key => reader.other(key, hard_state::has, DEPTH)?,
        }
    }
    Ok(HardState { term: term(raw_term)?, vote: NodeId::new(vote), commit: index(commit)? })
}

/// Reads a configuration.
///
/// # Errors
/// What is wrong with it.
pub fn decode_conf_state(bytes: Bytes) -> Result<ConfState> {
    let mut raw = RawConfState::default();
    raw.merge(Reader::new(&bytes), DEPTH)?;
    raw.conf_state()
}

/// Reads a snapshot, which may be the empty one.
///
/// # Errors
/// What is wrong with it.
pub fn decode_snapshot(bytes: Bytes) -> Result<Snapshot> {
    let mut raw = RawSnapshot::default();
    raw.merge(Reader::new(&bytes), DEPTH)?;
    raw.snapshot(&bytes)
}

/// Reads a membership change in the older format: the data of an entry of that kind. No bytes are the
/// default.
///
/// # Errors
/// What is wrong with it.
pub fn decode_conf_change(bytes: Bytes) -> Result<ConfChange> {
    read_conf_change(Reader::new(&bytes), &bytes)
}

/// Reads a membership change in the newer format: the data of an entry of that kind. No bytes are the
/// default, which leaves the joint configuration.
///
/// # Errors
/// What is wrong with it.
pub fn decode_conf_change_v2(bytes: Bytes) -> Result<ConfChangeV2> {
    read_conf_change_v2(Reader::new(&bytes), &bytes)
}

/// What the fields of a message hold. A field that is missing is zero or empty.
#[derive(Default)]
struct RawMessage<'a> {
    kind: i32,
    to: u64,
    from: u64,
    term: u64,
    log_term: u64,
    index: u64,
    entries: RawEntries<'a>,
    commit: u64,
    snapshot: Option<RawSnapshot>,
    reject: bool,
    reject_hint: u64,
    context: Range<usize>,
    has_responses: bool,
    read_id: u64,
    lease_read: bool,
    relied_match: u64,
    priority: i64,
    commit_index: u64,
    commit_term: u64,
    relied_term: u64,
    snapshot_at_least: u64,
}

impl<'a> RawMessage<'a> {
    fn read(mut reader: Reader<'a>) -> Result<RawMessage<'a>, Flaw> {
        let mut raw = RawMessage::default();
        loop {
            let here = reader;
            if reader.eat(message::ENTRIES) {
                raw.entries.count(here, &mut reader)?;
                continue;
            }
            let Some(key) = reader.key()? else { return Ok(raw) };
            match key {
                message::ENTRIES => {
                    reader.bytes()?;
                    raw.entries.note(here);
                }
                message::TYPE => raw.kind = reader.int32()?,
                message::TO => raw.to = reader.varint()?,
                message::FROM => raw.from = reader.varint()?,
                message::TERM => raw.term = reader.varint()?,
                message::LOG_TERM => raw.log_term = reader.varint()?,
                message::INDEX => raw.index = reader.varint()?,
                message::COMMIT => raw.commit = reader.varint()?,
                message::SNAPSHOT => raw.snapshot.get_or_insert_default().merge(reader.message()?, NESTED)?,
                message::REJECT => raw.reject = reader.bool()?,
                message::REJECT_HINT => raw.reject_hint = reader.varint()?,
                message::CONTEXT => raw.context = reader.bytes()?,
                // Local to a node of etcd.
                message::VOTE => drop(reader.varint()?),
                message::RESPONSES => {
                    reader.bytes()?;
                    raw.has_responses = true;
                }
                message::READ_ID => raw.read_id = reader.varint()?,
                message::LEASE_READ => raw.lease_read = reader.bool()?,
                message::RELIED_MATCH => raw.relied_match = reader.varint()?,
                message::PRIORITY => raw.priority = reader.sint64()?,
                message::COMMIT_INDEX => raw.commit_index = reader.varint()?,
                message::COMMIT_TERM => raw.commit_term = reader.varint()?,
                message::RELIED_TERM => raw.relied_term = reader.varint()?,
                message::SNAPSHOT_AT_LEAST => raw.snapshot_at_least = reader.varint()?,
                key => reader.other(key, message::has, DEPTH)?,
            }
        }
    }

    fn message(&mut self, source: &Bytes) -> Result<Message> {
        if self.has_responses {
            return Err(DecodeError::Responses);
        }
        if !numbers::MESSAGE_TYPES.contains(&self.kind) {
            return Err(DecodeError::UnknownMessageType(self.kind));
        }
        let term = term(self.term)?;
        let body = self.body(source)?;
        let from = NodeId::new(self.from).ok_or(DecodeError::NoSender)?;
        let to = NodeId::new(self.to).ok_or(DecodeError::NoReceiver)?;
        match body {
            Body::Propose(_) | Body::ReadIndex(_) if !term.is_zero() => {
                return Err(DecodeError::UnexpectedTerm);
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
                    return Err(DecodeError::NoTerm);
                }
            }
        }
        Ok(Message { from, to, term, body })
    }

    fn body(&mut self, source: &Bytes) -> Result<Body> {
        Ok(match self.kind {
            message_type::PROP => Body::Propose(Propose { entries: self.entries.read_proposals(source)? }),
            message_type::APP => Body::AppendEntries(AppendEntries {
                prev: position(self.log_term, self.index)?,
                entries: self.entries.read(source)?,
                commit: index(self.commit)?,
            }),
            message_type::APP_RESP => Body::AppendEntriesReply(self.append_entries_reply()?),
            message_type::VOTE => Body::RequestVote(self.request_vote(source)?),
            message_type::VOTE_RESP => Body::RequestVoteReply(self.vote_reply()?),
            message_type::PRE_VOTE => Body::PreVote(self.request_vote(source)?),
            message_type::PRE_VOTE_RESP => Body::PreVoteReply(self.vote_reply()?),
            message_type::SNAP => {
                let raw = self.snapshot.take().ok_or(DecodeError::NoSnapshot)?;
                let snapshot = raw.snapshot(source)?;
                if snapshot.metadata.index.is_zero() {
                    return Err(DecodeError::NoSnapshot);
                }
                Body::InstallSnapshot(InstallSnapshot { snapshot }.into())
            }
            message_type::HEARTBEAT => Body::Heartbeat(Heartbeat {
                commit: index(self.commit)?,
                relied: position(self.relied_term, self.relied_match)?,
                context: source.slice(self.context.clone()),
            }),
            message_type::HEARTBEAT_RESP => {
                Body::HeartbeatReply(HeartbeatReply { context: source.slice(self.context.clone()) })
            }
            message_type::TRANSFER_LEADER => Body::TransferLeader(TransferLeader {
                transferee: NodeId::new(self.from).ok_or(DecodeError::NoTransferee)?,
            }),
            message_type::TIMEOUT_NOW => Body::TimeoutNow,
            message_type::READ_INDEX => Body::ReadIndex(ReadIndex {
                id: self.read_id,
                context: self.read_context(source)?,
                lease: self.lease_read,
            }),
            message_type::READ_INDEX_RESP => Body::ReadIndexReply(ReadIndexReply {
                id: self.read_id,
                context: self.read_context(source)?,
                index: index(self.index)?,
            }),
            local => return Err(DecodeError::LocalMessage(local)),
        })
    }

    fn request_vote(&self, source: &[u8]) -> Result<RequestVote> {
        Ok(RequestVote {
            last: position(self.log_term, self.index)?,
            by_transfer: source.get(self.context.clone()) == Some(CAMPAIGN_TRANSFER),
            priority: self.priority,
        })
    }

    fn append_entries_reply(&self) -> Result<AppendEntriesReply> {
        let wanted = index(self.snapshot_at_least)?;
        Ok(match self.reject {
            false => AppendEntriesReply::Accepted { index: index(self.index)? },
            true if wanted.is_zero() => AppendEntriesReply::Rejected {
                rejected: index(self.index)?,
                hint: position(self.log_term, self.reject_hint)?,
            },
            true => AppendEntriesReply::SnapshotWanted { at_least: wanted },
        })
    }

    fn vote_reply(&self) -> Result<VoteReply> {
        if !self.reject {
            return Ok(VoteReply::Granted);
        }
        Ok(VoteReply::Refused { commit: position(self.commit_term, self.commit_index)? })
    }

    /// The caller's bytes in a read request and in its answer: the data of the only entry, whose other fields
    /// say nothing.
    fn read_context(&self, source: &Bytes) -> Result<Bytes> {
        if self.entries.count != 1 {
            return Err(DecodeError::NotOneContext(self.entries.count));
        }
        let entry = RawEntry::read({ self.entries }.next()?, NESTED)?;
        Ok(source.slice(entry.data.unwrap_or_default()))
    }
}

/// Does the body come from a message whose entries are read?
fn carries_entries(body: &Body) -> bool {
    match body {
        Body::Propose(_) | Body::AppendEntries(_) | Body::ReadIndex(_) | Body::ReadIndexReply(_) => true,
        Body::AppendEntriesReply(_)
        | Body::RequestVote(_)
        | Body::RequestVoteReply(_)
        | Body::PreVote(_)
        | Body::PreVoteReply(_)
        | Body::InstallSnapshot(_)
        | Body::Heartbeat(_)
        | Body::HeartbeatReply(_)
        | Body::TransferLeader(_)
        | Body::TimeoutNow => false,
    }
}

#[inline(always)]
fn term(raw: u64) -> Result<Term> {
    let term = Term::new(raw);
    if term > Term::LIMIT { Err(DecodeError::TermPastLimit(raw)) } else { Ok(term) }
}

#[inline(always)]
fn index(raw: u64) -> Result<Index> {
    let index = Index::new(raw);
    if index > Index::LIMIT { Err(DecodeError::IndexPastLimit(raw)) } else { Ok(index) }
}

fn position(raw_term: u64, raw_index: u64) -> Result<LogPosition> {
    Ok(LogPosition { term: term(raw_term)?, index: index(raw_index)? })
}
