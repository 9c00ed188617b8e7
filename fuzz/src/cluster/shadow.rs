//! A log's shadow: of each entry the term, and a hash of everything up to it.

use raft_core::{Entry, Index, LogPosition, Term};

use crate::machine::{entry_hash, mix};

/// What a shadow keeps of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Its term.
    pub term: Term,
    /// A hash of the log up to it, itself included. Two logs with the same here are the same up to here.
    pub chain: u64,
    /// The length of its payload.
    pub payload: u32,
    /// It is a membership change.
    pub is_change: bool,
}

impl Line {
    /// The line of an entry that follows on `before`.
    pub fn of(before: Line, entry: &Entry) -> Line {
        Line {
            term: entry.term,
            chain: chain(before.chain, entry),
            payload: u32::try_from(entry.payload.len()).unwrap_or(u32::MAX),
            is_change: entry.payload.is_conf_change(),
        }
    }
}

/// The hash of a log that ends with this entry.
pub fn chain(before: u64, entry: &Entry) -> u64 {
    mix(mix(before, entry.term.get()), entry_hash(entry))
}

/// The log of a node as it was handed out, durable or not.
#[derive(Clone, Debug, Default)]
pub struct Shadow {
    /// The last index that isn't held.
    before: Index,
    base: Line,
    lines: Vec<Line>,
}

impl Shadow {
    /// The shadow of a log that begins behind this entry.
    pub fn after(index: Index, base: Line) -> Shadow {
        Shadow { before: index, base, lines: Vec::new() }
    }

    fn offset(&self, index: Index) -> usize {
        usize::try_from(index.since(self.before.next())).unwrap_or(usize::MAX)
    }

    /// The index before the first that is held.
    pub fn before(&self) -> Index {
        self.before
    }

    /// What is known of the entry at `index`.
    pub fn line(&self, index: Index) -> Option<Line> {
        if index == self.before {
            return Some(self.base);
        }
        if index < self.before { None } else { self.lines.get(self.offset(index)).copied() }
    }

    /// The term at `index`.
    pub fn term(&self, index: Index) -> Option<Term> {
        self.line(index).map(|line| line.term)
    }

    /// The last position.
    pub fn last(&self) -> LogPosition {
        let term = self.lines.last().map_or(self.base.term, |line| line.term);
        LogPosition::new(term, self.last_index())
    }

    /// The last index.
    pub fn last_index(&self) -> Index {
        self.before.plus(self.lines.len() as u64)
    }

    /// Drops everything from `first` on.
    pub fn cut(&mut self, first: Index) {
        let keep = if first > self.before { self.offset(first) } else { 0 };
        self.lines.truncate(keep);
    }

    /// Appends the next line.
    pub fn push(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// The lines behind `after`, with their indexes.
    pub fn behind(&self, after: Index) -> impl DoubleEndedIterator<Item = (Index, Line)> + '_ {
        let skip = if after >= self.before { self.offset(after.next()) } else { 0 };
        let from = skip.min(self.lines.len());
        let first = self.before.plus(from as u64).next();
        self.lines[from..].iter().enumerate().map(move |(k, line)| (first.plus(k as u64), *line))
    }
}
