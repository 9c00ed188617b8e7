//! Why something isn't so: computed from the state, for operators and for tests.
//!
//! Each question is answered with `None` where it doesn't arise (the node leads, the index is committed, …), otherwise with the
//! first reason that applies, which says in one plain sentence what is waited for.

use alloc::vec::Vec;
use core::fmt;

use raft_proto::{Index, NodeId};

use crate::error::CampaignError;
use crate::progress::ProgressState;
use crate::raft::election::{self, Ballot};
use crate::raft::{Raft, Role};
use crate::storage::Storage;
use crate::trace::Ids;

/// Why a node doesn't lead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyNotLeader {
    /// Another does.
    Follows {
        /// Who.
        leader: NodeId,
    },
    /// It has no vote.
    NotAVoter,
    /// The snapshot that it received isn't durable yet.
    SnapshotPending,
    /// Its state machine waits for a snapshot.
    SnapshotWanted,
    /// It lost what it had acknowledged.
    DataLost,
    /// It hasn't applied a committed membership change.
    UnappliedConfChange,
    /// The storage couldn't be read, or no term is left.
    CannotCampaign,
    /// It will campaign unless a leader is heard.
    WillCampaign {
        /// After this many ticks.
        ticks: u32,
    },
    /// It campaigns.
    Campaigns {
        /// It only asks whether it would win (thesis §9.6).
        pre_vote: bool,
        /// Who would vote for it, or does.
        granted: Vec<NodeId>,
        /// Who doesn't.
        refused: Vec<NodeId>,
        /// Who hasn't answered.
        silent: Vec<NodeId>,
    },
}

/// Why an index isn't committed here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyNotCommitted {
    /// The log doesn't reach it.
    BeyondLog {
        /// Where it ends.
        last: Index,
    },
    /// Only a leader commits, and this node wasn't told.
    NotTold {
        /// The leader, if it knows one.
        leader: Option<NodeId>,
    },
    /// Not enough have it durably.
    NotOnQuorum {
        /// Voters that have.
        have: Vec<NodeId>,
        /// Voters that haven't, or haven't said so.
        lack: Vec<NodeId>,
    },
    /// A quorum has it durably, but not in two commit groups (see [`set_commit_groups`](crate::RawNode::set_commit_groups)).
    NotInTwoGroups {
        /// Voters that have.
        have: Vec<NodeId>,
        /// Voters that haven't, or haven't said so.
        lack: Vec<NodeId>,
    },
    /// It is of an earlier term: it commits together with the first entry of this one (§5.4.2).
    OfEarlierTerm {
        /// The index of that entry.
        first_of_term: Index,
    },
}

/// Why a leader sends nothing more to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyPaused {
    /// This node doesn't lead.
    NotLeader,
    /// It isn't a member.
    UnknownPeer,
    /// The one message by which the leader tries where the logs agree isn't answered.
    ProbeUnanswered {
        /// The index that it begins with.
        next: Index,
    },
    /// As much as is allowed is on its way.
    WindowFull {
        /// Messages on their way.
        messages: usize,
        /// Their payload bytes.
        bytes: u64,
    },
    /// A snapshot is.
    SnapshotOnItsWay {
        /// It covers up to here.
        pending: Index,
    },
}

/// Why a read isn't confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyReadWaits {
    /// The leader has committed nothing in its term yet.
    FirstCommitOfTerm {
        /// The index that must be committed.
        first_of_term: Index,
    },
    /// A quorum must answer the round of heartbeats that went out for it.
    Round {
        /// Voters that have, this node included.
        answered: Vec<NodeId>,
        /// Voters that haven't.
        silent: Vec<NodeId>,
    },
    /// The leader was asked.
    LeaderAsked {
        /// The leader.
        leader: Option<NodeId>,
    },
}

