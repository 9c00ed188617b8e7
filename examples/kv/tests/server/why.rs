//! `GET /status` says in a sentence why nothing happens.

use serde_json::Value;

use crate::harness::{Cluster, request, wait_for, wait_until};

/// What the leader says of a peer.
fn progress(status: &Value, id: u64) -> &Value {
    let peers = status["progress"].as_array().unwrap();
    peers.iter().find(|peer| peer["id"] == id).expect("a peer of the leader")
}

#[test]
fn a_leader_says_why_it_sends_no_more_to_a_node_that_is_gone() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let gone = cluster.followers()[0];
    let id = cluster.nodes[gone].id;
    let before = cluster.nodes[leader].put("/kv/k", "v").unwrap().number("x-raft-index");
    cluster.wait_applied(before);
    cluster.nodes[gone].kill();
    cluster.nodes[leader].put("/kv/k", "w").unwrap();
    let why = wait_for("it is paused", || {
        let status = cluster.nodes[leader].status()?;
        Some(progress(&status, id)["why_paused"].as_str()?.to_string())
    });
    assert_eq!(why, format!("a probe from index {} on isn't answered", before + 1));
    cluster.nodes[gone].start();
    wait_until("nothing is in the way any more", || {
        cluster.nodes[leader].status().is_some_and(|status| {
            let peer = progress(&status, id);
            peer["why_paused"].is_null() && peer["state"] == "replicate"
        })
    });
}

#[test]
fn a_leader_without_a_majority_says_for_whom_it_waits() {
    // A leader steps down within an election time-out: long enough to be looked at.
    let mut cluster = Cluster::start_proxied(3, &["--election-ticks", "50"]);
    let timeout = [("x-raft-timeout-ms", "20000")];
    wait_until("a leader was seen to wait for both others", || {
        let leader = cluster.leader();
        let (id, addr) = (cluster.nodes[leader].id, cluster.nodes[leader].http);
        let others: Vec<u64> = (1..=3).filter(|other| *other != id).collect();
        let why_not_committed = format!("durable on [{id}] and not known to be on {others:?}");
        let why_read_waits = format!("its heartbeats are answered by [{id}] and not by {others:?}");
        cluster.network.isolate(id);
        let ask = |method, body: &'static [u8]| {
            std::thread::spawn(move || request(addr, method, "/kv/k", &timeout, body).unwrap())
        };
        let requests = [ask("PUT", b"v"), ask("GET", b"")];
        let seen = loop {
            let status = cluster.nodes[leader].status().unwrap();
            if status["why_not_committed"] == why_not_committed && status["why_read_waits"] == why_read_waits
            {
                assert!(status["why_not_leader"].is_null());
                break true;
            }
            // Too late, if the machine is busy: once more.
            if status["role"] != "leader" {
                eprintln!("not seen: {status}");
                break false;
            }
        };
        cluster.network.mend();
        for request in requests {
            request.join().unwrap();
        }
        seen
    });

    let leader = cluster.leader();
    wait_until("nothing waits any more", || {
        cluster.nodes[leader].status().is_some_and(|status| {
            ["why_not_committed", "why_read_waits"].iter().all(|why| status[why].is_null())
        })
    });
}

#[test]
fn a_node_alone_says_whose_votes_it_lacks() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let follower = cluster.followers()[0];
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    cluster.nodes[follower].start();
    let id = cluster.nodes[follower].id;
    let others: Vec<u64> = (1..=3).filter(|other| *other != id).collect();
    let why =
        format!("this node asks for pre-votes: granted by [{id}], refused by [], no answer from {others:?}");
    wait_until("it campaigns in vain", || {
        cluster.nodes[follower].status().is_some_and(|status| status["why_not_leader"] == why)
    });
    cluster.nodes[leader].start();
    cluster.leader();
}
