//! Which other nodes there are, and where.
//!
//! Three sources, the first that knows counts:
//! 1. the membership changes, which carry the address of the node that they bring (the state machine keeps them);
//! 2. the command line of this server;
//! 3. what a node says of itself when it dials this one.
//!
//! The last is what lets a node that was away be served by a leader that was added in the meantime: only that leader can
//! tell it that it is a member.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLockReadGuard, RwLockWriteGuard};

use raft_proto::{ConfState, NodeId};
use slog::{info, o, warn};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::hello::Identity;
use super::{Counters, Peer, QUEUE, Transport, outgoing};

/// How many nodes that aren't members are answered at once.
const GUESTS: usize = 16;

/// The other nodes.
pub(super) struct Peers {
    /// What the command line says.
    configured: BTreeMap<NodeId, SocketAddr>,
    members: BTreeSet<NodeId>,
    known: BTreeMap<NodeId, (Arc<Peer>, JoinHandle<()>)>,
}

impl Peers {
    pub(super) fn new(configured: BTreeMap<NodeId, SocketAddr>) -> Peers {
        Peers { configured, members: BTreeSet::new(), known: BTreeMap::new() }
    }
}

/// All members of a configuration.
fn members_of(state: &ConfState) -> BTreeSet<NodeId> {
    [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next]
        .into_iter()
        .flatten()
        .copied()
        .collect()
}

impl Transport {
    fn read_peers(&self) -> RwLockReadGuard<'_, Peers> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_peers(&self) -> RwLockWriteGuard<'_, Peers> {
        self.peers.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn peer(&self, id: NodeId) -> Option<Arc<Peer>> {
        self.read_peers().known.get(&id).map(|(peer, _)| peer.clone())
    }

    pub(super) fn knows(&self, id: NodeId) -> bool {
        self.read_peers().known.contains_key(&id)
    }

    /// Those that are members or connected.
    pub(super) fn known(&self) -> Vec<Arc<Peer>> {
        let peers = self.read_peers();
        let present = peers.known.values().filter(|(_, dialling)| !dialling.is_finished());
        present.map(|(peer, _)| peer.clone()).collect()
    }

    /// The configuration is this one from now on; `addrs` are the addresses that came with its changes. A node that is to
    /// join, and so has no configuration yet, talks to the nodes of its command line.
    pub(crate) fn set_members(&self, state: &ConfState, addrs: &BTreeMap<NodeId, SocketAddr>) {
        let peers = &mut *self.write_peers();
        peers.members = members_of(state);
        if peers.members.is_empty() {
            peers.members = peers.configured.keys().copied().collect();
        }
        peers.members.remove(&self.own.id);
        for (id, (peer, _)) in &peers.known {
            if !peers.members.contains(id) && peer.member.swap(false, Ordering::AcqRel) {
                info!(self.log, "a peer is no longer a member"; "peer" => id.get());
                peer.wake.notify_one();
            }
        }
        for id in peers.members.clone() {
            let known = peers.known.get(&id).map(|(peer, _)| peer.addr);
            match addrs.get(&id).or(peers.configured.get(&id)).copied().or(known) {
                Some(addr) => drop(self.dial(peers, id, addr)),
                // It will dial this node, and say then.
                None => warn!(self.log, "the address of a member is not known"; "peer" => id.get()),
            }
        }
    }

    /// A node has dialled this one.
    pub(super) fn meet(&self, identity: &Identity) -> Option<Arc<Peer>> {
        let peers = &mut *self.write_peers();
        if let Some((peer, dialling)) = peers.known.get(&identity.id)
            && !dialling.is_finished()
        {
            return Some(peer.clone());
        }
        peers.known.retain(|_, (_, dialling)| !dialling.is_finished());
        let guests = peers.known.keys().filter(|id| !peers.members.contains(id)).count();
        let addr = identity.raft_addr?;
        (guests < GUESTS || peers.members.contains(&identity.id)).then(|| self.dial(peers, identity.id, addr))
    }

    /// Sees to it that this node is dialled, at this address.
    fn dial(&self, peers: &mut Peers, id: NodeId, addr: SocketAddr) -> Arc<Peer> {
        let member = peers.members.contains(&id);
        if let Some((peer, dialling)) = peers.known.get(&id)
            && peer.addr == addr
        {
            peer.member.store(member, Ordering::Release);
            if !dialling.is_finished() {
                return peer.clone();
            }
        }
        let (queue, messages) = mpsc::channel(QUEUE);
        let before = peers.known.get(&id).and_then(|(peer, _)| peer.http_addr());
        let peer = Arc::new(Peer {
            id,
            addr,
            queue,
            connected: AtomicBool::new(false),
            arrivals: watch::Sender::new(0),
            member: AtomicBool::new(member),
            wake: Notify::new(),
            http_addr: Mutex::new(before),
            streaming: AtomicBool::new(false),
            counters: Counters::default(),
        });
        let log = self.log.new(o!("peer" => id.get()));
        let run = outgoing::run(self.own.clone(), peer.clone(), messages, self.inbox.clone(), log);
        let dialling = self.runtime.spawn(run);
        if let Some((_, old)) = peers.known.insert(id, (peer.clone(), dialling)) {
            old.abort();
        }
        peer
    }
}
