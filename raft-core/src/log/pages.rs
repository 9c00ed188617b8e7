//! How much is handed out for application and not yet acknowledged.

use alloc::collections::VecDeque;

use raft_proto::{Entries, Index};

use crate::config::Config;

/// A batch of committed entries that was handed out.
#[derive(Clone, Copy, Debug, Hash)]
struct Page {
    last: Index,
    encoded: u64,
    payload: u64,
}

/// The batches that are being applied, and their limit in encoded bytes.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Pages {
    limit: u64,
    pages: VecDeque<Page>,
    outstanding: u64,
    /// How many entries may be handed out before they are durable, with asynchronous writes.
    max_apply_ahead: u32,
    async_writes: bool,
    paused: bool,
    /// Committed entries couldn't be read; they are asked for again after the next tick.
    pub(crate) read_failed: bool,
}

impl Pages {
    pub(crate) fn new(config: &Config) -> Pages {
        Pages {
            limit: config.max_committed_bytes,
            pages: VecDeque::new(),
            outstanding: 0,
            max_apply_ahead: config.max_apply_ahead,
            async_writes: config.async_writes,
            paused: false,
            read_failed: false,
        }
    }

    pub(crate) fn set_limits(&mut self, config: &Config) {
        self.limit = config.max_committed_bytes;
        self.max_apply_ahead = config.max_apply_ahead;
        self.paused &= self.outstanding > 0;
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.pages.shrink_to_fit();
    }

    /// How many entries may be handed out before they are durable; nothing if all may.
    pub(crate) fn max_ahead(&self) -> Option<u64> {
        self.async_writes.then_some(u64::from(self.max_apply_ahead))
    }

    /// Nothing is handed out until something is acknowledged.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// How many encoded bytes the next batch may have; one entry always may.
    pub(crate) fn allowance(&self) -> u64 {
        self.limit.saturating_sub(self.outstanding)
    }

    /// This batch, which ends at `last`, is handed out; `complete` says that it holds all there was.
    pub(crate) fn hand_out(&mut self, entries: &Entries, last: Index, complete: bool) {
        let page = Page { last, encoded: entries.encoded_len(), payload: entries.payload_len() };
        if self.pages.capacity() == 0 {
            self.pages.reserve_exact(1);
        }
        self.pages.push_back(page);
        self.outstanding = self.outstanding.saturating_add(page.encoded);
        self.paused = self.outstanding >= self.limit || !complete;
    }

    /// Everything up to `index` is applied. Returns the payload bytes of the batches that are complete by it.
    pub(crate) fn on_applied(&mut self, index: Index) -> u64 {
        let mut payload: u64 = 0;
        while let Some(page) = self.pages.front().copied() {
            if page.last > index {
                break;
            }
            self.pages.pop_front();
            self.outstanding = self.outstanding.saturating_sub(page.encoded);
            payload = payload.saturating_add(page.payload);
        }
        self.paused = self.outstanding >= self.limit;
        payload
    }
}
