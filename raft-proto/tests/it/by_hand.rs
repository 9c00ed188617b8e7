//! Every type of message, byte by byte: written out by hand from the rules of protobuf, where a field is
//! its tag (`number * 8 + type`; type 0 is a varint, type 2 a length and so many bytes) and then its value.

use std::sync::Arc;

use bytes::Bytes;
use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, ConfChange, ConfChangeKind, ConfChangeSingle,
    ConfChangeTransition, ConfChangeV2, ConfState, Entry, Heartbeat, HeartbeatReply, Index, InstallSnapshot,
    Message, Payload, Propose, ReadIndex, ReadIndexReply, RequestVote, Snapshot, SnapshotMetadata, Term,
    TransferLeader, VoteReply, wire,
};

use crate::text::{at, both_ways, bytes, message, node, reads_as, termless};

#[test]
fn propose() {
    let entries = ["ab", ""].map(|data| Entry::normal(Term::ZERO, Index::ZERO, Bytes::from(data)));
    both_ways(
        &termless(Body::Propose(Propose { entries: entries.into_iter().collect() })),
        "08 02          # type: MsgProp
         10 02          # to
         18 01          # from
         3a 08          # entries[0], 8 bytes
           10 00        #   Term, written though zero
           18 00        #   Index, likewise
           22 02 'ab'   #   Data
         3a 06          # entries[1]
           10 00 18 00
           22 00        #   Data: of no length, but there",
    );
}

#[test]
fn a_proposal_is_read_without_the_position_that_it_claims() {
    let entries = [Entry::normal(Term::ZERO, Index::ZERO, Bytes::from("ab"))];
    reads_as(
        "08 02 10 02 18 01
         3a 08
           10 07        # Term
           18 09        # Index
           22 02 'ab'",
        &termless(Body::Propose(Propose { entries: entries.into_iter().collect() })),
    );
}

#[test]
fn append_entries() {
    let entries = vec![
        Entry::normal(Term::new(4), Index::new(300), Bytes::from("xyz")),
        Entry {
            term: Term::new(5),
            index: Index::new(301),
            payload: Payload::ConfChange(Arc::new(ConfChange {
                id: 9,
                kind: ConfChangeKind::AddLearner,
                node: Some(node(3)),
                context: Bytes::from("c"),
            })),
        },
        Entry {
            term: Term::new(5),
            index: Index::new(302),
            payload: Payload::ConfChangeV2(Arc::new(ConfChangeV2 {
                transition: ConfChangeTransition::JointExplicit,
                changes: vec![
                    ConfChangeSingle { kind: ConfChangeKind::Remove, node: Some(node(2)) },
                    ConfChangeSingle { kind: ConfChangeKind::Update, node: None },
                ],
                context: Bytes::from("d"),
            })),
        },
    ];
    both_ways(
        &message(Body::AppendEntries(AppendEntries {
            prev: at(4, 299),
            entries: entries.into(),
            commit: Index::new(298),
        })),
        "08 03             # type: MsgApp
         10 02             # to
         18 01             # from
         20 05             # term
         28 04             # logTerm
         30 ab 02          # index: 0x2b + 2 * 128
         3a 0a             # entries[0]
           10 04           #   Term
           18 ac 02        #   Index
           22 03 'xyz'     #   Data
         3a 12             # entries[1]
           08 01           #   Type: EntryConfChange
           10 05           #   Term
           18 ad 02        #   Index
           22 09           #   Data, a ConfChange
             08 09         #     id
             10 03         #     type: ConfChangeAddLearnerNode
             18 03         #     node_id
             22 01 'c'     #     context
         3a 1a             # entries[2]
           08 02           #   Type: EntryConfChangeV2
           10 05           #   Term
           18 ae 02        #   Index
           22 11           #   Data, a ConfChangeV2
             08 02         #     transition: ConfChangeTransitionJointExplicit
             12 04         #     changes[0]
               08 01 10 02 #       type: ConfChangeRemoveNode, node_id
             12 04         #     changes[1]
               08 02 10 00 #       type: ConfChangeUpdateNode, no node_id
             1a 01 'd'     #     context
         40 aa 02          # commit",
    );
}

