//! How everything looks in a script, to the byte.

use std::fmt::Write;

use raft_core::{
    AppendEntriesReply, Body, ConfChangeKind, ConfState, Entry, EntryKind, HardState, Message, NodeId,
    Payload, PeerState, PeerStatus, RoleKind, Snapshot,
};

use super::message::{Append, Apply, Wire, is_refusal, type_name};

/// `Term:1 Vote:1 Commit:11`.
pub(super) fn hard_state(state: &HardState) -> String {
    let vote = state.vote.map_or(String::new(), |vote| format!(" Vote:{vote}"));
    format!("Term:{}{vote} Commit:{}", state.term, state.commit)
}

fn ids(ids: &[NodeId]) -> String {
    let ids: Vec<String> = ids.iter().map(NodeId::to_string).collect();
    format!("[{}]", ids.join(" "))
}

/// `Voters:[1 2] VotersOutgoing:[] …`.
fn conf_state(state: &ConfState) -> String {
    format!(
        "Voters:{} VotersOutgoing:{} Learners:{} LearnersNext:{} AutoLeave:{}",
        ids(&state.voters),
        ids(&state.voters_outgoing),
        ids(&state.learners),
        ids(&state.learners_next),
        state.auto_leave
    )
}

/// `Index:14 Term:1 ConfState:…`.
pub(super) fn snapshot(snapshot: &Snapshot) -> String {
    let metadata = &snapshot.metadata;
    format!("Index:{} Term:{} ConfState:{}", metadata.index, metadata.term, conf_state(&metadata.conf_state))
}

/// The name of a role.
pub(super) fn role(role: RoleKind) -> &'static str {
    match role {
        RoleKind::Follower => "StateFollower",
        RoleKind::PreCandidate => "StatePreCandidate",
        RoleKind::Candidate => "StateCandidate",
        RoleKind::Leader => "StateLeader",
    }
}

/// `1/12 EntryNormal "p1"`.
pub(super) fn entry(entry: &Entry) -> String {
    let kind = match entry.kind() {
        EntryKind::Normal => "EntryNormal",
        EntryKind::ConfChange => "EntryConfChange",
        EntryKind::ConfChangeV2 => "EntryConfChangeV2",
    };
    let payload = match &entry.payload {
        Payload::Normal(data) => quote(data),
        Payload::TermStart | Payload::RefusedChange => quote(&[]),
        Payload::ConfChange(_) | Payload::ConfChangeV2(_) | Payload::LeaveJoint => changes(&entry.payload),
    };
    let space = if payload.is_empty() { "" } else { " " };
    format!("{}/{} {kind}{space}{payload}", entry.term, entry.index)
}

/// `v1 l2 r3`.
fn changes(payload: &Payload) -> String {
    let change = payload.as_conf_change().unwrap_or_default();
    let single = change.changes.iter().map(|single| {
        let letter = match single.kind {
            ConfChangeKind::AddVoter => 'v',
            ConfChangeKind::Remove => 'r',
            ConfChangeKind::Update => 'u',
            ConfChangeKind::AddLearner => 'l',
        };
        format!("{letter}{}", single.node.map_or(0, NodeId::get))
    });
    single.collect::<Vec<_>>().join(" ")
}

