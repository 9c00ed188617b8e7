//! Protobuf, field by field, without knowing any message.

use core::ops::Range;

use super::Flaw;
use super::numbers::{Key, WireType};

type Result<T> = core::result::Result<T, Flaw>;

/// How deep messages and groups may nest, as in most implementations.
pub(super) const DEPTH: u8 = 100;

/// Reads the fields of one message, in the order in which they stand there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reader<'a> {
    /// All that was received, to the end of the message.
    bytes: &'a [u8],
    /// How much of that is read.
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The key of the next field, whose value must be read next; `None` at the end.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Result<Option<Key>> {
        if self.is_at_end() {
            return Ok(None);
        }
        let key = u32::try_from(self.varint()?).map_err(|_| Flaw::FieldNumber)?;
        Ok(Some(Key::read(key)))
    }

    /// Is this the key of the next field? It is passed over then. For keys of one byte: a quick way to read fields in the order
    /// in which they are usually written.
    #[inline(always)]
    pub(super) fn eat(&mut self, key: Key) -> bool {
        let is_next = self.bytes.get(self.at).is_some_and(|byte| u32::from(*byte) == key.get());
        if is_next {
            self.at = self.at.wrapping_add(1);
        }
        is_next
    }

    /// A number.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Result<u64> {
        // Up to four bytes are nearly all that there is: keys, lengths, terms, indexes.
        let mut at = self.at;
        let mut value = 0;
        for shift in [0_u32, 7, 14, 21] {
            let byte = *self.bytes.get(at).ok_or(Flaw::Truncated)?;
            at = at.wrapping_add(1);
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                self.at = at;
                return Ok(value);
            }
        }
        (value, self.at) = long_varint(self.bytes, self.at)?;
        Ok(value)
    }

    /// A number of the type `int32`, or an enum: what doesn't fit is cut off.
    #[inline]
    pub(super) fn int32(&mut self) -> Result<i32> {
        Ok(self.varint()? as i32)
    }

    /// A number of the type `sint64`: the sign is the lowest bit.
    pub(super) fn sint64(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
    }

    pub(super) fn bool(&mut self) -> Result<bool> {
        Ok(self.varint()? != 0)
    }

    /// Where bytes lie, whose length stands in front of them.
    #[inline(always)]
    pub(super) fn bytes(&mut self) -> Result<Range<usize>> {
        let len = self.varint()?;
        self.take(len)
    }

    /// A message in the message.
    #[inline(always)]
    pub(super) fn message(&mut self) -> Result<Reader<'a>> {
        let range = self.bytes()?;
        Ok(Reader::of(self.bytes, range))
    }

    /// How much of all that was received is read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next bytes, if so many are left.
    #[inline(always)]
    pub(super) fn peek<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.bytes.get(self.at..)?.first_chunk()
    }

    /// Passes over so many bytes, if they are there.
    #[inline(always)]
    pub(super) fn advance(&mut self, len: usize) -> Option<()> {
        let end = self.at.checked_add(len)?;
        if end > self.bytes.len() {
            return None;
        }
        self.at = end;
        Some(())
    }

    /// Reads the message that lies there.
    #[inline(always)]
    pub(super) fn of(bytes: &'a [u8], range: Range<usize>) -> Reader<'a> {
        Reader { bytes: bytes.get(..range.end).unwrap_or_default(), at: range.start }
    }

    /// Passes over a field whose key isn't among those of the message: one that a later version has. One that is, but for the
    /// wire type, is a mistake. So many levels may yet nest in it.
    #[inline(always)]
    pub(super) fn other(&mut self, key: Key, is_known: fn(u32) -> bool, depth: u8) -> Result<()> {
        self.at = other(self.bytes, self.at, key, is_known, depth)?;
        Ok(())
    }

    /// Passes over fields until one of this key comes, and over its key.
    #[inline(always)]
    pub(super) fn pass_until(&mut self, key: Key) -> Result<()> {
        self.at = pass_until(self.bytes, self.at, key)?;
        Ok(())
    }

    /// Recurses at most [`DEPTH`] times, in small frames.
    fn skip(&mut self, key: Key, depth: u8) -> Result<()> {
        let depth = depth.checked_sub(1).ok_or(Flaw::TooDeep)?;
        match wire_type(key)? {
            WireType::Varint => self.varint().map(drop),
            WireType::Fixed64 => self.take(8).map(drop),
            WireType::Delimited => self.bytes().map(drop),
            WireType::Fixed32 => self.take(4).map(drop),
            WireType::GroupStart => loop {
                let inner = self.key()?.ok_or(Flaw::Truncated)?;
                if wire_type(inner)? == WireType::GroupEnd && inner.field() == key.field() {
                    return Ok(());
                }
                self.skip(inner, depth)?;
            },
            WireType::GroupEnd => Err(Flaw::GroupEnd),
        }
    }

    #[inline(always)]
    fn take(&mut self, len: u64) -> Result<Range<usize>> {
        let start = self.at;
        usize::try_from(len).ok().and_then(|len| self.advance(len)).ok_or(Flaw::Truncated)?;
        Ok(start..self.at)
    }
}

#[cold]
#[inline(never)]
fn other(bytes: &[u8], at: usize, key: Key, is_known: fn(u32) -> bool, depth: u8) -> Result<usize> {
    let mut reader = Reader { bytes, at };
    wire_type(key)?;
    if is_known(key.field()) {
        return Err(Flaw::WrongWireType);
    }
    reader.skip(key, depth)?;
    Ok(reader.at)
}

#[cold]
#[inline(never)]
fn pass_until(bytes: &[u8], at: usize, wanted: Key) -> Result<usize> {
    let mut reader = Reader { bytes, at };
    loop {
        let key = reader.key()?.ok_or(Flaw::Truncated)?;
        if key == wanted {
            return Ok(reader.at);
        }
        reader.skip(key, DEPTH)?;
    }
}

fn wire_type(key: Key) -> Result<WireType> {
    if key.field() == 0 {
        return Err(Flaw::FieldNumber);
    }
    key.wire_type().ok_or(Flaw::UnknownWireType)
}

/// A number of any length, and where it ends.
#[inline(never)]
fn long_varint(bytes: &[u8], start: usize) -> Result<(u64, usize)> {
    let mut value = 0;
    let mut at = start;
    for shift in (0..64_u32).step_by(7) {
        let byte = *bytes.get(at).ok_or(Flaw::Truncated)?;
        at = at.wrapping_add(1);
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        if byte < 0x80 {
            // Of the tenth byte one bit is left.
            if shift == 63 && byte > 1 {
                return Err(Flaw::VarintTooLong);
            }
            return Ok((value, at));
        }
    }
    Err(Flaw::VarintTooLong)
}