#[test]
fn an_append_to_an_empty_log() {
    both_ways(
        &message(Body::AppendEntries(AppendEntries::default())),
        "08 03  # type: MsgApp
         10 02  # to
         18 01  # from
         20 05  # term; all else is zero, and left out",
    );
}

#[test]
fn append_entries_accepted() {
    both_ways(
        &message(Body::AppendEntriesReply(AppendEntriesReply::Accepted { index: Index::new(127) })),
        "08 04  # type: MsgAppResp
         10 02  # to
         18 01  # from
         20 05  # term
         30 7f  # index",
    );
}

#[test]
fn append_entries_rejected() {
    both_ways(
        &message(Body::AppendEntriesReply(AppendEntriesReply::Rejected {
            rejected: Index::new(9),
            hint: at(3, 6),
        })),
        "08 04  # type: MsgAppResp
         10 02  # to
         18 01  # from
         20 05  # term
         28 03  # logTerm: the hint's term
         30 09  # index: what was rejected
         50 01  # reject
         58 06  # rejectHint: the hint's index",
    );
}

#[test]
fn request_vote() {
    both_ways(
        &message(Body::RequestVote(RequestVote { last: at(4, 128), by_transfer: false, priority: 0 })),
        "08 05     # type: MsgVote
         10 02     # to
         18 01     # from
         20 05     # term
         28 04     # logTerm
         30 80 01  # index",
    );
    both_ways(
        &message(Body::RequestVote(RequestVote { last: at(0, 0), by_transfer: true, priority: 0 })),
        "08 05     # type: MsgVote
         10 02     # to
         18 01     # from
         20 05     # term
         62 10     # context
           'CampaignTransfer'",
    );
}

#[test]
fn request_vote_reply() {
    both_ways(
        &message(Body::RequestVoteReply(VoteReply::Granted)),
        "08 06  # type: MsgVoteResp
         10 02  # to
         18 01  # from
         20 05  # term",
    );
    both_ways(
        &message(Body::RequestVoteReply(VoteReply::REFUSED)),
        "08 06  # type: MsgVoteResp
         10 02  # to
         18 01  # from
         20 05  # term
         50 01  # reject",
    );
}

#[test]
fn pre_vote() {
    both_ways(
        &message(Body::PreVote(RequestVote { last: at(4, 8), by_transfer: false, priority: 0 })),
        "08 11  # type: MsgPreVote
         10 02  # to
         18 01  # from
         20 05  # term
         28 04  # logTerm
         30 08  # index",
    );
}

#[test]
fn pre_vote_reply() {
    both_ways(
        &message(Body::PreVoteReply(VoteReply::Granted)),
        "08 12  # type: MsgPreVoteResp
         10 02  # to
         18 01  # from
         20 05  # term",
    );
    both_ways(
        &message(Body::PreVoteReply(VoteReply::REFUSED)),
        "08 12  # type: MsgPreVoteResp
         10 02  # to
         18 01  # from
         20 05  # term
         50 01  # reject",
    );
}

#[test]
fn install_snapshot() {
    let conf_state = ConfState {
        voters: vec![node(1), node(200)],
        learners: vec![node(4)],
        voters_outgoing: vec![node(5)],
        learners_next: vec![node(5)],
        auto_leave: true,
    };
    both_ways(
        &message(Body::InstallSnapshot(Box::new(InstallSnapshot {
            snapshot: Snapshot {
                metadata: SnapshotMetadata { conf_state, index: Index::new(7), term: Term::new(4) },
                data: Bytes::from("state"),
            },
        }))),
        "08 07             # type: MsgSnap
         10 02             # to
         18 01             # from
         20 05             # term
         4a 1c             # snapshot
           0a 05 'state'   #   data
           12 13           #   metadata
             0a 0d         #     conf_state
               08 01       #       voters[0]
               08 c8 01    #       voters[1]
               10 04       #       learners[0]
               18 05       #       voters_outgoing[0]
               20 05       #       learners_next[0]
               28 01       #       auto_leave
             10 07         #     index
             18 04         #     term",
    );
}

