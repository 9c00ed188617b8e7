//! After a refusal a cluster goes on: nothing that must hold is broken, and whoever can elect a leader does, and commits.

use bytes::Bytes;
use raft_core::{NodeId, Proposal, RoleKind};

use super::environment::{CommandError, Environment};

/// An election takes less, also with some votes that are split.
const TICKS: usize = 200;

impl Environment {
    /// Ticks all nodes and delivers everything, until a leader commits what it is given.
    ///
    /// # Errors
    /// What is wrong then: an invariant is broken, or nothing is ever committed although a majority of the voters is there.
    pub(super) fn goes_on(&mut self) -> Result<(), CommandError> {
        let ids: Vec<u64> = self.nodes.iter().map(|node| node.id.get()).collect();
        for _ in 0..TICKS {
            self.nodes.iter_mut().for_each(|node| node.raw.tick());
            self.stabilize_nodes(&ids)?;
            self.check_invariants()?;
            if self.commits(&ids)? {
                return Ok(());
            }
        }
        if self.majority_exists() { Err(format!("nothing is committed in {TICKS} ticks")) } else { Ok(()) }
    }

    /// Is there a leader that commits what it is given?
    fn commits(&mut self, ids: &[u64]) -> Result<bool, CommandError> {
        let leaders = self.nodes.iter_mut().filter(|node| node.raw.role() == RoleKind::Leader);
        let Some(leader) = leaders.max_by_key(|node| node.raw.term()) else { return Ok(false) };
        let id = leader.id.get();
        // It may be handing over, for instance.
        let proposal = leader.call(|raw| raw.propose(Bytes::from_static(b"on")));
        let Ok(Proposal::Appended { term, last, .. }) = proposal else { return Ok(false) };
        self.stabilize_nodes(ids)?;
        self.check_invariants()?;
        let leader = &self.node(id)?.raw;
        Ok(leader.role() == RoleKind::Leader && leader.term() == term && leader.commit_index() >= last)
    }

    /// Does the script have a majority of the voters, in both halves, that each node knows of? It may start fewer nodes than
    /// its configurations name.
    fn majority_exists(&self) -> bool {
        let present = |voters: &[NodeId]| {
            let there = voters.iter().filter(|id| self.nodes.iter().any(|node| node.id == **id)).count();
            voters.is_empty() || there > voters.len() / 2
        };
        self.nodes.iter().all(|node| {
            let conf = node.raw.conf_state();
            present(&conf.voters) && present(&conf.voters_outgoing)
        }) && !self.nodes.is_empty()
    }
}
