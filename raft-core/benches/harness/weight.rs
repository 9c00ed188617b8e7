//! W8: the memory of a node, without its storage.

use std::any::Any;

use super::cluster::{Cluster, Payloads};
use super::{Node, Setup};

/// A node that is weighed: what is freed when it is dropped, while its storage is held.
pub(crate) struct Parts {
    /// The core's node, on the heap.
    pub(crate) node: Box<dyn Any>,
    /// What holds on to its storage.
    pub(crate) storage: Box<dyn Any>,
}

/// A node that can be dropped without its storage.
pub(crate) trait Weighed: Node {
    /// The node without what its caller keeps for itself.
    fn split(self) -> Parts;
    /// The node will be at rest: it may give back what it can do without.
    fn rest(&mut self);
}

/// A state in which a node is weighed.
pub(crate) struct Weight {
    /// As in the table.
    pub(crate) name: &'static str,
    /// A node in this state.
    pub(crate) make: fn() -> Parts,
    /// Is the storage weighed too?
    pub(crate) with_storage: bool,
}

impl Weight {
    /// Bytes, by what `freed_by` says to be freed by a call.
    pub(crate) fn weigh(&self, freed_by: impl FnOnce(&mut dyn FnMut()) -> u64) -> u64 {
        let Parts { node, storage } = (self.make)();
        let (mut node, mut storage) = (Some(node), Some(storage));
        freed_by(&mut || {
            drop(node.take());
            if self.with_storage {
                drop(storage.take());
            }
        })
    }
}

/// The node at this place after so many proposals.
fn after<N: Weighed>(proposals: usize, at: usize) -> Parts {
    let mut cluster = Cluster::<N>::elected(&Setup::of(3));
    for data in Payloads::new(256).batch(proposals) {
        cluster.nodes[0].propose(data);
        cluster.pump();
    }
    cluster.nodes.swap_remove(at).split()
}

/// A follower in a group that was elected and came to rest.
fn at_rest<N: Weighed>() -> Parts {
    let mut cluster = Cluster::<N>::elected(&Setup::of(3));
    let mut node = cluster.nodes.swap_remove(1);
    node.rest();
    node.split()
}

/// W8, and of W13 what a follower takes with its storage when nothing was ever proposed.
pub(crate) fn all<N: Weighed>() -> Vec<Weight> {
    let weight = |name, make| Weight { name, make, with_storage: false };
    Vec::from([
        weight("W8fresh", || N::start(1, &Setup::of(3)).split()),
        weight("W8leader", || after::<N>(0, 0)),
        weight("W8follower", || after::<N>(0, 1)),
        weight("W8traffic", || after::<N>(300, 0)),
        Weight { with_storage: true, ..weight("W13memory", || after::<N>(0, 1)) },
        Weight { with_storage: true, ..weight("W13rest", || at_rest::<N>()) },
    ])
}
