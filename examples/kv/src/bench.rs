//! `raft-kv bench`: how many requests a cluster serves, and how fast.
//!
//! Either of a cluster that runs, or of one that is started for this alone: the same processes, sockets and flushes to the
//! disk as those of `raft-kv cluster`, in a folder that is removed at the end.
//!
//! * [`load`]: the clients
//! * [`report`]: the table at the end, with what the servers counted meanwhile

mod load;
mod report;

use std::io::Write;
use std::time::Duration;

use axum::http::Method;
use tempfile::TempDir;

use crate::Exit;
use crate::admin::{fetch, host};
use crate::cluster::{Servers, Signals};
use crate::options::{BenchOptions, ClusterOptions};
use load::Load;
use report::{Counts, Report};

/// How long a node may take to say how it is. It has much else to do.
const STATUS: Duration = Duration::from_secs(10);

/// Starts a cluster if none is given, makes requests, and prints what came of them.
///
/// # Errors
/// The cluster can't be started or asked, or did nothing of what it was asked for.
pub(crate) fn run(options: &BenchOptions) -> Result<(), Exit> {
    options.check().map_err(Exit::Usage)?;
    let hosts: Vec<String> =
        options.url.iter().map(|url| host(url).map(str::to_string)).collect::<Result<_, Exit>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(format!("can't start: {error}")))?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        if hosts.is_empty() {
            measure_own(options, &mut signals).await
        } else {
            measure(options, &hosts, &mut signals).await
        }
    })
}

async fn measure_own(options: &BenchOptions, signals: &mut Signals) -> Result<(), Exit> {
    let folder = temporary(options)?;
    let cluster = ClusterOptions {
        data_dir: folder.path().to_path_buf(),
        nodes: Some(options.nodes),
        base_port: 0,
        start_timeout: 60,
        tuning: options.tuning.clone(),
    };
    say(&format!("raft-kv bench: starts {} nodes in {}", options.nodes, folder.path().display()));
    let (servers, _) = Servers::start(&cluster, signals).await?;
    let measured = measure(options, &servers.hosts(), signals).await;
    let well = servers.stop().await;
    measured?;
    if well { Ok(()) } else { Err(Exit::failed("a node ended before its time, or had to be killed")) }
}

/// Removed when it is dropped.
fn temporary(options: &BenchOptions) -> Result<TempDir, Exit> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("raft-kv-bench-");
    match &options.temp_dir {
        None => builder.tempdir().map_err(|error| Exit::failed(format!("no temporary folder: {error}"))),
        Some(dir) => builder
            .tempdir_in(dir)
            .map_err(|error| Exit::usage(format!("no temporary folder in {}: {error}", dir.display()))),
    }
}

async fn measure(options: &BenchOptions, hosts: &[String], signals: &mut Signals) -> Result<(), Exit> {
    let before = counts(hosts).await?;
    let leader = hosts.iter().zip(&before).find(|(_, counts)| counts.leads);
    let targets = match leader {
        Some((host, _)) if !options.spread => vec![host.clone()],
        Some(_) | None => hosts.to_vec(),
    };
    say(&format!("raft-kv bench: {}", plan(options, &targets)));
    let outcome = Load::new(options, targets)?.run(signals).await;
    // Who was there at the start may be gone: what the clients saw counts all the same.
    let after = counts(hosts).await;
    let servers = after.as_ref().map(|after| (before.as_slice(), after.as_slice())).ok();
    say(&Report { outcome: &outcome, servers }.to_string());
    after?;
    if outcome.tally.done() == 0 && outcome.signal.is_none() {
        return Err(Exit::failed("no request was done"));
    }
    Ok(())
}

/// What is going to be done, in a sentence.
fn plan(options: &BenchOptions, targets: &[String]) -> String {
    let until = match options.writes {
        Some(writes) => format!("until {writes} writes are made"),
        None => format!("for {} s", options.time.as_secs_f64()),
    };
    let reads = match options.reads {
        0 => String::new(),
        reads => format!(", {reads} % {} reads", options.consistency.name()),
    };
    let urls: Vec<String> = targets.iter().map(|target| format!("http://{target}")).collect();
    format!(
        "{} clients ask {}, values of {} bytes{reads}, {until}",
        options.clients,
        urls.join(", "),
        options.value_bytes
    )
}

/// What each node has counted since it was started.
///
/// # Errors
/// One doesn't answer.
async fn counts(hosts: &[String]) -> Result<Vec<Counts>, Exit> {
    let mut all = Vec::new();
    for host in hosts {
        let (_, status) = fetch(host, Method::GET, "/status", None, STATUS).await.map_err(Exit::Failed)?;
        let counts = Counts::of(&status);
        all.push(counts.ok_or_else(|| Exit::failed(format!("{host} isn't a node of this version")))?);
    }
    Ok(all)
}

/// Prints it; goes on if nobody reads any more.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
