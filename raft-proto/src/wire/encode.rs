//! Typed → bytes.
//!
//! Each message says once which fields it has, to a [`Sink`]; one sink counts, the other writes. So a buffer is made large enough
//! before it is written to, and what nests is counted before it is written.
//!
//! What is written when it is zero: the fields that [`Entry::encoded_len`] counts, the type of a message,
//! and all of what goes to disk (hard state, configuration, snapshot), which thereby has the bytes that
//! etcd would write.
//!
//! [`Entry::encoded_len`]: crate::Entry::encoded_len

use bytes::{BufMut, BytesMut};

use super::CAMPAIGN_TRANSFER;
use super::numbers::{
    Key, conf_change, conf_change_single, conf_change_transition, conf_change_type, conf_change_v2,
    conf_state, entry, entry_type, hard_state, message, message_type, snapshot, snapshot_metadata,
};
use crate::{
    AppendEntriesReply, Body, ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeTransition,
    ConfChangeV2, ConfState, Entries, Entry, HardState, LogPosition, Message, NodeId, Payload, RequestVote,
    Snapshot, SnapshotMetadata, Term, VoteReply,
};

/// Appends a message to the buffer, in which room is made first: for its entries a few bytes each more than they take.
///
/// In a [`Body::TransferLeader`] the sender is lost, as in etcd: the transferee stands in its place.
pub fn encode_message(message: &Message, buf: &mut BytesMut) {
    append(message, buf);
}

/// Appends an entry to the buffer: [`Entry::encoded_len`] bytes.
pub fn encode_entry(entry: &Entry, buf: &mut BytesMut) {
    append(entry, buf);
}

/// Appends a hard state to the buffer.
pub fn encode_hard_state(state: &HardState, buf: &mut BytesMut) {
    append(state, buf);
}

/// Appends a configuration to the buffer.
pub fn encode_conf_state(state: &ConfState, buf: &mut BytesMut) {
    append(state, buf);
}

/// Appends a snapshot to the buffer.
pub fn encode_snapshot(snapshot: &Snapshot, buf: &mut BytesMut) {
    append(snapshot, buf);
}

/// Appends a membership change in the older format to the buffer.
pub fn encode_conf_change(change: &ConfChange, buf: &mut BytesMut) {
    append(change, buf);
}

/// Appends a membership change in the newer format to the buffer.
pub fn encode_conf_change_v2(change: &ConfChangeV2, buf: &mut BytesMut) {
    append(change, buf);
}

fn append(fields: &impl Fields, buf: &mut BytesMut) {
    buf.reserve(len(fields));
    fields.put(buf);
}

/// The length of a message, without that of what tells its length.
fn len(fields: &impl Fields) -> usize {
    let mut len = Length(0);
    fields.put(&mut len);
    len.0
}

/// What has fields.
trait Fields {
    /// Puts them, in the order of their numbers.
    fn put(&self, sink: &mut impl Sink);
}

/// Takes fields.
trait Sink: Sized {
    fn number(&mut self, key: Key, number: u64);
    fn bytes(&mut self, key: Key, bytes: &[u8]);
    fn message(&mut self, key: Key, fields: &impl Fields);

    /// The entries of a message. It nests in nothing, so it needn't be counted exactly: what counts may say a few bytes more.
    fn entries(&mut self, entries: &Entries);

    fn enumeration(&mut self, key: Key, value: i32) {
        self.number(key, u64::from(value.unsigned_abs()));
    }

    fn bool(&mut self, key: Key, value: bool) {
        self.number(key, u64::from(value));
    }

    fn node(&mut self, key: Key, node: Option<NodeId>) {
        self.number(key, node.map_or(0, NodeId::get));
    }

    fn number_unless_zero(&mut self, key: Key, number: u64) {
        if number != 0 {
            self.number(key, number);
        }
    }

    fn bytes_unless_empty(&mut self, key: Key, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes(key, bytes);
        }
    }
}

/// Counts.
struct Length(usize);

impl Length {
    /// Wraps: what is too long for any memory fails when it is to be reserved or written.
    #[inline]
    fn add(&mut self, len: usize) {
        self.0 = self.0.wrapping_add(len);
    }
}

