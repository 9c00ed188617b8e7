//! Crashes, hung processes, lost majorities: what was acknowledged stays, and nobody is told what isn't so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Cluster, LONG, request, wait_for, wait_until};

/// Writes its own keys, one after the other, until it is told to stop, to whichever node takes them. Gives how many of
/// them were acknowledged.
fn client(
    number: usize,
    addrs: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> usize {
    let mut count = 0;
    let mut node = number;
    while !stop.load(Ordering::Relaxed) {
        let target = format!("/kv/client-{number}/{count}");
        let value = format!("value {count} of client {number}");
        let timeout = [("x-raft-timeout-ms", "1000")];
        match request(addrs[node % addrs.len()], "PUT", &target, &timeout, value.as_bytes()) {
            Ok(response) if response.status == 204 => {
                count += 1;
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            // Refused, unknown, or the node is gone: the same key again, elsewhere.
            Ok(_) | Err(_) => node += 1,
        }
    }
    count
}

#[test]
fn every_acknowledged_write_survives_a_killed_leader_and_a_restart_of_all() {
    let mut cluster = Cluster::start(3, &["--snapshot-every", "150"]);
    let addrs: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.http).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..5)
        .map(|number| {
            let (addrs, stop, acknowledged) = (addrs.clone(), stop.clone(), acknowledged.clone());
            std::thread::spawn(move || client(number, addrs, stop, acknowledged))
        })
        .collect();
    let more = |what: &str, count: usize| {
        let before = acknowledged.load(Ordering::Relaxed);
        wait_until(what, || acknowledged.load(Ordering::Relaxed) >= before + count);
    };
    more("writes before", 200);
    let leader = cluster.leader();
    cluster.nodes[leader].kill();
    more("writes under the next leader", 100);
    cluster.nodes[leader].start();
    more("writes with the old leader back", 100);
    // And all of them at once.
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    stop.store(true, Ordering::Relaxed);
    let counts: Vec<usize> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(counts.iter().sum::<usize>() >= 400);

    cluster.start_all();
    cluster.leader();
    for (number, count) in counts.iter().enumerate() {
        let node = &cluster.nodes[number % 3];
        for serial in 0..*count {
            let read = node.get(&format!("/kv/client-{number}/{serial}")).unwrap();
            assert_eq!(read.status, 200, "write {serial} of client {number} was acknowledged and is lost");
            assert_eq!(read.text(), format!("value {serial} of client {number}"));
        }
    }
}

#[test]
fn everything_is_there_after_a_stop_and_a_start() {
    let mut cluster = Cluster::start(3, &[]);
    for number in 0..20 {
        assert_eq!(
            cluster.nodes[number % 3].put(&format!("/kv/{number}"), [number as u8]).unwrap().status,
            204
        );
    }
    for node in &mut cluster.nodes {
        assert!(node.stop().success());
    }
    cluster.start_all();
    cluster.leader();
    for number in 0..20 {
        assert_eq!(cluster.nodes[number % 3].get(&format!("/kv/{number}")).unwrap().body, [number as u8]);
    }
}

#[test]
fn a_retry_is_applied_once_across_leaders_and_restarts() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let followers = cluster.followers();
    let attempt = |addr: SocketAddr, timeout: &str| {
        let headers = [("x-client-id", "me"), ("x-serial", "1"), ("x-raft-timeout-ms", timeout)];
        request(addr, "PUT", "/kv/k?expect-absent", &headers, b"mine")
    };
    // The leader appends it, and can't commit it.
    for place in &followers {
        cluster.nodes[*place].pause();
    }
    let unknown = attempt(cluster.nodes[leader].http, "300").unwrap();
    assert_eq!((unknown.status, unknown.json()["outcome"].as_str()), (504, Some("unknown")));
    cluster.nodes[leader].kill();
    for place in &followers {
        cluster.nodes[*place].resume();
    }
    // Whether or not the first attempt reached a follower: a second one that was applied on top would be refused.
    let retry = attempt(cluster.nodes[followers[0]].http, "30000").unwrap();
    assert_eq!(retry.status, 204, "{}", retry.text());
    assert_eq!(cluster.nodes[followers[1]].put("/kv/k", "another's").unwrap().status, 204);
    cluster.nodes[leader].start();
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    cluster.start_all();
    cluster.leader();
    assert_eq!(attempt(cluster.nodes[leader].http, "30000").unwrap().status, 204);
    assert_eq!(cluster.nodes[leader].get("/kv/k").unwrap().text(), "another's");
}

