//! Any node takes any request.

use crate::harness::{Cluster, request, wait_until};
use crate::proxy::Network;

#[test]
fn every_node_takes_every_request() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let leader = cluster.nodes[leader].id;
    for node in &cluster.nodes {
        let key = format!("/kv/from-{}%2F%FF", node.id);
        let put = node.put(&key, format!("by {}", node.id)).unwrap();
        assert_eq!((put.status, put.number("x-raft-node")), (204, leader));
        for other in &cluster.nodes {
            for consistency in ["linearizable", "lease"] {
                let read = other.get(&format!("{key}?consistency={consistency}")).unwrap();
                assert_eq!(
                    (read.status, read.text()),
                    (200, format!("by {}", node.id).as_str()),
                    "{consistency}"
                );
            }
            wait_until("it is there in the end", || {
                other.get(&format!("{key}?consistency=stale")).is_ok_and(|read| read.status == 200)
            });
        }
        let swapped = node.put(&format!("{key}?expect=by+{}", node.id), "swapped").unwrap();
        assert_eq!(swapped.status, 204);
        let refused = node.put(&format!("{key}?expect=nothing"), "x").unwrap();
        assert_eq!((refused.status, refused.text()), (412, "swapped"));
        assert_eq!(node.delete(&key).unwrap().status, 204);
        assert_eq!(node.delete(&key).unwrap().status, 404);
        assert_eq!(node.get(&format!("/set?key=x&value={}", node.id)).unwrap().text(), "ok\n");
        assert_eq!(node.get("/get?key=x").unwrap().text(), node.id.to_string());
    }
}

/// As where each node is behind a proxy, or in a container.
#[test]
fn requests_are_passed_on_to_the_address_that_the_leader_advertises() {
    let mut cluster = Cluster::new(3, &[]);
    let mut outside = Network::default();
    let mut advertised = Vec::new();
    for node in &mut cluster.nodes {
        let addr = outside.add(0, node.id, node.http).to_string();
        node.set_argument("--advertise-http-addr", &addr);
        advertised.push(addr);
        node.start();
    }
    let leader = cluster.leader();
    let told = advertised[leader].as_str();
    let followers = cluster.followers();
    let (leader, follower) = (&cluster.nodes[leader], &cluster.nodes[followers[0]]);
    let put = follower.put("/kv/k", "v").unwrap();
    assert_eq!((put.status, put.number("x-raft-node")), (204, leader.id));
    for node in [leader, follower] {
        assert_eq!(node.status().unwrap()["leader_http_addr"].as_str(), Some(told));
    }
}

#[test]
fn a_request_is_passed_on_once_only() {
    let mut cluster = Cluster::start(3, &[]);
    let follower = cluster.followers()[0];
    let follower = &cluster.nodes[follower];
    let forwarded = [("x-raft-forwarded-by", "9")];
    let refused = request(follower.http, "PUT", "/kv/k", &forwarded, b"v").unwrap();
    assert_eq!((refused.status, refused.json()["outcome"].as_str()), (503, Some("none")));
    assert!(refused.headers.contains_key("x-raft-not-leader"));
    assert_eq!(follower.get("/kv/k").unwrap().status, 404);
}

#[test]
fn without_a_leader_a_request_waits_and_then_says_why() {
    let mut cluster = Cluster::new(3, &[]);
    cluster.nodes[0].start();
    wait_until("it answers", || cluster.nodes[0].get("/status").is_ok());
    let timeout = [("x-raft-timeout-ms", "300")];
    let write = request(cluster.nodes[0].http, "PUT", "/kv/k", &timeout, b"v").unwrap();
    assert_eq!((write.status, write.json()["outcome"].as_str()), (503, Some("none")));
    assert!(write.json()["error"].as_str().unwrap().contains("no leader is known"));
    let read = request(cluster.nodes[0].http, "GET", "/kv/k", &timeout, b"").unwrap();
    assert_eq!(read.status, 503);
    let stale = cluster.nodes[0].get("/kv/k?consistency=stale").unwrap();
    assert_eq!(stale.status, 404);

    // One that waits long enough is served as soon as there is a leader.
    let addr = cluster.nodes[0].http;
    let patient = std::thread::spawn(move || {
        request(addr, "PUT", "/kv/k", &[("x-raft-timeout-ms", "60000")], b"v").unwrap()
    });
    cluster.nodes[1].start();
    assert_eq!(patient.join().unwrap().status, 204);
    assert_eq!(cluster.nodes[0].get("/kv/k").unwrap().text(), "v");
}
