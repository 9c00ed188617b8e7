//! What `raft-kv bench` is to do.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{MAX_BODY, Tuning};

/// `raft-kv bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchOptions {
    /// A node of a cluster that runs; once for each that may be asked. If none is given, a cluster is started for this
    /// alone, with its data in a temporary folder.
    #[arg(long, value_name = "http://IP:PORT", conflicts_with = "Tuning")]
    pub(crate) url: Vec<String>,
    /// How many clients, each of which has one request under way at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub(crate) clients: u32,
    /// How long requests are made: `10s`, `500ms`, `2m`.
    #[arg(long = "for", default_value = "10s", value_name = "TIME", value_parser = parse_time)]
    pub(crate) time: Duration,
    /// How many writes are made, in place of a time.
    #[arg(long, conflicts_with = "time", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) writes: Option<u64>,
    /// The size of a value that is written.
    #[arg(long, default_value_t = 128, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=MAX_BODY))]
    pub(crate) value_bytes: u64,
    /// How many of a hundred requests are reads, of keys that were written before.
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) reads: u32,
    /// How reads are served.
    #[arg(long, default_value = "linearizable", value_name = "HOW")]
    pub(crate) consistency: ReadConsistency,
    /// How many keys are written to, one after the other.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
    /// Ask all nodes, each client another, in place of the leader alone.
    #[arg(long)]
    pub(crate) spread: bool,
    /// How many nodes the cluster has that is started for this.
    #[arg(long, default_value_t = 3, conflicts_with = "url", value_parser = clap::value_parser!(u64).range(1..=9))]
    pub(crate) nodes: u64,
    /// The folder in which its temporary folder is made: on the disk that is to be measured. The system's own for
    /// such, if it isn't said, which may be memory.
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    pub(crate) temp_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
}

impl BenchOptions {
    /// What no single argument shows.
    ///
    /// # Errors
    /// What is wrong, for the person who typed it.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.reads == 100 && self.writes.is_some() {
            return Err("--reads 100 leaves no room for --writes".to_string());
        }
        if self.url.is_empty() && self.value_bytes > self.tuning.max_body {
            return Err(format!(
                "--value-bytes {} is more than --max-body {}",
                self.value_bytes, self.tuning.max_body
            ));
        }
        self.tuning.check()
    }
}

/// The `consistency` of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReadConsistency {
    /// It sees every write that was answered before; the leader asks a majority whether it still leads.
    Linearizable,
    /// The same as long as the clocks run alike; the leader answers by itself.
    Lease,
    /// What the node that is asked has.
    Stale,
}

impl ReadConsistency {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ReadConsistency::Linearizable => "linearizable",
            ReadConsistency::Lease => "lease",
            ReadConsistency::Stale => "stale",
        }
    }
}

/// A number and its unit.
fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(format!("`{text}` is not of the form 10s, 500ms or 2m")),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is not of the form 10s, 500ms or 2m"))?;
    match number.checked_mul(millis) {
        Some(millis @ 1..=MAX_BENCH_MS) => Ok(Duration::from_millis(millis)),
        Some(0) => Err("it must be more than nothing".to_string()),
        _ => Err("a day is the most".to_string()),
    }
}

/// A day.
const MAX_BENCH_MS: u64 = 24 * 60 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_or_refused_with_the_reason() {
        for (text, millis) in [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("1440m", MAX_BENCH_MS)] {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, reason) in [
            ("", "`` is not of the form 10s, 500ms or 2m"),
            ("10", "`10` is not of the form 10s, 500ms or 2m"),
            ("s", "`s` is not of the form 10s, 500ms or 2m"),
            ("-1s", "`-1s` is not of the form 10s, 500ms or 2m"),
            ("1.5s", "`1.5s` is not of the form 10s, 500ms or 2m"),
            ("0ms", "it must be more than nothing"),
            ("1441m", "a day is the most"),
            ("18446744073709551615m", "a day is the most"),
        ] {
            assert_eq!(parse_time(text), Err(reason.to_string()), "{text}");
        }
    }
}
