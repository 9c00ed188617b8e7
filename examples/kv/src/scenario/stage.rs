//! Three servers, each a process of its own, their logs, and a client.
//!
//! What is started here ends with this process: the processes are killed when the stage goes, whether the scenario came to
//! its end, failed, was interrupted or panicked; and if this process is killed, the end of their standard input tells
//! them to stop.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::checks;
use super::client::{Answer, Ask, Client};
use super::logs::{Event, LogFile, Logs, Mark};
use super::story::{Failure, Story, phrase};

/// How long anything may take that must happen in the end. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(45);
/// The pause between two looks at the logs.
const POLL: Duration = Duration::from_millis(10);

/// The nodes of every scenario.
pub(super) const NODES: [u64; 3] = [1, 2, 3];

/// How the servers are set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) tick_ms: u64,
    pub(super) election_ticks: u64,
    pub(super) pre_vote: bool,
}

struct Server {
    id: u64,
    http: SocketAddr,
    raft: SocketAddr,
    dir: PathBuf,
    log: LogFile,
    child: Option<Child>,
}

impl Server {
    /// As `kill -9` does it.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It fails only for a process that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a scenario is played.
pub(super) struct Stage {
    pub(super) story: Story,
    pub(super) setup: Setup,
    pub(super) logs: Logs,
    servers: Vec<Server>,
    client: Client,
}

impl Stage {
    /// Places for three servers; none runs yet.
    ///
    /// # Errors
    /// No ports are free.
    pub(super) fn new(dir: &Path, setup: Setup, story: Story) -> Result<Stage, Failure> {
        // Held until all are chosen, so that none is chosen twice.
        let mut held = Vec::new();
        let mut servers = Vec::new();
        for id in NODES {
            let mut place = || {
                let listener =
                    any_free().map_err(|error| Failure::trouble(format!("no free port: {error}")))?;
                let addr = listener.local_addr().map_err(Failure::trouble)?;
                held.push(listener);
                Ok(addr)
            };
            let dir = dir.join(format!("node-{id}"));
            let log = LogFile::new(dir.join("log.jsonl"));
            servers.push(Server { id, http: place()?, raft: place()?, dir, log, child: None });
        }
        Ok(Stage { story, setup, logs: Logs::default(), servers, client: Client::new() })
    }

    fn server(&self, id: u64) -> Result<&Server, Failure> {
        let found = self.servers.iter().find(|server| server.id == id);
        found.ok_or_else(|| Failure::trouble(format!("there is no node {id}")))
    }

    /// Starts servers and waits until they say so.
    ///
    /// # Errors
    /// They don't.
    pub(super) async fn start(&mut self, ids: &[u64]) -> Result<(), Failure> {
        let program = std::env::current_exe().map_err(Failure::trouble)?;
        let members: Vec<String> =
            self.servers.iter().map(|server| format!("{}/{}", server.id, server.raft)).collect();
        let setup = self.setup;
        let mark = self.logs.mark();
        for server in self.servers.iter_mut().filter(|server| ids.contains(&server.id)) {
            let child = Command::new(&program)
                .args(["serve", "--stop-on-stdin-eof", "--cluster-id", "scenario", "--log-level", "trace"])
                .args(["--id", &server.id.to_string(), "--cluster", &members.join(",")])
                .args(["--http-addr", &server.http.to_string(), "--raft-addr", &server.raft.to_string()])
                .args(["--tick-ms", &setup.tick_ms.to_string()])
                .args(["--election-ticks", &setup.election_ticks.to_string()])
                .args(["--pre-vote", &setup.pre_vote.to_string()])
                .arg("--data-dir")
                .arg(&server.dir)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .map_err(|error| Failure::trouble(format!("node {} can't be started: {error}", server.id)))?;
            server.child = Some(child);
        }
        let started = self
            .until("that the servers start", |logs| {
                let start =
                    |id: &u64| logs.of(*id, &mark).iter().find(|event| event.msg == "the server starts");
                ids.iter().map(|id| start(id).cloned()).collect::<Option<Vec<Event>>>()
            })
            .await?;
        started.iter().for_each(|event| self.story.event(event));
        Ok(())
    }

    /// Kills servers as `kill -9` does it.
    pub(super) fn kill(&mut self, ids: &[u64]) {
        for server in self.servers.iter_mut().filter(|server| ids.contains(&server.id)) {
            let pid = server.child.as_ref().map_or(0, Child::id);
            server.kill();
            self.story.aside("scenario", format!("kill -9 of node {} (process {pid})", server.id));
        }
    }

