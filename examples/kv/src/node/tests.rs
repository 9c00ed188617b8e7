//! A leader whose disk is moved by hand: what happens while a write is under way, and how many flushes it takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raft_core::Config;
use raft_kv::command::{Command, Operation};
use raft_kv::disk::{Disk as DataFolder, Identity as FolderIdentity, LogReader, Options};
use raft_kv::machine::Machine;
use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, ConfState, Entries, Entry, Index, LogPosition, Message, NodeId,
    Payload, Term, VoteReply,
};
use slog::{Discard, Logger, o};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::core::{Core, Parts, assemble};
use super::disk::Disk;
use super::{Applied, Inbox, Input, Write, WriteError};
use crate::transport::Transport;
use crate::transport::hello::Identity;

type Answer = oneshot::Receiver<Result<Applied, WriteError>>;

fn id(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

/// Node 1 of three, the leader of term 1, with one entry. The others are played by the test.
struct Leader {
    core: Core,
    disk: Disk,
    inputs: mpsc::Receiver<Input>,
    transport: Arc<Transport>,
    reader: LogReader,
    _runtime: Runtime,
    _dir: TempDir,
}

impl Leader {
    fn elected() -> Leader {
        let dir = tempfile::tempdir().unwrap();
        let identity = FolderIdentity { node: id(1), cluster: "test".to_string() };
        let bootstrap = ConfState::of_voters([id(1), id(2), id(3)]);
        let folder =
            DataFolder::open(dir.path(), &identity, Options { bootstrap, ..Options::default() }).unwrap();
        let reader = folder.reader.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let log = Logger::root(Discard, o!());
        let (inbox, inputs) = Inbox::new();
        let own =
            Identity { fingerprint: 0, id: id(1), http_addr: "127.0.0.1:1".to_string(), raft_addr: None };
        // Nobody listens there, and the runtime isn't run: each message to a peer is counted as dropped.
        let peers = [(id(2), "127.0.0.1:2".parse().unwrap()), (id(3), "127.0.0.1:3".parse().unwrap())];
        let store = folder.snapshots.clone();
        let (core, disk, transport) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let transport = Transport::start(own, peers.into_iter(), listener, inbox.clone(), store, &log);
            let parts = Parts {
                config: Config { pre_vote: false, async_writes: true, ..Config::new(id(1), 1) },
                folder,
                machine: Machine::new(),
                inbox,
                transport: transport.clone(),
                tick: Duration::from_secs(1),
                snapshot_every: 1_000,
                trace_writes: false,
                log,
            };
            let (core, disk) = assemble(parts).unwrap();
            (core, disk, transport)
        });
        let mut leader = Leader { core, disk, inputs, transport, reader, _runtime: runtime, _dir: dir };
        leader.core.raft.campaign().unwrap();
        leader.turn(vec![]);
        leader.write();
        leader.hear(2, Body::RequestVoteReply(VoteReply::Granted));
        leader.write();
        for peer in [2, 3] {
            leader.acknowledge(peer, 1);
        }
        leader
    }

    /// One turn of the core's loop.
    fn turn(&mut self, mut inputs: Vec<Input>) {
        assert!(!self.core.turn(&mut inputs).unwrap());
    }

    fn hear(&mut self, from: u64, body: Body) {
        let message = Message { from: id(from), to: id(1), term: Term::new(1), body };
        self.turn(vec![Input::Message(message)]);
    }

    fn acknowledge(&mut self, peer: u64, index: u64) {
        let index = Index::new(index);
        self.hear(peer, Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }));
    }

    /// One turn of the disk's loop, in which something must wait, and what the core makes of it.
    fn write(&mut self) {
        let group = self.disk.next_group().unwrap();
        self.disk.write(group).unwrap();
        let persisted = self.inputs.try_recv().unwrap();
        assert!(matches!(persisted, Input::Persisted(_)));
        assert!(self.inputs.is_empty(), "one write to the disk is told once");
        self.turn(vec![persisted]);
    }

    /// So many clients' writes, which came while the core was in its last turn.
    fn propose(&mut self, count: u64) -> Vec<Answer> {
        let (inputs, answers) = (0..count)
            .map(|number| {
                let (key, value) = (Bytes::from(number.to_string()), Bytes::from_static(b"v"));
                let command = Command { session: None, operation: Operation::Put { key, value } };
                let (answer, answered) = oneshot::channel();
                let command = command.encode().unwrap();
                (Input::Write(Write { number, command, answer }), answered)
            })
            .unzip();
        self.turn(inputs);
        answers
    }

    /// How many messages were meant for each peer.
    fn sent(&self) -> Vec<u64> {
        self.transport.links().iter().map(|link| link.messages_dropped).collect()
    }
}

