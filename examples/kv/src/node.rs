//! The Raft node of this server: a thread that owns the core, and the ways to reach it.
//!
//! ```text
//!   HTTP requests ──┐                    ┌── messages ─────────────► transport
//!   peers' messages ┼─► inbox ─► core ───┼── entries, state ─► disk ─► votes, acknowledgements ─► transport
//!   acks of the disk┘   (bounded)        └── committed entries ─► state machine ─► waiting requests
//! ```
//!
//! * [`core`]: the thread and its loop
//! * [`disk`]: the thread that writes: one flush for everything that waits
//! * [`waiting`]: the requests that wait for an entry to be applied or for a read to be confirmed
//! * [`steps`]: the path of a write, in the log
//! * [`members`]: membership changes, and the transfer of leadership
//! * [`status`]: `GET /status`

pub(crate) mod core;
mod disk;
pub(crate) mod members;
pub(crate) mod status;
mod steps;
#[cfg(test)]
mod tests;
mod waiting;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use members::AdminError;
use raft_core::{ProposeError, ReadError, ReadMode, RoleKind};
use raft_kv::machine::{Machine, Outcome};
use raft_proto::{ConfChangeSingle, Index, Message, NodeId, Snapshot, Term};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

/// How many inputs may wait for the core.
const INBOX: usize = 8192;

/// What can happen to a node.
pub(crate) enum Input {
    /// A message came.
    Message(Message),
    /// A message to this peer was dropped, or its connection broke.
    Unreachable(NodeId),
    /// A snapshot was sent, or couldn't be.
    SnapshotSent { to: NodeId, ok: bool },
    /// A client's write.
    Write(Write),
    /// A client's read.
    Read(Read),
    /// A change of the membership.
    Change(members::Change),
    /// The leadership is to be handed over.
    Transfer(members::Transfer),
    /// Somebody asks for the status.
    Status(oneshot::Sender<status::NodeStatus>),
    /// Writes reached the disk.
    Persisted(disk::Persisted),
    /// The disk failed.
    DiskFailed(String),
    /// A snapshot of the state machine was made.
    SnapshotMade(Result<Snapshot, String>),
    /// The server stops.
    Stop,
}

/// A write on its way.
pub(crate) struct Write {
    /// This server's own number for it, in the log.
    pub(crate) number: u64,
    /// The command.
    pub(crate) command: Bytes,
    /// Where its end is waited for.
    pub(crate) answer: oneshot::Sender<Result<Applied, WriteError>>,
}

/// A read on its way.
pub(crate) struct Read {
    pub(crate) mode: ReadMode,
    /// Told when the state machine may be read.
    pub(crate) answer: oneshot::Sender<Result<(), ReadError>>,
}

/// A write that is done.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) term: Term,
    pub(crate) index: Index,
    pub(crate) outcome: Outcome,
}

/// A write that isn't done, or isn't known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// It was not proposed: it has no effect and will have none.
    NotProposed(ProposeError),
    /// It was not proposed: too many requests wait already.
    Overloaded,
    /// It was proposed, and another entry took its place in the log: it has no effect and will have none.
    Superseded { term: Term, index: Index },
    /// It was proposed, and nobody knows here what becomes of it.
    Unknown(&'static str),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::NotProposed(error) => error.fmt(f),
            WriteError::Overloaded => f.write_str("too many requests are waiting"),
            WriteError::Superseded { term, index } => write!(
                f,
                "not committed: the leader changed, and the entry of another took the place of this one \
                 (term {term}, index {index})"
            ),
            WriteError::Unknown(why) => f.write_str(why),
        }
    }
}

/// What everybody may know of the node at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) role: RoleKind,
    pub(crate) term: Term,
    pub(crate) leader: Option<NodeId>,
}

/// The way into the core's thread.
#[derive(Clone)]
pub(crate) struct Inbox(mpsc::Sender<Input>);

/// The node has stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped;

impl Inbox {
    /// An inbox and its other end.
    pub(crate) fn new() -> (Inbox, mpsc::Receiver<Input>) {
        let (sender, receiver) = mpsc::channel(INBOX);
        (Inbox(sender), receiver)
    }

    async fn put(&self, input: Input) -> Result<(), Stopped> {
        self.0.send(input).await.map_err(|_| Stopped)
    }

    pub(crate) async fn message(&self, message: Message) -> Result<(), Stopped> {
        self.put(Input::Message(message)).await
    }

    pub(crate) async fn unreachable(&self, peer: NodeId) -> Result<(), Stopped> {
        self.put(Input::Unreachable(peer)).await
    }

    pub(crate) async fn snapshot_sent(&self, to: NodeId, ok: bool) -> Result<(), Stopped> {
        self.put(Input::SnapshotSent { to, ok }).await
    }

    pub(crate) async fn stop(&self) {
        // A node that has stopped already needs no telling.
        let _ = self.put(Input::Stop).await;
    }

