//! What must come about when everything works.

use bytes::Bytes;
use raft_core::{NodeId, RoleKind, Status};

use super::World;

impl World {
    /// A leader, equal logs, and nothing that waits: soon, and again after another proposal.
    pub(super) fn demand_progress(&mut self) -> Result<(), String> {
        let slowest = self.nodes.iter().map(|node| node.options.tick_every).max().unwrap_or(1);
        let election = u64::from(self.nodes[0].options.config.election_ticks) * slowest;
        for round in 0..2 {
            let deadline = self.now + 60 * election;
            while !self.is_settled() {
                if self.now >= deadline {
                    return Err(format!(
                        "25-26: no progress within 60 election time-outs (round {round}): {}",
                        self.picture()
                    ));
                }
                self.run_until(self.now + election)?;
                if self.changes {
                    self.retire()?;
                }
            }
            let Some(leader) = self.leader() else { return Err("25: no leader".to_owned()) };
            let at = self.at(leader.id);
            if let Some(raw) = &mut self.nodes[at].raw {
                raw.propose(Bytes::from_static(b"after the storm"))
                    .map_err(|error| format!("26: a proposal is refused at rest: {error}"))?;
            }
            self.drain(leader.id)?;
        }
        Ok(())
    }

    /// What whoever runs the cluster does: a leader that isn't a voter hands over, and nodes that were removed are switched
    /// off once every voter knows that they were. (Without pre-vote and check-quorum they would campaign for ever.)
    fn retire(&mut self) -> Result<(), String> {
        let Some(leader) = self.leader() else { return Ok(()) };
        let (voters, at) = (&leader.conf_state.voters, self.at(leader.id));
        if !voters.contains(&leader.id) && leader.conf_state.voters_outgoing.is_empty() {
            let best =
                leader.progress.iter().filter(|peer| !peer.is_learner).max_by_key(|peer| peer.match_index);
            if let (Some(raw), Some(best)) = (&mut self.nodes[at].raw, best) {
                let _ = raw.transfer_leader(best.id);
            }
            return self.drain(leader.id);
        }
        let statuses = self.statuses();
        let knows = |id: &NodeId| statuses.iter().any(|s| s.id == *id && s.conf_state == leader.conf_state);
        // A change that isn't applied yet may bring back whom another removed.
        if leader.applied < leader.last || !voters.iter().all(knows) {
            return Ok(());
        }
        for at in 0..self.nodes.len() {
            if !is_member(&leader, self.nodes[at].id) {
                self.crash(at)?;
            }
        }
        Ok(())
    }

    fn statuses(&self) -> Vec<Status> {
        self.nodes.iter().filter_map(|node| node.raw.as_ref().map(|raw| raw.status())).collect()
    }

    /// The leader of the newest term that has one.
    fn leader(&self) -> Option<Status> {
        let leaders = self.statuses().into_iter().filter(|status| status.role == RoleKind::Leader);
        leaders.max_by_key(|status| status.term)
    }

    fn is_settled(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let machine = &self.nodes[self.at(leader.id)].machine;
        let conf_state = &leader.conf_state;
        let in_office =
            conf_state.voters.contains(&leader.id) || conf_state.voters_outgoing.contains(&leader.id);
        let mut members = self.statuses().into_iter().filter(|status| is_member(&leader, status.id));
        self.reads.is_empty()
            && in_office
            && !conf_state.auto_leave
            && leader.uncommitted_bytes == 0
            && leader.transferee.is_none()
            && leader
                .progress
                .iter()
                .all(|peer| peer.match_index == leader.last && peer.inflight_messages == 0)
            && members.all(|status| {
                status.term == leader.term
                    && status.leader == Some(leader.id)
                    && status.commit == leader.last
                    && status.applied == leader.last
                    && status.last == leader.last
                    && status.conf_state == leader.conf_state
            })
            && self
                .nodes
                .iter()
                .filter(|node| is_member(&leader, node.id))
                .all(|node| node.machine == *machine)
    }

    fn picture(&self) -> String {
        let mut picture = format!("{} reads pending", self.reads.len());
        for status in self.statuses() {
            picture.push_str(&format!("\n    {status:?}"));
        }
        picture
    }
}

/// Is the node in the leader's configuration?
fn is_member(leader: &Status, id: NodeId) -> bool {
    let state = &leader.conf_state;
    state.voters.contains(&id) || state.voters_outgoing.contains(&id) || state.learners.contains(&id)
}
