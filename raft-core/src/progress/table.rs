//! The progress of all peers, in ascending order of their ids.

use alloc::vec::Vec;

use raft_proto::{Index, NodeId};

use super::Progress;

/// A sorted table: a cluster is small, and is walked far more often than it is searched.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct ProgressTable {
    rows: Vec<(NodeId, Progress)>,
}

impl ProgressTable {
    /// A row for each of `members`, which must be in ascending order.
    pub(crate) fn new(members: &[NodeId], mut progress: impl FnMut(NodeId) -> Progress) -> ProgressTable {
        ProgressTable { rows: members.iter().map(|id| (*id, progress(*id))).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Is there a row of anyone but this node? If so it isn't both the first and the last.
    #[inline]
    pub(crate) fn has_others(&self, me: NodeId) -> bool {
        let other = |row: &(NodeId, Progress)| row.0 != me;
        self.rows.first().is_some_and(other) || self.rows.last().is_some_and(other)
    }

    /// To look at a few rows is faster than to search.
    #[inline]
    fn place(&self, id: NodeId) -> Option<usize> {
        match self.rows.len() {
            ..9 => self.rows.iter().position(|(row, _)| *row == id),
            9.. => self.rows.binary_search_by_key(&id, |(row, _)| *row).ok(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: NodeId) -> Option<&Progress> {
        let at = self.place(id)?;
        self.rows.get(at).map(|(_, progress)| progress)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Progress> {
        let at = self.place(id)?;
        self.rows.get_mut(at).map(|(_, progress)| progress)
    }

    /// Removes a peer.
    pub(crate) fn take(&mut self, id: NodeId) -> Option<Progress> {
        let at = self.place(id)?;
        Some(self.rows.remove(at).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Progress)> {
        self.rows.iter().map(|(id, progress)| (*id, progress))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Progress)> {
        self.rows.iter_mut().map(|(id, progress)| (*id, progress))
    }

    /// The match index of a peer; zero for one that isn't known.
    pub(crate) fn match_index(&self, id: NodeId) -> Index {
        self.get(id).map_or(Index::ZERO, Progress::match_index)
    }
}
