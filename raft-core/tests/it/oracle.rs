//! What must hold across nodes and over time, whatever a test does. It knows what was sent, what is on the disks and
//! what was applied, and nothing of the core's insides.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::proto::{AppendEntriesReply, VoteReply};
use raft_core::{
    Body, ConfState, Entry, Index, MemoryStorage, Message, NodeId, RoleKind, Status, Storage, Term,
};

/// The memory of everything that can't be taken back.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Who led each term.
    leaders: BTreeMap<Term, NodeId>,
    /// Whom each node gave its vote, by term.
    votes: BTreeMap<(NodeId, Term), NodeId>,
    /// What was applied anywhere, from index 1 on.
    committed: Vec<Entry>,
    /// What the membership change at each index came to: nothing if it was refused.
    configured: BTreeMap<Index, Option<ConfState>>,
    /// What each node said of itself last, in its present life.
    last: BTreeMap<NodeId, Status>,
    /// Nodes whose disk was replaced: what a leader believes of them is wrong until they tell.
    replaced: BTreeSet<NodeId>,
}

impl Oracle {
    /// The disk of this node was replaced.
    pub fn on_replaced(&mut self, id: NodeId) {
        self.replaced.insert(id);
    }

    /// The state machine at this index. A test may make up a snapshot of entries that nobody applied.
    pub fn state_at(&mut self, index: Index) -> Vec<Entry> {
        let count = usize::try_from(index.get()).unwrap();
        while self.committed.len() < count {
            let index = Index::new(self.committed.len() as u64 + 1);
            self.committed.push(Entry { index, ..Entry::default() });
        }
        self.committed[..count].to_vec()
    }

    /// A node applied a membership change.
    pub fn on_configured(&mut self, id: NodeId, index: Index, state: Option<ConfState>) {
        let known = self.configured.entry(index).or_insert_with(|| state.clone());
        assert_eq!(*known, state, "node {id} made something else of the change at {index}");
    }

    pub fn membership_changed(&self) -> bool {
        !self.configured.is_empty()
    }

    /// The configuration at this index, if a change up to there made one.
    pub fn configuration_at(&self, index: Index) -> Option<ConfState> {
        self.configured.range(..=index).rev().find_map(|(_, state)| state.clone())
    }

    /// A node starts (again).
    pub fn on_start(&mut self, id: NodeId) {
        self.last.remove(&id);
    }

