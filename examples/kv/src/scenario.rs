//! `raft-kv scenario`: what a cluster does, shown on real servers and checked.
//!
//! Each scenario starts servers of its own, does something to them, and tells what they say: every line about a node
//! comes from its structured log or its answer to a request. What a scenario claims is checked against the same logs; if
//! it doesn't hold, the scenario says what was expected and what was seen, and the program ends with code 1.
//!
//! * [`stage`]: the servers' processes, the waiting
//! * [`logs`]: the nodes' logs, as they grow
//! * [`story`]: what is told, and the words for each event
//! * [`checks`], [`path`]: the claims, as questions to the logs alone
//! * [`client`]: the client
//! * [`election`], [`replication`], [`unknown`]: the scenarios

mod checks;
mod client;
mod election;
mod logs;
mod path;
mod replication;
mod stage;
mod story;
#[cfg(test)]
mod tests;
mod unknown;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::Exit;
use crate::options::{ScenarioName, ScenarioOptions};
use stage::{Setup, Stage};
use story::{Failure, Story, say};

/// Plays scenarios.
///
/// # Errors
/// One doesn't hold, or they can't be played.
pub(crate) fn run(options: &ScenarioOptions) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(format!("can't start: {error}")))?;
    runtime.block_on(async {
        let failed = |error| Exit::failed(format!("can't listen for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        // What is dropped here takes its servers and its folder with it.
        tokio::select! {
            result = play(options) => result,
            _ = interrupt.recv() => Err(Exit::failed("interrupted; the servers are stopped")),
            _ = terminate.recv() => Err(Exit::failed("told to end; the servers are stopped")),
        }
    })
}

async fn play(options: &ScenarioOptions) -> Result<(), Exit> {
    let names: Vec<ScenarioName> = match options.name {
        ScenarioName::All => {
            ScenarioName::value_variants().iter().copied().filter(|name| *name != ScenarioName::All).collect()
        }
        one => vec![one],
    };
    let folder = Folder::of(options, &names)?;
    let mut results = Vec::new();
    for name in &names {
        let play = Play { name: shown(*name), dir: folder.path.join(shown(*name)), tick_ms: options.tick_ms };
        let began = Instant::now();
        let result = play_one(*name, &play).await;
        if let Err(failure) = &result {
            say(format_args!("   FAILED: {failure}"));
        }
        results.push((play.name, result.is_ok(), began.elapsed()));
    }
    say("");
    for (name, ok, took) in &results {
        say(format_args!("{name:<16} {:<6} {:.1} s", if *ok { "OK" } else { "FAILED" }, took.as_secs_f64()));
    }
    let broken: Vec<&str> = results.iter().filter(|(_, ok, _)| !ok).map(|(name, ..)| name.as_str()).collect();
    if broken.is_empty() {
        return Ok(());
    }
    let advice = if options.data_dir.is_some() { "" } else { "; with --data-dir the servers' logs are kept" };
    Err(Exit::failed(format!("what was expected did not come true in {}{advice}", broken.join(", "))))
}

async fn play_one(name: ScenarioName, play: &Play) -> Result<(), Failure> {
    match name {
        ScenarioName::Election1 => election::one_alone(play).await,
        ScenarioName::Election2 => election::two_of_three(play).await,
        ScenarioName::Election3 => election::heartbeats(play).await,
        ScenarioName::Election4 => election::quorum_lost(play).await,
        ScenarioName::ReplicateLog1 => replication::path_of_a_write(play).await,
        ScenarioName::ReplicateLog2 => replication::one_down(play).await,
        ScenarioName::ReplicateLog3 => unknown::both_down(play).await,
        // It was taken apart before.
        ScenarioName::All => Ok(()),
    }
}

fn shown(name: ScenarioName) -> String {
    name.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
}

/// What a scenario is played with.
struct Play {
    name: String,
    dir: PathBuf,
    tick_ms: Option<u64>,
}

impl Play {
    /// Places for the servers. `title` is what the scenario shows.
    fn stage(&self, title: &str, mut setup: Setup) -> Result<Stage, Failure> {
        setup.tick_ms = self.tick_ms.unwrap_or(setup.tick_ms);
        let story = Story::begin(&self.name, title);
        let Setup { tick_ms, election_ticks, pre_vote } = setup;
        let pre_vote = if pre_vote { "with PreVote" } else { "without PreVote" };
        say(format_args!(
            "    three nodes, ticks of {tick_ms} ms, election time-outs of {election_ticks} to {} ticks, {pre_vote}",
            2 * election_ticks - 1
        ));
        Stage::new(&self.dir, setup, story)
    }
}

/// Where the servers keep their data.
struct Folder {
    path: PathBuf,
    /// Removed at the end.
    _temporary: Option<TempDir>,
}

impl Folder {
    fn of(options: &ScenarioOptions, names: &[ScenarioName]) -> Result<Folder, Exit> {
        let Some(path) = options.data_dir.clone() else {
            let dir = tempfile::Builder::new().prefix("raft-kv-scenario-").tempdir();
            let dir = dir.map_err(|error| Exit::failed(format!("no temporary folder: {error}")))?;
            return Ok(Folder { path: dir.path().to_path_buf(), _temporary: Some(dir) });
        };
        if let Some(used) = names.iter().map(|name| path.join(shown(*name))).find(|dir| !is_unused(dir)) {
            let used = used.display();
            return Err(Exit::usage(format!("{used} is there already: a scenario begins with empty nodes")));
        }
        Ok(Folder { path, _temporary: None })
    }
}

fn is_unused(dir: &Path) -> bool {
    matches!(fs::symlink_metadata(dir), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}