pub(crate) fn why_not_leader<S: Storage>(raft: &Raft<S>) -> Option<WhyNotLeader> {
    let common = &raft.common;
    match &raft.role {
        Role::Leader(_) => None,
        Role::Candidate(candidate) => {
            let by_vote = |wanted: Option<bool>| -> Vec<NodeId> {
                common.membership.voters().voters().filter(|id| candidate.vote_of(*id) == wanted).collect()
            };
            Some(WhyNotLeader::Campaigns {
                pre_vote: candidate.ballot() == Ballot::PreVote,
                granted: by_vote(Some(true)),
                refused: by_vote(Some(false)),
                silent: by_vote(None),
            })
        }
        Role::Follower(follower) => Some(match (follower.leader, election::may_campaign(common)) {
            (Some(leader), _) => WhyNotLeader::Follows { leader },
            (None, Err(CampaignError::NotAVoter)) => WhyNotLeader::NotAVoter,
            (None, Err(CampaignError::SnapshotPending)) => WhyNotLeader::SnapshotPending,
            (None, Err(CampaignError::SnapshotWanted)) => WhyNotLeader::SnapshotWanted,
            (None, Err(CampaignError::DataLost)) => WhyNotLeader::DataLost,
            (None, Err(CampaignError::UnappliedConfChange)) => WhyNotLeader::UnappliedConfChange,
            (None, Err(_)) => WhyNotLeader::CannotCampaign,
            (None, Ok(())) => {
                let clock = &common.clock;
                WhyNotLeader::WillCampaign {
                    ticks: clock.election_timeout().saturating_sub(clock.election_elapsed()),
                }
            }
        }),
    }
}

pub(crate) fn why_not_committed<S: Storage>(raft: &Raft<S>, index: Index) -> Option<WhyNotCommitted> {
    let log = &raft.common.log;
    if index <= log.committed() {
        return None;
    }
    let last = log.last().index;
    if index > last {
        return Some(WhyNotCommitted::BeyondLog { last });
    }
    let Role::Leader(leader) = &raft.role else {
        return Some(WhyNotCommitted::NotTold { leader: raft.soft_state().leader });
    };
    let voters = raft.common.membership.voters();
    let has = |id: &NodeId| leader.progress.match_index(*id) >= index;
    if leader.quorum_index(&raft.common).is_none_or(|held| held >= index) {
        return Some(WhyNotCommitted::OfEarlierTerm { first_of_term: leader.term_start() });
    }
    let (have, lack) = voters.voters().partition(has);
    Some(match voters.is_quorum(|id| has(&id)) {
        true => WhyNotCommitted::NotInTwoGroups { have, lack },
        false => WhyNotCommitted::NotOnQuorum { have, lack },
    })
}

pub(crate) fn why_paused<S>(raft: &Raft<S>, peer: NodeId) -> Option<WhyPaused> {
    let Role::Leader(leader) = &raft.role else { return Some(WhyPaused::NotLeader) };
    let Some(progress) = leader.progress.get(peer) else { return Some(WhyPaused::UnknownPeer) };
    match progress.state() {
        ProgressState::Snapshot { pending } => Some(WhyPaused::SnapshotOnItsWay { pending: *pending }),
        ProgressState::Probe if progress.is_paused() => {
            Some(WhyPaused::ProbeUnanswered { next: progress.next_index() })
        }
        ProgressState::Replicate(inflights) if progress.is_full() => {
            Some(WhyPaused::WindowFull { messages: inflights.count(), bytes: inflights.bytes() })
        }
        ProgressState::Probe | ProgressState::Replicate(_) => None,
    }
}

