//! Anything that the typed layer can say, as proptest strategies. Each gives a value that survives its
//! encoding.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, ConfChange, ConfChangeKind, ConfChangeSingle,
    ConfChangeTransition, ConfChangeV2, ConfState, Entries, Entry, HardState, Heartbeat, HeartbeatReply,
    Index, InstallSnapshot, LogPosition, Message, NodeId, Payload, Propose, ReadIndex, ReadIndexReply,
    RequestVote, Snapshot, SnapshotMetadata, Term, TransferLeader, VoteReply,
};

/// Numbers of every length that a varint can have, up to the limit.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        0..=300_u64,
        (0..63_u32, any::<u64>()).prop_map(|(shift, n)| (n >> 1) >> shift),
        Just(u64::MAX >> 1),
    ]
}

pub fn term() -> impl Strategy<Value = Term> {
    number().prop_map(Term::new)
}

pub fn index() -> impl Strategy<Value = Index> {
    number().prop_map(Index::new)
}

pub fn position() -> impl Strategy<Value = LogPosition> {
    (term(), index()).prop_map(|(term, index)| LogPosition { term, index })
}

pub fn node() -> impl Strategy<Value = NodeId> {
    prop_oneof![1..=9_u64, 1..=u64::MAX].prop_map(|id| NodeId::new(id).unwrap())
}

/// A node or none.
pub fn nobody() -> impl Strategy<Value = Option<NodeId>> {
    proptest::option::of(node())
}

pub fn data() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..20),
        // Long enough for a length of two bytes.
        1 => vec(any::<u8>(), 120..200),
    ]
    .prop_map(Bytes::from)
}

fn conf_change_kind() -> impl Strategy<Value = ConfChangeKind> {
    prop_oneof![
        Just(ConfChangeKind::AddVoter),
        Just(ConfChangeKind::Remove),
        Just(ConfChangeKind::Update),
        Just(ConfChangeKind::AddLearner),
    ]
}

pub fn conf_change() -> impl Strategy<Value = ConfChange> {
    (prop_oneof![Just(0), any::<u64>()], conf_change_kind(), nobody(), data())
        .prop_map(|(id, kind, node, context)| ConfChange { id, kind, node, context })
}

pub fn conf_change_v2() -> impl Strategy<Value = ConfChangeV2> {
    let transition = prop_oneof![
        Just(ConfChangeTransition::Auto),
        Just(ConfChangeTransition::JointImplicit),
        Just(ConfChangeTransition::JointExplicit),
    ];
    let single = (conf_change_kind(), nobody()).prop_map(|(kind, node)| ConfChangeSingle { kind, node });
    (transition, vec(single, 0..5), data()).prop_map(|(transition, changes, context)| ConfChangeV2 {
        transition,
        changes,
        context,
    })
}

/// What a client can propose.
fn proposed() -> impl Strategy<Value = Payload> {
    prop_oneof![
        data().prop_map(Payload::Normal),
        conf_change().prop_map(|change| Payload::ConfChange(Arc::new(change))),
        conf_change_v2().prop_map(|change| Payload::ConfChangeV2(Arc::new(change))),
    ]
}

pub fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        3 => proposed(),
        1 => leaders_own(),
    ]
}

fn leaders_own() -> impl Strategy<Value = Payload> {
    prop_oneof![Just(Payload::TermStart), Just(Payload::RefusedChange), Just(Payload::LeaveJoint),]
}

pub fn entry() -> impl Strategy<Value = Entry> {
    (term(), index(), payload()).prop_map(|(term, index, payload)| Entry { term, index, payload })
}

fn entries() -> impl Strategy<Value = Entries> {
    prop_oneof![vec(entry(), 0..5), batch()].prop_map(Entries::from)
}

/// Consecutive commands, most of them of one size and term, as a leader sends them.
pub fn batch() -> impl Strategy<Value = Vec<Entry>> {
    let size = prop_oneof![0..3_usize, 100..300_usize];
    let odd = proptest::option::weighted(0.1, entry());
    (term(), number(), size, vec((odd, any::<u8>()), 0..20)).prop_map(|(term, first, size, kinds)| {
        let entry = |(index, (odd, byte)): (u64, (Option<Entry>, u8))| {
            odd.unwrap_or_else(|| {
                let index = Index::new(index.min(Index::LIMIT.get()));
                Entry::normal(term, index, Bytes::from(vec![byte; size]))
            })
        };
        (first..).zip(kinds).map(entry).collect()
    })
}

