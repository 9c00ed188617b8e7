//! What must hold over the history of a cluster (the numbers are those of `../shared/invariants.md`).

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_core::{Body, Entry, Index, MemoryStorage, Message, NodeId, RawNode, RoleKind, Term, VoteReply};

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Who led each term (1).
    leaders: BTreeMap<Term, NodeId>,
    /// What was applied at each index (5).
    applied: BTreeMap<Index, Entry>,
    /// For whom each node voted in each term (6).
    votes: BTreeMap<(NodeId, Term), NodeId>,
    /// Term and commit index of each node (9).
    seen: BTreeMap<NodeId, (Term, Index)>,
    /// The highest index that was committed anywhere.
    committed: Index,
    /// The reads that wait, with the least index that each may return (20).
    reads: BTreeMap<(NodeId, Bytes), Index>,
    reads_made: u64,
}

impl History {
    /// That of a cluster which began with a snapshot of this index.
    pub(super) fn founded(committed: Index) -> History {
        History { committed, ..History::default() }
    }

    pub(super) fn committed(&self) -> Index {
        self.committed
    }

    /// After each event.
    pub(super) fn on_event(&mut self, raw: &RawNode<MemoryStorage>) {
        if let Err(violation) = raw.check_invariants() {
            panic!("{violation}: {raw:?}");
        }
        let (id, term, commit) = (raw.id(), raw.term(), raw.commit_index());
        if raw.role() == RoleKind::Leader {
            let leader = *self.leaders.entry(term).or_insert(id);
            assert_eq!(leader, id, "1: two lead term {term}");
        }
        let (old_term, old_commit) = self.seen.insert(id, (term, commit)).unwrap_or_default();
        assert!(term >= old_term && commit >= old_commit, "9: node {id} goes back");
        assert!(commit <= self.committed || raw.role() == RoleKind::Leader, "13: only a leader commits");
        self.committed = self.committed.max(commit);
    }

    /// What only its memory held may go back.
    pub(super) fn on_crash(&mut self, id: NodeId) {
        self.seen.remove(&id);
        self.reads.retain(|(node, _), _| *node != id);
    }

    pub(super) fn on_send(&mut self, message: &Message) {
        if let Body::RequestVoteReply(VoteReply::Granted) = message.body {
            let vote = *self.votes.entry((message.from, message.term)).or_insert(message.to);
            assert_eq!(vote, message.to, "6: node {} votes twice in term {}", message.from, message.term);
        }
    }

    pub(super) fn on_apply(&mut self, entry: &Entry) {
        let first = self.applied.entry(entry.index).or_insert_with(|| entry.clone());
        assert_eq!(first, entry, "5: two entries are applied at one index");
    }

    /// The bytes of the next read.
    pub(super) fn next_read(&mut self) -> Bytes {
        self.reads_made += 1;
        Bytes::copy_from_slice(&self.reads_made.to_be_bytes())
    }

    pub(super) fn on_read(&mut self, id: NodeId, context: &Bytes, least: Index) {
        self.reads.insert((id, context.clone()), least);
    }

    /// It is answered with this index, or dropped.
    pub(super) fn on_answer(&mut self, id: NodeId, context: &Bytes, index: Option<Index>) {
        let least = self.reads.remove(&(id, context.clone())).expect("each read is answered once");
        assert!(
            index.is_none_or(|index| index >= least),
            "20: a read sees less than was committed before it"
        );
    }
}