impl Sink for Length {
    #[inline]
    fn number(&mut self, key: Key, number: u64) {
        self.add(varint_len(u64::from(key.get())));
        self.add(varint_len(number));
    }

    #[inline]
    fn bytes(&mut self, key: Key, bytes: &[u8]) {
        self.number(key, bytes.len() as u64);
        self.add(bytes.len());
    }

    #[inline]
    fn message(&mut self, key: Key, fields: &impl Fields) {
        let len = len(fields);
        self.number(key, len as u64);
        self.add(len);
    }

    fn entries(&mut self, entries: &Entries) {
        let all = entries.encoded_len();
        // None is longer than all of them, so its length takes no more bytes. To count them one by one takes a tenth of the time.
        let head = varint_len(all).wrapping_add(1);
        self.add((all as usize).wrapping_add(head.wrapping_mul(entries.len())));
    }
}

/// How many bytes a number takes: one for each seven bits. Small numbers are asked for first, for they are nearly all.
#[inline]
fn varint_len(number: u64) -> usize {
    match number {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => {
            let bits = 64_u32.saturating_sub(number.leading_zeros());
            bits.div_ceil(7) as usize
        }
    }
}

/// Writes.
impl Sink for BytesMut {
    #[inline]
    fn number(&mut self, key: Key, number: u64) {
        put_varint(self, u64::from(key.get()));
        put_varint(self, number);
    }

    #[inline]
    fn bytes(&mut self, key: Key, bytes: &[u8]) {
        self.number(key, bytes.len() as u64);
        self.put_slice(bytes);
    }

    #[inline]
    fn message(&mut self, key: Key, fields: &impl Fields) {
        self.number(key, len(fields) as u64);
        fields.put(self);
    }

    fn entries(&mut self, entries: &Entries) {
        let mut rest = entries.iter();
        while let Some(entry) = rest.next() {
            self.message(message::ENTRIES, entry);
            let Some(run) =
                Run::of(entry).filter(|run| rest.as_slice().first().is_some_and(|next| run.has(next)))
            else {
                continue;
            };
            let Some(head) = Head::new(entry) else { continue };
            while let Some(entry) = rest.as_slice().first().filter(|entry| run.has(entry)) {
                rest.next();
                head.put(entry, self);
            }
        }
    }
}

/// What commands have in common whose encodings differ, before the data, in the last seven bits of the index only: in a batch of
/// commands of one size nearly all.
#[derive(Clone, Copy)]
struct Run {
    term: Term,
    index: u64,
    len: usize,
}

impl Run {
    /// The run that this entry is one of; `None` if it is no command.
    #[inline(always)]
    fn of(entry: &Entry) -> Option<Run> {
        let Payload::Normal(data) = &entry.payload else { return None };
        Some(Run { term: entry.term, index: entry.index.get(), len: data.len() })
    }

    /// Is this one of the run?
    #[inline(always)]
    fn has(&self, entry: &Entry) -> bool {
        let Payload::Normal(data) = &entry.payload else { return false };
        data.len() == self.len && entry.term == self.term && (entry.index.get() ^ self.index) < 0x80
    }
}

/// What stands before the data in the encodings of the commands of a run, up to sixteen bytes, the first of them lowest.
struct Head {
    bytes: u128,
    len: usize,
    /// Where the last seven bits of the index belong; they are zero here.
    index_shift: u32,
}

impl Head {
    /// `None` for what isn't a command, and for one of few bytes or of unusually large numbers.
    #[inline]
    fn new(entry: &Entry) -> Option<Head> {
        let Payload::Normal(data) = &entry.payload else { return None };
        let term = Varint::new(entry.term.get())?;
        let index = Varint::new(entry.index.get() & !0x7f)?;
        let data_len = Varint::new(data.len() as u64)?;
        // Three keys, three numbers, the data.
        let numbers = term.len.wrapping_add(index.len).wrapping_add(data_len.len).wrapping_add(3);
        let len = Varint::new(u64::from(numbers).wrapping_add(data.len() as u64))?;

        let mut head = Varint { bytes: 0, len: 0 };
        head.push(message::ENTRIES, len)?;
        head.push(entry::TERM, term)?;
        let index_at = head.len.wrapping_add(1);
        head.push(entry::INDEX, index)?;
        head.push(entry::DATA, data_len)?;
        // The index begins in the lower half, which is all that is changed from one to the next. Sixteen bytes are written, so there
        // must be as many with the data, or a buffer that was made for all of the message could be too short at its end.
        (index_at < 8 && data.len().saturating_add(head.len as usize) >= 16).then_some(Head {
            bytes: head.bytes,
            len: head.len as usize,
            index_shift: index_at.wrapping_mul(8),
        })
    }