    /// A message leaves a node that has `disk` (what a loss of power would leave of it).
    pub fn on_sent(&mut self, message: &Message, disk: &MemoryStorage) {
        let hard_state = disk.hard_state();
        let (from, term) = (message.from, message.term);
        let voted = match &message.body {
            Body::RequestVote(_) => Some(from),
            Body::RequestVoteReply(VoteReply::Granted) => Some(message.to),
            _ => None,
        };
        if let Some(candidate) = voted {
            let before = *self.votes.entry((from, term)).or_insert(candidate);
            assert_eq!(before, candidate, "node {from} voted twice in term {term}");
            let durable =
                hard_state.term > term || (hard_state.term, hard_state.vote) == (term, Some(candidate));
            assert!(durable, "a vote left node {from} before it was durable: {message:?}, {hard_state:?}");
        }
        match &message.body {
            Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }) => {
                assert!(hard_state.term >= term, "an answer of a term that isn't durable: {message:?}");
                if hard_state.term == term {
                    let last = disk.last_index().unwrap();
                    assert!(last >= *index, "node {from} acknowledged {index}, its disk ends at {last}");
                }
            }
            Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
                assert!(hard_state.term >= term, "node {from} leads a term that isn't durable: {message:?}");
                assert_eq!(self.leaders.get(&term), Some(&from), "not from the leader: {message:?}");
            }
            _ => {}
        }
    }

    /// A node applies an entry.
    pub fn on_applied(&mut self, id: NodeId, entry: &Entry) {
        let at = usize::try_from(entry.index.get()).unwrap() - 1;
        if let Some(known) = self.committed.get(at) {
            assert_eq!(known, entry, "node {id} applied another entry");
        } else {
            assert_eq!(self.committed.len(), at, "node {id} applied {} out of order", entry.index);
            self.committed.push(entry.clone());
        }
    }

    /// Something happened at a node. `disks` are those of all nodes.
    pub fn on_event(&mut self, status: &Status, disks: &BTreeMap<NodeId, &MemoryStorage>) {
        let id = status.id;
        if status.role == RoleKind::Leader {
            let leader = *self.leaders.entry(status.term).or_insert(id);
            assert_eq!(leader, id, "two leaders in term {}", status.term);
            self.check_leader(status, disks);
        }
        if let Some(before) = self.last.insert(id, status.clone()) {
            assert!(status.term >= before.term, "the term of node {id} went down");
            assert!(status.commit >= before.commit, "the commit index of node {id} went down");
            assert!(status.applied >= before.applied, "the applied index of node {id} went down");
            if status.term == before.term && before.vote.is_some() {
                assert_eq!(status.vote, before.vote, "node {id} changed its vote");
            }
            let leads_on = before.role == RoleKind::Leader && status.role == RoleKind::Leader;
            if leads_on && before.term == status.term {
                assert!(status.last >= before.last, "leader {id} shortened its log");
                if status.commit > before.commit {
                    check_quorum_has(status, disks);
                }
            }
        }
    }

    /// What a leader believes of the others is on their disks, unless a later leader has changed it since.
    fn check_leader(&self, status: &Status, disks: &BTreeMap<NodeId, &MemoryStorage>) {
        let newest = disks.values().all(|disk| disk.hard_state().term <= status.term);
        for peer in status.progress.iter().filter(|peer| newest && peer.id != status.id) {
            if self.replaced.contains(&peer.id) {
                continue;
            }
            let Some(disk) = disks.get(&peer.id) else { continue };
            let last = disk.last_index().unwrap();
            assert!(
                last >= peer.match_index,
                "match of node {} is {}, its disk ends at {last}",
                peer.id,
                peer.match_index
            );
            if let (Ok(theirs), Ok(ours)) =
                (disk.term(peer.match_index), disks[&status.id].term(peer.match_index))
                && status.durable >= peer.match_index
            {
                assert_eq!(theirs, ours, "match of node {} is {} of another term", peer.id, peer.match_index);
            }
        }
    }
}

/// A leader commits only what more than half of the voters have on their disks (§5.4.2), by an entry of its own term.
fn check_quorum_has(status: &Status, disks: &BTreeMap<NodeId, &MemoryStorage>) {
    let has = |id: &&NodeId| disks[*id].term(status.commit).is_ok_and(|term| term == status.term);
    for half in [&status.conf_state.voters, &status.conf_state.voters_outgoing] {
        if half.is_empty() || half.iter().any(|id| !disks.contains_key(id)) {
            continue; // not joint; or a test that plays the others by hand
        }
        let count = half.iter().filter(has).count();
        assert!(
            2 * count > half.len(),
            "leader {} committed {} with {count} copies of {half:?}",
            status.id,
            status.commit
        );
    }
}

/// If two logs hold an entry with the same index and term, they are equal up to there (§5.3).
pub fn check_log_matching<'a>(disks: impl Iterator<Item = (NodeId, &'a MemoryStorage)> + Clone) {
    for (a, left) in disks.clone() {
        let (left, mut below) = (left.all_entries().collect::<Vec<_>>(), Index::ZERO);
        assert!(
            left.windows(2).all(|pair| pair[0].term <= pair[1].term),
            "terms go down in the log of node {a}"
        );
        for (b, right) in disks.clone().filter(|(b, _)| *b > a) {
            let right: Vec<_> = right.all_entries().collect();
            let twin = |entry: &&&Entry| right.iter().any(|other| other.position() == entry.position());
            if let Some(same) = left.iter().rev().find(twin) {
                below = same.index;
            }
            let below_it = |log: &[&'a Entry]| {
                log.iter().filter(|entry| entry.index <= below).copied().collect::<Vec<_>>()
            };
            for (x, y) in below_it(&left).iter().rev().zip(below_it(&right).iter().rev()) {
                assert_eq!(x, y, "the logs of nodes {a} and {b} differ below {below}");
            }
            below = Index::ZERO;
        }
    }
}
