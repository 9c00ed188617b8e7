//! Protobuf, field by field, without knowing any message.

use super::Flaw;
use super::numbers::{Key, WireType};

type Result<T> = core::result::Result<T, Flaw>;

/// How deep messages and groups may nest, as in most implementations.
const DEPTH: u8 = 100;

/// Reads the fields of one message, in the order in which they stand there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// How deep what is skipped may yet nest.
    depth: u8,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, depth: DEPTH }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The key of the next field, whose value must be read next; `None` at the end.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Option<Key>> {
        if self.is_at_end() {
            return Ok(None);
        }
        let key = u32::try_from(self.varint()?).map_err(|_| Flaw::FieldNumber)?;
        Ok(Some(Key::read(key)))
    }

    /// A number.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64> {
        // One byte and two are nearly all that there is: keys, lengths, terms.
        match *self.rest {
            [low, ref rest @ ..] if low < 0x80 => {
                self.rest = rest;
                Ok(u64::from(low))
            }
            [low, high, ref rest @ ..] if high < 0x80 => {
                self.rest = rest;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64> {
        let mut rest = self.rest;
        let mut value = 0;
        for shift in (0..64_u32).step_by(7) {
            let (&byte, after) = rest.split_first().ok_or(Flaw::Truncated)?;
            rest = after;
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                // Of the tenth byte one bit is left.
                if shift == 63 && byte > 1 {
                    return Err(Flaw::VarintTooLong);
                }
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(Flaw::VarintTooLong)
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

    /// Bytes of a length that stands in front of them.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.varint()?;
        self.take(len)
    }

    /// A message in the message.
    #[inline]
    pub(super) fn message(&mut self) -> Result<Reader<'a>> {
        Ok(Reader { rest: self.bytes()?, depth: self.depth.saturating_sub(1) })
    }

    /// Passes over a field whose key isn't among those of the message: one that a later version has. One that is, but for the
    /// wire type, is a mistake.
    #[cold]
    pub(super) fn other(&mut self, key: Key, is_known: fn(u32) -> bool) -> Result<()> {
        wire_type(key)?;
        if is_known(key.field()) {
            return Err(Flaw::WrongWireType);
        }
        self.skip(key, self.depth)
    }

    /// Passes over any field.
    #[cold]
    pub(super) fn pass(&mut self, key: Key) -> Result<()> {
        self.skip(key, self.depth)
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

    #[inline]
    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let len = usize::try_from(len).map_err(|_| Flaw::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Flaw::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn wire_type(key: Key) -> Result<WireType> {
    if key.field() == 0 {
        return Err(Flaw::FieldNumber);
    }
    key.wire_type().ok_or(Flaw::UnknownWireType)
}
