//! The core on this storage: three nodes on three folders, restarted in the middle, one of them caught up by a
//! snapshot.

use std::collections::VecDeque;

use raft_core::{Config, RawNode};
use raft_kv::command::{Command, Operation};
use raft_kv::disk::snapshot::SnapshotDescriptor;
use raft_kv::disk::{LogReader, LogWriter, WriteBatch};
use raft_kv::machine::Machine;
use raft_proto::{Body, Message};
use tempfile::TempDir;

use super::*;

struct Node {
    raft: RawNode<LogReader>,
    writer: LogWriter,
    snapshots: SnapshotStore,
    machine: Machine,
}

impl Node {
    fn start(id: u64, dir: &Path) -> Node {
        let identity = Identity { node: node(id), ..identity() };
        let Disk { reader, writer, snapshots } = Disk::open(dir, &identity, options()).unwrap();
        let config = Config { applied: reader.applied_at_start(), ..Config::new(node(id), 0) };
        let mut this = Node {
            raft: RawNode::new(config, reader.clone()).unwrap(),
            writer,
            snapshots,
            machine: Machine::new(),
        };
        if let Some(snapshot) = reader.latest_snapshot() {
            this.restore(&snapshot);
        }
        this
    }

    fn restore(&mut self, snapshot: &Snapshot) {
        let descriptor = SnapshotDescriptor::of(snapshot).unwrap();
        self.machine = Machine::restore(self.snapshots.open(&descriptor).unwrap()).unwrap();
        assert_eq!(self.machine.applied(), snapshot.metadata.index);
    }

    /// Does what the core asks for; gives what is to be sent.
    fn run(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while self.raft.has_ready() {
            let mut ready = self.raft.ready();
            messages.append(&mut ready.messages);
            let batch = WriteBatch {
                snapshot: ready.snapshot.take(),
                entries: std::mem::take(&mut ready.entries),
                hard_state: ready.hard_state,
                data_loss: ready.data_loss,
            };
            self.writer.write(std::slice::from_ref(&batch), ready.must_sync).unwrap();
            messages.append(&mut ready.persisted_messages);
            if let Some(snapshot) = &batch.snapshot {
                self.restore(snapshot);
            }
            for entry in &ready.committed_entries {
                match entry.data() {
                    Some(command) => drop(self.machine.apply(entry.index, command)),
                    None => self.machine.skip(entry.index),
                }
            }
            self.raft.advance(ready).unwrap();
        }
        messages
    }

    fn snapshot(&mut self) {
        let frozen = self.machine.freeze();
        let term = self.raft.storage().term(frozen.applied()).unwrap();
        let mut file =
            self.snapshots.create(metadata(LogPosition { term, index: frozen.applied() })).unwrap();
        frozen.write_to(&mut file).unwrap();
        self.writer.record_snapshot(&file.finish().unwrap()).unwrap();
    }
}

/// The nodes that are up, ticking until `done`, their messages and snapshot files going to and fro.
fn settle(nodes: &mut [Option<Node>], done: impl Fn(&[Option<Node>]) -> bool) {
    for _ in 0..2_000 {
        let mut queue = VecDeque::new();
        for node in nodes.iter_mut().flatten() {
            node.raft.tick();
            queue.extend(node.run());
        }
        while let Some(message) = queue.pop_front() {
            deliver(nodes, message, &mut queue);
        }
        if done(nodes) {
            return;
        }
    }
    panic!("it never came about");
}

fn deliver(nodes: &mut [Option<Node>], message: Message, queue: &mut VecDeque<Message>) {
    let [from, to] = [message.from, message.to].map(|id| usize::try_from(id.get() - 1).unwrap());
    if let (Body::InstallSnapshot(install), Some(Some(sender)), Some(Some(receiver))) =
        (&message.body, nodes.get(from), nodes.get(to))
    {
        let descriptor = SnapshotDescriptor::of(&install.snapshot).unwrap();
        let mut reader = sender.snapshots.send(&descriptor).unwrap();
        let mut file = receiver.snapshots.receive(descriptor).unwrap();
        while let Some(chunk) = reader.next_chunk(1000).unwrap() {
            file.push(&chunk).unwrap();
        }
        file.finish().unwrap();
    }
    if let Some(receiver) = &mut nodes[to] {
        receiver.raft.step(message).unwrap();
        queue.extend(receiver.run());
    }
}

fn leader(nodes: &[Option<Node>]) -> Option<usize> {
    nodes
        .iter()
        .position(|node| node.as_ref().is_some_and(|node| node.raft.role() == raft_core::RoleKind::Leader))
}

fn put(nodes: &mut [Option<Node>], n: u64) {
    settle(nodes, |nodes| leader(nodes).is_some());
    let key = Bytes::from(format!("key {n}"));
    let command = Command::new(Operation::Put { key: key.clone(), value: Bytes::from(vec![b'v'; 300]) });
    let at = leader(nodes).unwrap();
    nodes[at].as_mut().unwrap().raft.propose(command.encode().unwrap()).unwrap();
    settle(nodes, |nodes| nodes.iter().flatten().all(|node| node.machine.get(&key).is_some()));
}

#[test]
fn a_cluster_survives_restarts_and_catches_up_a_node_by_snapshot() {
    let dirs: Vec<TempDir> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let start = |id: usize| Some(Node::start(id as u64 + 1, dirs[id].path()));
    let mut nodes = [start(0), start(1), start(2)];
    (0..5).for_each(|n| put(&mut nodes, n));

    // One goes, and the others compact what it would need.
    let gone = (leader(&nodes).unwrap() + 1) % 3;
    nodes[gone] = None;
    (5..20).for_each(|n| put(&mut nodes, n));
    nodes.iter_mut().flatten().for_each(Node::snapshot);
    nodes[gone] = start(gone);
    (20..22).for_each(|n| put(&mut nodes, n));
    assert!(nodes[gone].as_ref().unwrap().raft.storage().latest_snapshot().is_some());

    // All go.
    nodes.iter_mut().for_each(|node| *node = None);
    nodes = [start(0), start(1), start(2)];
    put(&mut nodes, 22);
    for node in nodes.iter().flatten() {
        assert_eq!(node.machine.len(), 23);
        assert!((0..23).all(|n| node.machine.get(format!("key {n}").as_bytes()).is_some()));
    }
}