    #[inline]
    fn put(&self, entry: &Entry, buf: &mut BytesMut) {
        let Payload::Normal(data) = &entry.payload else { return };
        let index = (entry.index.get() & 0x7f).wrapping_shl(self.index_shift);
        let end = buf.len().wrapping_add(self.len);
        // All sixteen bytes at once, and then back to the end of what was meant.
        buf.put_u128_le(self.bytes | u128::from(index));
        buf.truncate(end);
        buf.put_slice(data);
    }
}

/// Up to sixteen bytes of an encoding, the first of them lowest.
#[derive(Clone, Copy)]
struct Varint {
    bytes: u128,
    len: u32,
}

impl Varint {
    /// A number, if it takes at most eight bytes.
    #[inline]
    fn new(number: u64) -> Option<Varint> {
        let mut bytes = 0;
        let mut rest = number;
        for len in 0..8_u32 {
            let shift = len.wrapping_mul(8);
            if rest < 0x80 {
                return Some(Varint {
                    bytes: u128::from(bytes | rest.wrapping_shl(shift)),
                    len: len.wrapping_add(1),
                });
            }
            bytes |= (rest & 0x7f | 0x80).wrapping_shl(shift);
            rest >>= 7;
        }
        None
    }

    /// Appends a field, if there is room for it.
    #[inline]
    fn push(&mut self, key: Key, number: Varint) -> Option<()> {
        let shift = self.len.wrapping_mul(8);
        let len = self.len.wrapping_add(number.len).wrapping_add(1);
        self.bytes |= (u128::from(key.get()) | number.bytes << 8).checked_shl(shift)?;
        self.len = len;
        (len <= 16).then_some(())
    }
}

#[inline]
fn put_varint(buf: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        buf.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    buf.put_u8(number as u8);
}

