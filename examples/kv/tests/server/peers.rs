//! Who isn't a peer isn't listened to.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{Cluster, LONG, free_addr, program, wait_until};

/// Sends bytes to a node's port for peers and waits until it hangs up.
fn is_hung_up_on(cluster: &Cluster, bytes: &[u8]) {
    let mut stream = TcpStream::connect(cluster.nodes[0].raft).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", answer.escape_ascii());
}

#[test]
fn strangers_are_refused_and_do_no_harm() {
    let cluster = Cluster::start(1, &[]);
    is_hung_up_on(&cluster, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    is_hung_up_on(&cluster, &[0, 0, 0, 4, 1, 2, 3, 4]);
    is_hung_up_on(&cluster, &[0xff; 1000]);
    let mut long = vec![0, 0, 3, 0xff];
    long.extend_from_slice(&[7; 0x3ff]);
    is_hung_up_on(&cluster, &long);
    assert_eq!(cluster.nodes[0].put("/kv/k", "v").unwrap().status, 204);
    let refused =
        || cluster.nodes[0].log().iter().filter(|line| line["msg"] == "refused a connection").count();
    wait_until("the log says so", || refused() == 4);
}

#[test]
fn a_node_of_another_cluster_is_told_so() {
    let mut cluster = Cluster::start(1, &["--cluster-id", "ours"]);
    // The same numbers, another name: it takes our node for one of its own.
    let dir = tempfile::tempdir().unwrap();
    let (own, http) = (free_addr(), free_addr());
    let members = format!("1/{},2/{own}", cluster.nodes[0].raft);
    let mut other = program()
        .args(["serve", "--id", "2", "--stop-on-stdin-eof", "--cluster-id", "theirs", "--log-to", "stderr"])
        .args(["--http-addr", &http.to_string(), "--raft-addr", &own.to_string(), "--cluster", &members])
        .args(["--tick-ms", "20", "--data-dir", dir.path().to_str().unwrap()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut stderr = other.stderr.take().unwrap();
    let mut chunk = [0; 4096];
    while !text.contains("the peer refused: the nodes belong to different clusters") {
        match stderr.read(&mut chunk).unwrap() {
            0 => panic!("it ended: {text}"),
            n => text.push_str(&String::from_utf8_lossy(&chunk[..n])),
        }
    }
    other.kill().unwrap();
    other.wait().unwrap();
    // Ours goes on, and was not disturbed by the other's campaigns.
    assert_eq!(cluster.nodes[0].status().unwrap()["role"], "leader");
    assert!(cluster.nodes[0].is_running());
}

/// Two-way silence, as after a power failure or behind a cut cable: the old connection's end is never heard of.
#[test]
fn a_peer_that_connects_anew_takes_the_place_of_its_old_connection() {
    let mut cluster = Cluster::new(3, &[]);
    cluster.nodes[0].start();
    cluster.nodes[1].start();
    cluster.leader();
    let connect = || {
        let mut stream = TcpStream::connect(cluster.nodes[0].raft).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(&hello(1, 3, 1)).unwrap();
        let mut start = [0; 15];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(start[14], 0, "it is welcome");
        stream
    };
    // Many more than there are places.
    let mut streams: Vec<TcpStream> = (0..150).map(|_| connect()).collect();
    let last = streams.pop().unwrap();
    for mut stream in streams {
        // The rest of the welcome, then the end.
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    // The latest is listened to.
    (&last).write_all(&heartbeat(3, 2)).unwrap();
    wait_until("the core refuses what it says", || {
        cluster.nodes[0].log().iter().any(|line| line["msg"] == "refused a message" && line["peer"] == 3)
    });
    assert_eq!(cluster.nodes[0].put("/kv/k", "v").unwrap().status, 204);
}

/// A frame as it travels.
fn frame(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// What node 3 of the cluster would say first to node 1, on a connection for messages (1) or for a snapshot (2).
fn hello(purpose: u8, from: u64, to: u64) -> Vec<u8> {
    let cluster = xxhash_rust::xxh3::xxh3_64(b"raft-kv");
    let mut bytes = [&b"raft-kv\n"[..], &1_u16.to_be_bytes(), &[purpose]].concat();
    bytes.extend_from_slice(&cluster.to_be_bytes());
    bytes.extend_from_slice(&from.to_be_bytes());
    bytes.extend_from_slice(b"\x0b127.0.0.1:1");
    bytes.extend_from_slice(&to.to_be_bytes());
    frame(&bytes)
}

/// A heartbeat of term 1 from a node to another: `type=8, to=2, from=3, term=4` in protobuf.
fn heartbeat(from: u8, to: u8) -> Vec<u8> {
    frame(&[8, 8, 16, to, 24, from, 32, 1])
}

#[test]
fn a_peer_that_sends_what_makes_no_sense_is_hung_up_on() {
    let mut cluster = Cluster::new(3, &[]);
    cluster.nodes[0].start();
    cluster.nodes[1].start();
    cluster.leader();
    let talk = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(cluster.nodes[0].raft).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    let welcomed = |answer: &[u8]| answer.len() > 15 && answer[4..12] == *b"raft-kv\n" && answer[14] == 0;
    let oversized = [&hello(1, 3, 1)[..], &(65_u32 << 20).to_be_bytes()].concat();
    let cut_short = [&hello(1, 3, 1)[..], &frame(&[8])].concat();
    let in_anothers_name = [&hello(1, 3, 1)[..], &heartbeat(2, 1)].concat();
    let snapshot_of_nothing = [&hello(2, 3, 1)[..], &heartbeat(3, 1)].concat();
    for (bytes, reason) in [
        (oversized, "a frame of 68157440 bytes; at most 67108864 are allowed"),
        (cut_short, "malformed"),
        (in_anothers_name, "a message of node 2"),
        (snapshot_of_nothing, "not a snapshot"),
    ] {
        assert!(welcomed(&talk(&bytes)), "{reason}");
        wait_until(reason, || {
            cluster.nodes[0].log().iter().any(|line| {
                line["msg"] == "a peer's connection broke"
                    && line["reason"].as_str().is_some_and(|said| said.contains(reason))
            })
        });
    }
    for (bytes, refusal) in [
        (hello(1, 4, 1), "node 4 is not among the nodes of this cluster"),
        (hello(1, 1, 1), "node 1 is not among the nodes of this cluster"),
        (hello(1, 3, 2), "wanted node 2, and this is node 1"),
    ] {
        let answer = talk(&bytes);
        assert!(String::from_utf8_lossy(&answer).contains(refusal), "{refusal}: {}", answer.escape_ascii());
    }
    // A message that the core refuses costs nobody anything.
    let mut stream = TcpStream::connect(cluster.nodes[0].raft).unwrap();
    stream.write_all(&[&hello(1, 3, 1)[..], &heartbeat(3, 2)].concat()).unwrap();
    wait_until("the core refuses it", || {
        cluster.nodes[0].log().iter().any(|line| line["msg"] == "refused a message" && line["peer"] == 3)
    });
    assert_eq!(cluster.nodes[0].put("/kv/k", "v").unwrap().status, 204);
}
