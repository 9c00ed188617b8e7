//! Real servers, each a process of its own, on loopback, in a temporary folder.
//!
//! What a test starts ends with it, whether it passes, fails or is killed: the processes are killed on drop, and stop
//! by themselves when their standard input ends.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::proxy::Network;

/// How long anything may take that must happen in the end. Generous: the machine may be busy.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_raft-kv"))
}

/// Asks again and again until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn wait_until(what: &str, mut ask: impl FnMut() -> bool) {
    wait_for(what, || ask().then_some(()));
}

pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A port that is free, is given once, and isn't one that the system gives to outgoing connections. Where there are more
/// loopback addresses than one (Linux has all of 127.0.0.0/8), it's on another of them each time, so that nobody else on
/// this machine takes it while its server restarts.
pub(crate) fn free_addr() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    let mut attempt = 0;
    wait_for("a free port", || {
        attempt += 1;
        let port = 10_000 + (random() % 20_000) as u16;
        let [a, b, ..] = random().to_le_bytes();
        let host = if attempt < 20 { Ipv4Addr::new(127, 2, a, b.clamp(1, 254)) } else { Ipv4Addr::LOCALHOST };
        let addr = TcpListener::bind((host, port)).ok()?.local_addr().unwrap();
        let fresh = GIVEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(addr);
        fresh.then_some(addr)
    })
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn number(&self, header: &str) -> u64 {
        self.headers[header].parse().unwrap()
    }
}

/// Sends bytes as they are, and reads what comes until the connection ends.
pub(crate) fn exchange(addr: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, LONG)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // What was answered before the other side gave up reading counts.
        Err(_) if !answer.is_empty() => Ok(answer),
        Err(error) => Err(error),
        Ok(_) => Ok(answer),
    }
}

/// One request on a connection of its own. `target` goes out as it is.
pub(crate) fn request(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let mut bytes = format!(
        "{method} {target} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    )
    .into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    parse(&exchange(addr, &bytes)?)
}

fn parse(answer: &[u8]) -> io::Result<Response> {
    let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is broken off");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(broken)?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()))
        .collect();
    let body = answer[end + 4..].to_vec();
    let length = headers.get("content-length").and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > body.len()) {
        return Err(broken());
    }
    Ok(Response { status, headers, body })
}

/// A server.
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) http: SocketAddr,
    pub(crate) raft: SocketAddr,
    pub(crate) dir: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    stopped: bool,
}

impl Node {
    /// Changes an argument, or adds it, for the next start.
    pub(crate) fn set_argument(&mut self, name: &str, value: &str) {
        match self.arguments.iter().position(|argument| argument == name) {
            Some(place) => self.arguments[place + 1] = value.to_string(),
            None => self.arguments.extend([name.to_string(), value.to_string()]),
        }
    }

    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none());
        let child = program()
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        self.child = Some(child);
        self.stopped = false;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// As `kill -9` does it.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Tells it to stop, and waits.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        drop(child.stdin.take());
        wait_for("the server stops", || child.try_wait().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// The process does nothing any more until [`resume`](Node::resume).
    pub(crate) fn pause(&mut self) {
        signal("STOP", self.pid());
        // The system passes the signal on when it comes to it; until then the process goes on.
        wait_until("the server is stopped", || all_threads_are_stopped(self.pid()));
        self.stopped = true;
    }

    pub(crate) fn resume(&mut self) {
        signal("CONT", self.pid());
        self.stopped = false;
    }

    pub(crate) fn get(&self, target: &str) -> io::Result<Response> {
        request(self.http, "GET", target, &[], b"")
    }

    pub(crate) fn put(&self, target: &str, body: impl AsRef<[u8]>) -> io::Result<Response> {
        request(self.http, "PUT", target, &[], body.as_ref())
    }

    pub(crate) fn delete(&self, target: &str) -> io::Result<Response> {
        request(self.http, "DELETE", target, &[], b"")
    }

    pub(crate) fn status(&self) -> Option<serde_json::Value> {
        let response = self.get("/status").ok()?;
        (response.status == 200).then(|| response.json())
    }

    pub(crate) fn role(&self) -> Option<String> {
        Some(self.status()?["role"].as_str()?.to_string())
    }

    /// The lines of its log, as far as they are whole.
    pub(crate) fn log(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir.join("log.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends a signal to a process of this test's own.
pub(crate) fn signal(name: &str, pid: u32) {
    // The shell's own `kill`: nothing else need be installed.
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().unwrap();
    assert!(sent.success());
}

/// Where the system doesn't tell (only Linux has these files), it's taken on trust.
fn all_threads_are_stopped(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // Number, name in parentheses (with any letters in it), state. A thread that has just ended has no file.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z', 'X']))
    })
}

/// Several servers that form a cluster.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    /// Between the nodes, if it can be cut.
    pub(crate) network: Network,
    flags: Vec<String>,
    // Removed after the processes are gone.
    dir: TempDir,
}

