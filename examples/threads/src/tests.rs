use super::*;
use crate::client::Trouble;
use crate::server::Answer;

/// Everything that was answered is applied on all servers, once and in order, though the leader stopped half-way.
#[test]
fn what_was_answered_outlives_the_leader() {
    let (cluster, events) = Cluster::start(3).unwrap();
    let (applied, stopped) = run(cluster, events).unwrap();
    let expected: Vec<Bytes> = (0..COMMANDS).map(|number| format!("command {number}").into()).collect();
    assert_eq!(applied.len(), 3);
    for (id, applied) in applied {
        if id == stopped {
            assert_eq!(applied, expected[..expected.len() / 2]);
        } else {
            assert_eq!(applied, expected);
        }
    }
}

/// With two of three gone nothing is committed, and a clean stop leaves the client with the truth: nobody knows.
#[test]
fn without_a_quorum_the_outcome_is_unknown() {
    let (mut cluster, events) = Cluster::start(3).unwrap();
    let mut client = Client::new(cluster.mailboxes.clone(), events);
    client.propose(&"committed".into()).unwrap();
    let leader = client.leader.unwrap();
    for id in (1..=3).filter_map(NodeId::new).filter(|id| *id != leader) {
        cluster.stop(id).unwrap();
    }
    let mailbox = cluster.mailboxes.iter().find(|mailbox| mailbox.id == leader).unwrap();
    let (sender, answer) = mpsc::channel();
    mailbox.inputs.send(Input::Propose("not committed".into(), sender)).unwrap();
    let (_, applied) = cluster.stop(leader).unwrap();
    assert_eq!(applied, ["committed"]);
    // The server may have lost its leadership before, and have refused.
    assert!(!matches!(answer.recv(), Ok(Answer::Applied(_) | Answer::Lost)));
    assert_eq!(client.propose(&"too late".into()), Err(Trouble::NobodyThere));
}
