//! What happened, for who wants to read it.

use std::collections::VecDeque;

use raft_core::{AppendEntriesReply, Body, Message, VoteReply};

use super::action::Action;
use super::driver::node_of;
use crate::cluster::Node;
use crate::parts::Parts;

/// So many lines of the last events are told.
const LINES: usize = 100;

/// The actions of a run, and its last events in words.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail {
    actions: Vec<(u64, Action)>,
    lines: VecDeque<(Option<usize>, String)>,
    /// What is being done.
    head: String,
}

impl Trail {
    pub(super) fn begin(&mut self, now: u64, action: Action, message: Option<&Message>) {
        self.actions.push((now, action));
        let what = message.map_or_else(|| action.to_string(), describe);
        self.head = format!("{:>12.6} {what}", now as f64 / 1e6);
    }

    pub(super) fn end<P: Parts>(&mut self, action: Action, nodes: &[Node<P>], left: &[String]) {
        let at = node_of(action);
        let state = at.map_or(String::new(), |at| state_of(&nodes[at]));
        self.lines.push_back((at, format!("{:<90} | {state}", self.head)));
        for line in left {
            self.lines.push_back((at, format!("{:>14} {line}", ">")));
        }
        let over = self.lines.len().saturating_sub(LINES);
        self.lines.drain(..over);
    }

    /// Everything that happened, up to the demand.
    pub(super) fn actions(mut self) -> Vec<(u64, Action)> {
        let healed = self.actions.iter().position(|(_, action)| *action == Action::Heal);
        self.actions.truncate(healed.map_or(usize::MAX, |at| at + 1));
        self.actions
    }

    /// The last events.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().map(|(_, line)| line.clone()).collect()
    }
}

/// A node, shortly.
fn state_of<P: Parts>(node: &Node<P>) -> String {
    let Some(raw) = &node.raw else { return format!("{} is down", node.id) };
    let hard = raw.hard_state();
    let vote = hard.vote.map_or("nobody".to_owned(), |vote| vote.to_string());
    format!(
        "{} {:<13} term {:<3} vote {vote:<6} log {:<8} durable {:<4} commit {:<4} applied {}",
        node.id,
        raw.role().to_string(),
        hard.term.get(),
        raw.last_position().to_string(),
        node.disk.last().get(),
        hard.commit.get(),
        raw.applied_index()
    )
}

/// A message in words.
pub(super) fn describe(message: &Message) -> String {
    let Message { from, to, term, body } = message;
    let what = match body {
        Body::AppendEntries(append) => {
            let last = append.entries.last().map_or(append.prev, |entry| entry.position());
            format!("append {} to {last}, commit {}", append.prev, append.commit)
        }
        Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }) => format!("accepted {index}"),
        Body::AppendEntriesReply(AppendEntriesReply::Rejected { rejected, hint }) => {
            format!("rejected {rejected}, hint {hint}")
        }
        Body::AppendEntriesReply(AppendEntriesReply::SnapshotWanted { at_least }) => {
            format!("wants a snapshot of {at_least} at least")
        }
        Body::RequestVote(request) => format!("vote? {}{}", request.last, by_transfer(request.by_transfer)),
        Body::PreVote(request) => format!("pre-vote? {}", request.last),
        Body::RequestVoteReply(reply) => format!("vote {}", answer(*reply)),
        Body::PreVoteReply(reply) => format!("pre-vote {}", answer(*reply)),
        Body::InstallSnapshot(install) => format!("snapshot {}", install.snapshot.position()),
        Body::Heartbeat(heartbeat) => format!("heartbeat, commit {}", heartbeat.commit),
        Body::HeartbeatReply(_) => "heartbeat reply".to_owned(),
        Body::Propose(propose) => format!("{} proposals", propose.entries.len()),
        Body::TransferLeader(transfer) => format!("transfer to {}", transfer.transferee),
        Body::TimeoutNow => "campaign now".to_owned(),
        Body::ReadIndex(read) => format!("read {}", read.id),
        Body::ReadIndexReply(reply) => format!("read {} at {}", reply.id, reply.index),
    };
    format!("{from} -> {to}, term {term}: {what}")
}

fn by_transfer(by_transfer: bool) -> &'static str {
    if by_transfer { " by transfer" } else { "" }
}

fn answer(reply: VoteReply) -> String {
    match reply {
        VoteReply::Granted => "granted".to_owned(),
        VoteReply::Refused { commit } => format!("refused, commit {commit}"),
    }
}
