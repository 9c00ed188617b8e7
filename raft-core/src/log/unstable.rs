//! The end of the log in memory: perhaps a snapshot, then the entries that aren't durable yet, and those before them that
//! are durable but not yet handed out for application.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::ops::Range;

use raft_proto::{Entries, Entry, Index, LogPosition, Snapshot, Term};

use crate::batches::{Batches, KEEP_CAPACITY, distance, extended};
use crate::entry_batches::EntryBatches;

/// The suffix of the log that the storage may not hold yet, and what is to be applied before it, so that this needn't be
/// read back.
///
/// ```text
///        stored │ kept, durable │ handed out, not yet durable │ not yet handed out
///   ────────────┼───────────────┼─────────────────────────────┼────────────────────
///       start() ┘          base ┘                      handed ┘              last()
///               │ batches ····································│ open ···············
/// ```
#[derive(Clone, Debug, Default)]
pub(crate) struct Unstable {
    /// The last position that is durable, or that of `snapshot`.
    base: LogPosition,
    last: LogPosition,
    snapshot: Option<Box<PendingSnapshot>>,
    /// They begin behind `start()`.
    batches: Batches,
    /// Nothing until something is proposed here.
    open: Option<Box<Open>>,
    /// The last index that was handed out to be written.
    handed: Index,
}

/// What a leader has appended.
#[derive(Clone, Debug, Default)]
struct Open {
    /// What it has appended since it sent or handed out anything: they become one batch then.
    entries: Vec<Entry>,
    /// An empty buffer for the next ones.
    spare: Vec<Entry>,
}

impl Open {
    #[inline(never)]
    fn seal(&mut self, batches: &mut Batches) {
        batches.push(self.entries.drain(..).collect());
        if self.entries.capacity() > KEEP_CAPACITY {
            self.entries = Vec::new();
        }
    }
}

/// What isn't durable, however it is cut into batches. What is kept besides can be read from the storage as well.
impl Hash for Unstable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Unstable { base, last, snapshot, batches: _, open: _, handed } = self;
        (base, last, snapshot, handed).hash(state);
        self.from(base.index.next()).for_each(|entry| entry.hash(state));
    }
}

#[derive(Clone, Debug, Hash)]
struct PendingSnapshot {
    snapshot: Snapshot,
    handed: bool,
}

impl Unstable {
    /// Nothing is unstable; the durable log ends at `last`.
    pub(crate) fn new(last: LogPosition) -> Unstable {
        let batches = Batches::behind(last);
        Unstable { batches, base: last, last, handed: last.index, ..Unstable::default() }
    }

    /// The last position before the entries that are kept here.
    pub(crate) fn start(&self) -> LogPosition {
        self.batches.before()
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.batches.shrink_to_fit();
        self.open.take_if(|open| open.entries.is_empty());
    }

