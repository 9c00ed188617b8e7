//! What a call can be refused with: the caller's mistakes apart from the peers'.
//!
//! The list of [`StepError`]'s variants is the list of attacks considered: whatever a peer can send that a correct
//! node never would has a name there. After an `Err` nothing has changed.

use core::fmt;

use raft_proto::{Index, NodeId, Term};

use crate::config::ConfigError;
use crate::membership::ConfStateError;
use crate::storage::StorageError;

/// Why [`RawNode::new`](crate::RawNode::new) can't start a node.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration of the node is not valid.
    Config(ConfigError),
    /// The storage can't be read, or gives answers that make no sense.
    Storage(StorageError),
    /// The stored membership is not valid.
    ConfState(ConfStateError),
    /// The stored commit index lies outside the stored log: entries that were durable are gone.
    CommitOutsideLog {
        /// The stored commit index.
        commit: Index,
        /// The index before the first of the log.
        before: Index,
        /// The last of the log.
        last: Index,
    },
    /// The stored term is below that of the log's last entry: the hard state that was written with it is gone.
    TermBelowLog {
        /// The stored term.
        term: Term,
        /// That of the last entry.
        last: Term,
    },
    /// `applied` lies beyond the stored log, so entries that were durable are gone; or before it begins, so the entries
    /// between can't be given.
    AppliedOutsideLog {
        /// [`Config::applied`](crate::Config::applied).
        applied: Index,
        /// The index before the first of the log.
        before: Index,
        /// The last of the log.
        last: Index,
    },
}

/// Why [`step`](crate::RawNode::step) refuses a message. Each says how its sender misbehaves, but for the last two.
#[derive(Debug)]
#[non_exhaustive]
pub enum StepError {
    /// It is addressed to another node.
    NotForThisNode {
        /// The addressee.
        to: NodeId,
    },
    /// It claims to come from this very node.
    FromThisNode,
    /// An answer from a node that isn't in the configuration.
    UnknownPeer(NodeId),
    /// A term of zero in a message that needs one, or beyond [`Term::LIMIT`].
    TermOutOfRange(Term),
    /// A term in a message that is valid in any term.
    TermNotExpected(Term),
    /// An index beyond [`Index::LIMIT`].
    IndexOutOfRange(Index),
    /// Entries that aren't consecutive from `prev`.
    EntriesNotContiguous,
    /// Entries whose terms go down, or are above that of the message.
    EntryTermsOutOfOrder,
    /// Proposed entries that have a term or an index already.
    ProposalHasPosition,
    /// A proposed entry is one that only a leader writes.
    ProposalOfLeadersOwn,
    /// No entry in a proposal.
    EmptyProposal,
    /// An entry other than the one that is known to be committed at this index. Either log is corrupt.
    ConflictsWithCommitted {
        /// Where they differ.
        index: Index,
    },
    /// An acknowledgement of more than the leader's log holds.
    AckBeyondLog {
        /// What is acknowledged.
        acked: Index,
        /// This leader's last index.
        last: Index,
    },
    /// A message that only a leader of this term sends, received by the leader of this term.
    RivalLeader(NodeId),
    /// A snapshot of nothing: its index or its term is zero.
    EmptySnapshot,
    /// A snapshot of a term above the sender's.
    SnapshotTermOutOfRange(Term),
    /// A snapshot whose membership is not valid.
    SnapshotConfState(ConfStateError),
    /// A forwarded proposal that this node can't take. Not a fault of the sender's.
    Proposal(ProposeError),
    /// This node's storage couldn't be read. The message counts as lost; its sender will send another.
    Storage(StorageError),
}

/// Why a proposal is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProposeError {
    /// No leader is known: try again later, or elsewhere.
    NoLeader,
    /// Another node leads: ask there. (See [`Config::forward_proposals`](crate::Config::forward_proposals).)
    NotLeader {
        /// The leader.
        leader: NodeId,
    },
    /// This node is campaigning: no leader is known.
    Campaigning,
    /// This leader is not in its own configuration and will step down.
    NotInConfiguration,
    /// Leadership is being handed over.
    Transferring {
        /// To whom.
        to: NodeId,
    },
    /// Too much is appended and not yet applied: try again when some of it is.
    OverUncommittedLimit {
        /// [`Config::max_uncommitted_bytes`](crate::Config::max_uncommitted_bytes).
        limit: u64,
    },
    /// There is nothing to propose.
    Empty,
    /// The log has no room for another index (2^63 entries).
    LogFull,
}

