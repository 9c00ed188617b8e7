//! The log and state on disk, as the core reads them.
//!
//! The caller owns its storage and writes to it as [`Ready`](crate::Ready) says; the core only reads. Its answers
//! are checked like a peer's messages: one that makes no sense is a [`StorageError::Inconsistent`], never a panic.

mod memory;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use core::fmt;
use core::ops::Range;

use raft_proto::{ConfState, Entries, HardState, Index, NodeId, Snapshot, Term};

pub use memory::MemoryStorage;

use crate::report::DataLoss;

/// What a node starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialState {
    /// The last hard state that was written; all zero for a node that never wrote any.
    pub hard_state: HardState,
    /// The configuration as of the last entry *applied* (see [`Config::applied`](crate::Config::applied)), which is
    /// that of the latest snapshot where no later change was applied. Empty for a node that is to join a cluster.
    ///
    /// A cluster that began with a stored configuration doesn't have it in its log. Whoever joins it must get a snapshot
    /// first, so compact the log before the first change; or start with that same first configuration. Otherwise it would
    /// apply the changes of the log to the empty configuration, and be a cluster of its own.
    pub conf_state: ConfState,
    /// What the node has lost of what it had acknowledged, as the last [`Ready::data_loss`](crate::Ready::data_loss) told; nothing
    /// if none did.
    pub lost: Option<DataLoss>,
}

/// The storage that the core reads (§5, "persistent state").
///
/// Every method is called from inside a call on [`RawNode`](crate::RawNode), on the same thread, and should answer
/// at once. What was given in a `Ready` must be readable here by the time that it is acknowledged with
/// [`on_persisted`](crate::RawNode::on_persisted), and may be readable before.
pub trait Storage {
    /// The state to start from. Called once, by [`RawNode::new`](crate::RawNode::new).
    fn initial_state(&self) -> Result<InitialState, StorageError>;

    /// The index of the first entry that can be read: one more than the last that was compacted away.
    /// 1 in a log that was never compacted.
    fn first_index(&self) -> Result<Index, StorageError>;

    /// The index of the last entry; `first_index() - 1` in an empty log.
    fn last_index(&self) -> Result<Index, StorageError>;

    /// The term of the entry at `index`. It is known from `first_index() - 1` (the last one compacted away, which a
    /// snapshot names) to `last_index()`: below is [`StorageError::Compacted`], above [`StorageError::Unavailable`].
    fn term(&self, index: Index) -> Result<Term, StorageError>;

    /// The entries of `range` (its end excluded), in order, without gaps: all, or those before the one with which their summed
    /// [`Entry::encoded_len`](crate::Entry::encoded_len) would pass `max_bytes`, but at least one. It may be fewer where that saves a copy
    /// ([`Entries`] share what they are a part of); then the rest is asked for when it is needed. None of an empty range.
    ///
    /// [`StorageError::Fetching`] says that they aren't in memory: the core goes on without them and asks again
    /// at the next tick or message that calls for them, or after
    /// [`on_entries_fetched`](crate::RawNode::on_entries_fetched).
    fn entries(&self, range: Range<Index>, max_bytes: u64) -> Result<Entries, StorageError>;

    /// A snapshot for the node `to`, of index `at_least` or above: an older one might not name that node, which would then
    /// refuse it, each time that it is sent. So one that is older, or doesn't name it, isn't sent: it counts as a failure of the
    /// storage ([`Inconsistency::SnapshotTooOld`], [`Inconsistency::SnapshotForOthers`]). Where there is none, the caller should
    /// make one now.
    ///
    /// Its index, state and configuration must be those of one moment. It isn't asked for while a membership change is being
    /// applied ([`apply_conf_change`](crate::RawNode::apply_conf_change)), but may be between that call and
    /// [`on_applied`](crate::RawNode::on_applied).
    /// [`StorageError::SnapshotTemporarilyUnavailable`] says that one is being made: the core asks again when
    /// it hears from that node next.
    ///
    /// The message that carries it, [`InstallSnapshot`](crate::InstallSnapshot), is from the leader and of its term. If another
    /// node delivers it in the leader's place, these must stay as they are.
    fn snapshot(&self, at_least: Index, to: NodeId) -> Result<Snapshot, StorageError>;
}

/// Why a storage can't answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum StorageError {
    /// The index lies before the log: it was compacted away.
    Compacted,
    /// The index lies behind the log: there is no such entry.
    Unavailable,
    /// The entries are being fetched; ask again.
    Fetching,
    /// A snapshot is being made; ask again.
    SnapshotTemporarilyUnavailable,
    /// The answer made no sense; the core didn't use it.
    Inconsistent(Inconsistency),
    /// Anything else: an IO error, a checksum that failed.
    Other(Box<dyn core::error::Error + Send + Sync>),
}

/// How a storage's answer can make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inconsistency {
    /// Entries weren't consecutive, or began elsewhere than asked.
    NotContiguous,
    /// Entries beyond what was asked.
    MoreThanAsked,
    /// No entry at all, though the range wasn't empty.
    NothingForRange,
    /// Terms that go down along the log, or above that of its last entry.
    TermsOutOfOrder,
    /// The last index lies more than one before the first.
    LastBeforeFirst,
    /// An index or a term beyond [`Index::LIMIT`] or [`Term::LIMIT`].
    OutOfRange,
    /// A snapshot of nothing: its index is zero.
    EmptySnapshot,
    /// A snapshot whose configuration isn't one.
    SnapshotConfState,
    /// A snapshot of a lower index than asked for.
    SnapshotTooOld,
    /// A snapshot whose configuration doesn't name the node that it was asked for.
    SnapshotForOthers,
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Inconsistency::NotContiguous => "the entries aren't consecutive from the first index asked for",
            Inconsistency::MoreThanAsked => "there are more entries than asked for",
            Inconsistency::NothingForRange => "there is no entry for a range that isn't empty",
            Inconsistency::TermsOutOfOrder => {
                "the terms go down along the log or exceed that of its last entry"
            }
            Inconsistency::LastBeforeFirst => "the last index lies more than one before the first",
            Inconsistency::OutOfRange => "an index or a term is beyond the limit",
            Inconsistency::EmptySnapshot => "the snapshot has index zero",
            Inconsistency::SnapshotConfState => "the snapshot's configuration is not valid",
            Inconsistency::SnapshotTooOld => "the snapshot is older than asked for",
            Inconsistency::SnapshotForOthers => {
                "the snapshot's configuration doesn't name the node that it is for"
            }
        })
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::Compacted => f.write_str("the log is compacted beyond the index"),
            StorageError::Unavailable => f.write_str("the log ends before the index"),
            StorageError::Fetching => f.write_str("the entries are being fetched"),
            StorageError::SnapshotTemporarilyUnavailable => f.write_str("a snapshot is being made"),
            StorageError::Inconsistent(how) => {
                write!(f, "the storage gave an answer that makes no sense: {how}")
            }
            StorageError::Other(error) => write!(f, "the storage failed: {error}"),
        }
    }
}

impl core::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            StorageError::Other(error) => Some(error.as_ref()),
            StorageError::Compacted
            | StorageError::Unavailable
            | StorageError::Fetching
            | StorageError::SnapshotTemporarilyUnavailable
            | StorageError::Inconsistent(_) => None,
        }
    }
}
