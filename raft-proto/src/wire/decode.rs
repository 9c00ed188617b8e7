//! Bytes → typed.
//!
//! A message is read in two steps. The first passes over its fields once and notes what they hold, in the order and with the
//! meaning that protobuf gives to repetitions: of numbers and bytes the last counts, messages are merged, lists go on. The
//! second makes a value of this crate's types from that. Entries are counted in the first and read in the second, right into
//! the memory in which they stay.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::numbers::{
    self, Key, conf_change, conf_change_single, conf_change_transition, conf_change_type, conf_change_v2,
    conf_state, entry, entry_type, hard_state, message, message_type, snapshot, snapshot_metadata,
};
use super::reader::{DEPTH, Reader};
use super::{CAMPAIGN_TRANSFER, DecodeError, Flaw};
use crate::{
    AppendEntries, AppendEntriesReply, Body, ConfChange, ConfChangeKind, ConfChangeSingle,
    ConfChangeTransition, ConfChangeV2, ConfState, Entries, Entry, HardState, Heartbeat, HeartbeatReply,
    Index, InstallSnapshot, LogPosition, Message, NodeId, Payload, Propose, ReadIndex, ReadIndexReply,
    RequestVote, Snapshot, SnapshotMetadata, Term, TransferLeader, VoteReply,
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

/// Where the entries of a message lie.
#[derive(Clone, Copy, Default)]
struct RawEntries<'a> {
    /// Stands in front of those that weren't read yet.
    reader: Reader<'a>,
    count: usize,
}

impl<'a> RawEntries<'a> {
    /// Counts one whose key, as a single byte, stands here, and all that follow right away.
    #[inline(always)]
    fn count(&mut self, mut here: Reader<'a>, reader: &mut Reader<'a>) -> Result<(), Flaw> {
        loop {
            reader.bytes()?;
            self.note(here);
            // Where the next entry begins is known only when the length of this one is read, so the processor waits for each.
            // It needn't if the next one turns out to begin like this one, with the same length.
            let len = reader.position().wrapping_sub(here.position());
            let head: Option<&[u8; 4]> =
                here.peek().filter(|head| head.last().is_some_and(|last| *last < 0x80));
            while head.is_some() && reader.peek() == head && reader.advance(len).is_some() {
                self.note(here);
            }
            here = *reader;
            if !reader.eat(message::ENTRIES) {
                return Ok(());
            }
        }
    }

    /// There is one more, whose key stands here if it is the first.
    #[inline(always)]
    fn note(&mut self, here: Reader<'a>) {
        if self.count == 0 {
            self.reader = here;
        }
        self.count = self.count.wrapping_add(1);
    }

    /// The next one. Between two of them there may be other fields.
    #[inline(always)]
    fn next(&mut self) -> Result<Reader<'a>, Flaw> {
        if !self.reader.eat(message::ENTRIES) {
            self.reader.pass_until(message::ENTRIES)?;
        }
        self.reader.message()
    }

    fn check(mut self) -> Result<(), Flaw> {
        (0..self.count).try_for_each(|_| RawEntry::read(self.next()?, NESTED).map(drop))
    }

    #[inline(never)]
    fn read(self, source: &Bytes) -> Result<Entries> {
        let mut reading = Reading { raw: self, source, last_len: 0, alike: Alike::NOTHING };
        Entries::filled(self.count, |entries| {
            // Several payloads are cut out before the first is moved to where it stays: a processor that is to read again what
            // it has just written, in other units, waits until that is done.
            let (fours, rest) = entries.as_chunks_mut::<4>();
            for [a, b, c, d] in fours {
                let (at_a, at_b) = (reading.next(a)?, reading.next(b)?);
                let (at_c, at_d) = (reading.next(c)?, reading.next(d)?);
                let (of_a, of_b) = (source.slice(at_a), source.slice(at_b));
                let (of_c, of_d) = (source.slice(at_c), source.slice(at_d));
                put(a, of_a);
                put(b, of_b);
                put(c, of_c);
                put(d, of_d);
            }
            for entry in rest {
                let at = reading.next(entry)?;
                put(entry, source.slice(at));
            }
            Ok(())
        })
    }

    fn read_proposals(mut self, source: &Bytes) -> Result<Entries> {
        Entries::filled(self.count, |entries| {
            for entry in entries {
                *entry = RawEntry::read(self.next()?, NESTED)?.proposal(source)?;
            }
            Ok(())
        })
    }
}