impl Fields for Message {
    fn put(&self, sink: &mut impl Sink) {
        let (kind, from) = match &self.body {
            Body::Propose(_) => (message_type::PROP, self.from),
            Body::AppendEntries(_) => (message_type::APP, self.from),
            Body::AppendEntriesReply(_) => (message_type::APP_RESP, self.from),
            Body::RequestVote(_) => (message_type::VOTE, self.from),
            Body::RequestVoteReply(_) => (message_type::VOTE_RESP, self.from),
            Body::PreVote(_) => (message_type::PRE_VOTE, self.from),
            Body::PreVoteReply(_) => (message_type::PRE_VOTE_RESP, self.from),
            Body::InstallSnapshot(_) => (message_type::SNAP, self.from),
            Body::Heartbeat(_) => (message_type::HEARTBEAT, self.from),
            Body::HeartbeatReply(_) => (message_type::HEARTBEAT_RESP, self.from),
            Body::TransferLeader(transfer) => (message_type::TRANSFER_LEADER, transfer.transferee),
            Body::TimeoutNow => (message_type::TIMEOUT_NOW, self.from),
            Body::ReadIndex(_) => (message_type::READ_INDEX, self.from),
            Body::ReadIndexReply(_) => (message_type::READ_INDEX_RESP, self.from),
        };
        sink.enumeration(message::TYPE, kind);
        sink.number(message::TO, self.to.get());
        sink.number(message::FROM, from.get());
        sink.number_unless_zero(message::TERM, self.term.get());
        match &self.body {
            Body::Propose(propose) => sink.entries(&propose.entries),
            Body::AppendEntries(append) => {
                sink.number_unless_zero(message::LOG_TERM, append.prev.term.get());
                sink.number_unless_zero(message::INDEX, append.prev.index.get());
                sink.entries(&append.entries);
                sink.number_unless_zero(message::COMMIT, append.commit.get());
            }
            Body::AppendEntriesReply(reply) => put_append_entries_reply(reply, sink),
            Body::RequestVote(request) | Body::PreVote(request) => put_request_vote(request, sink),
            Body::RequestVoteReply(reply) | Body::PreVoteReply(reply) => put_vote_reply(*reply, sink),
            Body::InstallSnapshot(install) => sink.message(message::SNAPSHOT, &install.snapshot),
            Body::Heartbeat(heartbeat) => {
                sink.number_unless_zero(message::COMMIT, heartbeat.commit.get());
                sink.bytes_unless_empty(message::CONTEXT, &heartbeat.context);
                sink.number_unless_zero(message::RELIED_MATCH, heartbeat.relied.index.get());
                sink.number_unless_zero(message::RELIED_TERM, heartbeat.relied.term.get());
            }
            Body::HeartbeatReply(reply) => sink.bytes_unless_empty(message::CONTEXT, &reply.context),
            Body::TransferLeader(_) | Body::TimeoutNow => {}
            Body::ReadIndex(read) => {
                put_read_context(&read.context, sink);
                sink.number_unless_zero(message::READ_ID, read.id);
                if read.lease {
                    sink.bool(message::LEASE_READ, true);
                }
            }
            Body::ReadIndexReply(reply) => {
                sink.number_unless_zero(message::INDEX, reply.index.get());
                put_read_context(&reply.context, sink);
                sink.number_unless_zero(message::READ_ID, reply.id);
            }
        }
    }
}

fn put_append_entries_reply(reply: &AppendEntriesReply, sink: &mut impl Sink) {
    match *reply {
        AppendEntriesReply::Accepted { index } => sink.number_unless_zero(message::INDEX, index.get()),
        AppendEntriesReply::Rejected { rejected, hint: LogPosition { term, index } } => {
            sink.number_unless_zero(message::LOG_TERM, term.get());
            sink.number_unless_zero(message::INDEX, rejected.get());
            sink.bool(message::REJECT, true);
            sink.number_unless_zero(message::REJECT_HINT, index.get());
        }
        AppendEntriesReply::SnapshotWanted { at_least } => {
            sink.bool(message::REJECT, true);
            sink.number_unless_zero(message::SNAPSHOT_AT_LEAST, at_least.get());
        }
    }
}

fn put_request_vote(request: &RequestVote, sink: &mut impl Sink) {
    sink.number_unless_zero(message::LOG_TERM, request.last.term.get());
    sink.number_unless_zero(message::INDEX, request.last.index.get());
    if request.by_transfer {
        sink.bytes(message::CONTEXT, CAMPAIGN_TRANSFER);
    }
    // The type `sint64`: the sign becomes the lowest bit.
    let zigzag = (request.priority << 1) ^ (request.priority >> 63);
    sink.number_unless_zero(message::PRIORITY, zigzag.cast_unsigned());
}

fn put_vote_reply(reply: VoteReply, sink: &mut impl Sink) {
    if let VoteReply::Refused { commit } = reply {
        sink.bool(message::REJECT, true);
        sink.number_unless_zero(message::COMMIT_INDEX, commit.index.get());
        sink.number_unless_zero(message::COMMIT_TERM, commit.term.get());
    }
}

/// The entry in which a read request and its answer carry the caller's bytes. There even if these are
/// empty: etcd takes it to be there.
fn put_read_context(context: &[u8], sink: &mut impl Sink) {
    sink.message(message::ENTRIES, &ReadContext(context));
}

struct ReadContext<'a>(&'a [u8]);

impl Fields for ReadContext<'_> {
    fn put(&self, sink: &mut impl Sink) {
        sink.number(entry::TERM, 0);
        sink.number(entry::INDEX, 0);
        sink.bytes(entry::DATA, self.0);
    }
}