#[test]
fn a_snapshot_is_wanted() {
    both_ways(
        &message(Body::AppendEntriesReply(AppendEntriesReply::SnapshotWanted { at_least: Index::new(9) })),
        "08 04     # type: MsgAppResp
         10 02     # to
         18 01     # from
         20 05     # term; no index
         50 01     # reject
         d8 06 09  # snapshot_at_least (tag 107 * 8 = 0x58 + 6 * 128)",
    );
}

#[test]
fn heartbeat() {
    both_ways(
        &message(Body::Heartbeat(Heartbeat {
            commit: Index::new(7),
            relied: at(4, 9),
            context: Bytes::from("ctx"),
        })),
        "08 08        # type: MsgHeartbeat
         10 02        # to
         18 01        # from
         20 05        # term
         40 07        # commit
         62 03 'ctx'  # context
         b0 06 09     # relied_match (tag 102 * 8 = 0x30 + 6 * 128)
         d0 06 04     # relied_term (tag 106 * 8 = 0x50 + 6 * 128)",
    );
}

#[test]
fn heartbeat_reply() {
    both_ways(
        &message(Body::HeartbeatReply(HeartbeatReply { context: Bytes::from("ctx") })),
        "08 09        # type: MsgHeartbeatResp
         10 02        # to
         18 01        # from
         20 05        # term
         62 03 'ctx'  # context",
    );
}

#[test]
fn transfer_leader() {
    let transfer = Body::TransferLeader(TransferLeader { transferee: node(3) });
    both_ways(
        &Message { from: node(3), ..message(transfer.clone()) },
        "08 0d  # type: MsgTransferLeader
         10 02  # to
         18 03  # from: who is to lead
         20 05  # term",
    );
    both_ways(
        &Message { from: node(3), ..termless(transfer) },
        "08 0d  # type: MsgTransferLeader
         10 02  # to
         18 03  # from",
    );
}

#[test]
fn whoever_passes_on_a_transfer_isnt_named() {
    let transfer = Body::TransferLeader(TransferLeader { transferee: node(3) });
    let mut buf = Default::default();
    wire::encode_message(&Message { from: node(1), ..message(transfer.clone()) }, &mut buf);
    assert_eq!(buf.freeze(), bytes("08 0d 10 02 18 03 20 05"));
}

#[test]
fn timeout_now() {
    both_ways(
        &message(Body::TimeoutNow),
        "08 0e  # type: MsgTimeoutNow
         10 02  # to
         18 01  # from
         20 05  # term",
    );
}

#[test]
fn read_index() {
    both_ways(
        &termless(Body::ReadIndex(ReadIndex { id: 6, context: Bytes::from("ctx"), lease: true })),
        "08 0f           # type: MsgReadIndex
         10 02           # to
         18 01           # from
         3a 09           # entries[0]
           10 00         #   Term
           18 00         #   Index
           22 03 'ctx'   #   Data: the context
         a0 06 06        # read_id (tag 100 * 8 = 0x20 + 6 * 128)
         a8 06 01        # lease_read",
    );
    both_ways(
        &termless(Body::ReadIndex(ReadIndex::default())),
        "08 0f           # type: MsgReadIndex
         10 02           # to
         18 01           # from
         3a 06           # entries[0], there even without a context
           10 00 18 00
           22 00",
    );
}

#[test]
fn read_index_reply() {
    both_ways(
        &message(Body::ReadIndexReply(ReadIndexReply {
            id: 6,
            context: Bytes::from("ctx"),
            index: Index::new(7),
        })),
        "08 10           # type: MsgReadIndexResp
         10 02           # to
         18 01           # from
         20 05           # term
         30 07           # index
         3a 09           # entries[0]
           10 00 18 00   #   Term, Index
           22 03 'ctx'   #   Data: the context
         a0 06 06        # read_id",
    );
}