/// Why a read can't be answered: at once, or later in [`Ready::dropped_reads`](crate::Ready::dropped_reads).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadError {
    /// No leader is known: try again later, or elsewhere.
    NoLeader,
    /// This node is campaigning: no leader is known.
    Campaigning,
    /// [`ReadMode::Lease`](crate::ReadMode::Lease) without [`Config::lease_reads`](crate::Config::lease_reads).
    LeasesAreOff,
    /// The leader changed before the read was confirmed. It may be tried again.
    LeaderChanged,
    /// No answer came within two election time-outs: the request or its answer was lost. It may be tried again.
    TimedOut,
    /// Too many reads wait already (65,536).
    TooManyPending,
}

/// Why a campaign doesn't start.
#[derive(Debug)]
#[non_exhaustive]
pub enum CampaignError {
    /// This node leads already.
    AlreadyLeader,
    /// It isn't a voter of its configuration.
    NotAVoter,
    /// A snapshot isn't durable yet, and with it the configuration.
    SnapshotPending,
    /// The state machine waits for a snapshot, which only another leader can send.
    SnapshotWanted,
    /// This node lost what it had acknowledged, so it can't know what is committed.
    DataLost,
    /// A committed membership change isn't applied yet, so the configuration is not the one to campaign in.
    UnappliedConfChange,
    /// A leader asked for a promise within an election time-out, and may hold a lease that relies on this node.
    BoundByLease,
    /// There is no term after this one.
    TermsExhausted,
    /// The storage couldn't be read.
    Storage(StorageError),
}

/// Why a snapshot can't be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotRequestError {
    /// This node leads or campaigns: hand leadership over, or wait for the next leader.
    NotAFollower,
}

/// Why a cluster can't be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BootstrapError {
    /// This node has a term, a log or a configuration already.
    NotEmpty,
    /// There is nobody to start it with.
    NoPeers,
    /// The list isn't a configuration.
    ConfState(ConfStateError),
}

/// Why leadership can't be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferError {
    /// No leader is known who could do it.
    NoLeader,
    /// This node doesn't lead, so it can't tell who is fit.
    NotLeader,
    /// No other voter was heard lately.
    NobodyFit,
    /// The target leads already, and no transfer is on its way that could be given up.
    AlreadyLeader,
    /// The target isn't in the configuration.
    UnknownNode(NodeId),
    /// The target is a learner.
    NotAVoter(NodeId),
}

/// Why the leader can't be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForgetLeaderError {
    /// This node isn't a follower.
    NotAFollower,
    /// Leases are on, and the leader may rely on this node.
    BoundByLease,
}

/// Why an acknowledgement is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckError {
    /// [`on_persisted`](crate::RawNode::on_persisted) with a number that no `Ready` had.
    NotHandedOut {
        /// The number of the last `Ready`.
        last: u64,
    },
    /// [`on_applied`](crate::RawNode::on_applied) with an index that wasn't handed out for application.
    NotHandedOutForApply {
        /// The last index that was.
        last: Index,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(error) => error.fmt(f),
            StartError::Storage(error) => error.fmt(f),
            StartError::ConfState(error) => write!(f, "the stored membership is not valid: {error}"),
            StartError::CommitOutsideLog { commit, before, last } => {
                write!(f, "the stored commit index {commit} lies outside the stored log ({before}, {last}]")
            }
            StartError::TermBelowLog { term, last } => {
                write!(f, "the stored term {term} is below that of the last stored entry, {last}")
            }
            StartError::AppliedOutsideLog { applied, before, last } => {
                write!(f, "the applied index {applied} lies outside of the stored log, [{before}, {last}]")
            }
        }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepError::NotForThisNode { to } => write!(f, "the message is addressed to node {to}"),
            StepError::FromThisNode => f.write_str("the message claims to come from this node"),
            StepError::UnknownPeer(id) => {
                write!(f, "an answer from node {id}, which is not in the configuration")
            }
            StepError::TermOutOfRange(term) => write!(f, "term {term} can't be"),
            StepError::TermNotExpected(term) => write!(f, "term {term} in a message that has none"),
            StepError::IndexOutOfRange(index) => write!(f, "index {index} can't be"),
            StepError::EntriesNotContiguous => f.write_str("the entries are not consecutive"),
            StepError::EntryTermsOutOfOrder => {
                f.write_str("the terms of the entries go down or exceed the sender's")
            }
            StepError::ProposalHasPosition => f.write_str("a proposed entry has a term or an index"),
            StepError::ProposalOfLeadersOwn => {
                f.write_str("a proposed entry is one that only a leader writes")
            }
            StepError::EmptyProposal => f.write_str("a proposal of nothing"),
            StepError::ConflictsWithCommitted { index } => {
                write!(f, "another entry is committed at index {index}")
            }
            StepError::AckBeyondLog { acked, last } => {
                write!(f, "index {acked} is acknowledged, and this log ends at {last}")
            }
            StepError::RivalLeader(id) => write!(f, "node {id} acts as leader of this leader's own term"),
            StepError::EmptySnapshot => f.write_str("a snapshot of nothing"),
            StepError::SnapshotTermOutOfRange(term) => {
                write!(f, "a snapshot of term {term}, above its sender's")
            }
            StepError::SnapshotConfState(error) => {
                write!(f, "the snapshot's membership is not valid: {error}")
            }
            StepError::Proposal(error) => error.fmt(f),
            StepError::Storage(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ProposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProposeError::NoLeader => f.write_str("no leader is known"),
            ProposeError::NotLeader { leader } => {
                write!(f, "node {leader} leads, and proposals are not forwarded")
            }
            ProposeError::Campaigning => f.write_str("this node is campaigning, no leader is known"),
            ProposeError::NotInConfiguration => f.write_str("this leader is not in its configuration"),
            ProposeError::Transferring { to } => write!(f, "leadership is being handed over to node {to}"),
            ProposeError::OverUncommittedLimit { limit } => {
                write!(f, "more than {limit} bytes would be appended and not yet applied")
            }
            ProposeError::Empty => f.write_str("there is nothing to propose"),
            ProposeError::LogFull => f.write_str("the log has no index left"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReadError::NoLeader => "no leader is known",
            ReadError::Campaigning => "this node is campaigning, no leader is known",
            ReadError::LeasesAreOff => "lease reads are switched off",
            ReadError::LeaderChanged => "the leader changed before the read was confirmed",
            ReadError::TimedOut => "no answer came within two election time-outs",
            ReadError::TooManyPending => "too many reads are pending",
        })
    }
}

