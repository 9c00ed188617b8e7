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