    /// From a plain thread: waits while the inbox is full. The core's own thread must not call it.
    fn put_blocking(&self, input: Input) -> Result<(), Stopped> {
        self.0.blocking_send(input).map_err(|_| Stopped)
    }
}

/// The state machine: the core's thread writes, anybody reads.
#[derive(Clone)]
pub(crate) struct SharedMachine(Arc<RwLock<Machine>>);

impl SharedMachine {
    pub(crate) fn new(machine: Machine) -> SharedMachine {
        SharedMachine(Arc::new(RwLock::new(machine)))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Machine> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Machine> {
        self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A node, as the HTTP side sees it.
#[derive(Clone)]
pub(crate) struct Node {
    inbox: Inbox,
    view: watch::Receiver<View>,
    pub(crate) machine: SharedMachine,
}

impl Node {
    /// Proposes a command and waits until it is committed and applied.
    ///
    /// # Errors
    /// It isn't, or wasn't by the deadline.
    pub(crate) async fn write(
        &self,
        number: u64,
        command: Bytes,
        deadline: Instant,
    ) -> Result<Applied, WriteError> {
        let place = match timeout_at(deadline, self.inbox.0.reserve()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(WriteError::NotProposed(ProposeError::NoLeader)),
            Err(_) => return Err(WriteError::Overloaded),
        };
        let (answer, answered) = oneshot::channel();
        place.send(Input::Write(Write { number, command, answer }));
        match timeout_at(deadline, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(WriteError::Unknown("the server stopped before the write was committed")),
            Err(_) => Err(WriteError::Unknown("the write was not committed in time")),
        }
    }

    /// Waits until the state machine may be read: everything that was acknowledged to any client before this call is
    /// applied here.
    ///
    /// # Errors
    /// The core couldn't confirm that; after the deadline, that it came to no answer in time.
    pub(crate) async fn confirm_read(&self, mode: ReadMode, deadline: Instant) -> Result<(), ReadError> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.inbox.put(Input::Read(Read { mode, answer })).await.map_err(|_| ReadError::NoLeader)?;
            answered.await.unwrap_or(Err(ReadError::NoLeader))
        };
        timeout_at(deadline, asked).await.unwrap_or(Err(ReadError::TimedOut))
    }

    /// Proposes a change of one member, or of several in one joint step, and waits until it is applied here.
    ///
    /// # Errors
    /// It isn't, or wasn't by the deadline.
    pub(crate) async fn change(
        &self,
        changes: Vec<ConfChangeSingle>,
        raft_addr: Option<SocketAddr>,
        deadline: Instant,
    ) -> Result<members::Applied, AdminError> {
        let (answer, answered) = oneshot::channel();
        self.admin(Input::Change(members::Change { changes, raft_addr, answer }), answered, deadline).await
    }

    /// Hands leadership over, and waits until the other node is heard to lead.
    ///
    /// # Errors
    /// It isn't handed over, or wasn't by the deadline; or a third one took it.
    pub(crate) async fn transfer(&self, to: NodeId, deadline: Instant) -> Result<(), AdminError> {
        let (answer, answered) = oneshot::channel();
        self.admin(Input::Transfer(members::Transfer { to, answer }), answered, deadline).await
    }

    async fn admin<T>(
        &self,
        input: Input,
        answered: oneshot::Receiver<Result<T, AdminError>>,
        deadline: Instant,
    ) -> Result<T, AdminError> {
        let stopped = || AdminError::Unknown("the server stopped");
        match timeout_at(deadline, self.inbox.0.reserve()).await {
            Ok(Ok(place)) => place.send(input),
            Ok(Err(_)) => return Err(stopped()),
            Err(_) => return Err(AdminError::NotDone("too many requests are waiting".to_string())),
        }
        match timeout_at(deadline, answered).await {
            Ok(result) => result.unwrap_or_else(|_| Err(stopped())),
            Err(_) => Err(AdminError::Unknown("it was not done in time")),
        }
    }

    /// What the node knows of itself, or `None` if it doesn't answer within a second.
    pub(crate) async fn status(&self) -> Option<status::NodeStatus> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.inbox.put(Input::Status(answer)).await.ok()?;
            answered.await.ok()
        };
        timeout_at(Instant::now() + Duration::from_secs(1), asked).await.unwrap_or(None)
    }

    /// Role, term and leader now.
    pub(crate) fn view(&self) -> View {
        *self.view.borrow()
    }

    /// Waits until another node than this is known to lead.
    pub(crate) async fn leader_other_than(&self, before: Option<NodeId>) {
        let mut view = self.view.clone();
        if view.wait_for(|now| now.leader.is_some() && now.leader != before).await.is_err() {
            // The node has stopped: nobody will lead.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until role, term or leader change from what they were, or for this long.
    pub(crate) async fn changed_from(&self, before: View, at_most: Duration) {
        let mut view = self.view.clone();
        let _ = tokio::time::timeout(at_most, view.wait_for(|now| *now != before)).await;
    }
}
