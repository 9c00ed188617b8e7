use std::sync::mpsc::TryRecvError;

use raft_core::{Payload, Term};

use super::*;

/// What is applied at a proposal's index, and in which term, decides what its client is told.
#[test]
fn a_command_whose_place_is_taken_is_lost() {
    let id = NodeId::new(1).unwrap();
    let mut server = Server::new(id, &[id], Vec::new(), mpsc::channel().0).unwrap();
    let mut wait = |term, index| {
        let (client, answer) = mpsc::channel();
        server.waiting.push_back((LogPosition::new(Term::new(term), Index::new(index)), client));
        answer
    };
    let (same, other_term, beyond, later) = (wait(1, 5), wait(1, 6), wait(1, 8), wait(3, 8));
    server.apply(&Entry::normal(Term::new(1), Index::new(5), "5".into()));
    assert_eq!(same.try_recv(), Ok(Answer::Applied(Index::new(5))));
    assert_eq!(other_term.try_recv(), Err(TryRecvError::Empty));
    server.apply(&Entry { term: Term::new(2), index: Index::new(6), payload: Payload::TermStart });
    assert_eq!(other_term.try_recv(), Ok(Answer::Lost));
    // The log has an entry of term 2 at index 6, so that at index 8 none of term 1 will follow.
    assert_eq!(beyond.try_recv(), Ok(Answer::Lost));
    assert_eq!(later.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(server.applied, ["5"]);
}
