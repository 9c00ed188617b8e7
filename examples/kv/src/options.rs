//! The command line: what can be asked for, and the checks that one argument alone can't make.

mod bench;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use axum::http::uri::Authority;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use raft_proto::NodeId;

pub(crate) use bench::{BenchOptions, ReadConsistency};

/// A durable, replicated key-value server.
#[derive(Debug, Parser)]
#[command(name = "raft-kv", version, about, long_about = None)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a whole cluster on this machine, and stop it on Ctrl-C.
    Cluster(ClusterOptions),
    /// Run one server.
    Serve(ServeOptions),
    /// Change who belongs to a cluster that runs.
    #[command(subcommand)]
    Member(MemberCommand),
    /// Hand the leadership over to another node.
    Transfer(TransferOptions),
    /// Show how each node is, one line each.
    Status(StatusOptions),
    /// Play a scenario on three servers of its own, told from their logs, and check what it claims.
    Scenario(ScenarioOptions),
    /// Measure how many writes and reads a cluster serves, and how fast.
    Bench(BenchOptions),
}

/// `raft-kv cluster`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterOptions {
    /// Where the nodes keep their data. It is kept on restart.
    #[arg(long, default_value = "raft-kv-data", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// How many nodes, 3 if it isn't said. Fixed when the data folder is made.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=9))]
    pub(crate) nodes: Option<u64>,
    /// The first node's HTTP port; the others' follow, and the ports between the nodes are a hundred higher. Where
    /// one is taken, any free port is used in its place. 0 takes any free ports at once. What was chosen is kept in
    /// the data folder, and taken again at the next start if it's free.
    #[arg(long, default_value_t = 7001, value_name = "PORT")]
    pub(crate) base_port: u16,
    /// How long to wait until a leader serves.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) start_timeout: u64,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
}

/// `raft-kv serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeOptions {
    /// This node's number, which must be among those of --cluster. It must never change for a data folder.
    #[arg(long, value_parser = parse_id)]
    pub(crate) id: NodeId,
    /// Where clients are served. 0.0.0.0 is all of this machine's addresses, and needs --advertise-http-addr if the other
    /// nodes are on other machines.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) http_addr: SocketAddr,
    /// Where the other nodes pass requests on to, and where clients are told that this node is; --http-addr if it isn't said.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_and_port)]
    pub(crate) advertise_http_addr: Option<String>,
    /// Where the other nodes connect; the address that --cluster gives for this node.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) raft_addr: SocketAddr,
    /// Every node of the cluster, this one too: ID/IP:PORT,ID/IP:PORT,… Who the members are counts only when the data
    /// folder is made; afterwards they change with `raft-kv member`.
    #[arg(long, value_name = "ID/IP:PORT,…")]
    pub(crate) cluster: Members,
    /// Join a cluster that runs: this node has no vote until it is added with `raft-kv member add`. Counts only when the
    /// data folder is made.
    #[arg(long)]
    pub(crate) join: bool,
    /// The cluster's name. Nodes that were given different ones refuse each other, and each other's data folders.
    #[arg(long, default_value = "raft-kv", value_name = "NAME")]
    pub(crate) cluster_id: String,
    /// Where this node keeps its data; made if it isn't there.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Stop when the standard input ends, which it does when the process that started this one is gone.
    #[arg(long)]
    pub(crate) stop_on_stdin_eof: bool,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
}

/// `raft-kv member`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Add a node, which runs with `serve --join`; or make a learner a voter, or a voter a learner.
    Add {
        /// Any node of the cluster that lives.
        #[arg(long, value_name = "http://IP:PORT")]
        url: String,
        /// The node's number.
        #[arg(long, value_parser = parse_id)]
        id: NodeId,
        /// Where the other nodes reach it; not needed for one that is a member.
        #[arg(long, value_name = "IP:PORT")]
        raft_addr: Option<SocketAddr>,
        /// A voter is a learner first, until it has caught up.
        #[arg(long, default_value = "voter")]
        role: MemberRole,
        /// The voter whose place it takes, in one joint change.
        #[arg(long, value_parser = parse_id, value_name = "ID")]
        replaces: Option<NodeId>,
    },
    /// Remove a node.
    Remove {
        /// Any node of the cluster that lives.
        #[arg(long, value_name = "http://IP:PORT")]
        url: String,
        /// The node's number.
        #[arg(long, value_parser = parse_id)]
        id: NodeId,
    },
    /// Show who belongs to the cluster.
    List {
        /// Any node of the cluster that lives.
        #[arg(long, value_name = "http://IP:PORT")]
        url: String,
    },
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MemberRole {
    /// It gets everything and has no vote.
    Learner,
    /// It votes.
    Voter,
}

/// `raft-kv transfer`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TransferOptions {
    /// Any node of the cluster that lives.
    #[arg(long, value_name = "http://IP:PORT")]
    pub(crate) url: String,
    /// The node that is to lead.
    #[arg(long, value_parser = parse_id, value_name = "ID")]
    pub(crate) to: NodeId,
}

