//! Short words for the things that every test names.

use bytes::Bytes;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use raft_core::proto::{
    AppendEntries, AppendEntriesReply, Heartbeat, HeartbeatReply, InstallSnapshot, Propose, ReadIndex,
    ReadIndexReply, RequestVote, SnapshotMetadata, VoteReply,
};
use raft_core::{
    Body, ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, ConfState, Entries, Entry,
    Index, LogPosition, Message, NodeId, Snapshot, Term,
};

pub fn id(n: u64) -> NodeId {
    NodeId::new(n).expect("no node has the number zero")
}

pub fn ids(numbers: &[u64]) -> Vec<NodeId> {
    numbers.iter().map(|n| id(*n)).collect()
}

pub fn term(n: u64) -> Term {
    Term::new(n)
}

pub fn index(n: u64) -> Index {
    Index::new(n)
}

/// The position `term/index`.
pub fn at(t: u64, i: u64) -> LogPosition {
    LogPosition::new(term(t), index(i))
}

/// An entry whose command says where it was made.
pub fn entry(t: u64, i: u64) -> Entry {
    Entry::normal(term(t), index(i), Bytes::from(format!("{t}/{i}")))
}

/// Entries of these terms, from index `first` on.
pub fn entries(first: u64, terms: &[u64]) -> Entries {
    (first..).zip(terms).map(|(i, t)| entry(*t, i)).collect()
}

pub fn conf_state(voters: &[u64], learners: &[u64]) -> ConfState {
    ConfState { learners: ids(learners), ..ConfState::of_voters(ids(voters)) }
}

pub fn snapshot(position: LogPosition, conf_state: ConfState) -> Snapshot {
    let metadata = SnapshotMetadata { conf_state, index: position.index, term: position.term };
    Snapshot { metadata, data: Bytes::new() }
}

/// A membership change that is made jointly if it has more than one step.
pub fn change(steps: &[(ConfChangeKind, u64)]) -> ConfChangeV2 {
    transition(ConfChangeTransition::Auto, steps)
}

pub fn transition(transition: ConfChangeTransition, steps: &[(ConfChangeKind, u64)]) -> ConfChangeV2 {
    let single = |(kind, n): &(ConfChangeKind, u64)| ConfChangeSingle { kind: *kind, node: NodeId::new(*n) };
    ConfChangeV2 { transition, changes: steps.iter().map(single).collect(), ..ConfChangeV2::default() }
}

/// The change that leaves a joint configuration.
pub fn leave() -> ConfChangeV2 {
    ConfChangeV2::default()
}

/// A joint configuration without learners.
pub fn joint(incoming: &[u64], outgoing: &[u64]) -> ConfState {
    ConfState { voters_outgoing: ids(outgoing), ..conf_state(incoming, &[]) }
}

pub fn message(from: u64, to: u64, t: u64, body: Body) -> Message {
    Message { from: id(from), to: id(to), term: term(t), body }
}

pub fn append(prev: LogPosition, entries: Entries, commit: u64) -> Body {
    Body::AppendEntries(AppendEntries { prev, entries, commit: index(commit) })
}

pub fn accepted(i: u64) -> Body {
    Body::AppendEntriesReply(AppendEntriesReply::Accepted { index: index(i) })
}

pub fn rejected(i: u64, hint: LogPosition) -> Body {
    Body::AppendEntriesReply(AppendEntriesReply::Rejected { rejected: index(i), hint })
}

pub fn request_vote(last: LogPosition) -> Body {
    Body::RequestVote(RequestVote { last, by_transfer: false, priority: 0 })
}

pub fn pre_vote(last: LogPosition) -> Body {
    Body::PreVote(RequestVote { last, by_transfer: false, priority: 0 })
}

pub fn granted() -> Body {
    Body::RequestVoteReply(VoteReply::Granted)
}

/// A refusal that tells what is committed.
pub fn refused_knowing(commit: LogPosition) -> Body {
    Body::RequestVoteReply(VoteReply::Refused { commit })
}

