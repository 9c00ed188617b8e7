//! Identifiers and positions, with arithmetic that neither panics nor wraps.

use core::fmt;
use core::num::NonZeroU64;

/// The identity of a node: any number but zero, which means "no node" on the wire and is `None` here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeId(NonZeroU64);

impl NodeId {
    /// The node with this number, or `None` for zero.
    pub const fn new(id: u64) -> Option<NodeId> {
        match NonZeroU64::new(id) {
            Some(id) => Some(NodeId(id)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<NonZeroU64> for NodeId {
    fn from(id: NonZeroU64) -> NodeId {
        NodeId(id)
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(u64);

        impl $name {
            /// Zero: before the first.
            pub const ZERO: $name = $name(0);

            /// The largest value that a node accepts from outside. Everything below it can be counted up
            /// for as long as any hardware lasts, so the arithmetic here never saturates in a live node.
            pub const LIMIT: $name = $name(u64::MAX >> 1);

            /// The value of this number.
            pub const fn new(value: u64) -> $name {
                $name(value)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after it (saturating).
            #[must_use]
            pub const fn next(self) -> $name {
                $name(self.0.saturating_add(1))
            }

            /// The one before it (saturating at zero).
            #[must_use]
            pub const fn prev(self) -> $name {
                $name(self.0.saturating_sub(1))
            }

            /// `n` further on (saturating).
            #[must_use]
            pub const fn plus(self, n: u64) -> $name {
                $name(self.0.saturating_add(n))
            }

            /// How far this is past `earlier`; zero if it isn't.
            pub const fn since(self, earlier: $name) -> u64 {
                self.0.saturating_sub(earlier.0)
            }

            /// Is this zero, "before the first"?
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// A term (§5.1): the logical clock of elections. Zero before the first election.
    Term
}
counter! {
    /// A position in the log (§5.3). The first entry has index 1; zero is the position before it.
    Index
}

/// An entry's identity: with the Log Matching property (§5.3), term and index name an entry and all before it.
///
/// Ordered as logs are compared in elections: by term, then by index (§5.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LogPosition {
    /// The term in which the entry was created.
    pub term: Term,
    /// Its index.
    pub index: Index,
}

impl LogPosition {
    /// Before the first entry.
    pub const ZERO: LogPosition = LogPosition { term: Term::ZERO, index: Index::ZERO };

    /// The position of this term and index.
    pub const fn new(term: Term, index: Index) -> LogPosition {
        LogPosition { term, index }
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.term, self.index)
    }
}