/// Go's quoted form.
pub(super) fn quote(data: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in data.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\x07' => quoted.push_str("\\a"),
                '\x08' => quoted.push_str("\\b"),
                '\x0c' => quoted.push_str("\\f"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\x0b' => quoted.push_str("\\v"),
                letter if letter.is_ascii_control() => {
                    let _ = write!(quoted, "\\x{:02x}", u32::from(letter));
                }
                letter if letter.is_control() && u32::from(letter) < 0x10000 => {
                    let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
                }
                letter => quoted.push(letter),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

/// What the fields of etcd's message would hold.
#[derive(Default)]
struct Fields<'a> {
    log: (u64, u64),
    hint: Option<u64>,
    commit: u64,
    vote: Option<NodeId>,
    entries: &'a [Entry],
    snapshot: Option<&'a Snapshot>,
    responses: Vec<String>,
}

fn line(from: &str, to: &str, name: &str, term: u64, fields: &Fields<'_>, indent: &str) -> String {
    let mut out = format!("{indent}{from}->{to} {name} Term:{term} Log:{}/{}", fields.log.0, fields.log.1);
    if let Some(hint) = fields.hint {
        let _ = write!(out, " Rejected (Hint: {hint})");
    }
    if fields.commit != 0 {
        let _ = write!(out, " Commit:{}", fields.commit);
    }
    if let Some(vote) = fields.vote {
        let _ = write!(out, " Vote:{vote}");
    }
    match fields.entries {
        [] => {}
        [only] => {
            let _ = write!(out, " Entries:[{}]", entry(only));
        }
        entries => {
            out.push_str(" Entries:[");
            for each in entries {
                let _ = write!(out, "\n{indent}  {}", entry(each));
            }
            let _ = write!(out, "\n{indent}]");
        }
    }
    if let Some(each) = fields.snapshot {
        let _ = write!(out, "\n{indent}  Snapshot: {}", snapshot(each));
    }
    if !fields.responses.is_empty() {
        out.push_str(" Responses:[");
        for response in &fields.responses {
            let _ = write!(out, "\n{response}");
        }
        let _ = write!(out, "\n{indent}]");
    }
    out
}

fn hex(id: NodeId) -> String {
    format!("{:x}", id.get())
}

/// A message between nodes.
pub(super) fn message(message: &Message, indent: &str) -> String {
    let context_entry =
        |context: &bytes::Bytes| [Entry { payload: Payload::Normal(context.clone()), ..Entry::default() }];
    let held;
    let mut from = message.from;
    let mut fields = Fields::default();
    match &message.body {
        Body::Propose(propose) => fields.entries = &propose.entries,
        Body::AppendEntries(append) => {
            fields.log = (append.prev.term.get(), append.prev.index.get());
            fields.commit = append.commit.get();
            fields.entries = &append.entries;
        }
        Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }) => fields.log = (0, index.get()),
        Body::AppendEntriesReply(AppendEntriesReply::Rejected { rejected, hint }) => {
            fields.log = (hint.term.get(), rejected.get());
            fields.hint = Some(hint.index.get());
        }
        // As etcd would see it. No script makes a node want one.
        Body::AppendEntriesReply(AppendEntriesReply::SnapshotWanted { .. }) => fields.hint = Some(0),
        Body::RequestVote(request) | Body::PreVote(request) => {
            fields.log = (request.last.term.get(), request.last.index.get());
        }
        Body::RequestVoteReply(_) | Body::PreVoteReply(_) => {
            fields.hint = is_refusal(&message.body).then_some(0);
        }
        Body::InstallSnapshot(install) => fields.snapshot = Some(&install.snapshot),
        Body::Heartbeat(heartbeat) => fields.commit = heartbeat.commit.get(),
        Body::HeartbeatReply(_) | Body::TimeoutNow => {}
        Body::TransferLeader(transfer) => from = transfer.transferee,
        Body::ReadIndex(read) => {
            held = context_entry(&read.context);
            fields.entries = &held;
        }
        Body::ReadIndexReply(reply) => {
            fields.log = (0, reply.index.get());
            held = context_entry(&reply.context);
            fields.entries = &held;
        }
    }
    line(&hex(from), &hex(message.to), type_name(&message.body), message.term.get(), &fields, indent)
}

/// Any message.
pub(super) fn wire(wire: &Wire, indent: &str) -> String {
    match wire {
        Wire::Peer(each) | Wire::Own { message: each, .. } => message(each, indent),
        Wire::Appended { to, term, last, snapshot, .. } => {
            let log = (last.term.get(), last.index.get());
            let fields = Fields { log, snapshot: snapshot.as_ref(), ..Fields::default() };
            line("AppendThread", &hex(*to), "MsgStorageAppendResp", term.get(), &fields, indent)
        }
        Wire::Applied { to, entries } => {
            let fields = Fields { entries, ..Fields::default() };
            line("ApplyThread", &hex(*to), "MsgStorageApplyResp", 0, &fields, indent)
        }
    }
}

/// Work for the append thread, with or without its responses.
pub(super) fn append(append: &Append, responses: bool, indent: &str) -> String {
    let state = append.hard_state.unwrap_or_default();
    let inner = format!("{indent}  ");
    let shown = if responses { append.responses.as_slice() } else { &[] };
    let entries = append.entries.to_vec();
    let fields = Fields {
        commit: state.commit.get(),
        vote: state.vote,
        entries: &entries,
        snapshot: append.snapshot.as_ref(),
        responses: shown.iter().map(|response| wire(response, &inner)).collect(),
        ..Fields::default()
    };
    line(&hex(append.from), "AppendThread", "MsgStorageAppend", state.term.get(), &fields, indent)
}

/// Work for the apply thread, with or without its response.
pub(super) fn apply(apply: &Apply, responses: bool, indent: &str) -> String {
    let response = Wire::Applied { to: apply.from, entries: apply.entries.clone() };
    let inner = format!("{indent}  ");
    let responses = if responses { vec![wire(&response, &inner)] } else { Vec::new() };
    let fields = Fields { entries: &apply.entries, responses, ..Fields::default() };
    line(&hex(apply.from), "ApplyThread", "MsgStorageApply", 0, &fields, indent)
}

/// A line of the progress map.
pub(super) fn progress(peer: &PeerStatus) -> String {
    let state = match peer.state {
        PeerState::Probe => "StateProbe",
        PeerState::Replicate => "StateReplicate",
        PeerState::Snapshot { .. } => "StateSnapshot",
    };
    let mut out = format!("{}: {state} match={} next={}", peer.id, peer.match_index, peer.next_index);
    if peer.is_learner {
        out.push_str(" learner");
    }
    if peer.paused {
        out.push_str(" paused");
    }
    if let PeerState::Snapshot { pending } = peer.state
        && !pending.is_zero()
    {
        let _ = write!(out, " pendingSnap={pending}");
    }
    if !peer.recently_active {
        out.push_str(" inactive");
    }
    if peer.inflight_messages > 0 {
        let full = if peer.window_full { "[full]" } else { "" };
        let _ = write!(out, " inflight={}{full}", peer.inflight_messages);
    }
    out
}