/// Puts a command's data in its place. An entry without any is complete already.
#[inline(always)]
fn put(entry: &mut Entry, data: Bytes) {
    if !data.is_empty() {
        entry.payload = Payload::Normal(data);
    }
}

/// The entries of a message, while they are read.
struct Reading<'a> {
    raw: RawEntries<'a>,
    source: &'a Bytes,
    /// The length of the last one.
    last_len: usize,
    alike: Alike,
}

impl Reading<'_> {
    /// Reads an entry, and returns where the data lie that belong into it, if any are yet to be put there.
    #[inline(always)]
    fn next(&mut self, entry: &mut Entry) -> Result<Range<usize>> {
        if let Some((index, data)) = self.alike.read(&mut self.raw.reader) {
            entry.term = self.alike.term;
            entry.index = index;
            return Ok(data);
        }
        self.next_of_any_kind(entry)
    }

    #[inline(never)]
    fn next_of_any_kind(&mut self, entry: &mut Entry) -> Result<Range<usize>> {
        let start = self.raw.reader;
        let reader = self.raw.next()?;
        // One without data is complete as it is, which is told by a place that is empty.
        let command = Command::read(reader).filter(|command| !command.data.is_empty());
        let Some(command) = command else {
            *entry = RawEntry::read(reader, NESTED)?.entry(self.source)?;
            return Ok(0..0);
        };
        entry.term = command.term;
        entry.index = command.index;
        // Two of one length are the beginning of a run.
        let len = self.raw.reader.position().wrapping_sub(start.position());
        if len == self.last_len {
            self.alike = Alike::new(start, len, &command).unwrap_or(Alike::NOTHING);
        }
        self.last_len = len;
        Ok(command.data)
    }
}

/// An entry of the usual form: a command, with the fields in the order in which we write them.
struct Command {
    term: Term,
    index: Index,
    /// Where the index stands.
    index_at: usize,
    data: Range<usize>,
}

impl Command {
    /// `None` if it is of another form, or wrong.
    #[inline(always)]
    fn read(mut reader: Reader<'_>) -> Option<Command> {
        if !reader.eat(entry::TERM) {
            return None;
        }
        let raw_term = reader.varint().ok()?;
        if !reader.eat(entry::INDEX) {
            return None;
        }
        let index_at = reader.position();
        let raw_index = reader.varint().ok()?;
        if !reader.eat(entry::DATA) {
            return None;
        }
        let data = reader.bytes().ok()?;
        if !reader.is_at_end() {
            return None;
        }
        Some(Command { term: term(raw_term).ok()?, index: index(raw_index).ok()?, index_at, data })
    }
}

/// What commands have in common that are written alike up to the data, but for the last seven bits of the index: in a batch of
/// commands of one size nearly all.
struct Alike {
    /// The bytes before the data, the first of them lowest, and which bits of them are the same.
    head: u128,
    same: u128,
    data_at: usize,
    len: usize,
    term: Term,
    /// The index without its last seven bits, and where in the head those are.
    index: u64,
    index_shift: u32,
}

impl Alike {
    /// What nothing is like: it is longer than anything.
    const NOTHING: Alike = Alike {
        head: 0,
        same: u128::MAX,
        data_at: 0,
        len: usize::MAX,
        term: Term::ZERO,
        index: 0,
        index_shift: 0,
    };