impl Fields for Entry {
    #[inline]
    fn put(&self, sink: &mut impl Sink) {
        let kind = match &self.payload {
            Payload::Normal(_) | Payload::TermStart => None,
            Payload::RefusedChange => Some(entry_type::NORMAL),
            Payload::ConfChange(_) => Some(entry_type::CONF_CHANGE),
            Payload::ConfChangeV2(_) | Payload::LeaveJoint => Some(entry_type::CONF_CHANGE_V2),
        };
        if let Some(kind) = kind {
            sink.enumeration(entry::TYPE, kind);
        }
        sink.number(entry::TERM, self.term.get());
        sink.number(entry::INDEX, self.index.get());
        match &self.payload {
            Payload::Normal(data) => sink.bytes(entry::DATA, data),
            Payload::ConfChange(change) => sink.message(entry::DATA, &**change),
            Payload::ConfChangeV2(change) => sink.message(entry::DATA, &**change),
            Payload::TermStart | Payload::RefusedChange | Payload::LeaveJoint => {}
        }
    }
}

impl Fields for ConfChange {
    fn put(&self, sink: &mut impl Sink) {
        sink.number_unless_zero(conf_change::ID, self.id);
        sink.enumeration(conf_change::TYPE, conf_change_type(self.kind));
        sink.node(conf_change::NODE_ID, self.node);
        sink.bytes_unless_empty(conf_change::CONTEXT, &self.context);
    }
}

impl Fields for ConfChangeV2 {
    fn put(&self, sink: &mut impl Sink) {
        let transition = match self.transition {
            ConfChangeTransition::Auto => conf_change_transition::AUTO,
            ConfChangeTransition::JointImplicit => conf_change_transition::JOINT_IMPLICIT,
            ConfChangeTransition::JointExplicit => conf_change_transition::JOINT_EXPLICIT,
        };
        sink.enumeration(conf_change_v2::TRANSITION, transition);
        for single in &self.changes {
            sink.message(conf_change_v2::CHANGES, single);
        }
        sink.bytes_unless_empty(conf_change_v2::CONTEXT, &self.context);
    }
}

impl Fields for ConfChangeSingle {
    fn put(&self, sink: &mut impl Sink) {
        sink.enumeration(conf_change_single::TYPE, conf_change_type(self.kind));
        sink.node(conf_change_single::NODE_ID, self.node);
    }
}

fn conf_change_type(kind: ConfChangeKind) -> i32 {
    match kind {
        ConfChangeKind::AddVoter => conf_change_type::ADD_NODE,
        ConfChangeKind::Remove => conf_change_type::REMOVE_NODE,
        ConfChangeKind::Update => conf_change_type::UPDATE_NODE,
        ConfChangeKind::AddLearner => conf_change_type::ADD_LEARNER_NODE,
    }
}

impl Fields for HardState {
    fn put(&self, sink: &mut impl Sink) {
        sink.number(hard_state::TERM, self.term.get());
        sink.node(hard_state::VOTE, self.vote);
        sink.number(hard_state::COMMIT, self.commit.get());
    }
}

impl Fields for ConfState {
    fn put(&self, sink: &mut impl Sink) {
        let lists = [
            (conf_state::VOTERS, &self.voters),
            (conf_state::LEARNERS, &self.learners),
            (conf_state::VOTERS_OUTGOING, &self.voters_outgoing),
            (conf_state::LEARNERS_NEXT, &self.learners_next),
        ];
        for (key, nodes) in lists {
            for node in nodes {
                sink.number(key, node.get());
            }
        }
        sink.bool(conf_state::AUTO_LEAVE, self.auto_leave);
    }
}

impl Fields for Snapshot {
    fn put(&self, sink: &mut impl Sink) {
        sink.bytes_unless_empty(snapshot::DATA, &self.data);
        sink.message(snapshot::METADATA, &self.metadata);
    }
}

impl Fields for SnapshotMetadata {
    fn put(&self, sink: &mut impl Sink) {
        sink.message(snapshot_metadata::CONF_STATE, &self.conf_state);
        sink.number(snapshot_metadata::INDEX, self.index.get());
        sink.number(snapshot_metadata::TERM, self.term.get());
    }
}
