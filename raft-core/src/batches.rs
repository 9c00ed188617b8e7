//! A part of a log in memory, as consecutive batches that are shared with who sent, writes and applies them.

#[cfg(test)]
pub(crate) mod tests;

use alloc::collections::VecDeque;
use core::ops::Range;

use raft_proto::{Entries, Entry, Index, LogPosition, Term};

use crate::entry_batches::EntryBatches;

/// From so many entries on a batch is worth handing out as it is, though a copy could take in what follows it.
const WORTH_SHARING: usize = 64;

/// A buffer that once grew past this is given back when it has drained.
pub(crate) const KEEP_CAPACITY: usize = 64;

/// Batches of entries without gaps between them; none is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batches {
    /// The last position before them.
    before: LogPosition,
    list: VecDeque<Batch>,
    /// The encoded length of all.
    bytes: u64,
}

/// Entries, and between which indexes they lie.
#[derive(Clone, Debug)]
struct Batch {
    first: Index,
    last: LogPosition,
    entries: Entries,
}

impl Batch {
    /// Is it just this range, of no more than `max_bytes`?
    #[inline]
    fn is(&self, range: &Range<Index>, max_bytes: u64) -> bool {
        self.first == range.start
            && self.last.index.next() == range.end
            && self.entries.encoded_len() <= max_bytes
    }
}

/// How many places apart two indexes are.
pub(crate) fn distance(from: Index, to: Index) -> usize {
    usize::try_from(to.since(from)).unwrap_or(usize::MAX)
}

impl Batches {
    /// None, behind this position.
    pub(crate) fn behind(before: LogPosition) -> Batches {
        Batches { before, ..Batches::default() }
    }

    /// The last position before the entries.
    pub(crate) fn before(&self) -> LogPosition {
        self.before
    }

    /// The encoded length of all.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The last position.
    #[inline]
    pub(crate) fn last(&self) -> LogPosition {
        self.list.back().map_or(self.before, |batch| batch.last)
    }

