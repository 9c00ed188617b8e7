//! `raft-kv cluster`, as a new user types it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::curl::Curl;
use crate::harness::{LONG, program, request, signal, wait_for, wait_until};

/// The command, running, with what it prints.
struct Command {
    child: Child,
    lines: Receiver<String>,
    printed: Vec<String>,
}

impl Command {
    fn start(dir: &Path) -> Command {
        let mut child = program()
            .args(["cluster", "--base-port", "0", "--tick-ms", "40", "--data-dir"])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut command = Command { child, lines, printed: Vec::new() };
        command.wait_for_line("Ctrl-C stops them all");
        command
    }

    fn wait_for_line(&mut self, part: &str) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(LONG)
                .unwrap_or_else(|_| panic!("in vain: {part}: {:?}", self.printed));
            self.printed.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Number, address for clients and process of each node, as printed.
    fn nodes(&self) -> Vec<(u64, SocketAddr, u32)> {
        let node = |line: &String| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["node", id, http, "raft", _, "pid", pid] = words[..] else { return None };
            Some((id.parse().ok()?, http.strip_prefix("http://")?.parse().ok()?, pid.parse().ok()?))
        };
        self.printed.iter().filter_map(node).collect()
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        // Its servers end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nobody_answers(nodes: &[(u64, SocketAddr, u32)]) {
    for (id, http, _) in nodes {
        wait_until(&format!("node {id} is gone"), || request(*http, "GET", "/health", &[], b"").is_err());
    }
}

#[test]
fn it_starts_serves_tells_of_a_death_stops_and_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::start(dir.path());
    let nodes = command.nodes();
    assert_eq!(nodes.len(), 3);
    let curls: Vec<Curl> = command.printed.iter().filter_map(|line| Curl::parse(line.trim())).collect();
    assert_eq!(curls.len(), 7);
    for curl in curls {
        curl.succeeds(curl.addr);
    }
    assert_eq!(request(nodes[0].1, "PUT", "/kv/k", &[], b"v").unwrap().status, 204);

    // A second one on the same folder is refused; another port would not make it safe.
    let second = program().args(["cluster", "--data-dir"]).arg(dir.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("a cluster runs on the data folder"));

    signal("KILL", nodes[2].2);
    let line = command.wait_for_line("node 3 was killed by signal 9");
    assert!(line.contains("2 of 3 are left"), "{line}");
    command.wait_for_line("raft-kv serve --id 3");
    let patient = [("x-raft-timeout-ms", "30000")];
    assert_eq!(request(nodes[1].1, "PUT", "/kv/k2", &patient, b"v2").unwrap().status, 204);

    signal("INT", command.child.id());
    command.wait_for_line("all stopped");
    let status = wait_for("it ends", || command.child.try_wait().unwrap());
    assert!(status.success());
    nobody_answers(&nodes);

    let five = program().args(["cluster", "--nodes", "5", "--data-dir"]).arg(dir.path()).output().unwrap();
    assert_eq!(five.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&five.stderr).contains("of a cluster of 3 nodes, not 5"));

    let command = Command::start(dir.path());
    let again = command.nodes();
    let places =
        |nodes: &[(u64, SocketAddr, u32)]| nodes.iter().map(|(id, http, _)| (*id, *http)).collect::<Vec<_>>();
    assert_eq!(places(&again), places(&nodes), "the same ports");
    for (key, value) in [("k", "v"), ("k2", "v2")] {
        for (_, http, _) in &again {
            let read = request(*http, "GET", &format!("/kv/{key}"), &patient, b"").unwrap();
            assert_eq!(read.text(), value);
        }
    }
}

#[test]
fn its_servers_end_when_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::start(dir.path());
    let nodes = command.nodes();
    command.child.kill().unwrap();
    command.child.wait().unwrap();
    nobody_answers(&nodes);
}
