//! The end of the log in memory: perhaps a snapshot, then the entries that aren't durable yet, and those before them that
//! are durable but not yet handed out for application.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::ops::Range;

use raft_proto::{Entries, Entry, Index, LogPosition, Snapshot, Term};

/// The suffix of the log that the storage may not hold yet, and what is to be applied before it, so that this needn't be
/// read back.
///
/// ```text
///        stored │ kept, durable │ handed out, not yet durable │ not yet handed out
///   ────────────┼───────────────┼─────────────────────────────┼────────────────────
///         start ┘          base ┘                      handed ┘              last()
///               │ batches ····································│ open ···············
/// ```
#[derive(Clone, Debug, Default)]
pub(crate) struct Unstable {
    /// The last position that isn't kept here.
    start: LogPosition,
    /// The last position that is durable, or that of `snapshot`.
    base: LogPosition,
    last: LogPosition,
    snapshot: Option<Box<PendingSnapshot>>,
    /// Consecutive; none is empty.
    batches: VecDeque<Batch>,
    /// The encoded length of the batches.
    bytes: u64,
    /// What a leader has appended since it sent or handed out anything: they become one batch then.
    open: Vec<Entry>,
    /// The last index that was handed out to be written.
    handed: Index,
}

/// What isn't durable, however it is cut into batches. What is kept besides can be read from the storage as well.
impl Hash for Unstable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Unstable { start: _, base, last, snapshot, batches: _, bytes: _, open: _, handed } = self;
        (base, last, snapshot, handed).hash(state);
        self.from(base.index.next()).for_each(|entry| entry.hash(state));
    }
}

#[derive(Clone, Debug, Hash)]
struct PendingSnapshot {
    snapshot: Snapshot,
    handed: bool,
}

/// Entries, and between which indexes they lie.
#[derive(Clone, Debug)]
struct Batch {
    first: Index,
    last: LogPosition,
    entries: Entries,
}

impl Batch {
    fn of(entries: Entries) -> Option<Batch> {
        let (first, last) = (entries.first()?.index, entries.last()?.position());
        Some(Batch { first, last, entries })
    }
}

/// A buffer that once grew past this is given back when it has drained.
const KEEP_CAPACITY: usize = 64;

fn distance(from: Index, to: Index) -> usize {
    usize::try_from(to.since(from)).unwrap_or(usize::MAX)
}

impl Unstable {
    /// Nothing is unstable; the durable log ends at `last`.
    pub(crate) fn new(last: LogPosition) -> Unstable {
        Unstable { start: last, base: last, last, handed: last.index, ..Unstable::default() }
    }

    /// The last position before the entries that are kept here.
    pub(crate) fn start(&self) -> LogPosition {
        self.start
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.batches.shrink_to_fit();
        self.open.shrink_to_fit();
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

    /// The place of the batch that holds the entry at `index`.
    fn place(&self, index: Index) -> Option<usize> {
        let back = self.batches.back()?;
        if index > back.last.index {
            return None;
        }
        self.batches.partition_point(|batch| batch.first <= index).checked_sub(1)
    }

    /// The batch that holds the entry at `index`, which must lie behind `start`. What is sent stands in the last one, most likely,
    /// and what is applied in the first.
    #[inline]
    fn batch_at(&self, index: Index) -> Option<&Batch> {
        let back = self.batches.back()?;
        if index >= back.first {
            return Some(back).filter(|_| index <= back.last.index);
        }
        let front = self.batches.front().filter(|front| index <= front.last.index);
        front.or_else(|| self.place(index).and_then(|at| self.batches.get(at)))
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
        if index <= self.start.index {
            return Some(self.start.term).filter(|_| index == self.start.index);
        }
        match self.batch_at(index) {
            Some(batch) => batch.entries.get(distance(batch.first, index)).map(|entry| entry.term),
            None => self.open.get(distance(self.sealed(), index.prev())).map(|entry| entry.term),
        }
    }

    /// The last index in the batches.
    fn sealed(&self) -> Index {
        self.batches.back().map_or(self.start.index, |batch| batch.last.index)
    }

    /// The entries from `first` on, which must lie behind `start`.
    pub(crate) fn from(&self, first: Index) -> impl Iterator<Item = &Entry> {
        let at = self.place(first).unwrap_or(self.batches.len());
        let next = self.batches.get(at).map_or(self.sealed().next(), |batch| batch.first);
        let batches = self.batches.range(at..).flat_map(|batch| &batch.entries);
        batches.chain(&self.open).skip(distance(next, first))
    }

    /// The entries of a range that begins behind `start`, as far as `max_bytes` go, but at least one: without a copy, if they
    /// stand in one batch.
    pub(crate) fn page(&self, range: Range<Index>, max_bytes: u64) -> Entries {
        let mut page = Entries::default();
        if let Some(batch) = self.batch_at(range.start) {
            let is_all = batch.first == range.start && batch.last.index.next() == range.end;
            if is_all && batch.entries.encoded_len() <= max_bytes {
                return batch.entries.clone();
            }
            page = batch.entries.fitting(distance(batch.first, range.start), max_bytes);
            if range.end <= batch.last.index {
                page = page.slice(..distance(range.start, range.end));
            }
        }
        let next = page.last().map_or(range.start, |entry| entry.index.next());
        if next >= range.end {
            return page;
        }
        let mut bytes = page.encoded_len();
        let fits = |entry: &&Entry| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(entry.encoded_len());
            entry.index < range.end && (is_first || bytes <= max_bytes)
        };
        let count = self.from(next).take_while(fits).count();
        if count == 0 {
            return page;
        }
        page.iter().chain(self.from(next).take(count)).cloned().collect()
    }

