//! A whole cluster on this machine: each server a process of its own.
//!
//! The folder keeps `cluster.json`, the cluster's name (random, made once) and the nodes' addresses, beside a folder for each
//! node. The nodes' standard input is a pipe from this process: when it ends, they stop, whether this process closed it
//! or was killed.

mod layout;

use std::io::Write;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::Exit;
use crate::options::ClusterOptions;
use layout::{Layout, NodeLayout};

/// Prints a line; unlike `println!` it goes on if nobody reads any more (`raft-kv cluster | head`).
macro_rules! say {
    ($($what:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($what)*);
    }};
}

/// How long the nodes may take to stop before they are killed.
const STOP: Duration = Duration::from_secs(15);

/// Starts the cluster and waits until it is told to stop.
///
/// # Errors
/// It can't be started, or all of its nodes died.
pub(crate) fn run(options: &ClusterOptions) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(format!("can't start: {error}")))?;
    runtime.block_on(supervise(options))
}

/// Ctrl-C, and being told to end.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on these signals don't end the process.
    ///
    /// # Errors
    /// They can't be listened for.
    pub(crate) fn listen() -> Result<Signals, Exit> {
        let listen =
            |kind| signal(kind).map_err(|error| Exit::failed(format!("can't listen for signals: {error}")));
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Signals { interrupt, terminate })
    }

    /// Waits for the next. Gives what it means.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "told to end",
        }
    }
}

/// A node's process.
struct Running {
    node: NodeLayout,
    pid: u32,
    /// Tells the one task that waits for the process to stop it.
    stop: mpsc::Sender<()>,
}

/// A process has ended.
struct Ended {
    id: u64,
    status: Option<ExitStatus>,
}

/// The servers of a cluster. They stop when this is dropped, or when this process ends.
pub(crate) struct Servers {
    layout: Layout,
    running: Vec<Running>,
    endings: mpsc::Receiver<Ended>,
}

impl Servers {
    /// Starts all of them, and waits until one leads and serves. Gives its number too.
    ///
    /// # Errors
    /// One can't be started or ends, none leads in time, or there was a signal before.
    pub(crate) async fn start(
        options: &ClusterOptions,
        signals: &mut Signals,
    ) -> Result<(Servers, u64), Exit> {
        let layout = Layout::open(options)?;
        let (ended, endings) = mpsc::channel(16);
        let mut servers = Servers { layout, running: Vec::new(), endings };
        for node in &servers.layout.nodes {
            match spawn(options, &servers.layout, node, ended.clone()) {
                Ok(child) => servers.running.push(child),
                Err(exit) => {
                    servers.stop().await;
                    return Err(exit);
                }
            }
        }
        drop(ended);

        let start_timeout = Duration::from_secs(options.start_timeout);
        let started = tokio::select! {
            leader = timeout(start_timeout, wait_for_leader(&servers.layout)) => {
                leader.map_err(|_| Exit::failed(format!("no leader serves after {} s; see the nodes' log.jsonl", options.start_timeout)))
            }
            Some(end) = servers.endings.recv() => {
                servers.running.retain(|child| child.node.id != end.id);
                Err(Exit::failed(format!("node {} {} while the cluster started", end.id, describe(end.status))))
            }
            signal = signals.next() => Err(Exit::failed(format!("{signal} before a leader served"))),
        };
        match started {
            Ok(leader) => Ok((servers, leader)),
            Err(exit) => {
                servers.stop().await;
                Err(exit)
            }
        }
    }

    /// Where each serves clients: `IP:PORT`.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.layout.nodes.iter().map(|node| node.http.to_string()).collect()
    }

    /// Stops those that run. True if all did by themselves.
    pub(crate) async fn stop(self) -> bool {
        let Servers { running, mut endings, .. } = self;
        stop_all(running, &mut endings).await
    }
}

async fn supervise(options: &ClusterOptions) -> Result<(), Exit> {
    let mut signals = Signals::listen()?;
    let (mut servers, leader) = Servers::start(options, &mut signals).await?;
    greet(&servers.layout, &servers.running, leader);
    loop {
        tokio::select! {
            _ = signals.next() => break,
            Some(end) = servers.endings.recv() => {
                servers.running.retain(|child| child.node.id != end.id);
                lament(options, &servers.layout, &end, servers.running.len());
                if servers.running.is_empty() {
                    return Err(Exit::failed("all nodes have ended"));
                }
            }
        }
    }
    say!("raft-kv: stopping {} nodes", servers.running.len());
    if servers.stop().await {
        say!("raft-kv: all stopped; the data is kept in {}", options.data_dir.display());
        Ok(())
    } else {
        Err(Exit::failed("some nodes had to be killed"))
    }
}

/// The arguments with which a node is started.
fn arguments(options: &ClusterOptions, layout: &Layout, node: &NodeLayout) -> Vec<String> {
    let cluster: Vec<String> = layout.nodes.iter().map(|node| format!("{}/{}", node.id, node.raft)).collect();
    let mut arguments = vec![
        "serve".to_string(),
        "--id".to_string(),
        node.id.to_string(),
        "--http-addr".to_string(),
        node.http.to_string(),
        "--raft-addr".to_string(),
        node.raft.to_string(),
        "--cluster".to_string(),
        cluster.join(","),
        "--cluster-id".to_string(),
        layout.cluster_id.clone(),
        "--data-dir".to_string(),
        folder(options, node).display().to_string(),
    ];
    arguments.extend(options.tuning.to_args());
    arguments
}

fn folder(options: &ClusterOptions, node: &NodeLayout) -> PathBuf {
    options.data_dir.join(format!("node-{}", node.id))
}

