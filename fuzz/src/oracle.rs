//! What must hold after every event. The numbers are those of `../shared/invariants.md`.

use std::collections::BTreeMap;

use raft_core::{
    AppendEntriesReply, Body, ConfState, Entry, Index, Message, NodeId, RoleKind, Snapshot, Status, Term,
    VoteReply,
};

use crate::cluster::{Handled, Node};
use crate::machine::{Machine, entry_hash};

/// What is remembered of the whole history.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Who led which term (1).
    leaders: BTreeMap<Term, NodeId>,
    /// Each entry that ever was, with the term before it (3).
    entries: BTreeMap<(Index, Term), (u64, Option<Term>)>,
    /// The state after each index that was ever applied (5).
    applied: BTreeMap<Index, (Term, u64)>,
    /// Whom each node voted for in each term (6).
    votes: BTreeMap<(NodeId, Term), NodeId>,
    /// The highest index that was committed anywhere, with its term, and the term in which it was (4, 13).
    committed: (Index, Term),
    /// The last status of each node that is up (9).
    seen: BTreeMap<NodeId, (Term, Option<NodeId>, Index, Index)>,
    /// What followed from the membership change at each index: nothing if it was refused (18d).
    configured: BTreeMap<Index, Option<ConfState>>,
}

/// A statement that doesn't hold.
pub type Violation = String;

impl Oracle {
    /// The cluster begins with this snapshot.
    pub fn on_founded(&mut self, snapshot: &Snapshot) {
        let metadata = &snapshot.metadata;
        self.committed = (metadata.index, metadata.term);
        self.configured.insert(metadata.index, Some(metadata.conf_state.clone()));
    }

    /// The highest index that was committed anywhere.
    pub fn committed(&self) -> Index {
        self.committed.0
    }

    /// Terms that had a leader.
    pub fn terms_led(&self) -> usize {
        self.leaders.len()
    }

    /// A node went down: what only its memory held may go back.
    pub fn on_crash(&mut self, id: NodeId) {
        self.seen.remove(&id);
    }