pub(crate) fn why_read_waits<S: Storage>(raft: &Raft<S>, context: &[u8]) -> Option<WhyReadWaits> {
    match &raft.role {
        Role::Candidate(_) => None,
        Role::Follower(follower) => {
            follower.is_reading(context).then_some(WhyReadWaits::LeaderAsked { leader: follower.leader })
        }
        Role::Leader(leader) => {
            let me = raft.common.id();
            if leader.is_reading_early(context) {
                return Some(WhyReadWaits::FirstCommitOfTerm { first_of_term: leader.term_start() });
            }
            let round = leader.round_of(context)?;
            let has = |id: &NodeId| {
                *id == me || leader.progress.get(*id).is_some_and(|peer| peer.acked_round() >= round)
            };
            let (answered, silent) = raft.common.membership.voters().voters().partition(has);
            Some(WhyReadWaits::Round { answered, silent })
        }
    }
}

impl fmt::Display for WhyNotLeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyNotLeader::Follows { leader } => write!(f, "node {leader} leads"),
            WhyNotLeader::NotAVoter => f.write_str("this node has no vote"),
            WhyNotLeader::SnapshotPending => f.write_str("a snapshot isn't durable here yet"),
            WhyNotLeader::SnapshotWanted => f.write_str("the state machine waits for a snapshot"),
            WhyNotLeader::DataLost => f.write_str("this node has lost what it had acknowledged"),
            WhyNotLeader::UnappliedConfChange => {
                f.write_str("a committed membership change isn't applied here yet")
            }
            WhyNotLeader::CannotCampaign => f.write_str("the storage can't be read, or no term is left"),
            WhyNotLeader::WillCampaign { ticks } => {
                write!(f, "no leader is known; this node campaigns in {ticks} ticks")
            }
            WhyNotLeader::Campaigns { pre_vote, granted, refused, silent } => write!(
                f,
                "this node {}: granted by {}, refused by {}, no answer from {}",
                if *pre_vote { "asks for pre-votes" } else { "asks for votes" },
                Ids(granted),
                Ids(refused),
                Ids(silent)
            ),
        }
    }
}

impl fmt::Display for WhyNotCommitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyNotCommitted::BeyondLog { last } => write!(f, "the log ends at {last}"),
            WhyNotCommitted::NotTold { leader: Some(leader) } => {
                write!(f, "node {leader} leads, and hasn't told that it is committed")
            }
            WhyNotCommitted::NotTold { leader: None } => {
                f.write_str("no leader is known who could commit it")
            }
            WhyNotCommitted::NotOnQuorum { have, lack } => {
                write!(f, "durable on {} and not known to be on {}", Ids(have), Ids(lack))
            }
            WhyNotCommitted::NotInTwoGroups { have, lack } => write!(
                f,
                "durable on {}, but not in two commit groups, and not known to be on {}",
                Ids(have),
                Ids(lack)
            ),
            WhyNotCommitted::OfEarlierTerm { first_of_term } => {
                write!(f, "it is of an earlier term and commits together with index {first_of_term}")
            }
        }
    }
}

impl fmt::Display for WhyPaused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyPaused::NotLeader => f.write_str("this node doesn't lead"),
            WhyPaused::UnknownPeer => f.write_str("the peer isn't a member"),
            WhyPaused::ProbeUnanswered { next } => write!(f, "a probe from index {next} on isn't answered"),
            WhyPaused::WindowFull { messages, bytes } => {
                write!(f, "{messages} messages with {bytes} bytes are on their way")
            }
            WhyPaused::SnapshotOnItsWay { pending } => {
                write!(f, "a snapshot up to index {pending} is on its way")
            }
        }
    }
}

impl fmt::Display for WhyReadWaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyReadWaits::FirstCommitOfTerm { first_of_term } => {
                write!(f, "index {first_of_term}, the first of this term, isn't committed yet")
            }
            WhyReadWaits::Round { answered, silent } => {
                write!(f, "its heartbeats are answered by {} and not by {}", Ids(answered), Ids(silent))
            }
            WhyReadWaits::LeaderAsked { leader: Some(leader) } => write!(f, "node {leader} was asked"),
            WhyReadWaits::LeaderAsked { leader: None } => {
                f.write_str("a leader was asked that is no longer known")
            }
        }
    }
}