#[test]
fn a_hung_follower_holds_up_nobody() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let followers = cluster.followers();
    cluster.nodes[followers[0]].pause();
    let started = Instant::now();
    let big = vec![b'x'; 200_000];
    for number in 0..60 {
        // Through the leader and through the other follower; more than a socket's buffers take.
        let node = &cluster.nodes[if number % 2 == 0 { leader } else { followers[1] }];
        assert_eq!(node.put(&format!("/kv/{number}"), &big).unwrap().status, 204);
    }
    assert!(started.elapsed() < LONG / 2, "60 writes took {:?}", started.elapsed());
    cluster.nodes[followers[0]].resume();
    let last = cluster.nodes[leader].put("/kv/last", "v").unwrap().number("x-raft-index");
    cluster.wait_applied(last);
    let read = cluster.nodes[followers[0]].get("/kv/59?consistency=stale").unwrap();
    assert_eq!(read.body.len(), big.len());
}

#[test]
fn a_leader_that_hung_serves_nothing_old() {
    let mut cluster = Cluster::start(3, &[]);
    let old = cluster.leader();
    assert_eq!(cluster.nodes[old].put("/kv/k", "old").unwrap().status, 204);
    cluster.nodes[old].pause();
    let new = cluster.leader();
    assert_ne!(new, old);
    assert_eq!(cluster.nodes[new].put("/kv/k", "new").unwrap().status, 204);
    cluster.nodes[old].resume();
    // Its lease ended while it hung; whatever it answers now, it isn't the old value.
    for consistency in ["lease", "linearizable", "lease", "linearizable"] {
        let timeout = [("x-raft-timeout-ms", "20000")];
        let target = format!("/kv/k?consistency={consistency}");
        let read = request(cluster.nodes[old].http, "GET", &target, &timeout, b"").unwrap();
        assert_eq!((read.status, read.text()), (200, "new"), "{consistency}");
    }
}

#[test]
fn a_hung_leader_does_not_hold_what_may_be_repeated() {
    let mut cluster = Cluster::start(3, &[]);
    let old = cluster.leader();
    let other = cluster.followers()[0];
    assert_eq!(cluster.nodes[other].put("/kv/k", "v").unwrap().status, 204);
    cluster.nodes[old].pause();
    // Both go to the hung leader first, and to its successor as soon as there is one.
    let addr = cluster.nodes[other].http;
    let read = std::thread::spawn(move || {
        request(addr, "GET", "/kv/k?consistency=lease", &[("x-raft-timeout-ms", "50000")], b"").unwrap()
    });
    let headers = [("x-client-id", "me"), ("x-serial", "1"), ("x-raft-timeout-ms", "50000")];
    let started = Instant::now();
    assert_eq!(request(addr, "PUT", "/kv/once?expect-absent", &headers, b"v").unwrap().status, 204);
    let read = read.join().unwrap();
    assert_eq!((read.status, read.text()), (200, "v"));
    assert!(started.elapsed() < Duration::from_secs(40), "it took {:?}", started.elapsed());
}