    /// What has this command in common with others? It starts with the key of the entry and has this length from there.
    fn new(start: Reader<'_>, len: usize, command: &Command) -> Option<Alike> {
        let bits = |place: usize| place.checked_sub(start.position())?.checked_mul(8)?.try_into().ok();
        let index_shift: u32 = bits(command.index_at)?;
        let ignored = u128::MAX.checked_shl(bits(command.data.start)?).unwrap_or_default();
        let data_at = command.data.start.checked_sub(start.position())?;
        (data_at <= 16 && index_shift < 64).then_some(Alike {
            head: u128::from_le_bytes(*start.peek()?),
            same: !(ignored | 0x7f_u128.wrapping_shl(index_shift)),
            data_at,
            len,
            term: command.term,
            index: command.index.get() & !0x7f,
            index_shift,
        })
    }

    /// Reads one that is alike: its index, and where its data lie.
    #[inline(always)]
    fn read(&self, reader: &mut Reader<'_>) -> Option<(Index, Range<usize>)> {
        let head = u128::from_le_bytes(*reader.peek()?);
        if (head ^ self.head) & self.same != 0 {
            return None;
        }
        let start = reader.position();
        reader.advance(self.len)?;
        let index = self.index | (head as u64).wrapping_shr(self.index_shift) & 0x7f;
        Some((Index::new(index), start.wrapping_add(self.data_at)..reader.position()))
    }
}

/// What the fields of an entry hold. This is the one place where a field that is missing isn't one that is zero.
#[derive(Default)]
struct RawEntry {
    kind: Option<i32>,
    term: u64,
    index: u64,
    data: Option<Range<usize>>,
}

impl RawEntry {
    #[inline(never)]
    fn read(mut reader: Reader<'_>, depth: u8) -> Result<RawEntry, Flaw> {
        let mut raw = RawEntry::default();
        while let Some(key) = reader.key()? {
            match key {
                entry::TYPE => raw.kind = Some(reader.int32()?),
                entry::TERM => raw.term = reader.varint()?,
                entry::INDEX => raw.index = reader.varint()?,
                entry::DATA => raw.data = Some(reader.bytes()?),
                key => reader.other(key, entry::has, depth)?,
            }
        }
        Ok(raw)
    }

    #[inline(always)]
    fn entry(self, source: &Bytes) -> Result<Entry> {
        Ok(Entry {
            term: term(self.term)?,
            index: index(self.index)?,
            payload: payload(self.kind, self.data, source)?,
        })
    }

    /// An entry that has no place in the log yet: a client's, though it may have no data.
    fn proposal(self, source: &Bytes) -> Result<Entry> {
        let data = Some(self.data.unwrap_or_default());
        Ok(Entry { payload: payload(self.kind, data, source)?, ..Entry::default() })
    }
}

/// An entry without data is a leader's own, and which one is told by its type.
#[inline(always)]
fn payload(kind: Option<i32>, data: Option<Range<usize>>, source: &Bytes) -> Result<Payload> {
    Ok(match (kind.unwrap_or_default(), data) {
        (entry_type::NORMAL, Some(data)) => Payload::Normal(source.slice(data)),
        (entry_type::NORMAL, None) if kind.is_some() => Payload::RefusedChange,
        (entry_type::NORMAL, None) => Payload::TermStart,
        (entry_type::CONF_CHANGE, data) => Payload::ConfChange(Arc::new(read_conf_change(
            Reader::of(source, data.unwrap_or_default()),
            source,
        )?)),
        (entry_type::CONF_CHANGE_V2, Some(data)) => {
            Payload::ConfChangeV2(Arc::new(read_conf_change_v2(Reader::of(source, data), source)?))
        }
        (entry_type::CONF_CHANGE_V2, None) => Payload::LeaveJoint,
        (unknown, _) => return Err(DecodeError::UnknownEntryType(unknown)),
    })
}

/// What the fields of a membership change in the older format hold.
#[derive(Default)]
struct RawConfChange {
    id: u64,
    kind: i32,
    node_id: u64,
    context: Range<usize>,
}

