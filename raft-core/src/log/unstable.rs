//! The part of the log that isn't durable yet: perhaps a snapshot, then entries.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use raft_proto::{Entry, Index, LogPosition, Snapshot, Term};

/// The suffix of the log that the storage may not hold yet.
///
/// ```text
///        durable │ handed out, not yet durable │ not yet handed out
///   ─────────────┼─────────────────────────────┼────────────────────
///           base ┘                      handed ┘              last()
/// ```
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Unstable {
    /// The last position before `entries`: durable, or that of `snapshot`.
    base: LogPosition,
    snapshot: Option<Box<PendingSnapshot>>,
    entries: VecDeque<Entry>,
    /// The last index that was handed out to be written.
    handed: Index,
}

#[derive(Clone, Debug, Hash)]
struct PendingSnapshot {
    snapshot: Snapshot,
    handed: bool,
}

/// A buffer that once grew past this many entries is given back when it has drained.
const KEEP_CAPACITY: usize = 64;

impl Unstable {
    /// Nothing is unstable; the durable log ends at `last`.
    pub(crate) fn new(last: LogPosition) -> Unstable {
        Unstable { base: last, snapshot: None, entries: VecDeque::new(), handed: last.index }
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// The last position before the unstable entries.
    pub(crate) fn base(&self) -> LogPosition {
        self.base
    }

    #[inline(always)]
    pub(crate) fn last(&self) -> LogPosition {
        self.entries.back().map_or(self.base, Entry::position)
    }

    /// The entries are consecutive.
    pub(crate) fn last_index(&self) -> Index {
        self.base.index.plus(u64::try_from(self.entries.len()).unwrap_or(u64::MAX))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref().map(|pending| &pending.snapshot)
    }

    fn offset(&self, index: Index) -> usize {
        usize::try_from(index.since(self.base.index.next())).unwrap_or(usize::MAX)
    }

    /// The term at `index`, if it is the base or among the entries.
    #[inline]
    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        if index < self.base.index {
            return None;
        }
        self.entries.get(self.offset(index)).map(|entry| entry.term)
    }

    /// The entries from `first` on, which must lie behind the base.
    pub(crate) fn from(&self, first: Index) -> impl Iterator<Item = &Entry> {
        self.entries.range(self.offset(first).min(self.entries.len())..)
    }

    /// Puts `entries` behind `prev`, in place of whatever is there.
    pub(crate) fn replace_after(&mut self, prev: LogPosition, entries: impl IntoIterator<Item = Entry>) {
        if prev.index < self.base.index {
            self.base = prev;
            self.entries.clear();
        } else {
            self.entries.truncate(self.offset(prev.index.next()));
        }
        self.handed = self.handed.min(prev.index);
        let entries = entries.into_iter();
        if self.entries.capacity() == 0 {
            // A group that is seldom written to shall not keep room for more than it writes.
            self.entries.reserve_exact(entries.size_hint().0);
        }
        self.entries.extend(entries);
    }

    /// The log is replaced by a snapshot.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        *self = Unstable::new(snapshot.position());
        self.snapshot = Some(Box::new(PendingSnapshot { snapshot, handed: false }));
    }

    /// Is there anything to write that wasn't handed out?
    pub(crate) fn has_work(&self) -> bool {
        self.last_index() > self.handed || self.snapshot.as_ref().is_some_and(|pending| !pending.handed)
    }

    /// The snapshot and the entries to write, which count as handed out from here on.
    pub(crate) fn hand_out(&mut self, into: &mut alloc::vec::Vec<Entry>) -> Option<Snapshot> {
        let last = self.last().index;
        if last > self.handed {
            into.extend(self.from(self.handed.next()).cloned());
            self.handed = last;
        }
        let pending = self.snapshot.as_mut().filter(|pending| !pending.handed)?;
        pending.handed = true;
        Some(pending.snapshot.clone())
    }

    /// The entries up to `index`, which were handed out, are durable.
    pub(crate) fn stable_to(&mut self, index: Index) {
        let count =
            usize::try_from(index.since(self.base.index)).unwrap_or(usize::MAX).min(self.entries.len());
        if let Some(last) = self.entries.drain(..count).next_back() {
            self.base = last.position();
        }
        if self.entries.is_empty() && self.entries.capacity() > KEEP_CAPACITY {
            self.entries = VecDeque::new();
        }
    }

    /// For how many entries there is room.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
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
