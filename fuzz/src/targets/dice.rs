//! Bytes that are read as decisions.

use arbitrary::Unstructured;
use bytes::Bytes;

/// Decisions, in order. When the bytes are spent, each is the first of its choices.
pub(super) struct Dice<'a>(Unstructured<'a>);

impl<'a> Dice<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Dice<'a> {
        Dice(Unstructured::new(bytes))
    }

    /// Nothing is left to decide.
    pub(super) fn is_spent(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `count`, which mustn't be zero. Takes as few bytes as the count needs.
    pub(super) fn below(&mut self, count: u64) -> u64 {
        self.0.int_in_range(0..=count - 1).unwrap_or_default()
    }

    /// An index into something of this length, which mustn't be zero.
    pub(super) fn index(&mut self, len: usize) -> usize {
        self.0.int_in_range(0..=len - 1).unwrap_or_default()
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// Any number of eight bytes.
    pub(super) fn number(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or_default()
    }

    /// True in one of `count` cases.
    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == count - 1
    }

    /// Up to `most` bytes.
    pub(super) fn bytes(&mut self, most: u64) -> Bytes {
        let len = self.below(most + 1) as usize;
        let len = len.min(self.0.len());
        Bytes::copy_from_slice(self.0.bytes(len).unwrap_or_default())
    }

    /// Up to `most` of something.
    pub(super) fn list<T>(&mut self, most: u64, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }
}
