//! Why the folder can't be used, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use raft_proto::{Index, LogPosition, NodeId, Term};

/// Why the folder can't be opened, read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum DiskError {
    /// The operating system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process runs on this folder.
    Locked {
        /// The folder.
        dir: PathBuf,
        /// That process, if it is known.
        holder: Option<u32>,
    },
    /// The folder holds files that aren't ours, and no identity.
    NotADataFolder {
        /// The folder.
        dir: PathBuf,
        /// One of the files.
        stranger: String,
    },
    /// The folder is that of another node.
    WrongNode {
        /// The folder.
        dir: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who asks.
        expected: NodeId,
    },
    /// The folder belongs to a node of another cluster.
    WrongCluster {
        /// The folder.
        dir: PathBuf,
        /// The cluster it belongs to.
        found: String,
        /// The one that was asked for.
        expected: String,
    },
    /// The folder was written by a version of this program that this one doesn't know.
    UnknownFormat {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The one this program knows.
        supported: u32,
    },
    /// What the folder holds isn't what was written to it.
    Corrupt {
        /// The folder.
        dir: PathBuf,
        /// What is wrong.
        what: Corruption,
    },
    /// The storage engine failed.
    Engine(Box<redb::Error>),
    /// The caller asked for a write that makes no sense. Nothing was written.
    Refused(WriteRefusal),
    /// An earlier write failed, so what is on disk is unknown until the folder is opened anew. Nothing is
    /// written any more.
    Failed,
}

/// How a folder can be corrupt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corruption {
    /// The file that says whose folder this is can't be read.
    Identity,
    /// A file that every folder has is missing: its name.
    Missing(&'static str),
    /// The storage engine found its own file damaged.
    Engine(String),
    /// A write that was acknowledged is gone: the engine went back to an earlier one.
    AcknowledgedWriteLost {
        /// The number of the last write that was acknowledged.
        acknowledged: u64,
        /// The number of the last one that is there.
        found: u64,
    },
    /// Both halves of the file that witnesses acknowledged writes are unreadable.
    Witness,
    /// The record of hard state, log bounds and snapshot is damaged or missing.
    State,
    /// The entry at this index is damaged.
    Entry(Index),
    /// There is no entry at this index, though the log spans it.
    MissingEntry(Index),
    /// The term of the entry at this index is below that of its predecessor, or above the current one.
    TermOutOfOrder(Index),
    /// Fewer entries than were known to be committed.
    LastBelowCommit {
        /// The last entry.
        last: Index,
        /// What was known to be committed.
        commit: Index,
    },
    /// The snapshot file that the log starts from is missing or damaged.
    Snapshot(String),
}