    /// For how many batches there is room.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.list.capacity()
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.list.shrink_to_fit();
    }

    /// The place of the batch that holds the entry at `index`.
    #[inline]
    fn place(&self, index: Index) -> Option<usize> {
        let back = self.list.back()?;
        if index > back.last.index {
            return None;
        }
        // What is sent stands in the last one, most likely, and what is applied in the first.
        if index >= back.first {
            return self.list.len().checked_sub(1);
        }
        if self.list.front().is_some_and(|front| index <= front.last.index) {
            return Some(0);
        }
        self.list.partition_point(|batch| batch.first <= index).checked_sub(1)
    }

    /// The term at `index`, if it is `before` or behind it.
    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index <= self.before.index {
            return Some(self.before.term).filter(|_| index == self.before.index);
        }
        let batch = self.list.get(self.place(index)?)?;
        if index == batch.last.index {
            return Some(batch.last.term);
        }
        batch.entries.get(distance(batch.first, index)).map(|entry| entry.term)
    }

    /// The entries from `first` on, which must lie behind `before`.
    pub(crate) fn from(&self, first: Index) -> impl Iterator<Item = &Entry> {
        let at = self.place(first).unwrap_or(self.list.len());
        let skip = self.list.get(at).map_or(0, |batch| distance(batch.first, first));
        self.list.range(at..).flat_map(|batch| &batch.entries).skip(skip)
    }

    /// The entries of a range that begins behind `before`, as far as `max_bytes` go, but at least one: without a copy where
    /// they stand in one batch. Where many were found it may end with a batch, so that the next page begins with one.
    #[inline]
    pub(crate) fn page(&self, range: Range<Index>, max_bytes: u64) -> Entries {
        let Some(at) = self.place(range.start) else { return Entries::default() };
        let Some(batch) = self.list.get(at) else { return Entries::default() };
        if batch.is(&range, max_bytes) {
            return batch.entries.clone();
        }
        self.part(at, range, max_bytes)
    }

    fn part(&self, at: usize, range: Range<Index>, max_bytes: u64) -> Entries {
        let mut ends = self.list.range(at..).map(|batch| batch.last.index.next());
        let end = ends.find(|end| *end >= range.end || distance(range.start, *end) >= WORTH_SHARING);
        let range = range.start..end.unwrap_or(range.end).min(range.end);
        let Some(batch) = self.list.get(at) else { return Entries::default() };
        let mut page = batch.entries.fitting(distance(batch.first, range.start), max_bytes);
        if range.end <= batch.last.index {
            page = page.slice(..distance(range.start, range.end));
        }
        extended(page, range, max_bytes, |next| self.from(next))
    }

    /// The entries from `first` on, without a copy.
    pub(crate) fn shared_from(&self, first: Index) -> EntryBatches {
        let part = |batch: &Batch| {
            if first <= batch.first {
                batch.entries.clone()
            } else {
                batch.entries.slice(distance(batch.first, first)..)
            }
        };
        match self.place(first) {
            None => EntryBatches::default(),
            Some(at) if at.saturating_add(1) == self.list.len() => {
                self.list.back().map(part).unwrap_or_default().into()
            }
            Some(at) => self.list.range(at..).map(part).collect(),
        }
    }

    /// Puts entries that follow the last one behind it.
    pub(crate) fn push(&mut self, entries: Entries) {
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            self.bytes = self.bytes.saturating_add(entries.encoded_len());
            if self.list.capacity() == 0 {
                // All that a log needs in which nothing happens.
                self.list.reserve_exact(1);
            }
            self.list.push_back(Batch { first: first.index, last: last.position(), entries });
        }
    }

    /// Drops the entries behind `last`.
    #[inline]
    pub(crate) fn cut_behind(&mut self, last: Index) {
        if self.last().index > last {
            self.cut(last);
        }
    }

    fn cut(&mut self, last: Index) {
        while let Some(batch) = self.list.back().filter(|batch| batch.last.index > last) {
            self.bytes = self.bytes.saturating_sub(batch.entries.encoded_len());
            let stays = batch.entries.slice(..distance(batch.first, last.next()));
            self.list.pop_back();
            self.push(stays);
        }
    }

    /// Drops batches from the first on, as long as this is true of the last index of one, and of how many encoded bytes there are.
    #[inline]
    pub(crate) fn drop_while(&mut self, needless: impl Fn(Index, u64) -> bool) {
        while let Some(batch) = self.list.front().filter(|batch| needless(batch.last.index, self.bytes)) {
            self.bytes = self.bytes.saturating_sub(batch.entries.encoded_len());
            self.before = batch.last;
            self.list.pop_front();
        }
        if self.list.capacity() > KEEP_CAPACITY {
            self.give_back();
        }
    }

    /// Is this range the first batch, of no more than `max_bytes`?
    #[inline]
    pub(crate) fn begin_with(&self, range: &Range<Index>, max_bytes: u64) -> bool {
        self.list.front().is_some_and(|batch| batch.is(range, max_bytes))
    }

    /// Takes out the first batch.
    #[inline(always)]
    pub(crate) fn take_first(&mut self) -> Entries {
        let Some(Batch { last, entries, .. }) = self.list.pop_front() else { return Entries::default() };
        self.bytes = self.bytes.saturating_sub(entries.encoded_len());
        self.before = last;
        if self.list.capacity() > KEEP_CAPACITY {
            self.give_back();
        }
        entries
    }

    /// A ring that grew large is given back when it has drained.
    #[cold]
    fn give_back(&mut self) {
        if self.list.is_empty() {
            self.list = VecDeque::new();
        }
    }

    /// Drops the entries up to this position, which is one of theirs. A batch of which only a part is dropped goes on holding all
    /// of its memory until more than half of it is; then the rest is copied.
    pub(crate) fn drop_up_to(&mut self, position: LogPosition) {
        self.drop_while(|last, _| last <= position.index);
        self.before = position;
        if let Some(batch) = self.list.front_mut() {
            let dropped = distance(batch.first, position.index.next());
            if dropped > batch.entries.len() / 2 {
                self.bytes = self.bytes.saturating_sub(batch.entries.encoded_len());
                batch.first = position.index.next();
                batch.entries = batch.entries.iter().skip(dropped).cloned().collect();
                self.bytes = self.bytes.saturating_add(batch.entries.encoded_len());
            }
        }
    }
}

/// A page, with a copy of what follows it up to the end of `range`, as far as `max_bytes` go, but at least one entry. A page of
/// many entries stays as it is.
pub(crate) fn extended<'a, I: Iterator<Item = &'a Entry>>(
    page: Entries,
    range: Range<Index>,
    max_bytes: u64,
    from: impl Fn(Index) -> I,
) -> Entries {
    let next = page.last().map_or(range.start, |entry| entry.index.next());
    if next >= range.end || page.len() >= WORTH_SHARING {
        return page;
    }
    let mut bytes = page.encoded_len();
    let fits = |entry: &&Entry| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(entry.encoded_len());
        entry.index < range.end && (is_first || bytes <= max_bytes)
    };
    let count = from(next).take_while(fits).count();
    if count == 0 {
        return page;
    }
    page.iter().cloned().chain(from(next).take(count).cloned()).collect()
}