impl fmt::Display for CampaignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CampaignError::AlreadyLeader => f.write_str("this node leads already"),
            CampaignError::NotAVoter => f.write_str("this node is not a voter of its configuration"),
            CampaignError::SnapshotWanted => f.write_str("the state machine waits for a snapshot"),
            CampaignError::DataLost => f.write_str("this node lost what it had acknowledged"),
            CampaignError::SnapshotPending => f.write_str("a snapshot is not durable yet"),
            CampaignError::UnappliedConfChange => {
                f.write_str("a committed membership change is not applied yet")
            }
            CampaignError::BoundByLease => f.write_str("a leader's lease may rely on this node"),
            CampaignError::TermsExhausted => f.write_str("there is no further term"),
            CampaignError::Storage(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for BootstrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootstrapError::NotEmpty => f.write_str("this node has a term, a log or a configuration already"),
            BootstrapError::NoPeers => f.write_str("there is nobody to start a cluster with"),
            BootstrapError::ConfState(error) => write!(f, "the list of nodes is not valid: {error}"),
        }
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransferError::NoLeader => f.write_str("no leader is known"),
            TransferError::NotLeader => f.write_str("this node doesn't lead"),
            TransferError::NobodyFit => f.write_str("no other voter was heard lately"),
            TransferError::AlreadyLeader => f.write_str("the node leads already"),
            TransferError::UnknownNode(id) => write!(f, "node {id} is not in the configuration"),
            TransferError::NotAVoter(id) => write!(f, "node {id} is a learner"),
        }
    }
}

impl fmt::Display for ForgetLeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForgetLeaderError::NotAFollower => "this node is not a follower",
            ForgetLeaderError::BoundByLease => "a leader's lease may rely on this node",
        })
    }
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AckError::NotHandedOut { last } => write!(f, "the last Ready handed out has number {last}"),
            AckError::NotHandedOutForApply { last } => {
                write!(f, "entries up to index {last} were handed out for application")
            }
        }
    }
}

impl core::error::Error for StartError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            StartError::Config(error) => Some(error),
            StartError::Storage(error) => Some(error),
            StartError::ConfState(error) => Some(error),
            StartError::CommitOutsideLog { .. }
            | StartError::TermBelowLog { .. }
            | StartError::AppliedOutsideLog { .. } => None,
        }
    }
}
impl core::error::Error for StepError {}
impl core::error::Error for ProposeError {}
impl core::error::Error for ReadError {}
impl core::error::Error for CampaignError {}
impl core::error::Error for AckError {}
impl core::error::Error for TransferError {}
impl core::error::Error for BootstrapError {}
impl core::error::Error for ForgetLeaderError {}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> StartError {
        StartError::Config(error)
    }
}
impl From<StorageError> for StartError {
    fn from(error: StorageError) -> StartError {
        StartError::Storage(error)
    }
}
impl From<ConfStateError> for StartError {
    fn from(error: ConfStateError) -> StartError {
        StartError::ConfState(error)
    }
}
impl From<StorageError> for StepError {
    fn from(error: StorageError) -> StepError {
        StepError::Storage(error)
    }
}
impl From<ProposeError> for StepError {
    fn from(error: ProposeError) -> StepError {
        StepError::Proposal(error)
    }
}
impl From<StorageError> for CampaignError {
    fn from(error: StorageError) -> CampaignError {
        CampaignError::Storage(error)
    }
}
