//! Snapshots: made while serving, streamed to a follower that is behind the log, there after a restart.

use crate::harness::{Cluster, request, wait_until};

#[test]
fn a_follower_behind_the_log_gets_a_snapshot() {
    let mut cluster = Cluster::start(3, &["--snapshot-every", "50"]);
    let leader = cluster.leader();
    let behind = cluster.followers()[0];
    cluster.nodes[behind].kill();
    let headers = [("x-client-id", "me"), ("x-serial", "1")];
    let once = request(cluster.nodes[leader].http, "PUT", "/kv/once?expect-absent", &headers, b"v").unwrap();
    assert_eq!(once.status, 204);
    let value = vec![b'v'; 10_000];
    for number in 0..200 {
        assert_eq!(cluster.nodes[leader].put(&format!("/kv/{number}"), &value).unwrap().status, 204);
    }
    assert_eq!(cluster.nodes[leader].delete("/kv/0").unwrap().status, 204);
    wait_until("the log is compacted", || {
        cluster.nodes[leader].status().is_some_and(|status| status["first"].as_u64() > Some(100))
    });
    cluster.nodes[behind].start();
    let last = cluster.nodes[leader].put("/kv/last", "v").unwrap().number("x-raft-index");
    cluster.wait_applied(last);
    let restored = |cluster: &Cluster| {
        let node = &cluster.nodes[behind];
        let status = node.status().unwrap();
        assert!(status["snapshot"].as_u64().unwrap() > 100, "{status}");
        assert_eq!(status["sessions"], 1);
        assert_eq!(node.get("/kv/0?consistency=stale").unwrap().status, 404);
        for number in 1..200 {
            let read = node.get(&format!("/kv/{number}?consistency=stale")).unwrap();
            assert_eq!(read.body, value, "{number}");
        }
    };
    restored(&cluster);
    let log = cluster.nodes[behind].log();
    assert!(log.iter().any(|line| line["msg"] == "received a snapshot"), "it came over the network");
    let sent = |cluster: &Cluster| {
        let status = cluster.nodes[leader].status().unwrap();
        let peers = status["peers"].as_array().unwrap().iter();
        peers.map(|peer| peer["snapshots_sent"].as_u64().unwrap()).sum::<u64>()
    };
    wait_until("the sender knows", || sent(&cluster) >= 1);

    // It is there after a restart too, and the session with it.
    cluster.nodes[behind].kill();
    cluster.nodes[behind].start();
    cluster.wait_applied(last);
    restored(&cluster);
    let again = request(cluster.nodes[behind].http, "PUT", "/kv/once?expect-absent", &headers, b"v").unwrap();
    assert_eq!(again.status, 204, "the retry gets the first outcome");
}

#[test]
fn a_snapshot_that_could_not_be_made_is_tried_again_without_another_write() {
    let mut cluster = Cluster::start(1, &["--snapshot-every", "50", "--tick-ms", "10"]);
    let node = &cluster.nodes[0];
    // What stands in the place of the first unfinished file makes it fail.
    std::fs::create_dir(node.dir.join("snapshot-0.tmp")).unwrap();
    for n in 0..60 {
        assert_eq!(node.put(&format!("/kv/{n}"), "v").unwrap().status, 204);
    }
    let failed = || node.log().iter().filter(|line| line["msg"] == "can't make a snapshot").count();
    wait_until("it fails", || failed() > 0);
    wait_until("it is made", || node.status().is_some_and(|status| status["snapshot"].as_u64() >= Some(50)));
    assert_eq!(failed(), 1);
    cluster.nodes[0].stop();
}
