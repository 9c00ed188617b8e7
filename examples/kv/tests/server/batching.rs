//! Writes that come together share a flush.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{Cluster, LONG};

const CLIENTS: u64 = 64;

/// The requests of all clients are in the server's sockets before it takes the first of them.
#[test]
fn concurrent_writes_need_fewer_flushes_than_there_are_entries() {
    let mut cluster = Cluster::start(1, &[]);
    let number = |cluster: &Cluster, name: &str| cluster.nodes[0].status().unwrap()[name].as_u64().unwrap();
    let before = (number(&cluster, "last"), number(&cluster, "disk_writes"));
    cluster.nodes[0].pause();
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let mut stream = TcpStream::connect(cluster.nodes[0].http).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let head =
            format!("PUT /kv/{client} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\n");
        stream.write_all(format!("{head}v").as_bytes()).unwrap();
        clients.push(stream);
    }
    cluster.nodes[0].resume();
    for mut stream in clients {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 204"), "{}", answer.escape_ascii());
    }
    assert_eq!(number(&cluster, "last") - before.0, CLIENTS, "each write is an entry");
    let writes = number(&cluster, "disk_writes") - before.1;
    assert!(writes >= 1, "what was answered is on the disk");
    assert!(writes < CLIENTS, "{writes} writes to the disk for {CLIENTS} entries");
}
