//! Any value of the typed layer. Most numbers are near those of a node, so that what is made of them gets past the first checks.

use std::sync::Arc;

use bytes::Bytes;
use raft_core::{
    AppendEntries, AppendEntriesReply, Body, ConfChange, ConfChangeKind, ConfChangeSingle,
    ConfChangeTransition, ConfChangeV2, ConfState, DataLoss, Entries, Entry, HardState, Heartbeat,
    HeartbeatReply, Index, InstallSnapshot, LogPosition, Message, NodeId, Payload, Propose, RawNode,
    ReadIndex, ReadIndexReply, RequestVote, Snapshot, SnapshotMetadata, Storage, Term, TransferLeader,
    VoteReply,
};

use super::dice::Dice;

/// The numbers that mean something to a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Near {
    pub(super) term: u64,
    pub(super) last: u64,
    pub(super) commit: u64,
}

impl Near {
    pub(super) fn of<S: Storage>(node: &RawNode<S>) -> Near {
        Near { term: node.term().get(), last: node.last_index().get(), commit: node.commit_index().get() }
    }
}

/// A number near this one, or a small one, or any.
fn number(dice: &mut Dice, near: u64) -> u64 {
    match dice.below(16) {
        0..10 => near.saturating_add(dice.below(6)).saturating_sub(2),
        10..14 => dice.below(12),
        14 => (u64::MAX >> 1).saturating_add(dice.below(4)).saturating_sub(2),
        _ => dice.number(),
    }
}

pub(super) fn term(dice: &mut Dice, near: Near) -> Term {
    Term::new(number(dice, near.term))
}

pub(super) fn index(dice: &mut Dice, near: Near) -> Index {
    let near = dice.pick(&[near.last, near.commit]);
    Index::new(number(dice, near))
}

fn position(dice: &mut Dice, near: Near) -> LogPosition {
    LogPosition { term: term(dice, near), index: index(dice, near) }
}

/// One of a few nodes, mostly.
pub(super) fn node(dice: &mut Dice) -> NodeId {
    let id = match dice.below(16) {
        id @ 0..14 => 1 + id % 5,
        14 => 9,
        _ => dice.number(),
    };
    NodeId::new(id).unwrap_or(NodeId::from(std::num::NonZeroU64::MAX))
}

fn nobody(dice: &mut Dice) -> Option<NodeId> {
    (!dice.one_in(8)).then(|| node(dice))
}

/// The caller's own bytes, or a number such as the core puts in their place.
pub(super) fn context(dice: &mut Dice) -> Bytes {
    if dice.one_in(2) { dice.bytes(10) } else { Bytes::copy_from_slice(&dice.below(8).to_be_bytes()) }
}

fn conf_change_kind(dice: &mut Dice) -> ConfChangeKind {
    use ConfChangeKind::{AddLearner, AddVoter, Remove, Update};
    dice.pick(&[AddVoter, Remove, Update, AddLearner])
}

pub(super) fn conf_change(dice: &mut Dice) -> ConfChange {
    ConfChange { id: dice.below(3), kind: conf_change_kind(dice), node: nobody(dice), context: dice.bytes(3) }
}

pub(super) fn conf_change_v2(dice: &mut Dice) -> ConfChangeV2 {
    use ConfChangeTransition::{Auto, JointExplicit, JointImplicit};
    ConfChangeV2 {
        transition: dice.pick(&[Auto, JointImplicit, JointExplicit]),
        changes: dice.list(4, |dice| ConfChangeSingle { kind: conf_change_kind(dice), node: nobody(dice) }),
        context: dice.bytes(3),
    }
}

fn payload(dice: &mut Dice) -> Payload {
    match dice.below(12) {
        0..6 => Payload::Normal(dice.bytes(12)),
        6 => Payload::TermStart,
        7 => Payload::RefusedChange,
        8 => Payload::LeaveJoint,
        9 => Payload::Normal(vec![7; dice.below(400) as usize].into()),
        10 => Payload::ConfChange(Arc::new(conf_change(dice))),
        _ => Payload::ConfChangeV2(Arc::new(conf_change_v2(dice))),
    }
}

pub(super) fn entry(dice: &mut Dice, near: Near) -> Entry {
    let LogPosition { term, index } = position(dice, near);
    Entry { term, index, payload: payload(dice) }
}

/// Entries that follow `prev`, mostly.
fn entries(dice: &mut Dice, near: Near, prev: LogPosition) -> Entries {
    if dice.one_in(8) {
        return dice.list(3, |dice| entry(dice, near)).into();
    }
    let mut last = prev;
    let next = |dice: &mut Dice| {
        last = LogPosition::new(last.term.plus(dice.below(3)), last.index.next());
        Entry { term: last.term, index: last.index, payload: payload(dice) }
    };
    dice.list(4, next).into()
}

