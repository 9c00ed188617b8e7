//! What can happen, one thing at a time. A run is a list of these; each does nothing where it doesn't apply, so that any part of
//! the list can be left out.

use raft_core::{ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, NodeId};

use crate::cluster::Stage;
use crate::disk::ReadFault;
use crate::network::Kind;

/// A message, by the order in which those of its kind were sent from one node to another. Nodes are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parcel {
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// What it is.
    pub kind: Kind,
    /// How many of its kind were sent on this way before.
    pub number: u32,
}

/// A membership change of up to four steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// How it passes through the joint configuration.
    pub transition: ConfChangeTransition,
    /// The steps.
    pub steps: [Option<(ConfChangeKind, NodeId)>; 4],
}

impl Change {
    /// One that leaves a joint configuration.
    pub const LEAVE: Change = Change { transition: ConfChangeTransition::Auto, steps: [None; 4] };

    /// A change of one node.
    pub fn of(kind: ConfChangeKind, id: NodeId) -> Change {
        Change { transition: ConfChangeTransition::Auto, steps: [Some((kind, id)), None, None, None] }
    }

    /// As it is proposed.
    pub fn to_v2(self) -> ConfChangeV2 {
        let step = |(kind, id)| ConfChangeSingle { kind, node: Some(id) };
        let changes = self.steps.into_iter().flatten().map(step).collect();
        ConfChangeV2 { transition: self.transition, changes, ..ConfChangeV2::default() }
    }
}

/// Limits that can be changed while a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of entries in one message.
    pub message: u64,
    /// Messages on their way to a peer.
    pub inflight: u32,
    /// Bytes of them.
    pub inflight_bytes: u64,
    /// Bytes handed out for application.
    pub committed: u64,
    /// Bytes that aren't applied yet.
    pub uncommitted: u64,
    /// How its wish to lead compares with that of others.
    pub priority: i64,
}

/// Something happens. Nodes and clients are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A node's clock ticks.
    Tick(usize),
    /// A message arrives.
    Deliver(Parcel),
    /// So many of a node's writes reach its disk.
    Complete { at: usize, count: usize },
    /// A node applies a batch of committed entries.
    Apply(usize),
    /// A node loses power; so many of its writes have reached the disk, and the next is half written.
    Crash { at: usize, keep: usize, torn: bool },
    /// A node will lose power in the handling of its next `Ready`.
    Fuse { at: usize, stage: Stage },
    /// A node starts.
    Start(usize),
    /// A node finds that its disk can't be read any more, and stops.
    Spoil(usize),
    /// A node whose disk was spoilt starts with an empty one.
    Replace(usize),
    /// A node's disk turns out to be readable after all.
    Repair(usize),
    /// The disk of a node that is down forgets whom it voted for.
    LoseVote(usize),
    /// The next reads of a node's disk fail.
    FailReads { at: usize, count: u32, fault: ReadFault },
    /// What a node's disk was to fetch is there.
    Fetched(usize),
    /// A client sends commands, with so many bytes more than they need.
    Write { at: usize, client: usize, first: u32, count: u32, padding: usize },
    /// A client reads.
    Read { at: usize, client: usize, lease: bool },
    /// A client no longer waits.
    GiveUp(usize),
    /// A membership change is proposed, in the older format if it can be.
    Change { at: usize, change: Change, old_format: bool },
    /// Two changes arrive in one forwarded proposal, which a node of another kind may send, behind so many plain entries.
    Changes { at: usize, from: usize, ahead: u32, changes: [Change; 2] },
    /// Leadership is to be handed over; to whoever is best if it isn't said to whom.
    Transfer { at: usize, to: Option<usize> },
    /// A node is to campaign.
    Campaign(usize),
    /// A node is to forget its leader.
    Forget(usize),
    /// A node is to send heartbeats.
    Ping(usize),
    /// A node is told that a peer can't be reached.
    Unreachable { at: usize, peer: usize },
    /// A node is told how the transfer of a snapshot ended.
    Report { at: usize, peer: usize, finished: bool },
    /// A node's limits change.
    Reconfigure { at: usize, limits: Limits },
    /// The window to one peer changes.
    Window { at: usize, peer: usize, messages: u32 },
    /// The next election time-out of a node is so many ticks.
    Hurry { at: usize, ticks: u32 },
    /// A node's caller is busy at the next tick or request: if it leads then, `Ready`s are looked for only after another call.
    Busy(usize),
    /// A node gives back the memory of its empty buffers.
    Shrink(usize),
    /// A node makes a snapshot, and keeps nothing of its log before it.
    Compact(usize),
    /// Somebody who waits for no answer proposes so many entries, of so many bytes each.
    Propose { at: usize, count: u32, bytes: usize },
    /// A node's state machine is found to be damaged: it asks for a snapshot.
    Damage(usize),
    /// It wasn't.
    Withdraw(usize),
    /// A node commits by groups: those with a bit in `second`, and the others. By none if it is nothing.
    Groups { at: usize, second: Option<u16> },
    /// The chaos is over. What follows isn't a list of actions but a demand.
    Heal,
}
