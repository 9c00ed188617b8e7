//! Everything that ever was in a log, and what of it was committed.

use raft_core::{Index, Storage, Term};

use super::{Check, Context, broken};
use crate::cluster::{Line, Shadow};
use crate::parts::Parts;

/// An entry that was committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Committed {
    pub(super) line: Line,
    /// The term of the leader that did it: that of the event, not of the entry.
    pub(super) by: Term,
}

/// The entries that ever were at one index.
#[derive(Clone, Debug)]
struct Versions {
    first: Line,
    others: Vec<Line>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct History {
    base: Index,
    entries: Vec<Versions>,
    committed: Vec<Committed>,
}

/// What is known of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// There was none of its term at its index.
    New {
        /// So many of other terms were there.
        others: usize,
    },
    /// It was there.
    Same,
    /// Another of its term was there, or it had other entries before it.
    Other,
}

impl History {
    /// The log begins behind `base`, which is committed.
    pub(super) fn new((base, line): (Index, Line)) -> History {
        History { base, entries: Vec::new(), committed: vec![Committed { line, by: line.term }] }
    }

    fn offset(&self, index: Index) -> usize {
        usize::try_from(index.since(self.base)).unwrap_or(usize::MAX)
    }

    /// An entry is in some log. It is known from here on.
    pub(super) fn enter(&mut self, index: Index, line: Line) -> Known {
        let at = self.offset(index).wrapping_sub(1);
        if at >= self.entries.len() {
            self.entries.push(Versions { first: line, others: Vec::new() });
            return Known::New { others: 0 };
        }
        let Versions { first, others } = &mut self.entries[at];
        match std::iter::once(&*first).chain(&*others).find(|known| known.term == line.term) {
            Some(known) if *known == line => Known::Same,
            Some(_) => Known::Other,
            None => {
                others.push(line);
                Known::New { others: others.len() }
            }
        }
    }

    /// What is committed at this index.
    pub(super) fn committed(&self, index: Index) -> Option<Committed> {
        if index < self.base { None } else { self.committed.get(self.offset(index)).copied() }
    }

    /// The highest index that was committed anywhere.
    pub(super) fn last_committed(&self) -> Index {
        self.base.plus(self.committed.len() as u64 - 1)
    }

    /// The highest index that was committed under a leader of a term before this one.
    pub(super) fn last_committed_before(&self, term: Term) -> Option<(Index, Committed)> {
        let found = self.committed.iter().enumerate().rev().find(|(_, committed)| committed.by < term);
        found.map(|(k, committed)| (self.base.plus(k as u64), *committed))
    }

    /// The next index is committed.
    pub(super) fn commit(&mut self, line: Line, by: Term) {
        self.committed.push(Committed { line, by });
    }

    /// The log that a node's disk holds. Each entry of it must be one that ever was.
    pub(super) fn shadow_of<P: Parts>(&mut self, cx: &Context<P>) -> Check<Shadow> {
        cx.node().disk.look(|stored| {
            let before = stored.first_index().unwrap_or_default().prev();
            let base = if before < self.base { None } else { self.committed(before) };
            let term = stored.term(before).unwrap_or_default();
            let mut line = match base {
                Some(committed) if committed.line.term == term => committed.line,
                // A node that knows nothing yet.
                None if before.is_zero() => Line::default(),
                Some(_) | None => {
                    return broken(
                        "8",
                        format!("the log of node {} begins with nothing committed", cx.node().id),
                    );
                }
            };
            let mut shadow = Shadow::after(before, line);
            for entry in stored.all_entries() {
                line = Line::of(line, entry);
                if self.enter(entry.index, line) != Known::Same {
                    return broken(
                        "8",
                        format!("node {} holds an unknown {}", cx.node().id, entry.position()),
                    );
                }
                shadow.push(line);
            }
            Ok(shadow)
        })
    }
}
