//! The way to a state, told in plain text.

use raft_core::{AppendEntries, AppendEntriesReply, Body, Message, VoteReply};

use super::node::{Input, View};
use super::search::{Action, State, World};

/// A line for each step: what happens, and what the node is then.
pub(super) fn tell(world: &World, start: &State, actions: &[Action]) -> Vec<String> {
    let mut state = start.to_vec();
    let mut next = Vec::new();
    let mut lines = Vec::new();
    for (at, action) in actions.iter().enumerate() {
        let (node, input) = match *action {
            Action::At(node, input) => (Some(node), Some(input)),
            Action::DeliverAgain(node, message) => (Some(node), Some(Input::Deliver(message))),
            Action::Begin | Action::Drop(_) => (None, None),
        };
        let effect = match (node, input) {
            (Some(node), Some(input)) => world.react(state[usize::from(node)], input),
            _ => Ok(None),
        };
        let mut line = format!("{:>3}  {}", at + 1, describe(world, *action));
        if let Ok(Some(effect)) = &effect {
            line = format!("{line:<72}  {}", describe_node(&world.nodes.get(effect.after).1));
        }
        lines.push(line);
        let Ok(effect) = effect else { break };
        for message in effect.iter().flat_map(|effect| &effect.sent) {
            lines.push(format!("       sends {}", describe_message(world.messages.get(*message))));
        }
        match world.follow(&state, *action, effect.as_ref(), &mut next) {
            Ok(true) => std::mem::swap(&mut state, &mut next),
            Ok(false) | Err(_) => break,
        }
    }
    lines
}

fn describe(world: &World, action: Action) -> String {
    let message = |id| describe_message(world.messages.get(id));
    match action {
        Action::Begin => "the start".to_owned(),
        Action::Drop(id) => format!("lost: {}", message(id)),
        Action::DeliverAgain(_, id) => format!("delivered, and doubled: {}", message(id)),
        Action::At(_, Input::Deliver(id)) => format!("delivered: {}", message(id)),
        Action::At(node, input) => {
            let what = match input {
                Input::Deliver(_) => "receives".to_owned(),
                Input::TimeOut => "times out".to_owned(),
                Input::Heartbeat => "sends heartbeats".to_owned(),
                Input::Tick => "ticks".to_owned(),
                Input::Propose => "is given a proposal".to_owned(),
                Input::Change => "is given the membership change".to_owned(),
                Input::Read { floor } => format!("is asked for a read, {floor} are committed"),
                Input::Persist => "finishes its oldest write".to_owned(),
                Input::Apply => "applies what is committed".to_owned(),
                Input::Crash { survive: 0 } => "crashes and starts again".to_owned(),
                Input::Crash { survive } => {
                    format!("crashes and starts again, {survive} of its writes survive")
                }
            };
            format!("node {} {what}", node + 1)
        }
    }
}

fn describe_node(view: &View) -> String {
    let terms = |cells: &[super::node::Cell]| {
        let terms: Vec<String> = cells.iter().map(|cell| cell.term.to_string()).collect();
        format!("[{}]", terms.join(" "))
    };
    let vote = view.durable_state.vote.map_or("nobody".to_owned(), |vote| vote.to_string());
    format!(
        "{} {}, log {}, commit {}; on disk {}, term {}, vote {vote}; {} writing",
        view.role,
        view.term,
        terms(&view.log),
        view.commit,
        terms(&view.durable),
        view.durable_state.term,
        view.writes
    )
}

fn describe_message(message: &Message) -> String {
    let what = match &message.body {
        Body::AppendEntries(AppendEntries { prev, entries, commit }) => {
            let entries: Vec<String> = entries.iter().map(|entry| entry.position().to_string()).collect();
            format!("behind {prev} [{}], commit {commit}", entries.join(" "))
        }
        Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }) => format!("accepted {index}"),
        Body::AppendEntriesReply(AppendEntriesReply::Rejected { rejected, hint }) => {
            format!("rejected {rejected}, hint {hint}")
        }
        Body::AppendEntriesReply(AppendEntriesReply::SnapshotWanted { at_least }) => {
            format!("wants a snapshot of {at_least} at least")
        }
        Body::RequestVote(vote) | Body::PreVote(vote) => format!("last {}", vote.last),
        Body::RequestVoteReply(reply) | Body::PreVoteReply(reply) => match reply {
            VoteReply::Granted => "granted".to_owned(),
            VoteReply::Refused { commit } => format!("refused, commit {commit}"),
        },
        Body::Heartbeat(heartbeat) => format!("commit {}, match {}", heartbeat.commit, heartbeat.relied),
        Body::ReadIndexReply(reply) => format!("index {}", reply.index),
        Body::Propose(_)
        | Body::InstallSnapshot(_)
        | Body::HeartbeatReply(_)
        | Body::TransferLeader(_)
        | Body::TimeoutNow
        | Body::ReadIndex(_) => String::new(),
    };
    let line =
        format!("{} {}→{} term {} {what}", message.body.name(), message.from, message.to, message.term);
    line.trim_end().to_owned()
}
