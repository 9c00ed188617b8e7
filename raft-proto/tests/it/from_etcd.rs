//! Messages as an etcd node writes them: every scalar field, zero or not, and fields that mean nothing in a
//! message of that type.

use bytes::Bytes;
use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, Entry, Heartbeat, Index, LogPosition, Message, Payload,
    ReadIndex, ReadIndexReply, RequestVote, Term, TransferLeader, VoteReply,
};

use crate::text::{at, message, node, reads_as, termless};

#[test]
fn append_entries_with_the_empty_snapshot_of_older_versions() {
    let entries = vec![
        Entry::normal(Term::new(5), Index::new(10), Bytes::from("a")),
        Entry { term: Term::new(5), index: Index::new(11), payload: Payload::LeaveJoint },
    ];
    reads_as(
        "08 03              # type: MsgApp
         10 02              # to
         18 01              # from
         20 05              # term
         28 05              # logTerm
         30 09              # index
         3a 09              # entries[0]
           08 00            #   Type, though EntryNormal
           10 05 18 0a      #   Term, Index
           22 01 'a'        #   Data
         3a 06              # entries[1]
           08 02            #   Type: EntryConfChangeV2
           10 05 18 0b      #   Term, Index; no data: the end of a joint configuration
         40 08              # commit
         4a 0a              # snapshot
           12 08            #   metadata
             0a 02 28 00    #     conf_state: auto_leave
             10 00 18 00    #     index, term
         50 00              # reject
         58 00              # rejectHint
         68 00              # vote",
        &message(Body::AppendEntries(AppendEntries {
            prev: at(5, 9),
            entries: entries.into(),
            commit: Index::new(8),
        })),
    );
}

#[test]
fn append_entries_accepted() {
    reads_as(
        "08 04 10 02 18 01 20 05  # type: MsgAppResp, to, from, term
         28 00                    # logTerm
         30 07                    # index
         40 00                    # commit
         50 00 58 00 68 00        # reject, rejectHint, vote",
        &message(Body::AppendEntriesReply(AppendEntriesReply::Accepted { index: Index::new(7) })),
    );
}

#[test]
fn append_entries_rejected() {
    reads_as(
        "08 04 10 02 18 01 20 05  # type: MsgAppResp, to, from, term
         28 00                    # logTerm: the hint's, which isn't known any more
         30 07                    # index
         40 00                    # commit
         50 01                    # reject
         58 03                    # rejectHint
         68 00                    # vote",
        &message(Body::AppendEntriesReply(AppendEntriesReply::Rejected {
            rejected: Index::new(7),
            hint: at(0, 3),
        })),
    );
}

#[test]
fn votes() {
    reads_as(
        "08 05 10 02 18 01 20 05      # type: MsgVote, to, from, term
         28 04 30 09                  # logTerm, index
         40 00 50 00 58 00            # commit, reject, rejectHint
         62 10 'CampaignTransfer'     # context
         68 00                        # vote",
        &message(Body::RequestVote(RequestVote { last: at(4, 9), by_transfer: true, priority: 0 })),
    );
    reads_as(
        "08 11 10 02 18 01 20 05      # type: MsgPreVote, to, from, term
         28 04 30 09                  # logTerm, index
         40 00 50 00 58 00            # commit, reject, rejectHint
         62 00                        # context, empty
         68 00                        # vote",
        &message(Body::PreVote(RequestVote { last: at(4, 9), by_transfer: false, priority: 0 })),
    );
    reads_as(
        "08 06 10 02 18 01 20 05      # type: MsgVoteResp, to, from, term
         28 00 30 00 40 00            # logTerm, index, commit
         50 00 58 00 68 00            # reject, rejectHint, vote",
        &message(Body::RequestVoteReply(VoteReply::Granted)),
    );
    reads_as(
        "08 12 10 02 18 01 20 05      # type: MsgPreVoteResp, to, from, term
         28 00 30 00 40 00            # logTerm, index, commit
         50 01 58 00 68 00            # reject, rejectHint, vote",
        &message(Body::PreVoteReply(VoteReply::REFUSED)),
    );
}

#[test]
fn heartbeat() {
    reads_as(
        "08 08 10 02 18 01 20 05  # type: MsgHeartbeat, to, from, term
         28 00 30 00              # logTerm, index
         40 07                    # commit
         50 00 58 00              # reject, rejectHint
         62 03 'ctx'              # context
         68 00                    # vote",
        &message(Body::Heartbeat(Heartbeat {
            commit: Index::new(7),
            relied: LogPosition::ZERO,
            context: Bytes::from("ctx"),
        })),
    );
}

#[test]
fn transfer_leader_passed_on_by_a_follower() {
    let transfer = message(Body::TransferLeader(TransferLeader { transferee: node(3) }));
    reads_as(
        "08 0d 10 02              # type: MsgTransferLeader, to
         18 03                    # from: who is to lead
         20 05                    # term
         28 00 30 00 40 00        # logTerm, index, commit
         50 00 58 00 68 00        # reject, rejectHint, vote",
        &Message { from: node(3), ..transfer },
    );
}

#[test]
fn read_index() {
    reads_as(
        "08 0f 10 02 18 01        # type: MsgReadIndex, to, from
         20 00                    # term: none
         28 00 30 00              # logTerm, index
         3a 0b                    # entries[0]
           08 00 10 00 18 00      #   Type, Term, Index
           22 03 'ctx'            #   Data: the context
         40 00 50 00 58 00 68 00  # commit, reject, rejectHint, vote",
        &termless(Body::ReadIndex(ReadIndex { id: 0, context: Bytes::from("ctx"), lease: false })),
    );
    reads_as(
        "08 10 10 02 18 01 20 05  # type: MsgReadIndexResp, to, from, term
         28 00                    # logTerm
         30 07                    # index
         3a 0b                    # entries[0]
           08 00 10 00 18 00      #   Type, Term, Index
           22 03 'ctx'            #   Data: the context
         40 00 50 00 58 00 68 00  # commit, reject, rejectHint, vote",
        &message(Body::ReadIndexReply(ReadIndexReply {
            id: 0,
            context: Bytes::from("ctx"),
            index: Index::new(7),
        })),
    );
}

#[test]
fn fields_that_mean_nothing_here_are_ignored_whatever_they_hold() {
    reads_as(
        "08 0e 10 02 18 01 20 05                 # type: MsgTimeoutNow, to, from, term
         28 ff ff ff ff ff ff ff ff ff 01        # logTerm, past the limit
         30 ff ff ff ff ff ff ff ff ff 01        # index, likewise
         3a 02 08 09                             # entries[0], of no known type
         40 ff ff ff ff ff ff ff ff ff 01        # commit
         4a 06 12 04 0a 02 08 00                 # snapshot, with a voter zero
         50 01                                   # reject
         62 01 'x'                               # context
         68 07                                   # vote
         a8 06 01                                # lease_read
         fa 3e 01 'x'                            # field 1007",
        &message(Body::TimeoutNow),
    );
}
