//! One set of voters, decided by more than half of it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use raft_proto::{Index, NodeId};

use super::VoteResult;

/// A set of voters, in ascending order. The empty one stands for "no condition": it agrees to everything, as the
/// outgoing half of a configuration that isn't joint does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MajorityQuorum {
    voters: Box<[NodeId]>,
}

/// Up to this many voters the quorum index is found without allocating.
const INLINE: usize = 32;

/// Up to this large a quorum, of nine voters, it is found by keeping the largest in order.
const SMALL: usize = 5;

impl MajorityQuorum {
    /// The majority of these voters; repeated ones count once.
    pub fn new(voters: impl IntoIterator<Item = NodeId>) -> MajorityQuorum {
        let mut voters: Vec<NodeId> = voters.into_iter().collect();
        voters.sort_unstable();
        voters.dedup();
        MajorityQuorum { voters: voters.into() }
    }

    /// The voters, in ascending order.
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// Is this node one of them?
    pub fn contains(&self, id: NodeId) -> bool {
        // To look at a few is faster than to search.
        match self.voters.len() {
            ..9 => self.voters.contains(&id),
            9.. => self.voters.binary_search(&id).is_ok(),
        }
    }

    /// How many make a quorum.
    pub fn size(&self) -> usize {
        (self.voters.len() >> 1).saturating_add(1)
    }

    /// The largest index that a quorum has acknowledged (§5.3): the quorum-size-th largest of theirs. `None` means
    /// "no bound", the answer of the empty quorum. `acked` gives zero for a voter of whom nothing is known.
    pub fn committed_index(&self, acked: impl Fn(NodeId) -> Index) -> Option<Index> {
        if let [a, b, c] = *self.voters {
            // Most clusters have three: the middle one.
            let (a, b, c) = (acked(a), acked(b), acked(c));
            return Some(a.max(b).min(a.min(b).max(c)));
        }
        let (count, size) = (self.voters.len(), self.size());
        let skip = count.checked_sub(size)?;
        let mut largest = [Index::ZERO; SMALL];
        if let Some(largest) = largest.get_mut(..size) {
            for voter in &self.voters {
                let mut index = acked(*voter);
                for place in largest.iter_mut() {
                    (*place, index) = ((*place).max(index), (*place).min(index));
                }
            }
            return largest.last().copied();
        }
        let mut inline = [Index::ZERO; INLINE];
        let mut heap = Vec::new();
        let indexes = match inline.get_mut(..count) {
            Some(indexes) => indexes,
            None => {
                heap.resize(count, Index::ZERO);
                heap.as_mut_slice()
            }
        };
        for (index, voter) in indexes.iter_mut().zip(&self.voters) {
            *index = acked(*voter);
        }
        // Ascending, the quorum's smallest member stands right behind the minority that may lag.
        let (_, quorum, _) = indexes.select_nth_unstable(skip);
        Some(*quorum)
    }

    /// The same, but an entry must also be held outside of the group that a plain quorum would be satisfied with: with a group
    /// for each zone, an entry that is committed survives the loss of any one zone. `acked` gives the group too; zero is no
    /// group. Where there is but one group the plain index holds; where some voters have none, only what all have.
    /// From tikv's raft-rs.
    pub fn group_committed_index(&self, acked: impl Fn(NodeId) -> (Index, u64)) -> Option<Index> {
        let mut known: Vec<(Index, u64)> = self.voters.iter().map(|id| acked(*id)).collect();
        known.sort_by_key(|(index, _)| core::cmp::Reverse(*index));
        let (quorum, mut group) = *known.get(self.size().saturating_sub(1))?;
        let mut one_group = true;
        for (index, its) in &known {
            if *its == 0 {
                one_group = false;
            } else if group == 0 {
                group = *its;
            } else if group != *its {
                return Some(quorum.min(*index));
            }
        }
        if one_group { Some(quorum) } else { known.last().map(|(index, _)| *index) }
    }

    /// Do these nodes make a quorum with voters of two groups at least? `group` gives the group of a node that is one of
    /// them, zero for none. The empty quorum has no condition.
    pub fn is_group_quorum(&self, group: impl Fn(NodeId) -> Option<u64>) -> bool {
        let mut count: usize = 0;
        let mut first = None;
        let mut two = false;
        for its in self.voters.iter().filter_map(|id| group(*id)) {
            count = count.saturating_add(1);
            if its != 0 {
                two |= *first.get_or_insert(its) != its;
            }
        }
        self.voters.is_empty() || (two && count >= self.size())
    }

    /// How a vote stands (§5.2); `vote` gives `None` for who hasn't answered. The empty quorum has won.
    pub fn vote_result(&self, vote: impl Fn(NodeId) -> Option<bool>) -> VoteResult {
        let mut granted: usize = 0;
        let mut refused: usize = 0;
        for voter in self.voters.iter() {
            match vote(*voter) {
                Some(true) => granted = granted.saturating_add(1),
                Some(false) => refused = refused.saturating_add(1),
                None => {}
            }
        }
        if self.voters.is_empty() || granted >= self.size() {
            VoteResult::Won
        } else if self.voters.len().saturating_sub(refused) < self.size() {
            VoteResult::Lost
        } else {
            VoteResult::Pending
        }
    }
}
