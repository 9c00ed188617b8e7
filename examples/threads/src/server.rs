//! A server: one node, and the thread that it runs on.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_core::{
    AckError, Config, Entry, Index, LogPosition, MemoryStorage, Message, NodeId, Proposal, ProposeError,
    RawNode, Ready, StartError, StorageError,
};

/// The caller's unit of time. An election takes one to two times [`Config::election_ticks`] of them.
const TICK: Duration = Duration::from_millis(10);

/// How many inputs wait for a server at most. One that can't keep up loses messages, which Raft can bear, and never holds
/// up those that send to it.
const INBOX: usize = 1024;

/// What a server is told.
pub(crate) enum Input {
    /// By another server.
    Message(Message),
    /// By a client, who waits for the answer.
    Propose(Bytes, Sender<Answer>),
    /// To end.
    Stop,
}

/// What becomes of a command. None at all (the channel is closed) means that the server stopped, and that it isn't known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is committed, and applied on the server that answers.
    Applied(Index),
    /// Another entry was committed in its place. It will never be applied.
    Lost,
    /// It wasn't even taken on.
    Refused(ProposeError),
}

/// What a server tells, so that nobody has to ask again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// The leader that some server knows has changed.
    Leader { leader: Option<NodeId> },
    /// This server has applied everything up to here.
    Applied { server: NodeId, index: Index },
}

/// The way to a server.
#[derive(Clone)]
pub(crate) struct Mailbox {
    pub(crate) id: NodeId,
    pub(crate) inputs: SyncSender<Input>,
}

/// The server's end of it.
pub(crate) struct Inbox {
    pub(crate) id: NodeId,
    pub(crate) inputs: Receiver<Input>,
}

impl Mailbox {
    pub(crate) fn new(id: NodeId) -> (Mailbox, Inbox) {
        let (sender, inputs) = mpsc::sync_channel(INBOX);
        (Mailbox { id, inputs: sender }, Inbox { id, inputs })
    }
}

/// A server.
pub(crate) struct Server {
    node: RawNode<MemoryStorage>,
    mailboxes: Vec<Mailbox>,
    events: Sender<Event>,
    /// The commands that this server has proposed and not answered, in the order of the log.
    waiting: VecDeque<(LogPosition, Sender<Answer>)>,
    /// The state machine.
    applied: Vec<Bytes>,
}

impl Server {
    pub(crate) fn new(
        id: NodeId,
        voters: &[NodeId],
        mailboxes: Vec<Mailbox>,
        events: Sender<Event>,
    ) -> Result<Server, StartError> {
        // All is in memory: no node comes back, so that none needs a seed of its own.
        let node = RawNode::new(Config::new(id, 0), MemoryStorage::with_voters(voters.iter().copied()))?;
        Ok(Server { node, mailboxes, events, waiting: VecDeque::new(), applied: Vec::new() })
    }

    /// Runs until it is told to stop, and returns what it applied.
    pub(crate) fn run(mut self, inputs: &Receiver<Input>) -> Vec<Bytes> {
        let mut next_tick = Instant::now() + TICK;
        loop {
            // 1. Inputs: wait for the first one or the next tick; then take whatever else is there, so that one
            //    `Ready` serves it all. A tick that is late is made up for, but not a long sleep of the machine.
            let first = match inputs.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.applied,
            };
            for input in first.into_iter().chain(inputs.try_iter().take(INBOX)) {
                match input {
                    Input::Message(message) => self.step(message),
                    Input::Propose(command, client) => self.propose(command, client),
                    Input::Stop => return self.applied,
                }
            }
            let now = Instant::now();
            if now >= next_tick {
                self.node.tick();
                next_tick = (next_tick + TICK).max(now - TICK);
            }
            if let Err(error) = self.work() {
                println!("node {} stops: {error}", self.node.id());
                return self.applied;
            }
        }
    }

    fn step(&mut self, message: Message) {
        let from = message.from;
        if let Err(error) = self.node.step(message) {
            println!("node {} refuses a message of node {from}: {error}", self.node.id());
        }
    }

    fn propose(&mut self, command: Bytes, client: Sender<Answer>) {
        match self.node.propose(command) {
            Ok(Proposal::Appended { term, last, .. }) => {
                self.waiting.push_back((LogPosition::new(term, last), client));
            }
            // Not with this configuration; the client learns that the outcome is unknown.
            Ok(Proposal::Forwarded { .. }) => {}
            Err(why) => tell(&client, Answer::Refused(why)),
        }
    }

    fn work(&mut self) -> Result<(), Failure> {
        // 2. Outputs, as long as there are any.
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            self.note(&ready);
            // 3. Send what may leave at once.
            self.send(ready.messages.drain(..));
            // 4. Make it durable, or what stands for that here.
            self.node.storage_mut().persist(&ready).map_err(Failure::Storage)?;
            // 5. Send what had to wait for it.
            self.send(ready.persisted_messages.drain(..));
            // 6. Apply.
            for entry in &ready.committed_entries {
                self.apply(entry);
            }
            // 7. Done.
            self.node.advance(ready).map_err(Failure::Ack)?;
        }
        Ok(())
    }

    fn note(&self, ready: &Ready) {
        if let Some(now) = ready.soft_state {
            println!("node {}: {} in term {}", self.node.id(), now.role, self.node.term());
            tell(&self.events, Event::Leader { leader: now.leader });
        }
    }

    fn send(&mut self, messages: impl Iterator<Item = Message>) {
        for message in messages {
            let to = message.to;
            let Some(mailbox) = self.mailboxes.iter().find(|mailbox| mailbox.id == to) else { continue };
            if mailbox.inputs.try_send(Input::Message(message)).is_err() {
                self.node.report_unreachable(to);
            }
        }
    }

    /// Applies an entry, and answers the clients for whom that settles what became of their commands.
    ///
    /// Positions are ordered as logs are: by term, then by index. What waits at or before this entry was either this
    /// very entry, or has lost its place to it: the terms never go down along a log.
    fn apply(&mut self, entry: &Entry) {
        if let Some(command) = entry.data() {
            self.applied.push(command.clone());
        }
        let settled = self.waiting.partition_point(|(position, _)| *position <= entry.position());
        for (position, client) in self.waiting.drain(..settled) {
            let is_this = position == entry.position();
            tell(&client, if is_this { Answer::Applied(entry.index) } else { Answer::Lost });
        }
        tell(&self.events, Event::Applied { server: self.node.id(), index: entry.index });
    }
}

/// Whoever doesn't listen any more needn't be told.
fn tell<T>(whom: &Sender<T>, what: T) {
    let _ = whom.send(what);
}

/// Why a server can't go on: after either of these it no longer knows what is durable.
enum Failure {
    Storage(StorageError),
    Ack(AckError),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Storage(error) => error.fmt(f),
            Failure::Ack(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
