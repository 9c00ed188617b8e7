//! What a [`Ready`](crate::Ready) has to be written, without a copy.

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use raft_proto::{Entries, Entry};

/// Consecutive entries in the batches in which they came, which are shared, not copied: one where they came at once, several where
/// a follower was sent several messages since its last [`Ready`](crate::Ready).
///
/// Made [`from`](From) a batch or a list of entries, or by collecting batches.
#[derive(Clone, Default)]
pub struct EntryBatches {
    first: Entries,
    /// None is empty. Nothing rather than an empty slice: this is dropped more often than anything else.
    rest: Option<Box<[Entries]>>,
}

impl EntryBatches {
    /// The batches, in order. None is empty.
    #[inline]
    pub fn batches(&self) -> impl Iterator<Item = &Entries> + Clone {
        Some(&self.first).filter(|batch| !batch.is_empty()).into_iter().chain(self.rest())
    }

    /// The entries, in order.
    pub fn iter(&self) -> EntryBatchesIter<'_> {
        EntryBatchesIter { batch: self.first.iter(), rest: self.rest().iter() }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.batches().map(|batch| batch.len()).sum()
    }

    /// Are there none?
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The first one.
    #[inline]
    pub fn first(&self) -> Option<&Entry> {
        self.first.first()
    }

    /// The last one.
    #[inline]
    pub fn last(&self) -> Option<&Entry> {
        self.rest().last().unwrap_or(&self.first).last()
    }

    /// Drops them.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.first = Entries::default();
        if self.rest.is_some() {
            self.rest = None;
        }
    }

    fn rest(&self) -> &[Entries] {
        self.rest.as_deref().unwrap_or_default()
    }

    /// A list of them: their payloads are shared.
    pub fn to_vec(&self) -> Vec<Entry> {
        self.iter().cloned().collect()
    }
}

impl From<Entries> for EntryBatches {
    fn from(first: Entries) -> EntryBatches {
        EntryBatches { first, rest: None }
    }
}

impl From<Vec<Entry>> for EntryBatches {
    fn from(entries: Vec<Entry>) -> EntryBatches {
        Entries::from(entries).into()
    }
}

impl FromIterator<Entries> for EntryBatches {
    fn from_iter<I: IntoIterator<Item = Entries>>(batches: I) -> EntryBatches {
        let mut batches = batches.into_iter().filter(|batch| !batch.is_empty());
        let first = batches.next().unwrap_or_default();
        let rest: Box<[Entries]> = batches.collect();
        EntryBatches { first, rest: (!rest.is_empty()).then_some(rest) }
    }
}

impl<'a> IntoIterator for &'a EntryBatches {
    type Item = &'a Entry;
    type IntoIter = EntryBatchesIter<'a>;

    fn into_iter(self) -> EntryBatchesIter<'a> {
        self.iter()
    }
}

/// The entries of [`EntryBatches`], in order.
#[derive(Clone, Debug)]
pub struct EntryBatchesIter<'a> {
    batch: core::slice::Iter<'a, Entry>,
    rest: core::slice::Iter<'a, Entries>,
}

impl<'a> Iterator for EntryBatchesIter<'a> {
    type Item = &'a Entry;

    fn next(&mut self) -> Option<&'a Entry> {
        loop {
            if let Some(entry) = self.batch.next() {
                return Some(entry);
            }
            self.batch = self.rest.next()?.iter();
        }
    }
}

/// However they are cut into batches.
impl PartialEq for EntryBatches {
    fn eq(&self, other: &EntryBatches) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for EntryBatches {}

impl PartialEq<Vec<Entry>> for EntryBatches {
    fn eq(&self, other: &Vec<Entry>) -> bool {
        self.iter().eq(other)
    }
}

impl fmt::Debug for EntryBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