pub fn refused() -> Body {
    Body::RequestVoteReply(VoteReply::REFUSED)
}

pub fn pre_granted() -> Body {
    Body::PreVoteReply(VoteReply::Granted)
}

pub fn pre_refused_knowing(commit: LogPosition) -> Body {
    Body::PreVoteReply(VoteReply::Refused { commit })
}

pub fn pre_refused() -> Body {
    Body::PreVoteReply(VoteReply::REFUSED)
}

/// A heartbeat that tells what the leader counts on.
pub fn heartbeat_relying(commit: u64, relied: LogPosition) -> Body {
    Body::Heartbeat(Heartbeat { commit: index(commit), relied, context: Bytes::new() })
}

pub fn heartbeat(commit: u64) -> Body {
    Body::Heartbeat(Heartbeat { commit: index(commit), relied: LogPosition::ZERO, context: Bytes::new() })
}

/// A heartbeat of a round on which a read or a lease depends.
pub fn heartbeat_of_round(round: u64) -> Body {
    let context = Bytes::copy_from_slice(&round.to_be_bytes());
    Body::Heartbeat(Heartbeat { commit: Index::ZERO, relied: LogPosition::ZERO, context })
}

pub fn heartbeat_reply() -> Body {
    heartbeat_reply_with(Bytes::new())
}

pub fn heartbeat_reply_with(context: Bytes) -> Body {
    Body::HeartbeatReply(HeartbeatReply { context })
}

pub fn install(snapshot: Snapshot) -> Body {
    Body::InstallSnapshot(InstallSnapshot { snapshot }.into())
}

pub fn propose(commands: &[&'static str]) -> Body {
    let entry = |command: &&'static str| Entry {
        payload: raft_core::Payload::Normal(Bytes::from_static(command.as_bytes())),
        ..Entry::default()
    };
    Body::Propose(Propose { entries: commands.iter().map(entry).collect() })
}

pub fn read(id: u64, context: &'static str) -> Body {
    Body::ReadIndex(ReadIndex { id, context: context.into(), lease: false })
}

pub fn read_reply(id: u64, context: &'static str, i: u64) -> Body {
    Body::ReadIndexReply(ReadIndexReply { id, context: context.into(), index: index(i) })
}

/// Is it an AppendEntries that carries entries?
pub fn has_entries(message: &Message) -> bool {
    matches!(&message.body, Body::AppendEntries(append) if !append.entries.is_empty())
}

pub fn is_append(message: &Message) -> bool {
    matches!(message.body, Body::AppendEntries(_))
}

pub fn is_append_reply(message: &Message) -> bool {
    matches!(message.body, Body::AppendEntriesReply(_))
}

pub fn is_heartbeat(message: &Message) -> bool {
    matches!(message.body, Body::Heartbeat(_))
}

pub fn is_heartbeat_reply(message: &Message) -> bool {
    matches!(message.body, Body::HeartbeatReply(_))
}

pub fn is_snapshot(message: &Message) -> bool {
    matches!(message.body, Body::InstallSnapshot(_))
}

pub fn is_vote_request(message: &Message) -> bool {
    matches!(message.body, Body::RequestVote(_))
}

pub fn is_vote_reply(message: &Message) -> bool {
    matches!(message.body, Body::RequestVoteReply(_))
}

pub fn is_timeout_now(message: &Message) -> bool {
    message.body == Body::TimeoutNow
}

pub fn is_pre_vote(message: &Message) -> bool {
    matches!(message.body, Body::PreVote(_))
}

/// Runs a property on generated inputs, the same ones each time. `RAFT_SEED=n` tries others.
pub fn check<S: Strategy>(
    cases: u32,
    strategy: &S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let number: u64 = std::env::var("RAFT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    if let Err(error) = TestRunner::new_with_rng(config, rng).run(strategy, property) {
        panic!("RAFT_SEED={number}: {error}");
    }
}
