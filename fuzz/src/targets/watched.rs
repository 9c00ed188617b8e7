//! A node of which each call is watched.

use std::collections::VecDeque;
use std::fmt::Debug;

use raft_core::{Counters, Index, RawNode, Ready, Storage};

use super::wire::must_travel;

/// A node, the `Ready`s that it gave and that aren't acknowledged, and what must hold between any two calls.
pub(super) struct Watched<S> {
    node: RawNode<S>,
    /// In order.
    pub(super) out: VecDeque<Ready>,
    /// The last entry that was handed out for application, if it is known.
    handed_out: Option<Index>,
    number: u64,
    /// One that is done with.
    pub(super) done: Option<Ready>,
}

impl<S: Storage + Clone + Debug> Watched<S> {
    /// From here on. `out` are the `Ready`s that are out already.
    pub(super) fn new(node: RawNode<S>, out: VecDeque<Ready>) -> Watched<S> {
        let number = out.back().map_or(0, |ready| ready.number);
        let watched = Watched { node, out, handed_out: None, number, done: None };
        watched.check();
        watched
    }

    pub(super) fn node(&self) -> &RawNode<S> {
        &self.node
    }

    /// The storage belongs to the caller, who may do with it what he likes.
    pub(super) fn storage_mut(&mut self) -> &mut S {
        self.node.storage_mut()
    }

    /// A call. If it is refused, nothing has changed.
    pub(super) fn call<T, E: Debug>(&mut self, call: impl FnOnce(&mut RawNode<S>) -> Result<T, E>) {
        let before = self.node.clone();
        if let Err(error) = call(&mut self.node) {
            let (before, after) = (picture(&before), picture(&self.node));
            assert_eq!(before, after, "{error:?}, and something has changed");
        }
        self.check();
    }

    /// A call that can't be refused.
    pub(super) fn tell<T>(&mut self, call: impl FnOnce(&mut RawNode<S>) -> T) {
        call(&mut self.node);
        self.check();
    }

    /// Takes a `Ready`, in the buffers of an earlier one or in its own.
    pub(super) fn take(&mut self, reuse: bool) {
        let due = self.node.has_ready();
        let ready = if reuse {
            let mut ready = self.done.take().unwrap_or_default();
            self.node.ready_into(&mut ready);
            ready
        } else {
            self.node.ready()
        };
        assert_eq!(due, !ready.is_empty(), "has_ready() and ready() disagree");
        self.check_ready(&ready);
        self.number = ready.number;
        self.out.push_back(ready);
        self.check();
    }

    fn check(&self) {
        if let Err(violation) = self.node.check_invariants() {
            panic!("{violation}: {:?}", self.node);
        }
        let due = self.node.has_ready();
        assert_eq!(due, !self.node.clone().ready().is_empty(), "has_ready() and ready() disagree");
    }

    /// No entry is handed out twice or skipped, what is to be written is one piece, and what is to be sent can be.
    fn check_ready(&mut self, ready: &Ready) {
        assert!(ready.number > self.number, "the numbers go up");
        if let Some(snapshot) = &ready.snapshot {
            self.handed_out = Some(snapshot.metadata.index);
        }
        for entry in &ready.committed_entries {
            if let Some(before) = self.handed_out {
                assert_eq!(entry.index, before.next(), "the next to apply");
            }
            self.handed_out = Some(entry.index);
        }
        for (entry, next) in ready.entries.iter().zip(ready.entries.iter().skip(1)) {
            assert_eq!(next.index, entry.index.next(), "consecutive");
            assert!(next.term >= entry.term, "of terms that don't go down");
        }
        let id = self.node.id();
        for message in ready.messages.iter().chain(&ready.persisted_messages) {
            assert!(message.to != id, "a message to itself leaves: {message:?}");
            must_travel(message);
        }
    }
}

/// All of a node, but for what it counts, and what it only remembers to save work.
fn picture<S: Debug + Storage>(node: &RawNode<S>) -> String {
    let mut text = format!("{node:?}").replace("may_be_due: true", "may_be_due: false");
    if let Some((before, after)) = text.split_once("sleeps_until: ") {
        text = format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    text.replace(&format!("{:?}", Some(node.status().counters)), &format!("{:?}", None::<Counters>))
}
