//! What each client did last, so that a retry is recognised (thesis §6.3).
//!
//! Bounded in number and in bytes. What goes is the session that was used the longest time ago by the index of the
//! log, so all nodes forget the same ones. A client that was forgotten is as good as new: a retry of it would be
//! applied again.

use std::collections::BTreeMap;

use raft_proto::Index;

use super::Outcome;
use crate::command::{ClientId, Session};

/// How many sessions are remembered.
pub const MAX_SESSIONS: usize = 10_000;
/// How many bytes the outcomes that are remembered may have together.
pub const MAX_SESSION_BYTES: usize = 64 << 20;

/// What a client did last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) serial: u64,
    pub(super) outcome: Outcome,
    /// The index of the last command that came in this session, a retry included.
    pub(super) used: Index,
}

/// All sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    by_client: BTreeMap<ClientId, Last>,
    by_use: BTreeMap<Index, ClientId>,
    bytes: usize,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    /// Those remembered, by client.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ClientId, &Last)> {
        self.by_client.iter()
    }

    /// The outcome to give if this isn't a new request.
    pub(super) fn seen(&mut self, session: &Session, index: Index) -> Option<Outcome> {
        let last = self.by_client.get_mut(&session.client)?;
        if session.serial > last.serial {
            return None;
        }
        if let Some(client) = self.by_use.remove(&last.used) {
            self.by_use.insert(index, client);
        }
        last.used = index;
        Some(if session.serial == last.serial { last.outcome.clone() } else { Outcome::StaleSerial })
    }

    /// Takes note of what a session did, and forgets others if they are too many now.
    pub(super) fn record(&mut self, session: Session, index: Index, outcome: Outcome) {
        self.insert(session.client.detached(), Last { serial: session.serial, outcome, used: index });
        while self.by_client.len() > MAX_SESSIONS
            || (self.bytes > MAX_SESSION_BYTES && self.by_client.len() > 1)
        {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some(forgotten) = self.by_client.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(cost(&forgotten.outcome));
            }
        }
    }

    fn insert(&mut self, client: ClientId, last: Last) {
        self.bytes = self.bytes.saturating_add(cost(&last.outcome));
        let used = last.used;
        if let Some(before) = self.by_client.insert(client.clone(), last) {
            self.by_use.remove(&before.used);
            self.bytes = self.bytes.saturating_sub(cost(&before.outcome));
        }
        self.by_use.insert(used, client);
    }

    /// Puts back a session that was remembered. They come in ascending order of clients; false is an answer to
    /// what can't have been remembered.
    #[must_use]
    pub(super) fn restore(&mut self, client: ClientId, last: Last) -> bool {
        let fits = self.by_client.len() < MAX_SESSIONS && self.bytes <= MAX_SESSION_BYTES;
        let ascends = self.by_client.last_key_value().is_none_or(|(before, _)| *before < client);
        let sound = fits && ascends && !self.by_use.contains_key(&last.used);
        if sound {
            self.insert(client, last);
        }
        sound
    }
}

/// What an outcome occupies beside the fixed part.
fn cost(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::NotSwapped { current: Some(value) } => value.len(),
        _ => 0,
    }
}