#[test]
fn without_a_majority_nothing_is_promised() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let followers = cluster.followers();
    assert_eq!(cluster.nodes[leader].put("/kv/before", "v").unwrap().status, 204);
    for place in &followers {
        cluster.nodes[*place].kill();
    }
    let timeout = [("x-raft-timeout-ms", "400")];
    let addr = cluster.nodes[leader].http;
    let write = request(addr, "PUT", "/kv/during", &timeout, b"v").unwrap();
    // It still led, and appended it: nobody knows. Or it had noticed already: nothing was done.
    let outcome = write.json()["outcome"].as_str().unwrap().to_string();
    assert!(matches!((write.status, outcome.as_str()), (504, "unknown") | (503, "none")), "{write:?}");
    // Within its lease it steps down, and refuses with the reason.
    wait_until("the leader steps down", || cluster.nodes[leader].role().is_some_and(|role| role != "leader"));
    let write = request(addr, "PUT", "/kv/later", &timeout, b"v").unwrap();
    assert_eq!((write.status, write.json()["outcome"].as_str()), (503, Some("none")));
    assert_eq!(request(addr, "GET", "/kv/before", &timeout, b"").unwrap().status, 503);
    assert_eq!(request(addr, "GET", "/kv/before?consistency=lease", &timeout, b"").unwrap().status, 503);
    assert_eq!(cluster.nodes[leader].get("/kv/before?consistency=stale").unwrap().text(), "v");
    assert_eq!(cluster.nodes[leader].get("/health").unwrap().status, 503);

    cluster.nodes[followers[0]].start();
    cluster.leader();
    assert_eq!(cluster.nodes[leader].get("/kv/before").unwrap().text(), "v");
    assert_eq!(cluster.nodes[leader].get("/kv/later").unwrap().status, 404, "what was refused has no effect");
}

#[test]
fn a_server_stops_when_it_is_told_to_with_requests_under_way() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let followers = cluster.followers();
    for place in &followers {
        cluster.nodes[*place].pause();
    }
    let addr = cluster.nodes[leader].http;
    let pending =
        std::thread::spawn(move || request(addr, "PUT", "/kv/k", &[("x-raft-timeout-ms", "60000")], b"v"));
    wait_until("the write waits", || {
        cluster.nodes[leader].status().is_some_and(|status| status["waiting_writes"].as_u64() >= Some(1))
    });
    let started = Instant::now();
    assert!(cluster.nodes[leader].stop().success());
    assert!(started.elapsed() < Duration::from_secs(20));
    // The client isn't told that it succeeded, nor that it failed for certain.
    if let Ok(answer) = pending.join().unwrap() {
        assert_eq!(answer.status, 504, "{answer:?}");
    }
    for place in followers {
        cluster.nodes[place].resume();
    }
}

#[test]
fn a_write_can_be_followed_through_the_logs() {
    let mut cluster = Cluster::start(3, &["--log-level", "debug"]);
    let leader = cluster.leader();
    let write = cluster.nodes[leader].put("/kv/k", "v").unwrap();
    let index = write.number("x-raft-index");
    cluster.wait_applied(index);
    let followers = cluster.followers();
    let has = |place: usize, msg: &str, key: &str, at_least: u64| {
        cluster.nodes[place]
            .log()
            .iter()
            .any(|line| line["msg"] == msg && line[key].as_u64() >= Some(at_least))
    };
    for (msg, key) in [
        ("write received", "write"),
        ("write appended", "index"),
        ("entries sent", "last"),
        ("entries are durable here", "last"),
        ("peer acknowledged", "match"),
        ("commit index advanced", "commit"),
        ("entry applied", "index"),
        ("write answered", "index"),
        ("commit index told", "commit"),
        ("reply sent", "write"),
    ] {
        let least = if key == "write" { 1 } else { index };
        wait_for(msg, || has(leader, msg, key, least).then_some(()));
    }
    for place in followers {
        for (msg, key) in [
            ("entries received", "last"),
            ("entries are durable here", "last"),
            ("commit index heard", "commit"),
            ("commit index advanced", "commit"),
            ("entry applied", "index"),
        ] {
            wait_for(msg, || has(place, msg, key, index).then_some(()));
        }
    }
}