/// `raft-kv status`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StatusOptions {
    /// Any node of the cluster that lives.
    #[arg(long, value_name = "http://IP:PORT")]
    pub(crate) url: String,
    /// Again and again, until Ctrl-C.
    #[arg(long)]
    pub(crate) watch: bool,
    /// The pause between two looks.
    #[arg(long, default_value_t = 1_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    pub(crate) every_ms: u64,
}

/// `raft-kv scenario`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScenarioOptions {
    /// Which one.
    #[arg(value_name = "NAME")]
    pub(crate) name: ScenarioName,
    /// A folder for the servers' data, kept afterwards: each scenario makes one of its own in it. A temporary one if it
    /// isn't said.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The length of a tick, in place of the one that the scenario chooses.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(5..=1_000))]
    pub(crate) tick_ms: Option<u64>,
}

/// The scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScenarioName {
    /// One node of three can't win an election.
    #[value(name = "election-1")]
    Election1,
    /// Two of three can.
    #[value(name = "election-2")]
    Election2,
    /// Heartbeats keep followers from campaigning.
    #[value(name = "election-3")]
    Election3,
    /// A leader that loses its followers steps down.
    #[value(name = "election-4")]
    Election4,
    /// The path of a write.
    #[value(name = "replicate-log-1")]
    ReplicateLog1,
    /// A write while a follower is down, and how it catches up.
    #[value(name = "replicate-log-2")]
    ReplicateLog2,
    /// A write while both followers are down: its outcome is unknown.
    #[value(name = "replicate-log-3")]
    ReplicateLog3,
    /// All of them, one after the other.
    #[value(name = "all")]
    All,
}

/// What all commands take that start servers: each of these gets it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Tuning {
    /// The length of a tick.
    #[arg(long, default_value_t = 100, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub(crate) tick_ms: u64,
    /// Ticks without word from a leader until a node campaigns; the time-out is drawn from here to twice this.
    #[arg(long, default_value_t = 10, value_name = "TICKS", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub(crate) election_ticks: u32,
    /// Ticks between two heartbeats.
    #[arg(long, default_value_t = 1, value_name = "TICKS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) heartbeat_ticks: u32,
    /// Ask before a campaign whether it could be won, so that a node that can't win doesn't raise the term.
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) pre_vote: bool,
    /// A snapshot is taken, and the log compacted behind it, each time this many entries were applied.
    #[arg(long, default_value_t = 100_000, value_name = "ENTRIES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) snapshot_every: u64,
    /// The largest value, in bytes. At most 8 MiB.
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=MAX_BODY))]
    pub(crate) max_body: u64,
    /// How long a request waits until its answer is that there is none. A request may ask for less (or more, up to a minute).
    #[arg(long, default_value_t = 5_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub(crate) request_timeout_ms: u64,
    /// How much is logged. At `debug` every write can be followed through its steps.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: LogLevel,
    /// Where the log goes: `log.jsonl` in the data folder, or the standard error.
    #[arg(long, default_value = "file", value_name = "WHERE")]
    pub(crate) log_to: LogTo,
}

/// The largest value that can be allowed.
const MAX_BODY: u64 = raft_kv::command::MAX_VALUE as u64;

impl Tuning {
    /// # Errors
    /// What is wrong, for the person who typed it.
    fn check(&self) -> Result<(), String> {
        if self.election_ticks <= self.heartbeat_ticks {
            return Err("--election-ticks must be more than --heartbeat-ticks".to_string());
        }
        Ok(())
    }

    /// The same options, as arguments for another process.
    pub(crate) fn to_args(&self) -> Vec<String> {
        [
            ("--tick-ms", self.tick_ms.to_string()),
            ("--election-ticks", self.election_ticks.to_string()),
            ("--heartbeat-ticks", self.heartbeat_ticks.to_string()),
            ("--pre-vote", self.pre_vote.to_string()),
            ("--snapshot-every", self.snapshot_every.to_string()),
            ("--max-body", self.max_body.to_string()),
            ("--request-timeout-ms", self.request_timeout_ms.to_string()),
            ("--log-level", self.log_level.name().to_string()),
            ("--log-to", self.log_to.name().to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_string(), value])
        .collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub(crate) fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }

    pub(crate) fn to_slog(self) -> slog::Level {
        match self {
            LogLevel::Error => slog::Level::Error,
            LogLevel::Warn => slog::Level::Warning,
            LogLevel::Info => slog::Level::Info,
            LogLevel::Debug => slog::Level::Debug,
            LogLevel::Trace => slog::Level::Trace,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogTo {
    File,
    Stderr,
}

impl LogTo {
    fn name(self) -> &'static str {
        match self {
            LogTo::File => "file",
            LogTo::Stderr => "stderr",
        }
    }
}

/// The nodes of a cluster and where they listen for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members(BTreeMap<NodeId, SocketAddr>);

impl Members {
    pub(crate) fn addr(&self, id: NodeId) -> Option<SocketAddr> {
        self.0.get(&id).copied()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.0.keys().copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        self.0.iter().map(|(id, addr)| (*id, *addr))
    }
}

impl FromStr for Members {
    type Err = String;

    fn from_str(text: &str) -> Result<Members, String> {
        let mut members = BTreeMap::new();
        for part in text.split(',') {
            let Some((id, addr)) = part.split_once('/') else {
                return Err(format!("`{part}` is not of the form ID/IP:PORT"));
            };
            let id = parse_id(id)?;
            let addr: SocketAddr = addr
                .parse()
                .map_err(|_| format!("`{addr}` (node {id}) is not an address of the form IP:PORT"))?;
            if addr.port() == 0 {
                return Err(format!("`{addr}` (node {id}) has no port"));
            }
            if members.values().any(|other| *other == addr) {
                return Err(format!("two nodes have the address {addr}"));
            }
            if members.insert(id, addr).is_some() {
                return Err(format!("node {id} occurs twice"));
            }
        }
        Ok(Members(members))
    }
}

fn parse_id(text: &str) -> Result<NodeId, String> {
    let number: u64 = text.parse().map_err(|_| format!("`{text}` is not a node's number"))?;
    NodeId::new(number).ok_or_else(|| "a node's number is at least 1".to_string())
}

/// An address as it stands in a URL, with a port.
fn parse_host_and_port(text: &str) -> Result<String, String> {
    let authority: Option<Authority> = text.parse().ok();
    let well = authority.is_some_and(|authority| {
        let has_port = authority.port_u16().is_some_and(|port| port > 0);
        has_port && !authority.host().is_empty() && !text.contains('@')
    });
    if well { Ok(text.to_string()) } else { Err(format!("`{text}` is not of the form HOST:PORT")) }
}

impl ServeOptions {
    /// Where others are told that this node serves clients.
    pub(crate) fn advertised(&self) -> String {
        self.advertise_http_addr.clone().unwrap_or_else(|| self.http_addr.to_string())
    }

    /// What no single argument shows.
    ///
    /// # Errors
    /// What is wrong, for the person who typed it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Some(addr) = self.cluster.addr(self.id) else {
            let ids: Vec<String> = self.cluster.ids().map(|id| id.to_string()).collect();
            return Err(format!("--id {} is not among the nodes of --cluster: {}", self.id, ids.join(", ")));
        };
        if addr != self.raft_addr {
            return Err(format!(
                "--raft-addr {} is not the address that --cluster gives for node {}: {addr}",
                self.raft_addr, self.id
            ));
        }
        if self.http_addr.port() == 0 {
            return Err(format!("--http-addr {} has no port: the other nodes must know it", self.http_addr));
        }
        if self.http_addr == self.raft_addr {
            return Err(format!("--http-addr and --raft-addr are both {addr}"));
        }
        self.tuning.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read() {
        let members: Members = "1/127.0.0.1:7000,2/127.0.0.1:8000".parse().unwrap();
        assert_eq!(members.ids().map(NodeId::get).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(members.addr(NodeId::new(2).unwrap()), Some("127.0.0.1:8000".parse().unwrap()));
    }

    #[test]
    fn members_are_refused_with_the_reason() {
        for (text, reason) in [
            ("", "`` is not of the form ID/IP:PORT"),
            ("1", "`1` is not of the form ID/IP:PORT"),
            ("x/127.0.0.1:1", "`x` is not a node's number"),
            ("0/127.0.0.1:1", "a node's number is at least 1"),
            ("1/localhost", "`localhost` (node 1) is not an address of the form IP:PORT"),
            ("1/127.0.0.1:1,1/127.0.0.1:2", "node 1 occurs twice"),
            ("1/127.0.0.1:1,2/127.0.0.1:1", "two nodes have the address 127.0.0.1:1"),
            ("1/127.0.0.1:1,", "`` is not of the form ID/IP:PORT"),
        ] {
            assert_eq!(Members::from_str(text), Err(reason.to_string()), "{text}");
        }
    }

    #[test]
    fn an_address_to_be_told_is_read_or_refused() {
        for text in ["10.0.0.1:80", "node-1.example:7001", "[::1]:7001"] {
            assert_eq!(parse_host_and_port(text), Ok(text.to_string()));
        }
        for text in [
            "",
            "node-1",
            ":7001",
            "node-1:",
            "node-1:0",
            "node-1:70000",
            "http://node-1:1",
            "node-1:1/",
            "a@b:1",
        ] {
            assert_eq!(parse_host_and_port(text), Err(format!("`{text}` is not of the form HOST:PORT")));
        }
    }

    #[test]
    fn tuning_survives_the_way_to_another_process() {
        let Cli { command: Command::Cluster(options) } = Cli::parse_from([
            "raft-kv",
            "cluster",
            "--pre-vote",
            "false",
            "--tick-ms",
            "7",
            "--log-level",
            "debug",
        ]) else {
            panic!("another command");
        };
        let mut args = ["raft-kv", "cluster"].map(String::from).to_vec();
        args.extend(options.tuning.to_args());
        let Cli { command: Command::Cluster(again) } = Cli::parse_from(args) else {
            panic!("another command")
        };
        assert_eq!(format!("{:?}", again.tuning), format!("{:?}", options.tuning));
    }
}