    fn push(&mut self, entries: Entries) {
        if let Some(batch) = Batch::of(entries) {
            self.last = batch.last;
            self.bytes = self.bytes.saturating_add(batch.entries.encoded_len());
            self.batches.push_back(batch);
        }
    }

    /// Puts entries that follow `last` behind it, and takes them out of their buffer.
    pub(crate) fn append(&mut self, entries: &mut Vec<Entry>) {
        self.last = entries.last().map_or(self.last, Entry::position);
        if self.open.is_empty() {
            core::mem::swap(&mut self.open, entries);
        } else {
            self.open.append(entries);
        }
    }

    /// What was appended becomes a batch.
    #[inline]
    pub(crate) fn seal(&mut self) {
        if !self.open.is_empty() {
            self.seal_open();
        }
    }

    fn seal_open(&mut self) {
        let batch = self.open.drain(..).collect();
        self.push(batch);
        if self.open.capacity() > KEEP_CAPACITY {
            self.open = Vec::new();
        }
    }

    /// Puts `entries` behind `prev`, in place of whatever is there.
    pub(crate) fn replace_after(&mut self, prev: LogPosition, entries: Entries) {
        self.seal();
        if prev.index < self.last.index {
            if prev.index < self.start.index {
                self.start = prev;
            }
            if prev.index < self.base.index {
                self.base = prev;
            }
            self.cut_behind(prev.index);
            self.handed = self.handed.min(prev.index);
        }
        self.last = prev;
        self.push(entries);
    }

    /// Drops the batches behind `last`.
    fn cut_behind(&mut self, last: Index) {
        while let Some(batch) = self.batches.back().filter(|batch| batch.last.index > last) {
            self.bytes = self.bytes.saturating_sub(batch.entries.encoded_len());
            let stays = batch.entries.slice(..distance(batch.first, last.next()));
            self.batches.pop_back();
            self.push(stays);
        }
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
    pub(crate) fn hand_out(&mut self, into: &mut Entries) -> Option<&Snapshot> {
        if self.last.index > self.handed {
            self.seal();
            *into = self.joined(self.handed.next());
            self.handed = self.last.index;
        }
        let pending = self.snapshot.as_mut().filter(|pending| !pending.handed)?;
        pending.handed = true;
        Some(&pending.snapshot)
    }

    /// The entries from `first` on, which are one batch then.
    fn joined(&mut self, first: Index) -> Entries {
        if let Some(back) = self.batches.back()
            && back.first <= first
        {
            return back.entries.slice(distance(back.first, first)..);
        }
        let joined: Entries = self.from(first).cloned().collect();
        self.cut_behind(first.prev());
        self.push(joined.clone());
        joined
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
        if applying > self.start.index || self.bytes > max_bytes {
            self.forget_batches(applying, max_bytes);
        }
    }

    fn forget_batches(&mut self, applying: Index, max_bytes: u64) {
        while let Some(Batch { last, entries, .. }) = self.batches.front() {
            if last.index > self.base.index || (last.index > applying && self.bytes <= max_bytes) {
                return;
            }
            self.bytes = self.bytes.saturating_sub(entries.encoded_len());
            self.start = *last;
            self.batches.pop_front();
        }
        if self.batches.capacity() > KEEP_CAPACITY {
            self.batches = VecDeque::new();
        }
    }

    /// For how many batches and entries of its own there is room.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> (usize, usize) {
        (self.batches.capacity(), self.open.capacity())
    }

    /// The snapshot that covers up to `index` is durable. Returns whether it is the one that was pending.
    pub(crate) fn stable_snapshot(&mut self, index: Index) -> bool {
        let same = self.snapshot().is_some_and(|snapshot| snapshot.metadata.index == index);
        if same {
            self.snapshot = None;
        }
        same
    }
}