impl RawConfChange {
    fn read(mut reader: Reader<'_>) -> Result<RawConfChange, Flaw> {
        let mut raw = RawConfChange::default();
        while let Some(key) = reader.key()? {
            match key {
                conf_change::ID => raw.id = reader.varint()?,
                conf_change::TYPE => raw.kind = reader.int32()?,
                conf_change::NODE_ID => raw.node_id = reader.varint()?,
                conf_change::CONTEXT => raw.context = reader.bytes()?,
                key => reader.other(key, conf_change::has, DEPTH)?,
            }
        }
        Ok(raw)
    }
}

fn read_conf_change(reader: Reader<'_>, source: &Bytes) -> Result<ConfChange> {
    let raw = RawConfChange::read(reader).map_err(DecodeError::MalformedConfChange)?;
    Ok(ConfChange {
        id: raw.id,
        kind: conf_change_kind(raw.kind).map_err(DecodeError::UnknownConfChangeType)?,
        node: NodeId::new(raw.node_id),
        context: source.slice(raw.context),
    })
}

/// What the fields of a membership change in the newer format hold.
#[derive(Default)]
struct RawConfChangeV2 {
    transition: i32,
    changes: Vec<ConfChangeSingle>,
    /// What the first of the steps that we don't know does.
    unknown: Option<i32>,
    context: Range<usize>,
}

impl RawConfChangeV2 {
    fn read(mut reader: Reader<'_>) -> Result<RawConfChangeV2, Flaw> {
        let mut raw = RawConfChangeV2::default();
        while let Some(key) = reader.key()? {
            match key {
                conf_change_v2::TRANSITION => raw.transition = reader.int32()?,
                conf_change_v2::CHANGES => raw.read_single(reader.message()?)?,
                conf_change_v2::CONTEXT => raw.context = reader.bytes()?,
                key => reader.other(key, conf_change_v2::has, DEPTH)?,
            }
        }
        Ok(raw)
    }

    fn read_single(&mut self, mut reader: Reader<'_>) -> Result<(), Flaw> {
        let (mut kind, mut node_id) = (0, 0);
        while let Some(key) = reader.key()? {
            match key {
                conf_change_single::TYPE => kind = reader.int32()?,
                conf_change_single::NODE_ID => node_id = reader.varint()?,
                key => reader.other(key, conf_change_single::has, NESTED)?,
            }
        }
        match conf_change_kind(kind) {
            Ok(kind) => self.changes.push(ConfChangeSingle { kind, node: NodeId::new(node_id) }),
            Err(unknown) => self.unknown = self.unknown.or(Some(unknown)),
        }
        Ok(())
    }
}

fn read_conf_change_v2(reader: Reader<'_>, source: &Bytes) -> Result<ConfChangeV2> {
    let raw = RawConfChangeV2::read(reader).map_err(DecodeError::MalformedConfChange)?;
    if let Some(unknown) = raw.unknown {
        return Err(DecodeError::UnknownConfChangeType(unknown));
    }
    Ok(ConfChangeV2 {
        transition: match raw.transition {
            conf_change_transition::AUTO => ConfChangeTransition::Auto,
            conf_change_transition::JOINT_IMPLICIT => ConfChangeTransition::JointImplicit,
            conf_change_transition::JOINT_EXPLICIT => ConfChangeTransition::JointExplicit,
            unknown => return Err(DecodeError::UnknownTransition(unknown)),
        },
        changes: raw.changes,
        context: source.slice(raw.context),
    })
}

/// What happens to a node, or the number if it is none that we know.
fn conf_change_kind(raw: i32) -> Result<ConfChangeKind, i32> {
    Ok(match raw {
        conf_change_type::ADD_NODE => ConfChangeKind::AddVoter,
        conf_change_type::REMOVE_NODE => ConfChangeKind::Remove,
        conf_change_type::UPDATE_NODE => ConfChangeKind::Update,
        conf_change_type::ADD_LEARNER_NODE => ConfChangeKind::AddLearner,
        unknown => return Err(unknown),
    })
}

