//! The shape of the log in memory: its bounds and its terms, without the entries.

use raft_proto::{Entry, Index, LogPosition, Term};

use super::{ReadError, WriteRefusal};

/// Bounds and terms. Terms are kept as runs: a log has few of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogIndex {
    base: LogPosition,
    last: Index,
    /// The first index of each term, ascending in both.
    runs: Vec<LogPosition>,
}

impl LogIndex {
    /// The log that begins after this position and is empty.
    pub(super) fn empty(base: LogPosition) -> LogIndex {
        LogIndex { base, last: base.index, runs: Vec::new() }
    }

    /// The position before the first entry.
    pub(super) fn base(&self) -> LogPosition {
        self.base
    }

    pub(super) fn last(&self) -> Index {
        self.last
    }

    pub(super) fn last_term(&self) -> Term {
        self.runs.last().map_or(self.base.term, |run| run.term)
    }

    pub(super) fn term(&self, index: Index) -> Result<Term, ReadError> {
        if index < self.base.index {
            return Err(ReadError::Compacted);
        }
        if index > self.last {
            return Err(ReadError::Unavailable);
        }
        let after = self.runs.partition_point(|run| run.index <= index);
        let run = after.checked_sub(1).and_then(|at| self.runs.get(at));
        Ok(run.map_or(self.base.term, |run| run.term))
    }

    /// Puts one entry behind the last.
    pub(super) fn push(&mut self, position: LogPosition) -> Result<(), WriteRefusal> {
        if position.index != self.last.next() {
            return Err(WriteRefusal::NotContiguous(position.index));
        }
        if position.term < self.last_term() {
            return Err(WriteRefusal::TermDescends(position.index));
        }
        if self.runs.is_empty() || position.term != self.last_term() {
            self.runs.push(position);
        }
        self.last = position.index;
        Ok(())
    }

    /// Puts the entries in, in the place of what is there from the first of them on.
    pub(super) fn replace_tail(&mut self, entries: &[Entry]) -> Result<(), WriteRefusal> {
        let Some(first) = entries.first() else { return Ok(()) };
        if first.index <= self.base.index {
            return Err(WriteRefusal::Compacted(first.index));
        }
        if first.index > self.last.next() {
            return Err(WriteRefusal::Gap { last: self.last, first: first.index });
        }
        self.truncate(first.index.prev());
        entries.iter().try_for_each(|entry| self.push(entry.position()))
    }

    /// Lets the log end here.
    pub(super) fn truncate(&mut self, last: Index) {
        if last < self.last {
            self.last = last.max(self.base.index);
            let keep = self.runs.partition_point(|run| run.index <= self.last);
            self.runs.truncate(keep);
        }
    }

    /// Lets the log begin after this entry, if it doesn't begin later already.
    pub(super) fn compact(&mut self, to: Index) {
        if to <= self.base.index {
            return;
        }
        if let Ok(term) = self.term(to) {
            self.base = LogPosition { term, index: to };
            let gone = self.runs.partition_point(|run| run.index <= to);
            // The run that spans the new beginning goes on there.
            let spans = self.last > to && self.runs.get(gone).is_none_or(|next| next.index > to.next());
            self.runs.drain(..gone);
            if spans {
                self.runs.insert(0, LogPosition { term, index: to.next() });
            }
        }
    }
}
