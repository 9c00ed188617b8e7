//! Payloads are slices of what came in.

use bytes::Bytes;
use raft_proto::{
    AppendEntries, Body, ConfChange, ConfChangeKind, ConfChangeV2, Entries, Entry, Heartbeat, HeartbeatReply,
    Index, InstallSnapshot, LogPosition, Payload, Propose, ReadIndex, ReadIndexReply, Snapshot, wire,
};

use crate::text::{at, encoded, message, node, termless};

/// Does this slice lie within the input?
#[track_caller]
fn within(input: &Bytes, slice: &Bytes) {
    let (outer, inner) = (input.as_ptr_range(), slice.as_ptr_range());
    assert!(!slice.is_empty());
    assert!(outer.start <= inner.start && inner.end <= outer.end, "copied: {slice:?}");
}

#[test]
fn payloads_arent_copied() {
    let entries = || -> Entries {
        let change = ConfChange {
            id: 1,
            kind: ConfChangeKind::Update,
            node: Some(node(3)),
            context: Bytes::from("one"),
        };
        let change_v2 = ConfChangeV2 { context: Bytes::from("two"), ..ConfChangeV2::default() };
        [
            Payload::Normal(Bytes::from("a command")),
            Payload::ConfChange(change.into()),
            Payload::ConfChangeV2(change_v2.into()),
        ]
        .into_iter()
        .map(|payload| Entry { payload, ..Entry::default() })
        .collect()
    };
    let context = || Bytes::from("a context");
    let mut snapshot = Snapshot { data: Bytes::from("a state"), ..Snapshot::default() };
    snapshot.metadata.index = Index::new(1);
    for sent in [
        termless(Body::Propose(Propose { entries: entries() })),
        message(Body::AppendEntries(AppendEntries {
            prev: at(0, 0),
            entries: entries(),
            commit: Index::ZERO,
        })),
        message(Body::InstallSnapshot(InstallSnapshot { snapshot }.into())),
        message(Body::Heartbeat(Heartbeat {
            commit: Index::ZERO,
            relied: LogPosition::ZERO,
            context: context(),
        })),
        message(Body::HeartbeatReply(HeartbeatReply { context: context() })),
        termless(Body::ReadIndex(ReadIndex { context: context(), ..ReadIndex::default() })),
        message(Body::ReadIndexReply(ReadIndexReply { context: context(), ..ReadIndexReply::default() })),
    ] {
        let input = encoded(&sent, wire::encode_message);
        let received = wire::decode_message(input.clone()).unwrap();
        assert_eq!(received, sent);
        check(&input, &received.body);
    }
}

fn check(input: &Bytes, body: &Body) {
    match body {
        Body::Propose(propose) => check_entries(input, &propose.entries),
        Body::AppendEntries(append) => check_entries(input, &append.entries),
        Body::InstallSnapshot(install) => within(input, &install.snapshot.data),
        Body::Heartbeat(heartbeat) => within(input, &heartbeat.context),
        Body::HeartbeatReply(reply) => within(input, &reply.context),
        Body::ReadIndex(read) => within(input, &read.context),
        Body::ReadIndexReply(reply) => within(input, &reply.context),
        Body::AppendEntriesReply(_)
        | Body::RequestVote(_)
        | Body::RequestVoteReply(_)
        | Body::PreVote(_)
        | Body::PreVoteReply(_)
        | Body::TransferLeader(_)
        | Body::TimeoutNow => panic!("carries no bytes"),
    }
}

fn check_entries(input: &Bytes, entries: &[Entry]) {
    assert!(!entries.is_empty());
    for entry in entries {
        match &entry.payload {
            Payload::Normal(data) => within(input, data),
            Payload::ConfChange(change) => within(input, &change.context),
            Payload::ConfChangeV2(change) => within(input, &change.context),
            Payload::TermStart | Payload::RefusedChange | Payload::LeaveJoint => panic!("carries no bytes"),
        }
    }
}