/// Proposals have no place in the log yet, mostly.
fn proposal(dice: &mut Dice, near: Near) -> Entry {
    if dice.one_in(16) { entry(dice, near) } else { Entry { payload: payload(dice), ..Entry::default() } }
}

pub(super) fn hard_state(dice: &mut Dice, near: Near) -> HardState {
    HardState { term: term(dice, near), vote: nobody(dice), commit: index(dice, near) }
}

/// No loss of data, mostly.
pub(super) fn loss(dice: &mut Dice, near: Near) -> Option<DataLoss> {
    dice.one_in(4).then(|| DataLoss { acknowledged: index(dice, near), last: index(dice, near) })
}

pub(super) fn conf_state(dice: &mut Dice) -> ConfState {
    let ids = |ids: &[u64]| ids.iter().copied().filter_map(NodeId::new).collect();
    match dice.below(4) {
        0 => ConfState { voters: ids(&[1, 2, 3]), learners: ids(&[4]), ..ConfState::default() },
        1 => ConfState { voters: ids(&[1, 2]), voters_outgoing: ids(&[2, 3, 4]), ..ConfState::default() },
        2 => ConfState::of_voters(ids(&[1])),
        _ => ConfState {
            voters: dice.list(3, node),
            learners: dice.list(2, node),
            voters_outgoing: dice.list(3, node),
            learners_next: dice.list(2, node),
            auto_leave: dice.one_in(2),
        },
    }
}

pub(super) fn snapshot(dice: &mut Dice, near: Near) -> Snapshot {
    let LogPosition { term, index } = position(dice, near);
    Snapshot { metadata: SnapshotMetadata { conf_state: conf_state(dice), index, term }, data: dice.bytes(4) }
}

fn request_vote(dice: &mut Dice, near: Near) -> RequestVote {
    let priority = if dice.one_in(4) { dice.number() as i64 } else { 0 };
    RequestVote { last: position(dice, near), by_transfer: dice.one_in(4), priority }
}

fn vote_reply(dice: &mut Dice, near: Near) -> VoteReply {
    match dice.below(3) {
        0 => VoteReply::Granted,
        1 => VoteReply::REFUSED,
        _ => VoteReply::Refused { commit: position(dice, near) },
    }
}

fn append_entries_reply(dice: &mut Dice, near: Near) -> AppendEntriesReply {
    match dice.below(5) {
        0 | 1 => AppendEntriesReply::Rejected { rejected: index(dice, near), hint: position(dice, near) },
        2 => AppendEntriesReply::SnapshotWanted { at_least: index(dice, near) },
        _ => AppendEntriesReply::Accepted { index: index(dice, near) },
    }
}

pub(super) fn body(dice: &mut Dice, near: Near) -> Body {
    match dice.below(16) {
        0 => Body::Propose(Propose { entries: dice.list(3, |dice| proposal(dice, near)).into() }),
        1..4 => {
            let prev = position(dice, near);
            let entries = entries(dice, near, prev);
            Body::AppendEntries(AppendEntries { prev, entries, commit: index(dice, near) })
        }
        4 => Body::AppendEntriesReply(append_entries_reply(dice, near)),
        5 => Body::RequestVote(request_vote(dice, near)),
        6 => Body::RequestVoteReply(vote_reply(dice, near)),
        7 => Body::PreVote(request_vote(dice, near)),
        8 => Body::PreVoteReply(vote_reply(dice, near)),
        9 => Body::InstallSnapshot(InstallSnapshot { snapshot: snapshot(dice, near) }.into()),
        10 => Body::Heartbeat(Heartbeat {
            commit: index(dice, near),
            relied: if dice.one_in(2) { position(dice, near) } else { LogPosition::ZERO },
            context: context(dice),
        }),
        11 => Body::HeartbeatReply(HeartbeatReply { context: context(dice) }),
        12 => Body::TransferLeader(TransferLeader { transferee: node(dice) }),
        13 => Body::TimeoutNow,
        14 => {
            Body::ReadIndex(ReadIndex { id: number(dice, 0), context: context(dice), lease: dice.one_in(2) })
        }
        _ => Body::ReadIndexReply(ReadIndexReply {
            id: number(dice, 0),
            context: context(dice),
            index: index(dice, near),
        }),
    }
}

/// A message to this node, mostly, of a term near to its own.
pub(super) fn message(dice: &mut Dice, near: Near, to: NodeId) -> Message {
    let body = body(dice, near);
    let termless = matches!(body, Body::Propose(_) | Body::ReadIndex(_));
    let term = if termless && !dice.one_in(16) { Term::ZERO } else { term(dice, near) };
    let to = if dice.one_in(32) { node(dice) } else { to };
    Message { from: node(dice), to, term, body }
}