fn proposals() -> impl Strategy<Value = Entries> {
    vec(proposed().prop_map(|payload| Entry { payload, ..Entry::default() }), 0..5).prop_map(Entries::from)
}

pub fn hard_state() -> impl Strategy<Value = HardState> {
    (term(), nobody(), index()).prop_map(|(term, vote, commit)| HardState { term, vote, commit })
}

pub fn conf_state() -> impl Strategy<Value = ConfState> {
    let nodes = || vec(node(), 0..4);
    (nodes(), nodes(), nodes(), nodes(), any::<bool>()).prop_map(
        |(voters, learners, voters_outgoing, learners_next, auto_leave)| ConfState {
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
        },
    )
}

pub fn snapshot() -> impl Strategy<Value = Snapshot> {
    (conf_state(), index(), term(), data()).prop_map(|(conf_state, index, term, data)| Snapshot {
        metadata: SnapshotMetadata { conf_state, index, term },
        data,
    })
}

fn append_entries_reply() -> impl Strategy<Value = AppendEntriesReply> {
    prop_oneof![
        index().prop_map(|index| AppendEntriesReply::Accepted { index }),
        (index(), position()).prop_map(|(rejected, hint)| AppendEntriesReply::Rejected { rejected, hint }),
        index().prop_map(|index| AppendEntriesReply::SnapshotWanted { at_least: index.max(Index::new(1)) }),
    ]
}

fn request_vote() -> impl Strategy<Value = RequestVote> {
    (position(), any::<bool>(), any::<i64>()).prop_map(|(last, by_transfer, priority)| RequestVote {
        last,
        by_transfer,
        priority,
    })
}

fn vote_reply() -> impl Strategy<Value = VoteReply> {
    prop_oneof![Just(VoteReply::Granted), position().prop_map(|commit| VoteReply::Refused { commit })]
}

pub fn body() -> impl Strategy<Value = Body> {
    let append = (position(), entries(), index()).prop_map(|(prev, entries, commit)| AppendEntries {
        prev,
        entries,
        commit,
    });
    // A snapshot that covers nothing isn't sent.
    let install = snapshot().prop_map(|mut snapshot| {
        snapshot.metadata.index = snapshot.metadata.index.max(Index::new(1));
        Box::new(InstallSnapshot { snapshot })
    });
    let heartbeat = (index(), position(), data()).prop_map(|(commit, relied, context)| Heartbeat {
        commit,
        relied,
        context,
    });
    let read = (any::<u64>(), data(), any::<bool>()).prop_map(|(id, context, lease)| ReadIndex {
        id,
        context,
        lease,
    });
    let read_reply = (any::<u64>(), data(), index()).prop_map(|(id, context, index)| ReadIndexReply {
        id,
        context,
        index,
    });
    prop_oneof![
        proposals().prop_map(|entries| Body::Propose(Propose { entries })),
        append.prop_map(Body::AppendEntries),
        append_entries_reply().prop_map(Body::AppendEntriesReply),
        request_vote().prop_map(Body::RequestVote),
        vote_reply().prop_map(Body::RequestVoteReply),
        request_vote().prop_map(Body::PreVote),
        vote_reply().prop_map(Body::PreVoteReply),
        install.prop_map(Body::InstallSnapshot),
        heartbeat.prop_map(Body::Heartbeat),
        data().prop_map(|context| Body::HeartbeatReply(HeartbeatReply { context })),
        node().prop_map(|transferee| Body::TransferLeader(TransferLeader { transferee })),
        Just(Body::TimeoutNow),
        read.prop_map(Body::ReadIndex),
        read_reply.prop_map(Body::ReadIndexReply),
    ]
}

/// A message that a node may send.
pub fn message() -> impl Strategy<Value = Message> {
    (node(), node(), term(), body()).prop_map(|(from, to, term, body)| {
        let needed = term.max(Term::new(1));
        let (from, term) = match &body {
            Body::Propose(_) | Body::ReadIndex(_) => (from, Term::ZERO),
            Body::TransferLeader(transfer) => (transfer.transferee, term),
            Body::AppendEntries(_)
            | Body::AppendEntriesReply(_)
            | Body::RequestVote(_)
            | Body::RequestVoteReply(_)
            | Body::PreVote(_)
            | Body::PreVoteReply(_)
            | Body::InstallSnapshot(_)
            | Body::Heartbeat(_)
            | Body::HeartbeatReply(_)
            | Body::TimeoutNow
            | Body::ReadIndexReply(_) => (from, needed),
        };
        Message { from, to, term, body }
    })
}
