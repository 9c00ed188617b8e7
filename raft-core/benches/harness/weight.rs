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
}

/// A state in which a node is weighed.
pub(crate) struct Weight {
    /// As in the table.
    pub(crate) name: &'static str,
    /// A node in this state.
    pub(crate) make: fn() -> Parts,
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

/// The four states.
pub(crate) fn all<N: Weighed>() -> Vec<Weight> {
    Vec::from([
        Weight { name: "W8fresh", make: || N::start(1, &Setup::of(3)).split() },
        Weight { name: "W8leader", make: || after::<N>(0, 0) },
        Weight { name: "W8follower", make: || after::<N>(0, 1) },
        Weight { name: "W8traffic", make: || after::<N>(300, 0) },
    ])
}
