//! Membership changes (thesis §4), as they travel in entries.

use alloc::vec::Vec;
use bytes::Bytes;

use crate::NodeId;

/// What happens to one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfChangeKind {
    /// It becomes a voter (a learner is promoted).
    #[default]
    AddVoter,
    /// It leaves.
    Remove,
    /// Its place in the configuration stays; the application may have changed what it knows of it.
    Update,
    /// It becomes a learner: it receives the log and has no vote (thesis §4.2.1).
    AddLearner,
}

/// One step of a change. A change of no node (`None`, zero on the wire) does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfChangeSingle {
    /// What happens.
    pub kind: ConfChangeKind,
    /// To whom.
    pub node: Option<NodeId>,
}

/// How a change of several nodes passes through the joint configuration (thesis §4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfChangeTransition {
    /// A single step where one is safe, otherwise joint and left automatically.
    #[default]
    Auto,
    /// Always joint, left automatically.
    JointImplicit,
    /// Always joint, left by an empty change that the application proposes.
    JointExplicit,
}

/// A change of one node, in the older format of `raftpb`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfChange {
    /// A number of the application's own, carried along; the core doesn't look at it.
    pub id: u64,
    /// What happens to the node.
    pub kind: ConfChangeKind,
    /// The node. `None`, zero on the wire, makes the change do nothing.
    pub node: Option<NodeId>,
    /// Bytes of the application's own, an address for instance.
    pub context: Bytes,
}

impl ConfChange {
    /// The same change in the newer format.
    pub fn to_v2(&self) -> ConfChangeV2 {
        ConfChangeV2 {
            transition: ConfChangeTransition::Auto,
            changes: Vec::from([ConfChangeSingle { kind: self.kind, node: self.node }]),
            context: self.context.clone(),
        }
    }
}

/// A change of any number of nodes. Without any, and with [`ConfChangeTransition::Auto`], it leaves the joint
/// configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfChangeV2 {
    /// How it passes through the joint configuration.
    pub transition: ConfChangeTransition,
    /// The steps, in order.
    pub changes: Vec<ConfChangeSingle>,
    /// Bytes of the application's own.
    pub context: Bytes,
}
