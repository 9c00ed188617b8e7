//! What the caller can change while a node runs.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use raft_proto::NodeId;

use super::common::Groups;
use super::{Raft, Role};
use crate::config::{Config, ConfigError};
use crate::storage::Storage;

impl<S: Storage> Raft<S> {
    /// Changes settings at run time.
    pub(crate) fn reconfigure(&mut self, config: Config) -> Result<(), ConfigError> {
        config.validate()?;
        let now = &self.common.config;
        let fixed = |config: &Config| {
            (
                config.id,
                config.election_ticks,
                config.heartbeat_ticks,
                config.async_writes,
                config.lease_reads,
                config.applied,
                config.seed,
            )
        };
        if fixed(now) != fixed(&config) {
            return Err(ConfigError::FixedAtStart);
        }
        self.common.log.set_limits(&config);
        self.common.clock.wake();
        let before = core::mem::replace(&mut self.common.config, config);
        if let Role::Leader(leader) = &mut self.role {
            leader.on_reconfigured(&mut self.common, &before);
        }
        Ok(())
    }

    /// Commits by groups, or no longer.
    pub(crate) fn set_commit_groups(&mut self, groups: Option<BTreeMap<NodeId, u64>>) {
        self.common.groups = groups.map(|groups| Box::new(Groups(groups)));
        if let Role::Leader(leader) = &mut self.role {
            leader.recount(&mut self.common);
        }
    }

    pub(crate) fn is_group_consistent(&self) -> Option<bool> {
        let Role::Leader(leader) = &self.role else { return None };
        leader.is_group_consistent(&self.common)
    }

    /// How many messages may be on their way to a peer.
    pub(crate) fn set_max_inflight(&mut self, peer: NodeId, messages: u32) -> bool {
        match &mut self.role {
            Role::Leader(leader) => leader.set_max_inflight(&mut self.common, peer, messages),
            Role::Follower(_) | Role::Candidate(_) => false,
        }
    }
}
