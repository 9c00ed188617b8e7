//! Messages between the nodes, over TCP.
//!
//! Each node dials every other; a connection carries messages one way, from the dialler. So two nodes have two
//! connections, each with one task that writes and one that reads, and a peer that is slow, hung or gone
//! holds up nothing but its own queue, which is bounded: what doesn't fit is dropped, and the core is told that the peer can't be
//! reached. Raft repeats what matters.
//!
//! * [`frame`]: how bytes are cut into messages, and the limit on their size
//! * [`hello`]: the first frame each way, checked on both sides
//! * [`outgoing`]: dialling, redialling, writing
//! * [`incoming`]: listening, reading
//! * [`members`]: which nodes there are: that changes while the server runs
//! * [`snapshots`]: snapshots, on connections of their own

mod frame;
pub(crate) mod hello;
mod incoming;
mod members;
mod outgoing;
mod snapshots;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use raft_proto::{Body, Message, NodeId};
use slog::{Logger, o};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};

use crate::node::Inbox;
use hello::Identity;
use raft_kv::disk::SnapshotStore;

/// How many messages may wait for one peer. Their bytes are bounded by the core's limit on what is in flight.
const QUEUE: usize = 4096;

/// Another node, as this one knows it.
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) addr: SocketAddr,
    queue: mpsc::Sender<Message>,
    connected: AtomicBool,
    /// It is in the configuration, as far as this node knows.
    member: AtomicBool,
    /// Counts the connections that the peer has made for its messages.
    arrivals: watch::Sender<u64>,
    /// Dial now: the peer has just dialled this node.
    wake: Notify,
    http_addr: Mutex<Option<String>>,
    /// A snapshot is on its way there.
    streaming: AtomicBool,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    dropped: AtomicU64,
    appends: AtomicU64,
    entries: AtomicU64,
    snapshots_sent: AtomicU64,
    snapshots_failed: AtomicU64,
}

/// A peer as `GET /status` shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct PeerLink {
    pub(crate) id: u64,
    pub(crate) raft_addr: SocketAddr,
    pub(crate) http_addr: Option<String>,
    /// It is in the configuration.
    pub(crate) member: bool,
    pub(crate) connected: bool,
    pub(crate) messages_dropped: u64,
    /// Messages with entries that were sent, and the entries in them.
    pub(crate) appends_sent: u64,
    pub(crate) entries_sent: u64,
    pub(crate) snapshots_sent: u64,
    pub(crate) snapshots_failed: u64,
}

impl Peer {
    /// Where it serves clients, once it has said so.
    pub(crate) fn http_addr(&self) -> Option<String> {
        self.http_addr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The peer has made a connection for its messages. What is returned ends when it makes another: then this one is over,
    /// though its end may never be heard of (a power failure, a cut cable), and must not keep its place for ever.
    fn arrived(&self) -> impl Future<Output = ()> + use<> {
        let mut own = 0;
        self.arrivals.send_modify(|number| {
            *number = number.wrapping_add(1);
            own = *number;
        });
        let mut arrivals = self.arrivals.subscribe();
        async move {
            // An error: the peer is no more, and neither is the server.
            let _ = arrivals.wait_for(|number| *number != own).await;
        }
    }

    fn learn(&self, identity: &Identity) {
        *self.http_addr.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity.http_addr.clone());
    }
}

/// The way to all other nodes.
pub(crate) struct Transport {
    own: Identity,
    peers: RwLock<members::Peers>,
    inbox: Inbox,
    store: SnapshotStore,
    runtime: Handle,
    log: Logger,
}

impl Transport {
    /// Starts to listen, on this runtime, and to dial as soon as [`set_members`](Transport::set_members) tells whom. It ends
    /// with the runtime. `members` is what the command line says of the nodes' addresses.
    pub(crate) fn start(
        own: Identity,
        members: impl Iterator<Item = (NodeId, SocketAddr)>,
        listener: TcpListener,
        inbox: Inbox,
        store: SnapshotStore,
        log: &Logger,
    ) -> Arc<Transport> {
        let log = log.new(o!("module" => "transport"));
        let peers = RwLock::new(members::Peers::new(members.collect()));
        let transport = Arc::new(Transport { own, peers, inbox, store, runtime: Handle::current(), log });
        tokio::spawn(incoming::run(transport.clone(), listener));
        transport
    }

    /// Sends, or drops, each message; never waits. Returns the peers for which one was dropped.
    pub(crate) fn send(&self, messages: impl IntoIterator<Item = Message>) -> Vec<NodeId> {
        let mut lost = Vec::new();
        for message in messages {
            let Some(peer) = &self.peer(message.to) else { continue };
            let entries = match &message.body {
                Body::InstallSnapshot(_) => {
                    self.send_snapshot(peer, message);
                    continue;
                }
                Body::AppendEntries(append) => append.entries.len() as u64,
                _ => 0,
            };
            if !peer.connected.load(Ordering::Acquire) || peer.queue.try_send(message).is_err() {
                peer.counters.dropped.fetch_add(1, Ordering::Relaxed);
                if !lost.contains(&peer.id) {
                    lost.push(peer.id);
                }
            } else if entries > 0 {
                peer.counters.appends.fetch_add(1, Ordering::Relaxed);
                peer.counters.entries.fetch_add(entries, Ordering::Relaxed);
            }
        }
        lost
    }

    /// The other nodes.
    pub(crate) fn links(&self) -> Vec<PeerLink> {
        let link = |peer: &Arc<Peer>| PeerLink {
            id: peer.id.get(),
            raft_addr: peer.addr,
            http_addr: peer.http_addr(),
            member: peer.member.load(Ordering::Acquire),
            connected: peer.connected.load(Ordering::Acquire),
            messages_dropped: peer.counters.dropped.load(Ordering::Relaxed),
            appends_sent: peer.counters.appends.load(Ordering::Relaxed),
            entries_sent: peer.counters.entries.load(Ordering::Relaxed),
            snapshots_sent: peer.counters.snapshots_sent.load(Ordering::Relaxed),
            snapshots_failed: peer.counters.snapshots_failed.load(Ordering::Relaxed),
        };
        self.known().iter().map(link).collect()
    }

    /// Where a node serves clients: this one's own address, or what that node said when it last connected.
    pub(crate) fn http_addr(&self, id: NodeId) -> Option<String> {
        if id == self.own.id {
            return Some(self.own.http_addr.clone());
        }
        self.peer(id)?.http_addr()
    }

    fn send_snapshot(&self, peer: &Arc<Peer>, message: Message) {
        // One at a time: the result of the one that is under way tells the core what to do next.
        if peer.streaming.swap(true, Ordering::AcqRel) {
            return;
        }
        let log = self.log.new(o!("peer" => peer.id.get()));
        let (own, inbox, store) = (self.own.clone(), self.inbox.clone(), self.store.clone());
        self.runtime.spawn(snapshots::send(own, peer.clone(), message, store, inbox, log));
    }
}