    /// The encoded length of all that is kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.open()
            .iter()
            .fold(self.batches.bytes(), |bytes, entry| bytes.saturating_add(entry.encoded_len()))
    }

    /// The last position before the unstable entries.
    pub(crate) fn base(&self) -> LogPosition {
        self.base
    }

    #[inline(always)]
    pub(crate) fn last(&self) -> LogPosition {
        self.last
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last.index == self.base.index
    }

    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref().map(|pending| &pending.snapshot)
    }

    /// The term at `index`, if it is `start` or behind it.
    #[inline]
    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index == self.last.index {
            Some(self.last.term)
        } else if index == self.base.index {
            Some(self.base.term)
        } else if index > self.last.index {
            None
        } else {
            self.term_before(index)
        }
    }

    fn term_before(&self, index: Index) -> Option<Term> {
        let sealed = self.batches.last().index;
        if index <= sealed {
            return self.batches.term(index);
        }
        self.open().get(distance(sealed, index.prev())).map(|entry| entry.term)
    }

    /// The entries from `first` on, which must lie behind `start`.
    pub(crate) fn from(&self, first: Index) -> impl Iterator<Item = &Entry> {
        let skip = distance(self.batches.last().index.next(), first);
        self.batches.from(first).chain(self.open().iter().skip(skip))
    }

    /// The entries of a range that begins behind `start`, as far as `max_bytes` go, but at least one: without a copy, if they
    /// stand in one batch. Where many stand in the first, those in the next may be left out.
    pub(crate) fn page(&self, range: Range<Index>, max_bytes: u64) -> Entries {
        let page = self.batches.page(range.clone(), max_bytes);
        extended(page, range, max_bytes, |next| self.from(next))
    }

    /// What isn't in a batch yet.
    fn open(&self) -> &[Entry] {
        self.open.as_ref().map_or(&[], |open| &open.entries)
    }

    /// An empty buffer for entries that are to be appended.
    #[inline]
    pub(crate) fn take_buffer(&mut self) -> Vec<Entry> {
        self.open.as_mut().map_or_else(Vec::new, |open| core::mem::take(&mut open.spare))
    }

    /// The buffer is done with.
    #[inline]
    pub(crate) fn keep_buffer(&mut self, mut buffer: Vec<Entry>) {
        buffer.clear();
        if let Some(open) = &mut self.open
            && buffer.capacity() <= KEEP_CAPACITY
        {
            open.spare = buffer;
        }
    }

    /// Puts entries that follow `last` behind it, and takes them out of their buffer.
    pub(crate) fn append(&mut self, entries: &mut Vec<Entry>) {
        self.last = entries.last().map_or(self.last, Entry::position);
        let open = self.open.get_or_insert_default();
        if open.entries.is_empty() {
            core::mem::swap(&mut open.entries, entries);
        } else {
            open.entries.append(entries);
        }
    }

    /// What was appended becomes a batch.
    #[inline]
    pub(crate) fn seal(&mut self) {
        if let Some(open) = &mut self.open
            && !open.entries.is_empty()
        {
            open.seal(&mut self.batches);
        }
    }

    /// Puts `entries` behind `prev`, in place of whatever is there.
    pub(crate) fn replace_after(&mut self, prev: LogPosition, entries: Entries) {
        self.seal();
        if prev.index < self.last.index {
            if prev.index < self.start().index {
                self.batches = Batches::behind(prev);
            }
            if prev.index < self.base.index {
                self.base = prev;
            }
            self.batches.cut_behind(prev.index);
            self.handed = self.handed.min(prev.index);
        }
        self.batches.push(entries);
        self.last = self.batches.last();
    }

    /// The log is replaced by a snapshot.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        *self = Unstable::new(snapshot.position());
        self.snapshot = Some(Box::new(PendingSnapshot { snapshot, handed: false }));
    }

    /// Is there anything to write that wasn't handed out?
    pub(crate) fn has_work(&self) -> bool {
        self.last.index > self.handed || self.snapshot.as_ref().is_some_and(|pending| !pending.handed)
    }

    /// The snapshot and the entries to write, which count as handed out from here on.
    pub(crate) fn hand_out(&mut self, into: &mut EntryBatches) -> Option<&Snapshot> {
        if self.last.index > self.handed {
            self.seal();
            *into = self.batches.shared_from(self.handed.next());
            self.handed = self.last.index;
        }
        let pending = self.snapshot.as_mut().filter(|pending| !pending.handed)?;
        pending.handed = true;
        Some(&pending.snapshot)
    }

    /// The entries up to `index`, which were handed out, are durable.
    pub(crate) fn stable_to(&mut self, index: Index) {
        let index = index.min(self.last.index);
        if index > self.base.index
            && let Some(term) = self.term(index)
        {
            self.base = LogPosition::new(term, index);
        }
    }

    /// Forgets batches that are durable: those up to `applying`, which are handed out for application, and where more than
    /// `max_bytes` are kept, others too.
    #[inline]
    pub(crate) fn forget(&mut self, applying: Index, max_bytes: u64) {
        if applying <= self.batches.before().index && self.batches.bytes() <= max_bytes {
            return;
        }
        let durable = self.base.index;
        self.batches.drop_while(|last, bytes| last <= durable && (last <= applying || bytes > max_bytes));
    }

    /// Is this range the first batch, durable and no more than `max_bytes`?
    #[inline]
    pub(crate) fn begins_with(&self, range: &Range<Index>, max_bytes: u64) -> bool {
        range.end <= self.base.index.next() && self.batches.begin_with(range, max_bytes)
    }

    /// The first batch, which is kept no longer.
    #[inline(always)]
    pub(crate) fn take_first(&mut self) -> Entries {
        self.batches.take_first()
    }

    /// For how many batches and entries of its own there is room.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> (usize, usize) {
        (self.batches.capacity(), self.open.as_ref().map_or(0, |open| open.entries.capacity()))
    }

    /// The snapshot is durable. Returns what it covers.
    pub(crate) fn stable_snapshot(&mut self) -> Option<Index> {
        self.snapshot.take().map(|pending| pending.snapshot.metadata.index)
    }
}
