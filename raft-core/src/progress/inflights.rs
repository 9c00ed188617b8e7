//! The window of a pipeline: which appends are on their way.

use alloc::collections::VecDeque;

use raft_proto::Index;

use super::Window;

/// A ring that grew past this many messages is given back when it is empty.
const KEEP_CAPACITY: usize = 32;

/// The appends with entries that a peer hasn't acknowledged. It grows as it is used, up to the window.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Inflights {
    /// The last index and the payload bytes of each message, in order.
    messages: VecDeque<(Index, u64)>,
    bytes: u64,
}

impl Inflights {
    /// A message with entries up to `last` was sent.
    pub(crate) fn add(&mut self, last: Index, bytes: u64) {
        if self.messages.capacity() == 0 {
            self.messages.reserve_exact(1);
        }
        self.messages.push_back((last, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Everything up to `index` has arrived.
    pub(crate) fn free_up_to(&mut self, index: Index) {
        while let Some((last, bytes)) = self.messages.front().copied() {
            if last > index {
                break;
            }
            self.messages.pop_front();
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        // A window that was once full of small messages is given back when the pipeline runs dry.
        if self.messages.is_empty() && self.messages.capacity() > KEEP_CAPACITY {
            self.messages = VecDeque::new();
        }
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.messages.shrink_to_fit();
    }

    pub(crate) fn is_full(&self, window: Window) -> bool {
        self.len() >= window.messages.into() || self.bytes >= window.bytes
    }

    /// Are these more messages than the window holds?
    pub(crate) fn exceeds(&self, window: Window) -> bool {
        self.len() > window.messages.into()
    }

    fn len(&self) -> u64 {
        u64::try_from(self.messages.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn count(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The messages that it has memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.messages.capacity()
    }
}
