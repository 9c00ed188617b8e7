//! Batches of log entries that are shared.

#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Bound, Deref, RangeBounds};

use crate::Entry;
#[cfg(feature = "wire")]
use crate::{Index, Payload, Term};

/// A batch of entries that is shared, not copied: a clone, and a [`slice`](Entries::slice), holds the same memory. So the
/// log, what is to be written, the messages of a broadcast and what is to be applied can all be one batch.
///
/// It is used like a slice, and made [`from`](From) a `Vec` or by collecting. A part of a batch keeps the whole of it in
/// memory.
#[derive(Clone, Default)]
pub struct Entries {
    /// Nothing if there are no entries: then there is nothing to count references to.
    batch: Option<Arc<[Entry]>>,
    part: Part,
}

/// The sums over some entries. They saturate: entries can share a payload, so no memory bounds them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sums {
    encoded: u64,
    payload: u64,
}

impl Sums {
    fn of(entries: &[Entry]) -> Sums {
        let mut sums = Sums::default();
        // The length of positions that differ from this one in the last seven bits of the index only: in nearly every batch of all.
        let of = |entry: &Entry| (entry.position(), entry.position_len());
        let (mut like, mut position_len) = entries.first().map(of).unwrap_or_default();
        for entry in entries {
            if entry.term != like.term || (entry.index.get() ^ like.index.get()) >= 0x80 {
                (like, position_len) = of(entry);
            }
            let (len, field_len) = entry.payload.lens();
            sums.add(position_len.wrapping_add(field_len), len);
        }
        sums
    }

    /// One more entry, of these lengths.
    #[inline(always)]
    pub(crate) fn add(&mut self, encoded: u64, payload: u64) {
        self.encoded = self.encoded.saturating_add(encoded);
        self.payload = self.payload.saturating_add(payload);
    }
}

/// Which part of a batch, and its sums.
#[derive(Clone, Copy, Default)]
struct Part {
    /// How many entries of the batch stand before these, and how many behind them.
    before: u32,
    behind: u32,
    /// The sums over these entries, or the largest number if it wouldn't fit: a message is to stay small.
    encoded: u32,
    payload: u32,
}

impl Entries {
    /// As many entries as are told, which are filled in one after the other, where they stay. Who fills them in tells their sums.
    ///
    /// # Errors
    /// That of the first which can't be filled in.
    #[cfg(feature = "wire")]
    #[inline(always)]
    pub(crate) fn filled<E>(
        count: usize,
        fill: impl FnOnce(&mut [Entry]) -> Result<Sums, E>,
    ) -> Result<Entries, E> {
        let blank = |_| Entry { payload: Payload::TermStart, term: Term::ZERO, index: Index::ZERO };
        let mut entries: Arc<[Entry]> = (0..count).map(blank).collect();
        // Nobody else has them yet.
        let sums = fill(Arc::get_mut(&mut entries).unwrap_or_default())?;
        let filled = Entries { batch: Some(entries), part: Part::default() };
        Ok(if count == 0 { Entries::default() } else { filled.with(sums) })
    }

    fn new(batch: Arc<[Entry]>, before: u32, behind: u32) -> Entries {
        let uncounted = Entries { batch: Some(batch), part: Part { before, behind, ..Part::default() } };
        let sums = Sums::of(&uncounted);
        uncounted.with(sums)
    }

    fn with(mut self, sums: Sums) -> Entries {
        self.part.encoded = u32::try_from(sums.encoded).unwrap_or(u32::MAX);
        self.part.payload = u32::try_from(sums.payload).unwrap_or(u32::MAX);
        self
    }

    /// Is there none?
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.batch.is_none()
    }

    /// The sum of their [`Entry::encoded_len`], in bytes. It was counted when the batch was made.
    pub fn encoded_len(&self) -> u64 {
        if self.part.encoded == u32::MAX {
            sum_of(self, Entry::encoded_len)
        } else {
            self.part.encoded.into()
        }
    }

    /// The sum of the [`Payload::len`](crate::Payload::len) of their payloads, in bytes. It was counted when the batch was
    /// made.
    #[inline]
    pub fn payload_len(&self) -> u64 {
        if self.part.payload == u32::MAX {
            sum_of(self, |entry| entry.payload.len())
        } else {
            self.part.payload.into()
        }
    }

    /// A part of them. What lies outside of them is left out.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Entries {
        let start = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(at) => at.saturating_add(1),
            Bound::Excluded(at) => *at,
            Bound::Unbounded => usize::MAX,
        };
        let end = end.min(self.len());
        if start == 0 && end == self.len() {
            return self.clone();
        }
        let (Some(batch), Some(part)) = (&self.batch, self.get(start..end).filter(|part| !part.is_empty()))
        else {
            return Entries::default();
        };
        let more = |old: u32, more: usize| u32::try_from(more).ok().and_then(|more| old.checked_add(more));
        match (more(self.part.before, start), more(self.part.behind, self.len().saturating_sub(end))) {
            (Some(before), Some(behind)) => Entries::new(batch.clone(), before, behind),
            (None, _) | (_, None) => part.to_vec().into(),
        }
    }

    /// As many of those from the place `first` on as have no more than `max_bytes` in [`encoded_len`](Entries::encoded_len)
    /// together; but at least one, if there is one.
    #[must_use]
    pub fn fitting(&self, first: usize, max_bytes: u64) -> Entries {
        if first == 0 && self.encoded_len() <= max_bytes {
            return self.clone();
        }
        let mut bytes: u64 = 0;
        let fits = |entry: &&Entry| {
            bytes = bytes.saturating_add(entry.encoded_len());
            bytes <= max_bytes
        };
        let count = self.iter().skip(first).take_while(fits).count();
        self.slice(first..first.saturating_add(count.max(1)))
    }
}

fn sum_of(entries: &[Entry], len: impl Fn(&Entry) -> u64) -> u64 {
    entries.iter().fold(0, |sum, entry| sum.saturating_add(len(entry)))
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        let Some(batch) = &self.batch else { return &[] };
        let before = usize::try_from(self.part.before).unwrap_or(usize::MAX);
        let end = batch.len().saturating_sub(usize::try_from(self.part.behind).unwrap_or(usize::MAX));
        batch.get(before..end).unwrap_or_default()
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Entries {
        if entries.is_empty() { Entries::default() } else { Entries::new(entries.into(), 0, 0) }
    }
}

impl<const N: usize> From<[Entry; N]> for Entries {
    fn from(entries: [Entry; N]) -> Entries {
        entries.into_iter().collect()
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Entries {
        let entries = entries.into_iter();
        if entries.size_hint() == (0, Some(0)) {
            return Entries::default();
        }
        let batch: Arc<[Entry]> = entries.collect();
        if batch.is_empty() { Entries::default() } else { Entries::new(batch, 0, 0) }
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Entry;
    type IntoIter = core::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Each entry is cloned: its payload is shared.
impl IntoIterator for Entries {
    type Item = Entry;
    type IntoIter = alloc::vec::IntoIter<Entry>;

    #[allow(clippy::unnecessary_to_owned, reason = "the iterator is to own what it gives")]
    fn into_iter(self) -> Self::IntoIter {
        self.to_vec().into_iter()
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Entries) -> bool {
        **self == **other
    }
}

impl Eq for Entries {}

impl PartialEq<Vec<Entry>> for Entries {
    fn eq(&self, other: &Vec<Entry>) -> bool {
        **self == **other
    }
}

impl Hash for Entries {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}
