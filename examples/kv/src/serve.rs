//! One server: opens its folder, starts its parts, and stops them in order.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use raft_core::Config;
use raft_kv::disk::snapshot::SnapshotDescriptor;
use raft_kv::disk::{Disk, DiskError, Identity as FolderIdentity, Options as FolderOptions};
use raft_kv::machine::Machine;
use raft_proto::ConfState;
use slog::{Logger, error, info, o};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::Exit;
use crate::http::{self, App};
use crate::logging::{self, LogWriter};
use crate::node::Inbox;
use crate::node::core::{Parts, start};
use crate::options::{LogLevel, LogTo, ServeOptions};
use crate::transport::Transport;
use crate::transport::hello::Identity;

/// How long requests that are under way may take when the server stops.
const LAST_REQUESTS: Duration = Duration::from_secs(3);
/// How long the disk may take.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Runs a server until it is told to stop.
///
/// # Errors
/// It can't start as it was asked to, or it failed.
pub(crate) fn run(options: &ServeOptions) -> Result<(), Exit> {
    options.check().map_err(Exit::Usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .map_err(|error| Exit::failed(format!("can't start: {error}")))?;
    let result = runtime.block_on(serve(options));
    // Connections to peers, and what clients still hold open.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

async fn serve(options: &ServeOptions) -> Result<(), Exit> {
    let stop = stop_signals(options.stop_on_stdin_eof)?;
    let http_listener = bind(options.http_addr, "--http-addr").await?;
    let raft_listener = bind(options.raft_addr, "--raft-addr").await?;
    // What a cluster is known by: its nodes and their addresses may change.
    let cluster = options.cluster_id.clone();
    let folder = open_folder(options, cluster.clone())?;
    let (log, log_writer) = open_log(options)?;
    info!(log, "the server starts"; "http" => %options.http_addr, "advertised" => options.advertised(), "raft" => %options.raft_addr,
        "cluster" => &cluster, "pid" => std::process::id(), "version" => env!("CARGO_PKG_VERSION"));

    let result = run_parts(options, &cluster, http_listener, raft_listener, folder, &log, stop).await;
    match &result {
        Ok(()) => info!(log, "the server ends"),
        Err(Exit::Usage(reason) | Exit::Failed(reason)) => error!(log, "the server ends"; "reason" => reason),
    }
    finish(log_writer).await;
    result
}

async fn finish(log_writer: LogWriter) {
    // The log's thread has a queue to write; waiting for it may take a moment.
    let _ = tokio::task::spawn_blocking(move || log_writer.finish()).await;
}

async fn bind(addr: SocketAddr, option: &str) -> Result<TcpListener, Exit> {
    TcpListener::bind(addr)
        .await
        .map_err(|error| Exit::usage(format!("can't listen on {addr} ({option}): {error}")))
}

fn open_folder(options: &ServeOptions, cluster: String) -> Result<Disk, Exit> {
    // Who joins has no configuration until the cluster tells it, and so can't elect itself or another.
    let voters = options.cluster.ids().filter(|_| !options.join);
    let folder_options = FolderOptions {
        bootstrap: ConfState::of_voters(voters),
        // So that a follower that is a little behind needs no snapshot, and yet most of the log goes.
        keep_entries: (options.tuning.snapshot_every / 2).min(1_000),
        ..FolderOptions::default()
    };
    let open = |cluster| {
        let identity = FolderIdentity { node: options.id, cluster };
        Disk::open(&options.data_dir, &identity, folder_options.clone())
    };
    // Folders that were made when clusters couldn't change have the numbers of the nodes in the name.
    let earlier = format!("{cluster} of the nodes ");
    let opened = match open(cluster) {
        Err(DiskError::WrongCluster { found, .. }) if found.starts_with(&earlier) => open(found),
        opened => opened,
    };
    opened.map_err(|error| match error {
        DiskError::WrongNode { .. }
        | DiskError::WrongCluster { .. }
        | DiskError::Locked { .. }
        | DiskError::NotADataFolder { .. }
        | DiskError::UnknownFormat { .. } => Exit::usage(error),
        _ => Exit::failed(error),
    })
}

fn open_log(options: &ServeOptions) -> Result<(Logger, LogWriter), Exit> {
    let level = options.tuning.log_level.to_slog();
    let opened = match options.tuning.log_to {
        LogTo::File => logging::to_file(&options.data_dir.join("log.jsonl"), level),
        LogTo::Stderr => logging::to_stderr(level),
    };
    let (root, writer) = opened.map_err(|error| Exit::failed(format!("can't open the log: {error}")))?;
    Ok((root.new(o!("node" => options.id.get())), writer))
}

fn restore(folder: &Disk) -> Result<Machine, Exit> {
    let Some(snapshot) = folder.reader.latest_snapshot() else { return Ok(Machine::new()) };
    let descriptor = SnapshotDescriptor::of(&snapshot).map_err(Exit::failed)?;
    let state = folder.snapshots.open(&descriptor).map_err(Exit::failed)?;
    Machine::restore(state).map_err(Exit::failed)
}

fn config(options: &ServeOptions, folder: &Disk) -> Config {
    let election_ticks = options.tuning.election_ticks;
    // Clocks may differ by a tenth.
    let lease_drift_ticks = election_ticks.div_ceil(10);
    Config {
        election_ticks,
        heartbeat_ticks: options.tuning.heartbeat_ticks,
        pre_vote: options.tuning.pre_vote,
        lease_reads: lease_drift_ticks.saturating_add(1) < election_ticks,
        lease_drift_ticks,
        max_inflight_bytes: 16 << 20,
        max_uncommitted_bytes: 256 << 20,
        async_writes: true,
        applied: folder.reader.applied_at_start(),
        ..Config::new(options.id, RandomState::new().build_hasher().finish())
    }
}

async fn run_parts(
    options: &ServeOptions,
    cluster: &str,
    http_listener: TcpListener,
    raft_listener: TcpListener,
    folder: Disk,
    log: &Logger,
    stop: watch::Receiver<Option<&'static str>>,
) -> Result<(), Exit> {
    let machine = restore(&folder)?;
    let own = Identity {
        fingerprint: xxhash_rust::xxh3::xxh3_64(cluster.as_bytes()),
        id: options.id,
        http_addr: options.advertised(),
        raft_addr: Some(options.raft_addr),
    };
    let (inbox, inputs) = Inbox::new();
    let members = options.cluster.iter();
    let transport =
        Transport::start(own, members, raft_listener, inbox.clone(), folder.snapshots.clone(), log);
    let parts = Parts {
        config: config(options, &folder),
        folder,
        machine,
        inbox: inbox.clone(),
        transport: transport.clone(),
        tick: Duration::from_millis(options.tuning.tick_ms),
        snapshot_every: options.tuning.snapshot_every,
        trace_writes: options.tuning.log_level >= LogLevel::Debug,
        log: log.clone(),
    };
    let (node, mut node_end) = start(parts, inputs).map_err(Exit::Failed)?;
    let app = App {
        id: options.id,
        raft_addr: options.raft_addr,
        node,
        transport,
        max_body: options.tuning.max_body,
        request_timeout: Duration::from_millis(options.tuning.request_timeout_ms),
        log: log.clone(),
    };
    let mut stopped = stop.clone();
    let until = async move {
        let _ = stopped.wait_for(Option::is_some).await;
    };
    let mut http =
        tokio::spawn(http::connections::serve(http_listener, http::router(app), until, log.clone()));
    say_ready(options);

    let mut stop = stop;
    let failure = tokio::select! {
        biased;
        reason = stop.wait_for(Option::is_some) => {
            let reason = reason.ok().and_then(|reason| *reason).unwrap_or("it was told to");
            info!(log, "the server stops"; "reason" => reason);
            None
        }
        ended = &mut node_end => return Err(node_failed(ended)),
        ended = &mut http => Some(Exit::failed(format!("the HTTP side ended: {ended:?}"))),
    };
    if failure.is_none() {
        // Requests first: they still need the node.
        let _ = tokio::time::timeout(LAST_REQUESTS, &mut http).await;
        http.abort();
    }
    inbox.stop().await;
    let ended = tokio::time::timeout(LAST_WRITES, node_end).await;
    match (failure, ended) {
        (Some(failure), _) => Err(failure),
        (None, Ok(Ok(Ok(())))) => Ok(()),
        (None, Ok(ended)) => Err(node_failed(ended)),
        (None, Err(_)) => Err(Exit::failed("the disk did not come to an end in time")),
    }
}

fn node_failed(ended: Result<Result<(), String>, oneshot::error::RecvError>) -> Exit {
    match ended {
        Ok(Ok(())) => Exit::failed("the node stopped"),
        Ok(Err(reason)) => Exit::Failed(reason),
        Err(_) => Exit::failed("the node's thread ended with a fault of the program; its output says more"),
    }
}

/// Who started this process may wait for this line.
fn say_ready(options: &ServeOptions) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "raft-kv: node {} serves http://{}", options.id, options.http_addr);
    let _ = out.flush();
}

/// Becomes the reason as soon as the server is to stop.
fn stop_signals(on_stdin_eof: bool) -> Result<watch::Receiver<Option<&'static str>>, Exit> {
    let (sender, receiver) = watch::channel(None);
    let failed = |error| Exit::failed(format!("can't listen for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (eof, ended) = oneshot::channel::<()>();
    // Where nobody listens for the end of the input, it never comes.
    let mut eof = Some(eof);
    if on_stdin_eof {
        // A thread of its own: a read from the standard input can't be given up.
        let eof = eof.take();
        std::thread::spawn(move || {
            let mut byte = [0; 64];
            while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
            drop(eof);
        });
    }
    tokio::spawn(async move {
        let reason = tokio::select! {
            _ = interrupt.recv() => "it was interrupted (SIGINT)",
            _ = terminate.recv() => "it was told to end (SIGTERM)",
            _ = ended => "its standard input ended",
        };
        let _ = sender.send(Some(reason));
        drop(eof);
    });
    Ok(receiver)
}
