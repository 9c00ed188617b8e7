//! A client, which finds the leader and waits for answers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{self, Receiver};

use bytes::Bytes;
use raft_core::{Index, NodeId, ProposeError};

use crate::server::{Answer, Event, Input, Mailbox};

/// A client with one command at a time.
pub(crate) struct Client {
    /// Whom it asks: the last leader that it has heard of.
    pub(crate) leader: Option<NodeId>,
    mailboxes: Vec<Mailbox>,
    events: Receiver<Event>,
    /// How far each server is.
    applied: BTreeMap<NodeId, Index>,
    /// The index of the last command that was answered.
    last: Index,
}

/// Why a client gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server stopped before it answered: the command may be applied, now or later, or never. Proposing it again
    /// could apply it twice.
    OutcomeUnknown,
    /// No server is left.
    NobodyThere,
}

impl Client {
    pub(crate) fn new(mailboxes: Vec<Mailbox>, events: Receiver<Event>) -> Client {
        Client { leader: None, mailboxes, events, applied: BTreeMap::new(), last: Index::ZERO }
    }

    /// Has a command replicated. It is tried again only while it is certain that it won't be applied twice.
    pub(crate) fn propose(&mut self, command: &Bytes) -> Result<Index, Trouble> {
        loop {
            let Some(leader) = self.leader else {
                self.listen()?;
                continue;
            };
            match self.ask(leader, command.clone())? {
                Some(Answer::Applied(index)) => {
                    self.last = index;
                    return Ok(index);
                }
                Some(Answer::Lost) => {}
                Some(Answer::Refused(ProposeError::NotLeader { leader })) => self.leader = Some(leader),
                // Who knows no leader tells it as soon as there is one.
                Some(Answer::Refused(_)) | None => self.leader = None,
            }
        }
    }

    /// Asks one server. Nothing comes of it if that one has stopped already.
    fn ask(&self, server: NodeId, command: Bytes) -> Result<Option<Answer>, Trouble> {
        let Some(mailbox) = self.mailboxes.iter().find(|mailbox| mailbox.id == server) else {
            return Ok(None);
        };
        let (client, answer) = mpsc::channel();
        match mailbox.inputs.send(Input::Propose(command, client)) {
            Ok(()) => answer.recv().map(Some).map_err(|_| Trouble::OutcomeUnknown),
            Err(_) => Ok(None),
        }
    }

    /// Waits until every other server has applied what was answered.
    pub(crate) fn wait_until_applied_by_all_but(&mut self, absent: NodeId) -> Result<(), Trouble> {
        while self
            .mailboxes
            .iter()
            .any(|server| server.id != absent && self.applied.get(&server.id) < Some(&self.last))
        {
            self.listen()?;
        }
        Ok(())
    }

    /// Waits for the next event.
    fn listen(&mut self) -> Result<(), Trouble> {
        match self.events.recv().map_err(|_| Trouble::NobodyThere)? {
            Event::Leader { leader } => self.leader = leader.or(self.leader),
            Event::Applied { server, index } => {
                self.applied.insert(server, index);
            }
        }
        Ok(())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::OutcomeUnknown => "the server stopped before it answered: the outcome is unknown",
            Trouble::NobodyThere => "no server is left",
        })
    }
}

impl std::error::Error for Trouble {}
