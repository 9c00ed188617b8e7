//! How a node begins: from what its storage holds, or as one of a new cluster.

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::Bytes;
use raft_proto::{
    ConfChange, ConfChangeKind, ConfState, Entries, Entry, HardState, Index, LogPosition, NodeId, Payload,
    Term,
};

use super::clock::Clock;
use super::common::{Common, Next, Timer};
use super::follower::Follower;
use super::outbox::Outbox;
use super::rng::Rng;
use super::{Raft, Role};
use crate::config::Config;
use crate::error::{BootstrapError, StartError};
use crate::log::RaftLog;
use crate::membership::Configuration;
use crate::storage::{Inconsistency, Storage, StorageError};
use crate::trace::{Trace, info};

impl<S: Storage> Raft<S> {
    pub(crate) fn new(config: Config, storage: S, trace: Trace) -> Result<Raft<S>, StartError> {
        config.validate()?;
        let initial = storage.initial_state()?;
        let HardState { term, vote, .. } = initial.hard_state;
        if term > Term::LIMIT || initial.hard_state.commit > Index::LIMIT {
            return Err(StorageError::Inconsistent(Inconsistency::OutOfRange).into());
        }
        let membership = Configuration::from_conf_state(&initial.conf_state)?;
        let log = RaftLog::new(storage, &config, &initial.hard_state)?;
        let log_applied = log.applied();
        let mut rng = Rng::new(config.seed, config.id);
        let clock = Clock::new(config.election_ticks, &mut rng);
        let was_here = !term.is_zero() && config.lease_reads;
        let common = Common {
            bound_until: if was_here { u64::from(config.election_ticks) } else { 0 },
            durable_term: term,
            changed_at: log_applied,
            groups: None,
            lost: initial.lost.map(Box::new),
            news: false,
            next_read: rng.next().max(1),
            term,
            vote,
            log,
            membership,
            applied_membership: None,
            outbox: Outbox::default(),
            clock,
            rng,
            counters: None,
            trace,
            config,
        };
        info!(common.trace, "started", "term" => term, "last" => common.log.last(), "commit" => common.log.committed(),
            "applied" => common.log.applied());
        Ok(Raft { common, role: Role::Follower(Follower::default()) })
    }

    /// Starts a cluster of these nodes: each of them must be started so, with the same list.
    pub(crate) fn bootstrap(&mut self, peers: &[(NodeId, Bytes)]) -> Result<(), BootstrapError> {
        let common = &mut self.common;
        let empty = common.term.is_zero() && common.log.last() == LogPosition::ZERO;
        if !empty || common.membership != Configuration::default() {
            return Err(BootstrapError::NotEmpty);
        }
        if peers.is_empty() {
            return Err(BootstrapError::NoPeers);
        }
        let voters = ConfState::of_voters(peers.iter().map(|(id, _)| *id));
        let membership = Configuration::from_conf_state(&voters).map_err(BootstrapError::ConfState)?;
        let term = Term::ZERO.next();
        let mut index = Index::ZERO;
        let entries = peers.iter().map(|(id, context)| {
            index = index.next();
            let kind = ConfChangeKind::AddVoter;
            let change = ConfChange { id: 0, kind, node: Some(*id), context: context.clone() };
            Entry { term, index, payload: Payload::ConfChange(Arc::new(change)) }
        });
        common.log.append(LogPosition::ZERO, entries.collect::<Entries>());
        common.log.commit_to(common.log.last().index);
        common.membership = membership;
        self.become_next(Next::Follow { term, leader: None, timer: Timer::Restart });
        Ok(())
    }
}