    /// Reads what is new in the logs.
    ///
    /// # Errors
    /// A server ended by itself, or a log can't be read.
    pub(super) fn refresh(&mut self) -> Result<(), Failure> {
        for server in &mut self.servers {
            let ended = server.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            let lines = server.log.read();
            let lines =
                lines.map_err(|error| Failure::trouble(format!("the log of node {}: {error}", server.id)))?;
            for line in lines {
                self.logs.add(server.id, &line).map_err(Failure::trouble)?;
            }
            if let Some(status) = ended {
                server.child = None;
                return Err(Failure::trouble(format!("node {} ended by itself: {status}", server.id)));
            }
        }
        Ok(())
    }

    /// Waits until the logs show it.
    ///
    /// # Errors
    /// They don't in time.
    pub(super) async fn until<T>(
        &mut self,
        expected: &str,
        mut look: impl FnMut(&Logs) -> Option<T>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.refresh()?;
            if let Some(found) = look(&self.logs) {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return Err(Failure::new(
                    format!("{expected} within {} s", PATIENCE.as_secs()),
                    self.recent(),
                ));
            }
            sleep(POLL).await;
        }
    }

    /// The last that was said, messages aside.
    fn recent(&self) -> String {
        let all = self.logs.all(&Mark::default());
        let telling = all.iter().rev().filter(|event| event.msg != "send" && event.msg != "receive");
        let lines: Vec<String> =
            telling.take(5).map(|event| format!("node {}: {}", event.node, phrase(event))).collect();
        if lines.is_empty() { "nothing".to_string() } else { format!("lastly [{}]", lines.join("; ")) }
    }

    /// Waits until one of these nodes leads, and the others follow it and have all of its log. Gives the leader and
    /// its term.
    ///
    /// # Errors
    /// None does in time.
    pub(super) async fn leader(&mut self, among: &[u64], since: &Mark) -> Result<(u64, u64), Failure> {
        self.until("a leader that the others follow", |logs| checks::settled(logs, since, among)).await
    }

    /// Tells what was said since then of these kinds, up to now.
    pub(super) fn tell(&self, since: &Mark, kinds: &[&str]) {
        self.tell_of(&NODES, since, kinds);
    }

    /// The same, of some nodes.
    pub(super) fn tell_of(&self, nodes: &[u64], since: &Mark, kinds: &[&str]) {
        for event in self.logs.all(since) {
            if nodes.contains(&event.node) && kinds.contains(&event.msg.as_str()) {
                self.story.event(event);
            }
        }
    }

    /// Asks a server, and tells the answer.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn ask(&self, id: u64, ask: Ask) -> Result<Answer, Failure> {
        let answer = self.client.send(self.server(id)?.http, &ask).await;
        let answer = answer.map_err(|error| {
            Failure::trouble(format!("no answer of node {id} to {}: {error}", ask.describe()))
        })?;
        self.story.aside("client", format!("{} at node {id} -> {}", ask.describe(), answer.describe()));
        Ok(answer)
    }

    /// A server's `GET /status`, told in short.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn status(&self, id: u64) -> Result<NodeStatus, Failure> {
        let answer = self.client.send(self.server(id)?.http, &Ask::get("/status")).await;
        let answer = answer
            .map_err(|error| Failure::trouble(format!("no answer of node {id} to GET /status: {error}")))?;
        let json = answer.json();
        let number = |key: &str| json.get(key).and_then(Value::as_u64);
        let status = (|| {
            Some(NodeStatus {
                role: json.get("role")?.as_str()?.to_string(),
                term: number("term")?,
                last: number("last")?,
                commit: number("commit")?,
                applied: number("applied")?,
            })
        })();
        let status =
            status.ok_or_else(|| Failure::trouble(format!("node {id} answers {}", answer.describe())))?;
        let NodeStatus { role, term, last, commit, applied } = &status;
        self.story.aside(
            "client",
            format!("GET /status at node {id} -> {role}, term {term}, last {last}, commit {commit}, applied {applied}"),
        );
        Ok(status)
    }
}

/// A part of `GET /status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeStatus {
    pub(super) role: String,
    pub(super) term: u64,
    pub(super) last: u64,
    pub(super) commit: u64,
    pub(super) applied: u64,
}

/// A port below those that systems give to outgoing connections: one of those could be taken while its node is down.
///
/// Where the system has more loopback addresses than one (Linux has all of 127.0.0.0/8), each port is on another of
/// them: nobody else takes it while its server restarts.
fn any_free() -> std::io::Result<TcpListener> {
    for attempt in 0..200 {
        let draw = RandomState::new().build_hasher().finish();
        let port = 10_000 + u16::try_from(draw % 20_000).unwrap_or(0);
        let [a, b, ..] = (draw >> 32).to_le_bytes();
        let host = if attempt < 20 { Ipv4Addr::new(127, 1, a, b.clamp(1, 254)) } else { Ipv4Addr::LOCALHOST };
        if let Ok(listener) = TcpListener::bind((host, port)) {
            return Ok(listener);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}
