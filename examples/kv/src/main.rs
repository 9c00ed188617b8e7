//! `raft-kv`: a durable, replicated key-value server, and a command that runs a whole cluster of it.
//!
//! * [`options`]: the command line
//! * [`serve`]: one server, put together from
//!   * [`http`], what clients see
//!   * [`node`], the thread around the core, and the one that writes
//!   * [`transport`], the way to the other nodes
//!   * the library `raft_kv`: commands, state machine, data folder
//! * [`cluster`]: several servers, each a process of its own
//! * [`admin`]: what the command line asks of a cluster that runs
//! * [`bench`]: how many requests a cluster serves, and how fast
//! * [`scenario`]: what a cluster does, shown and checked on real servers
//! * [`logging`]: the structured log

mod admin;
mod bench;
mod cluster;
mod http;
mod logging;
mod node;
mod options;
mod scenario;
mod serve;
mod transport;

use std::fmt;
use std::process::ExitCode;

use clap::Parser;

use options::{Cli, Command};

/// Why the program ends before its time.
pub(crate) enum Exit {
    /// The request can't be met as it was made: code 2, as for a command line that can't be read.
    Usage(String),
    /// Something failed: code 1.
    Failed(String),
}

impl Exit {
    pub(crate) fn usage(message: impl fmt::Display) -> Exit {
        Exit::Usage(message.to_string())
    }

    pub(crate) fn failed(message: impl fmt::Display) -> Exit {
        Exit::Failed(message.to_string())
    }
}

fn main() -> ExitCode {
    // Ends with code 2 and an explanation if the command line can't be read.
    let result = match Cli::parse().command {
        Command::Cluster(options) => cluster::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Member(command) => admin::member(&command),
        Command::Transfer(options) => admin::transfer(&options),
        Command::Status(options) => admin::status(&options),
        Command::Scenario(options) => scenario::run(&options),
        Command::Bench(options) => bench::run(&options),
    };
    let (message, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Exit::Usage(message)) => (message, 2),
        Err(Exit::Failed(message)) => (message, 1),
    };
    eprintln!("raft-kv: {message}");
    ExitCode::from(code)
}