    /// A message leaves a node (6, 7).
    ///
    /// # Errors
    /// The statement that it breaks.
    pub fn on_send(&mut self, node: &Node, message: &Message) -> Result<(), Violation> {
        let durable = node.disk.with_durable(raft_core::MemoryStorage::hard_state);
        let vote = match &message.body {
            Body::RequestVote(_) => Some(message.from),
            Body::RequestVoteReply(VoteReply::Granted) => Some(message.to),
            _ => None,
        };
        if let Some(candidate) = vote {
            let before = self.votes.insert((message.from, message.term), candidate);
            if before.is_some_and(|before| before != candidate) {
                return Err(format!("6: node {} votes twice in term {}", message.from, message.term));
            }
            if durable.term < message.term
                || (durable.term == message.term && durable.vote != Some(candidate))
            {
                return Err(format!("7: a vote of node {} leaves before it is durable", message.from));
            }
        }
        if let Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }) = &message.body {
            let last = node.disk.with_durable(|storage| {
                use raft_core::Storage;
                storage.last_index().unwrap_or_default()
            });
            // An acknowledgement to the leader of a term that is over can leave together with the cut that ended it.
            if *index > last && durable.term == message.term {
                return Err(format!("7: node {} acknowledges {index}, durable is {last}", message.from));
            }
        }
        let promises = matches!(
            message.body,
            Body::RequestVoteReply(_) | Body::RequestVote(_) | Body::AppendEntriesReply(_)
        );
        if promises && durable.term < message.term {
            return Err(format!(
                "7: node {} answers in term {} before that is durable",
                message.from, message.term
            ));
        }
        Ok(())
    }

    /// A node handled a `Ready` (3, 5).
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn on_handled(&mut self, node: &Node, handled: &Handled) -> Result<(), Violation> {
        for entry in &handled.appended {
            let before = node.disk.written_term(entry.index.prev());
            let this = (entry_hash(entry), before);
            let known = self.entries.entry((entry.index, entry.term)).or_insert(this);
            let same_before = known.1.is_none() || before.is_none() || known.1 == before;
            if known.0 != this.0 || !same_before {
                return Err(format!("3: two entries {} at index {}", entry.term, entry.index));
            }
            if before.is_some_and(|before| before > entry.term) {
                return Err(format!("3: terms go down at index {} of node {}", entry.index, node.id));
            }
        }
        for (index, configured) in &handled.configured {
            let known = self.configured.entry(*index).or_insert_with(|| configured.clone());
            if known != configured {
                return Err(format!(
                    "18d: the change at index {index} came to {configured:?} at node {}, elsewhere to {known:?}",
                    node.id
                ));
            }
        }
        self.on_applied(&node.machine, &handled.applied, node.id)
    }

    /// The configuration that a node acts by and stores is that of the last change that it has applied (18d).
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn check_configuration(&self, node: &Node) -> Result<(), Violation> {
        let Some(raw) = &node.raw else { return Ok(()) };
        let last = self.configured.range(..=node.machine.index()).rev().find_map(|(_, state)| state.as_ref());
        if last.is_some_and(|state| *state != node.machine.conf_state) {
            return Err(format!("18d: the configuration of node {} isn't {last:?}", node.id));
        }
        let restoring = node.disk.has_snapshot_queued();
        let acts_by = raw.status().conf_state;
        if !restoring && acts_by != node.machine.conf_state {
            return Err(format!(
                "18d: node {} acts by {acts_by:?} and has applied {:?}",
                node.id, node.machine.conf_state
            ));
        }
        Ok(())
    }

    /// A leader has at most one membership change that it hasn't applied (18a).
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn check_changes(&self, node: &Node) -> Result<(), Violation> {
        let Some(raw) = node.raw.as_ref().filter(|raw| raw.role() == RoleKind::Leader) else { return Ok(()) };
        let unapplied = node.changes.range(raw.applied_index().next()..).count();
        if unapplied > 1 {
            return Err(format!("18a: leader {} has {unapplied} changes to apply", node.id));
        }
        Ok(())
    }

    fn on_applied(&mut self, machine: &Machine, applied: &[Entry], id: NodeId) -> Result<(), Violation> {
        let Some(last) = applied.last() else { return Ok(()) };
        let state = (last.term, machine.hash);
        let known = *self.applied.entry(last.index).or_insert(state);
        if known != state {
            return Err(format!("5: node {id} differs from another at index {}", last.index));
        }
        Ok(())
    }

    /// After any event at a node.
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn after_event(&mut self, nodes: &[Node], id: NodeId, moments: &[Status]) -> Result<(), Violation> {
        let Some(node) = nodes.iter().find(|node| node.id == id) else { return Ok(()) };
        let Some(raw) = &node.raw else { return Ok(()) };
        for moment in moments {
            self.on_moment(nodes, node, moment)?;
        }
        raw.check_invariants().map_err(|violation| format!("10-16: node {id}: {violation}"))?;
        self.on_moment(nodes, node, &raw.status())
    }

    fn on_moment(&mut self, nodes: &[Node], node: &Node, status: &Status) -> Result<(), Violation> {
        let id = node.id;
        self.check_monotonic(status)?;
        if status.role == RoleKind::Leader {
            let leader = *self.leaders.entry(status.term).or_insert(id);
            if leader != id {
                return Err(format!("1: nodes {leader} and {id} lead term {}", status.term));
            }
        }
        if status.commit > self.committed.0 {
            self.on_new_commit(nodes, node, status)?;
        }
        Ok(())
    }

    fn check_monotonic(&mut self, status: &Status) -> Result<(), Violation> {
        let now = (status.term, status.vote, status.commit, status.applied);
        let Some((term, vote, commit, applied)) = self.seen.insert(status.id, now) else { return Ok(()) };
        let vote_changed = term == status.term && vote.is_some() && vote != status.vote;
        if status.term < term || vote_changed || status.commit < commit || status.applied < applied {
            return Err(format!("9: node {} goes back", status.id));
        }
        Ok(())
    }

    /// An index is committed for the first time: only a leader does that, and a quorum has it durably (12, 13).
    fn on_new_commit(&mut self, nodes: &[Node], node: &Node, status: &Status) -> Result<(), Violation> {
        if status.role != RoleKind::Leader {
            return Err(format!("13: node {} commits {} as {}", node.id, status.commit, status.role));
        }
        let holds = |id: NodeId| {
            let peer = nodes.iter().find(|peer| peer.id == id);
            peer.is_some_and(|peer| {
                use raft_core::Storage;
                let durable = |storage: &raft_core::MemoryStorage| storage.term(status.commit).ok();
                peer.disk.with_durable(durable) == Some(status.term)
                    || peer.disk.with_durable(|storage| storage.first_index().unwrap_or_default())
                        > status.commit
            })
        };
        for half in [&status.conf_state.voters, &status.conf_state.voters_outgoing] {
            let count = half.iter().filter(|id| holds(**id)).count();
            if count * 2 <= half.len() && !half.is_empty() {
                return Err(format!(
                    "12: node {} commits {} in term {}, durable on {count} of {half:?}",
                    node.id, status.commit, status.term
                ));
            }
        }
        self.committed = (status.commit, status.term);
        Ok(())
    }

    /// A node has become leader and handed its log to the disk: it has everything that was committed (4).
    ///
    /// # Errors
    /// The entry that it lacks.
    pub fn on_leader(&self, node: &Node, term: Term) -> Result<(), Violation> {
        let (committed, in_term) = self.committed;
        if term <= in_term || committed <= node.disk.compacted_to() {
            return Ok(());
        }
        match node.disk.written_term(committed) {
            Some(_) => Ok(()),
            None => Err(format!("4: node {} leads term {term} without entry {committed}", node.id)),
        }
    }
}
