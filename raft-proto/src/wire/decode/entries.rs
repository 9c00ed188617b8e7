//! The entries of a message, read right into the memory in which they stay, and an entry by itself.

use alloc::sync::Arc;
use core::ops::Range;

use bytes::Bytes;

use super::changes::{read_conf_change, read_conf_change_v2};
use super::{NESTED, Result, index, term};
use crate::entries::Sums;
use crate::entry::bytes_field_len;
use crate::wire::numbers::{entry, entry_type, message};
use crate::wire::reader::Reader;
use crate::wire::{DecodeError, Flaw};
use crate::{Entries, Entry, Index, Payload, Term};

/// Where the entries of a message lie.
#[derive(Clone, Copy, Default)]
pub(super) struct RawEntries<'a> {
    /// Stands in front of those that weren't read yet.
    reader: Reader<'a>,
    pub(super) count: usize,
}

impl<'a> RawEntries<'a> {
    /// Counts one whose key, as a single byte, stands here, and all that follow right away.
    #[inline(always)]
    pub(super) fn count(&mut self, mut here: Reader<'a>, reader: &mut Reader<'a>) -> Result<(), Flaw> {
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
    pub(super) fn note(&mut self, here: Reader<'a>) {
        if self.count == 0 {
            self.reader = here;
        }
        self.count = self.count.wrapping_add(1);
    }

    /// The next one. Between two of them there may be other fields.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Reader<'a>, Flaw> {
        if !self.reader.eat(message::ENTRIES) {
            self.reader.pass_until(message::ENTRIES)?;
        }
        self.reader.message()
    }

    pub(super) fn check(mut self) -> Result<(), Flaw> {
        (0..self.count).try_for_each(|_| RawEntry::read(self.next()?, NESTED).map(drop))
    }

    #[inline(never)]
    pub(super) fn read(self, source: &Bytes) -> Result<Entries> {
        let mut reading =
            Reading { raw: self, source, last_len: 0, alike: Alike::NOTHING, sums: Sums::default() };
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
            Ok(reading.sums)
        })
    }

    pub(super) fn read_proposals(mut self, source: &Bytes) -> Result<Entries> {
        Entries::filled(self.count, |entries| {
            let mut sums = Sums::default();
            for entry in entries {
                *entry = RawEntry::read(self.next()?, NESTED)?.proposal(source)?;
                sums.add(entry.encoded_len(), entry.payload.len());
            }
            Ok(sums)
        })
    }
}

/// Puts a command's data in its place. An entry without any is complete already.
#[inline(always)]
fn put(entry: &mut Entry, data: Bytes) {
    if !data.is_empty() {
        // There is nothing yet that would have to be dropped.
        core::mem::forget(core::mem::replace(&mut entry.payload, Payload::Normal(data)));
    }
}

/// The entries of a message, while they are read.
struct Reading<'a> {
    raw: RawEntries<'a>,
    source: &'a Bytes,
    /// The length of the last one.
    last_len: usize,
    alike: Alike,
    sums: Sums,
}

impl Reading<'_> {
    /// Reads an entry, and returns where the data lie that belong into it, if any are yet to be put there.
    #[inline(always)]
    fn next(&mut self, entry: &mut Entry) -> Result<Range<usize>> {
        if let Some((index, data)) = self.alike.read(&mut self.raw.reader) {
            entry.term = self.alike.term;
            entry.index = index;
            self.sums.add(self.alike.encoded_len, data.len() as u64);
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
            self.sums.add(entry.encoded_len(), entry.payload.len());
            return Ok(0..0);
        };
        entry.term = command.term;
        entry.index = command.index;
        let data_len = command.data.len() as u64;
        let encoded_len = entry.position_len().wrapping_add(bytes_field_len(data_len));
        self.sums.add(encoded_len, data_len);
        // Two of one length are the beginning of a run.
        let len = self.raw.reader.position().wrapping_sub(start.position());
        if len == self.last_len {
            self.alike = Alike::new(start, len, &command, encoded_len).unwrap_or(Alike::NOTHING);
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
    /// The length that they have as we write them.
    encoded_len: u64,
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
        encoded_len: 0,
        term: Term::ZERO,
        index: 0,
        index_shift: 0,
    };

    /// What has this command in common with others? It starts with the key of the entry and has this length from there.
    fn new(start: Reader<'_>, len: usize, command: &Command, encoded_len: u64) -> Option<Alike> {
        let bits = |place: usize| place.checked_sub(start.position())?.checked_mul(8)?.try_into().ok();
        let index_shift: u32 = bits(command.index_at)?;
        let ignored = u128::MAX.checked_shl(bits(command.data.start)?).unwrap_or_default();
        let data_at = command.data.start.checked_sub(start.position())?;
        (data_at <= 16 && index_shift < 64).then_some(Alike {
            head: u128::from_le_bytes(*start.peek()?),
            same: !(ignored | 0x7f_u128.wrapping_shl(index_shift)),
            data_at,
            len,
            encoded_len,
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
pub(super) struct RawEntry {
    kind: Option<i32>,
    term: u64,
    index: u64,
    pub(super) data: Option<Range<usize>>,
}

impl RawEntry {
    #[inline(never)]
    pub(super) fn read(mut reader: Reader<'_>, depth: u8) -> Result<RawEntry, Flaw> {
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
    pub(super) fn entry(self, source: &Bytes) -> Result<Entry> {
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