impl Cluster {
    /// Addresses and folders for `count` nodes; none runs yet.
    pub(crate) fn new(count: u64, flags: &[&str]) -> Cluster {
        Cluster::build(count, flags, |_, _, addr| addr)
    }

    /// `reached` says where one node reaches another that listens at this address.
    fn build(
        count: u64,
        flags: &[&str],
        mut reached: impl FnMut(u64, u64, SocketAddr) -> SocketAddr,
    ) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let places: Vec<(u64, SocketAddr, SocketAddr)> =
            (1..=count).map(|id| (id, free_addr(), free_addr())).collect();
        let mut node = |&(id, http, raft): &(u64, SocketAddr, SocketAddr)| {
            let members: Vec<String> = places
                .iter()
                .map(|(to, _, addr)| {
                    let addr = if *to == id { *addr } else { reached(id, *to, *addr) };
                    format!("{to}/{addr}")
                })
                .collect();
            let dir = dir.path().join(format!("node-{id}"));
            let arguments = arguments(id, http, raft, &members.join(","), &dir, flags);
            Node { id, http, raft, dir, arguments, child: None, stopped: false }
        };
        let nodes = places.iter().map(&mut node).collect();
        let flags = flags.iter().map(|flag| (*flag).to_string()).collect();
        Cluster { nodes, network: Network::default(), flags, dir }
    }

    /// The same, running, with a leader.
    pub(crate) fn start(count: u64, flags: &[&str]) -> Cluster {
        let mut cluster = Cluster::new(count, flags);
        cluster.start_all();
        cluster.leader();
        cluster
    }

    /// The same, with a network that can be cut.
    pub(crate) fn start_proxied(count: u64, flags: &[&str]) -> Cluster {
        let mut network = Network::default();
        let mut cluster = Cluster::build(count, flags, |from, to, addr| network.add(from, to, addr));
        cluster.network = network;
        cluster.start_all();
        cluster.leader();
        cluster
    }

    /// Starts another node, which waits to be added. Gives its place in `nodes`.
    pub(crate) fn join(&mut self, id: u64) -> usize {
        let (http, raft) = (free_addr(), free_addr());
        let known = self.nodes.iter().map(|node| format!("{}/{}", node.id, node.raft));
        let members: Vec<String> = known.chain([format!("{id}/{raft}")]).collect();
        let dir = self.dir.path().join(format!("node-{id}"));
        let mut flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        flags.push("--join");
        let arguments = arguments(id, http, raft, &members.join(","), &dir, &flags);
        self.nodes.push(Node { id, http, raft, dir, arguments, child: None, stopped: false });
        let place = self.nodes.len() - 1;
        self.nodes[place].start();
        place
    }

    pub(crate) fn start_all(&mut self) {
        self.nodes.iter_mut().for_each(Node::start);
    }

    /// Waits until a node leads, as it and a majority of those that run say, and serves. Gives its place in `nodes`.
    pub(crate) fn leader(&mut self) -> usize {
        wait_for("a leader serves", || {
            let running: Vec<bool> =
                self.nodes.iter_mut().map(|node| node.is_running() && !node.stopped).collect();
            (0..self.nodes.len()).filter(|place| running[*place]).find(|place| {
                let node = &self.nodes[*place];
                node.role().as_deref() == Some("leader")
                    && request(node.http, "GET", "/kv/probe", &[("x-raft-timeout-ms", "500")], b"")
                        .is_ok_and(|response| response.status == 200 || response.status == 404)
            })
        })
    }

    /// The places of all nodes but the leader's.
    pub(crate) fn followers(&mut self) -> Vec<usize> {
        let leader = self.leader();
        (0..self.nodes.len()).filter(|place| *place != leader).collect()
    }

    /// Waits until all nodes that run have applied the same, and at least `index`.
    pub(crate) fn wait_applied(&mut self, index: u64) {
        wait_until("all nodes have applied it", || {
            let applied: Vec<u64> = self
                .nodes
                .iter_mut()
                .filter_map(|node| {
                    node.is_running()
                        .then(|| node.status().map_or(0, |status| status["applied"].as_u64().unwrap()))
                })
                .collect();
            applied.iter().all(|applied| *applied >= index) && applied.windows(2).all(|two| two[0] == two[1])
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                let log = node.log();
                eprintln!("-- the end of the log of node {} ({} lines)", node.id, log.len());
                log.iter().skip(log.len().saturating_sub(25)).for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

fn arguments(
    id: u64,
    http: SocketAddr,
    raft: SocketAddr,
    members: &str,
    dir: &Path,
    flags: &[&str],
) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "serve",
        "--stop-on-stdin-eof",
        "--id",
        &id.to_string(),
        "--http-addr",
        &http.to_string(),
        "--raft-addr",
        &raft.to_string(),
        "--cluster",
        members,
        "--data-dir",
        &dir.display().to_string(),
    ]
    .map(String::from)
    .to_vec();
    if !flags.contains(&"--tick-ms") {
        arguments.extend(["--tick-ms".to_string(), "40".to_string()]);
    }
    arguments.extend(flags.iter().map(|flag| (*flag).to_string()));
    arguments
}
