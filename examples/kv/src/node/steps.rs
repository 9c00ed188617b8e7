//! The path of a write, in the log.
//!
//! At the level `debug` each node says what it does with an entry, with fixed messages, so that the logs of all nodes,
//! merged by `ts`, tell how one write went:
//!
//! | `msg` | where | keys |
//! |---|---|---|
//! | `write received` | the server that a client asked | `write`, `op`, `key`, `bytes` |
//! | `write forwarded` | the same, if it doesn't lead | `write`, `leader` |
//! | `write appended` | leader | `write`, `term`, `index` |
//! | `entries sent` | leader | `peer`, `term`, `first`, `last`, `commit` |
//! | `entries received` | follower | `peer`, `term`, `first`, `last`, `commit` |
//! | `entries are durable here` | everywhere | `first`, `last`, `term` |
//! | `peer acknowledged` | leader | `peer`, `match` |
//! | `peer rejected` | leader | `peer`, `at`, `hint` |
//! | `commit index advanced` | everywhere | `commit`, `term` |
//! | `entry applied` | everywhere | `term`, `index`, `bytes` |
//! | `write answered` | leader | `write`, `index`, `result` |
//! | `commit index told` | leader | `peer`, `commit` |
//! | `commit index heard` | follower | `peer`, `commit` |
//! | `reply sent` | the server that a client asked | `write`, `status` |

use std::collections::BTreeMap;

use raft_proto::{AppendEntriesReply, Body, Entry, Index, Message, NodeId, Term};
use slog::{Logger, debug};

use super::waiting::Answered;

/// Follows the path of writes through this node.
pub(super) struct Steps {
    log: Logger,
    /// Nothing is looked at where nothing would be logged.
    on: bool,
    /// The highest commit index in a message to each peer.
    told: BTreeMap<NodeId, Index>,
    heard: Index,
    commit: Index,
}

impl Steps {
    /// `commit` is what is known at the start.
    pub(super) fn new(log: Logger, on: bool, commit: Index) -> Steps {
        Steps { log, on, told: BTreeMap::new(), heard: commit, commit }
    }

    pub(super) fn appended(&self, number: u64, term: Term, index: Index) {
        debug!(self.log, "write appended"; "write" => number, "term" => term.get(), "index" => index.get());
    }

    pub(super) fn sending(&mut self, messages: &[Message]) {
        if self.on {
            for message in messages {
                self.send(message);
            }
        }
    }

    fn send(&mut self, message: &Message) {
        let commit = match &message.body {
            Body::AppendEntries(append) => {
                if let (Some(first), Some(last)) = (append.entries.first(), append.entries.last()) {
                    debug!(self.log, "entries sent"; "peer" => message.to.get(), "term" => message.term.get(),
                        "first" => first.index.get(), "last" => last.index.get(), "commit" => append.commit.get());
                }
                append.commit
            }
            Body::Heartbeat(heartbeat) => heartbeat.commit,
            _ => return,
        };
        let told = self.told.entry(message.to).or_default();
        if commit > *told {
            *told = commit;
            debug!(self.log, "commit index told"; "peer" => message.to.get(), "commit" => commit.get());
        }
    }

    pub(super) fn receiving(&mut self, message: &Message) {
        if !self.on {
            return;
        }
        let peer = message.from.get();
        match &message.body {
            Body::AppendEntries(append) => {
                if let (Some(first), Some(last)) = (append.entries.first(), append.entries.last()) {
                    debug!(self.log, "entries received"; "peer" => peer, "term" => message.term.get(),
                        "first" => first.index.get(), "last" => last.index.get(), "commit" => append.commit.get());
                }
                self.hear(peer, append.commit);
            }
            Body::Heartbeat(heartbeat) => self.hear(peer, heartbeat.commit),
            Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }) => {
                debug!(self.log, "peer acknowledged"; "peer" => peer, "match" => index.get());
            }
            Body::AppendEntriesReply(AppendEntriesReply::Rejected { rejected, hint }) => {
                debug!(self.log, "peer rejected"; "peer" => peer, "at" => rejected.get(), "hint" => %hint);
            }
            _ => {}
        }
    }

    fn hear(&mut self, peer: u64, commit: Index) {
        if commit > self.heard {
            self.heard = commit;
            debug!(self.log, "commit index heard"; "peer" => peer, "commit" => commit.get());
        }
    }

    pub(super) fn committed(&mut self, commit: Index, term: Term) {
        if commit > self.commit {
            self.commit = commit;
            debug!(self.log, "commit index advanced"; "commit" => commit.get(), "term" => term.get());
        }
    }

    pub(super) fn applied(&self, entry: &Entry) {
        debug!(self.log, "entry applied"; "term" => entry.term.get(), "index" => entry.index.get(),
            "bytes" => entry.payload.len());
    }

    pub(super) fn answered(&self, answered: &Answered) {
        debug!(self.log, "write answered"; "write" => answered.number, "index" => answered.index.get(),
            "result" => answered.result);
    }
}