/// What the fields of a snapshot hold, and those of its metadata.
#[derive(Default)]
struct RawSnapshot {
    data: Range<usize>,
    conf_state: RawConfState,
    index: u64,
    term: u64,
}

impl RawSnapshot {
    fn merge(&mut self, mut reader: Reader<'_>, depth: u8) -> Result<(), Flaw> {
        while let Some(key) = reader.key()? {
            match key {
                snapshot::DATA => self.data = reader.bytes()?,
                snapshot::METADATA => self.merge_metadata(reader.message()?, depth.saturating_sub(1))?,
                key => reader.other(key, snapshot::has, depth)?,
            }
        }
        Ok(())
    }

    fn merge_metadata(&mut self, mut reader: Reader<'_>, depth: u8) -> Result<(), Flaw> {
        while let Some(key) = reader.key()? {
            match key {
                snapshot_metadata::CONF_STATE => {
                    self.conf_state.merge(reader.message()?, depth.saturating_sub(1))?
                }
                snapshot_metadata::INDEX => self.index = reader.varint()?,
                snapshot_metadata::TERM => self.term = reader.varint()?,
                key => reader.other(key, snapshot_metadata::has, depth)?,
            }
        }
        Ok(())
    }

    fn snapshot(self, source: &Bytes) -> Result<Snapshot> {
        Ok(Snapshot {
            metadata: SnapshotMetadata {
                conf_state: self.conf_state.conf_state()?,
                index: index(self.index)?,
                term: term(self.term)?,
            },
            data: source.slice(self.data),
        })
    }
}

/// What the fields of a configuration hold.
#[derive(Default)]
struct RawConfState {
    state: ConfState,
    /// One of the lists has a node zero.
    has_zero: bool,
}

impl RawConfState {
    fn merge(&mut self, mut reader: Reader<'_>, depth: u8) -> Result<(), Flaw> {
        while let Some(key) = reader.key()? {
            let has_zero = match key {
                conf_state::VOTERS | conf_state::PACKED_VOTERS => {
                    read_nodes(key, &mut reader, &mut self.state.voters)?
                }
                conf_state::LEARNERS | conf_state::PACKED_LEARNERS => {
                    read_nodes(key, &mut reader, &mut self.state.learners)?
                }
                conf_state::VOTERS_OUTGOING | conf_state::PACKED_VOTERS_OUTGOING => {
                    read_nodes(key, &mut reader, &mut self.state.voters_outgoing)?
                }
                conf_state::LEARNERS_NEXT | conf_state::PACKED_LEARNERS_NEXT => {
                    read_nodes(key, &mut reader, &mut self.state.learners_next)?
                }
                conf_state::AUTO_LEAVE => {
                    self.state.auto_leave = reader.bool()?;
                    false
                }
                key => {
                    reader.other(key, conf_state::has, depth)?;
                    false
                }
            };
            self.has_zero |= has_zero;
        }
        Ok(())
    }

    fn conf_state(self) -> Result<ConfState> {
        if self.has_zero { Err(DecodeError::ZeroInConfState) } else { Ok(self.state) }
    }
}

/// Reads one number of a list, or as many as are packed behind its key. Returns whether one is zero, which is no node.
fn read_nodes(key: Key, reader: &mut Reader<'_>, nodes: &mut Vec<NodeId>) -> Result<bool, Flaw> {
    let mut has_zero = false;
    let mut push = |id| match NodeId::new(id) {
        Some(node) => nodes.push(node),
        None => has_zero = true,
    };
    if key.is_delimited() {
        let mut packed = reader.message()?;
        while !packed.is_at_end() {
            push(packed.varint()?);
        }
    } else {
        push(reader.varint()?);
    }
    Ok(has_zero)
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