#[test]
fn what_came_during_a_write_to_the_disk_is_one_write_with_one_flush() {
    let mut leader = Leader::elected();
    let (flushes, last) = (leader.reader.last_write(), leader.core.raft.status().last.get());
    // Ten turns of the core while the disk is busy, of three writes each.
    let mut answers: Vec<Answer> = (0..10).flat_map(|_| leader.propose(3)).collect();
    assert_eq!(leader.reader.last_write(), flushes);
    leader.write();
    assert_eq!(leader.reader.last_write(), flushes + 1, "one flush for thirty writes");
    // It's acknowledged as a whole: with one other node, all of it is committed.
    leader.acknowledge(3, last + 30);
    assert!(answers.iter_mut().all(|answer| answer.try_recv().unwrap().is_ok()));
}

#[test]
fn appends_leave_and_entries_are_committed_while_the_leaders_own_write_is_under_way() {
    let mut leader = Leader::elected();
    let (flushes, last) = (leader.reader.last_write(), leader.core.raft.status().last.get());
    let before = leader.sent();
    let mut answers = leader.propose(5);
    let after = leader.sent();
    assert_eq!(before.len(), 2);
    assert!(before.iter().zip(&after).all(|(before, after)| *after == before + 1), "one message to each");
    leader.acknowledge(2, last + 5);
    assert_eq!(leader.core.raft.commit_index().get(), last, "one node of three is no majority");
    leader.acknowledge(3, last + 5);
    assert_eq!(leader.core.raft.commit_index().get(), last + 5);
    assert_eq!(leader.reader.last_write(), flushes, "nothing of it is on this node's own disk");
    // What a node applies is on its own disk.
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()));
    leader.write();
    assert_eq!(leader.reader.last_write(), flushes + 1);
    assert!(answers.iter_mut().all(|answer| answer.try_recv().unwrap().is_ok()));
}

#[test]
fn an_acknowledgement_leaves_as_soon_as_its_write_is_done() {
    let mut follower = Leader::elected();
    // Node 2 leads term 2.
    let append = |follower: &mut Leader, from: u64, count: u64| {
        let entry = |number| Entry {
            term: Term::new(2),
            index: Index::new(number),
            payload: Payload::Normal(Bytes::from_static(b"x")),
        };
        let prev =
            LogPosition { term: Term::new(if from == 2 { 1 } else { 2 }), index: Index::new(from - 1) };
        let entries: Entries = (from..from + count).map(entry).collect();
        let body = Body::AppendEntries(AppendEntries { prev, entries, commit: Index::new(1) });
        let message = Message { from: id(2), to: id(1), term: Term::new(2), body };
        follower.turn(vec![Input::Message(message)]);
    };
    let flushes = follower.reader.last_write();
    let before = follower.sent()[0];
    append(&mut follower, 2, 3);
    let first = follower.disk.next_group().unwrap();
    // These come while the first write is under way.
    append(&mut follower, 5, 3);
    append(&mut follower, 8, 3);
    assert_eq!(follower.sent()[0], before, "nothing is acknowledged that isn't on the disk");
    follower.disk.write(first).unwrap();
    assert_eq!(follower.sent()[0], before + 1, "the first doesn't wait for the others");
    let second = follower.disk.next_group().unwrap();
    follower.disk.write(second).unwrap();
    assert_eq!(follower.reader.last_write(), flushes + 2, "the others shared a flush");
    assert_eq!(follower.sent()[0], before + 2, "and an acknowledgement");
}