/// What is wrong with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteRefusal {
    /// Entries that aren't consecutive.
    NotContiguous(Index),
    /// Entries that begin beyond the end of the log.
    Gap {
        /// The last entry.
        last: Index,
        /// Where the new ones begin.
        first: Index,
    },
    /// Entries that were compacted away are to be replaced.
    Compacted(Index),
    /// A term below that of the entry before.
    TermDescends(Index),
    /// The snapshot lies before the one that the log starts from.
    SnapshotOutdated(LogPosition),
    /// The snapshot's data isn't a descriptor, or contradicts its metadata.
    SnapshotDescriptor,
    /// The file of the snapshot isn't there: it must be received, or made, first.
    SnapshotMissing(LogPosition),
    /// The commit index lies behind the end of the log.
    CommitBeyondLog {
        /// The commit index.
        commit: Index,
        /// The last entry.
        last: Index,
    },
    /// The hard state's term is below that of the last entry, at this index.
    TermBehindLog(Index),
    /// The hard state's term is below the one before.
    TermGoesBack {
        /// The term that is there.
        from: Term,
        /// The one that was to take its place.
        to: Term,
    },
    /// The hard state has another vote than the one before, in the same term.
    SecondVote(Term),
    /// A snapshot of this node's own lies beyond the log, or at another term than the log has there.
    SnapshotNotInLog(LogPosition),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskError::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
            DiskError::Locked { dir, holder } => {
                write!(f, "{} is in use by another process", dir.display())?;
                match holder {
                    Some(pid) => write!(f, " (pid {pid})"),
                    None => Ok(()),
                }
            }
            DiskError::NotADataFolder { dir, stranger } => write!(
                f,
                "{} is not a data folder of this program: it holds \"{stranger}\"; give an empty or a new one",
                dir.display()
            ),
            DiskError::WrongNode { dir, found, expected } => write!(
                f,
                "{} belongs to node {found}, not to node {expected}; give each node a folder of its own",
                dir.display()
            ),
            DiskError::WrongCluster { dir, found, expected } => write!(
                f,
                "{} belongs to a node of the cluster \"{found}\", not of \"{expected}\"",
                dir.display()
            ),
            DiskError::UnknownFormat { dir, found, supported } => {
                write!(f, "{} has format {found}, this program knows format {supported} only", dir.display())
            }
            DiskError::Corrupt { dir, what } => write!(
                f,
                "{} is corrupt: {what}. What this node acknowledged can't be relied on: don't repair it by hand. \
                 Remove the node from the cluster, and add it again with an empty folder and a new id; \
                 it gets everything from the leader",
                dir.display()
            ),
            DiskError::Engine(error) => write!(f, "the storage engine failed: {error}"),
            DiskError::Refused(refusal) => write!(f, "a write was refused: {refusal}"),
            DiskError::Failed => {
                f.write_str("an earlier write failed; restart the node to find out what is on disk")
            }
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corruption::Identity => f.write_str("the file IDENTITY is damaged"),
            Corruption::Missing(name) => write!(f, "the file {name} is missing"),
            Corruption::Engine(why) => write!(f, "the storage engine reports: {why}"),
            Corruption::AcknowledgedWriteLost { acknowledged, found } => {
                write!(f, "write {acknowledged} was acknowledged, and the last one that is intact is {found}")
            }
            Corruption::Witness => f.write_str("the file ACKNOWLEDGED is damaged"),
            Corruption::State => f.write_str("the record of the node's state is damaged"),
            Corruption::Entry(index) => write!(f, "the log's entry {index} is damaged"),
            Corruption::MissingEntry(index) => write!(f, "the log's entry {index} is missing"),
            Corruption::TermOutOfOrder(index) => {
                write!(f, "the term of the log's entry {index} doesn't follow those before")
            }
            Corruption::LastBelowCommit { last, commit } => {
                write!(f, "the log ends at {last}, and {commit} was known to be committed")
            }
            Corruption::Snapshot(why) => write!(f, "the snapshot that the log starts from: {why}"),
        }
    }
}

impl fmt::Display for WriteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteRefusal::NotContiguous(at) => write!(f, "the entries aren't consecutive at {at}"),
            WriteRefusal::Gap { last, first } => {
                write!(f, "the entries begin at {first} and the log ends at {last}")
            }
            WriteRefusal::Compacted(at) => write!(f, "entry {at} was compacted away and can't be replaced"),
            WriteRefusal::TermDescends(at) => write!(f, "the term of entry {at} is below the one before"),
            WriteRefusal::SnapshotOutdated(at) => {
                write!(f, "the snapshot at {at} is older than the one that is there")
            }
            WriteRefusal::SnapshotDescriptor => f.write_str("the snapshot doesn't describe a file"),
            WriteRefusal::SnapshotMissing(at) => {
                write!(f, "the file of the snapshot at {at} was never completed")
            }
            WriteRefusal::CommitBeyondLog { commit, last } => {
                write!(f, "the commit index is {commit} and the log ends at {last}")
            }
            WriteRefusal::TermBehindLog(at) => write!(f, "the hard state's term is below that of entry {at}"),
            WriteRefusal::TermGoesBack { from, to } => write!(f, "the term goes back from {from} to {to}"),
            WriteRefusal::SecondVote(term) => write!(f, "there is another vote in term {term} already"),
            WriteRefusal::SnapshotNotInLog(at) => write!(f, "the log doesn't have the position {at}"),
        }
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DiskError::Io { source, .. } => Some(source),
            DiskError::Engine(error) => Some(error.as_ref()),
            DiskError::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl std::error::Error for Corruption {}

impl std::error::Error for WriteRefusal {}
