//! Where two runs of a node meet: what [`RawNode::hash_state`] tells apart, and what it doesn't.

use std::hash::{DefaultHasher, Hasher};

use raft_core::{Body, Config, MemoryStorage, Message, NodeId, RawNode, RequestVote, Term, VoteReply};

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn node() -> RawNode<MemoryStorage> {
    let config = Config { pre_vote: false, check_quorum: false, ..Config::new(id(1), 0) };
    RawNode::new(config, MemoryStorage::with_voters([1, 2, 3].map(id))).unwrap()
}

/// Hands out what is due, acknowledges it, and sets what chance decides.
fn settle(node: &mut RawNode<MemoryStorage>) {
    while node.has_ready() {
        let ready = node.ready();
        node.storage_mut().persist(&ready).unwrap();
        node.advance(ready).unwrap();
    }
    node.set_election_timeout(10);
}

fn hash(node: &RawNode<MemoryStorage>) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.hash_state(&mut hasher);
    hasher.finish()
}

fn receive(node: &mut RawNode<MemoryStorage>, from: u64, term: u64, body: Body) {
    let message = Message { from: id(from), to: node.id(), term: Term::new(term), body };
    node.step(message).unwrap();
    settle(node);
}

#[test]
fn two_ways_to_one_state_meet() {
    let mut direct = node();
    receive(&mut direct, 2, 5, Body::RequestVote(RequestVote::default()));

    // By a candidacy of an earlier term, other random numbers, more `Ready`s and messages that came too late.
    let mut detour = node();
    detour.campaign().unwrap();
    settle(&mut detour);
    receive(&mut detour, 2, 5, Body::RequestVote(RequestVote::default()));
    receive(&mut detour, 3, 1, Body::RequestVoteReply(VoteReply::Granted));

    assert_ne!(direct.status().counters, detour.status().counters);
    assert_eq!(hash(&direct), hash(&detour));
}

#[test]
fn what_makes_a_difference_later_is_one_now() {
    let mut seen = vec![hash(&node())];
    let mut voter = node();
    receive(&mut voter, 2, 5, Body::RequestVote(RequestVote::default()));
    seen.push(hash(&voter));
    let mut other = node();
    receive(&mut other, 3, 5, Body::RequestVote(RequestVote::default()));
    seen.push(hash(&other));
    let mut leader = node();
    leader.campaign().unwrap();
    seen.push(hash(&leader));
    settle(&mut leader);
    seen.push(hash(&leader));
    receive(&mut leader, 2, 1, Body::RequestVoteReply(VoteReply::Granted));
    seen.push(hash(&leader));
    leader.propose("x".into()).unwrap();
    seen.push(hash(&leader));
    let handed_out = leader.ready();
    seen.push(hash(&leader));
    leader.on_persisted(handed_out.number).unwrap();
    seen.push(hash(&leader));

    for (at, one) in seen.iter().enumerate() {
        assert!(!seen[..at].contains(one), "state {at} is taken for an earlier one");
    }
}