fn spawn(
    options: &ClusterOptions,
    layout: &Layout,
    node: &NodeLayout,
    ended: mpsc::Sender<Ended>,
) -> Result<Running, Exit> {
    let program =
        std::env::current_exe().map_err(|error| Exit::failed(format!("can't find this program: {error}")))?;
    let mut child = Command::new(program)
        .args(arguments(options, layout, node))
        .arg("--stop-on-stdin-eof")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // Ctrl-C is for this process, which then stops them.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Exit::failed(format!("can't start node {}: {error}", node.id)))?;
    let pid = child.id().unwrap_or(0);
    // Held here: `wait` would close it, and that is what stops the node.
    let stdin = child.stdin.take();
    let (stop, mut told) = mpsc::channel(1);
    let id = node.id;
    tokio::spawn(async move {
        let status = tokio::select! {
            status = child.wait() => status.ok(),
            _ = told.recv() => stop_one(&mut child, stdin).await,
        };
        let _ = ended.send(Ended { id, status }).await;
    });
    Ok(Running { node: node.clone(), pid, stop })
}

/// Ends the process's input, which tells it to stop, and kills it if it doesn't. None if it had to be killed.
async fn stop_one(child: &mut Child, stdin: Option<ChildStdin>) -> Option<ExitStatus> {
    drop(stdin);
    if let Ok(status) = timeout(STOP, child.wait()).await {
        return status.ok();
    }
    // If it can't be killed, nothing can be done.
    let _ = child.kill().await;
    None
}

/// True if all stopped by themselves.
async fn stop_all(running: Vec<Running>, endings: &mut mpsc::Receiver<Ended>) -> bool {
    for child in &running {
        // One that has just ended by itself needs no telling.
        let _ = child.stop.send(()).await;
    }
    let mut well = true;
    let mut left = running.len();
    let deadline = Instant::now() + STOP + Duration::from_secs(5);
    while left > 0 {
        match timeout_at(deadline, endings.recv()).await {
            Ok(Some(end)) => {
                well &= end.status.is_some_and(|status| status.success());
                left -= 1;
            }
            Ok(None) | Err(_) => return false,
        }
    }
    well
}

/// Asks the nodes until one leads and serves a linearizable read. Gives its number.
async fn wait_for_leader(layout: &Layout) -> u64 {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    loop {
        for node in &layout.nodes {
            if leads(&client, node).await.unwrap_or(false) {
                return node.id;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn leads(client: &Client<HttpConnector, Full<Bytes>>, node: &NodeLayout) -> Option<bool> {
    let get = async |path: &str| {
        let request = Request::get(format!("http://{}{path}", node.http))
            .header("x-raft-timeout-ms", "1000")
            .body(Full::default())
            .ok()?;
        let response = timeout(Duration::from_secs(2), client.request(request)).await.ok()?.ok()?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), 1 << 20).await.ok()?;
        Some((status, body))
    };
    let (_, body) = get("/status").await?;
    let status: serde_json::Value = serde_json::from_slice(&body).ok()?;
    if status.get("role")?.as_str()? != "leader" {
        return Some(false);
    }
    let (status, _) = get("/kv/is-anybody-there").await?;
    Some(status == StatusCode::OK || status == StatusCode::NOT_FOUND)
}

fn greet(layout: &Layout, running: &[Running], leader: u64) {
    say!(
        "raft-kv: {} nodes serve, node {leader} leads; the data is in {}",
        running.len(),
        layout.dir.display()
    );
    say!("");
    for child in running {
        let NodeLayout { id, http, raft } = &child.node;
        say!("  node {id}   http://{http}   raft {raft}   pid {}", child.pid);
    }
    let urls: Vec<String> = layout.nodes.iter().map(|node| format!("http://{}", node.http)).collect();
    // Any node takes any request: ask a different one each time, where there are several.
    let mut urls = urls.iter().cycle();
    let mut url = || urls.next().map_or("", String::as_str);
    say!("\nTry, in another terminal:\n");
    say!("  curl -X PUT {}/kv/greeting -d hello", url());
    say!("  curl {}/kv/greeting", url());
    say!("  curl -X PUT '{}/kv/greeting?expect=hello' -d 'good morning'", url());
    say!("  curl '{}/kv/greeting?consistency=stale'", url());
    say!("  curl '{}/set?key=x&value=1'", url());
    say!("  curl '{}/get?key=x'", url());
    say!("  curl {}/status", url());
    if let Some(child) = running.iter().find(|child| child.node.id == leader)
        && running.len() > 2
    {
        say!("  kill -9 {}   # the leader: another takes over, and nothing acknowledged is lost", child.pid);
    }
    say!("\nCtrl-C stops them all; the data is kept, and there again at the next start.");
}

/// What to do about a node that died.
fn lament(options: &ClusterOptions, layout: &Layout, end: &Ended, left: usize) {
    let all = layout.nodes.len();
    let serves = if left > all / 2 {
        "a majority is left: the cluster serves on"
    } else {
        "no majority is left: nothing can be written until it comes back"
    };
    say!("\nraft-kv: node {} {}; {left} of {all} are left, {serves}", end.id, describe(end.status));
    if let Some(node) = layout.nodes.iter().find(|node| node.id == end.id) {
        let arguments: Vec<String> =
            arguments(options, layout, node).iter().map(|argument| quoted(argument)).collect();
        say!("start it again with:\n  raft-kv {}", arguments.join(" "));
    }
}

/// As a shell takes it.
fn quoted(argument: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,=".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(plain) {
        argument.to_string()
    } else {
        format!("'{}'", argument.replace('\'', "'\\''"))
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status {
        None => "had to be killed".to_string(),
        Some(status) => match (status.code(), status.signal()) {
            (Some(0), _) => "stopped".to_string(),
            (Some(code), _) => format!("ended with code {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".to_string(),
        },
    }
}
