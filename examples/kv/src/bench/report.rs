//! The table at the end.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::load::{Outcome, Seen};
use crate::admin::{number, text};

/// What a node has counted since it was started, from its `GET /status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) id: u64,
    pub(super) leads: bool,
    /// Each with one flush.
    pub(super) disk_writes: u64,
    /// Messages with entries to all peers, and the entries in them.
    pub(super) appends: u64,
    pub(super) entries: u64,
}

impl Counts {
    /// None if a part is missing.
    pub(super) fn of(status: &Value) -> Option<Counts> {
        let peers = status.get("peers")?.as_array()?;
        let sum = |name| peers.iter().map(|peer| number(peer, name)).sum::<Option<u64>>();
        Some(Counts {
            id: number(status, "id")?,
            leads: text(status, "role")? == "leader",
            disk_writes: number(status, "disk_writes")?,
            appends: sum("appends_sent")?,
            entries: sum("entries_sent")?,
        })
    }
}

/// What is printed.
pub(super) struct Report<'a> {
    pub(super) outcome: &'a Outcome,
    /// What the nodes had counted before, and have counted now; none if one doesn't answer any more.
    pub(super) servers: Option<(&'a [Counts], &'a [Counts])>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { tally, took, signal } = self.outcome;
        let how = signal.unwrap_or("done");
        writeln!(f, "\n{how} after {:.2} s\n", took.as_secs_f64())?;
        writeln!(
            f,
            "{:<7} {:>10} {:>10} {:>8} {:>9} {:>9} {:>9} {:>9}",
            "", "done", "a second", "failed", "p50 ms", "p99 ms", "p99.9 ms", "max ms"
        )?;
        let kinds = [("writes", &tally.writes), ("reads", &tally.reads)];
        for (name, seen) in kinds {
            row(f, name, seen, *took)?;
        }
        for (name, seen) in kinds {
            for (how, count) in &seen.failures {
                writeln!(f, "\nfailed {name}: {count} by: {how}")?;
            }
        }
        let Some((before, after)) = self.servers else { return Ok(()) };
        writeln!(
            f,
            "\n{:<16} {:>8} {:>10} {:>10} {:>10} {:>12}",
            "", "flushes", "a write", "appends", "entries", "an append"
        )?;
        for (before, after) in before.iter().zip(after) {
            // Less than before: it was started anew meanwhile.
            let since = |before: u64, after: u64| after.checked_sub(before).unwrap_or(after);
            let flushes = since(before.disk_writes, after.disk_writes);
            let appends = since(before.appends, after.appends);
            let entries = since(before.entries, after.entries);
            let name = format!("node {}{}", after.id, if after.leads { ", leader" } else { "" });
            writeln!(
                f,
                "{name:<16} {flushes:>8} {:>10} {appends:>10} {entries:>10} {:>12}",
                ratio(flushes, tally.writes.done(), 4),
                ratio(entries, appends, 1),
            )?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, seen: &Seen, took: Duration) -> fmt::Result {
    let (done, failed) = (seen.done(), seen.failed());
    let per_second = done as f64 / took.as_secs_f64().max(0.001);
    write!(f, "{name:<7} {done:>10} {per_second:>10.1} {failed:>8}")?;
    let quantiles = [0.5, 0.99, 0.999, 1.0].map(|quantile| seen.latency.value_at_quantile(quantile));
    for micros in quantiles {
        if done == 0 {
            write!(f, " {:>9}", "-")?;
        } else {
            write!(f, " {:>9.2}", micros as f64 / 1_000.0)?;
        }
    }
    writeln!(f)
}

/// With so many decimals; a dash if there is nothing to divide by.
fn ratio(of: u64, by: u64, decimals: usize) -> String {
    if by == 0 { "-".to_string() } else { format!("{:.decimals$}", of as f64 / by as f64) }
}

#[cfg(test)]
mod tests {
    use super::super::load::Tally;
    use super::*;
    use serde_json::json;

    fn tally() -> Tally {
        let new = || Seen::new().ok().unwrap();
        Tally { writes: new(), reads: new() }
    }

    #[test]
    fn the_table_has_rates_latencies_failures_and_what_the_servers_counted() {
        let mut tally = tally();
        for millis in 1..=100 {
            tally.writes.add(Duration::from_millis(millis), Ok(()));
        }
        tally.writes.add(Duration::ZERO, Err("no connection".to_string()));
        tally.writes.add(Duration::ZERO, Err("no connection".to_string()));
        let outcome = Outcome { tally, took: Duration::from_secs(2), signal: None };
        let counts =
            |disk_writes, appends, entries| [Counts { id: 7, leads: true, disk_writes, appends, entries }];
        let (before, after) = (counts(5, 10, 20), counts(30, 50, 220));
        let text = Report { outcome: &outcome, servers: Some((&before, &after)) }.to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines.contains(&vec!["done", "after", "2.00", "s"]), "{text}");
        assert!(
            lines.contains(&vec!["writes", "100", "50.0", "2", "50.02", "99.01", "100.03", "100.03"]),
            "{text}"
        );
        assert!(lines.contains(&vec!["reads", "0", "0.0", "0", "-", "-", "-", "-"]), "{text}");
        assert!(text.contains("failed writes: 2 by: no connection"), "{text}");
        assert!(lines.contains(&vec!["node", "7,", "leader", "25", "0.2500", "40", "200", "5.0"]), "{text}");
    }

    #[test]
    fn a_node_that_was_started_anew_counts_from_nothing() {
        let outcome = Outcome { tally: tally(), took: Duration::ZERO, signal: Some("interrupted") };
        let counts =
            |number| [Counts { id: 1, leads: false, disk_writes: number, appends: number, entries: number }];
        let text = Report { outcome: &outcome, servers: Some((&counts(9), &counts(4))) }.to_string();
        let line: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(line, ["node", "1", "4", "-", "4", "4", "1.0"]);
        assert!(text.contains("interrupted after 0.00 s"), "{text}");
    }

    #[test]
    fn counts_are_read_from_the_status() {
        let peers =
            json!([{ "appends_sent": 2, "entries_sent": 8 }, { "appends_sent": 3, "entries_sent": 8 }]);
        let status = json!({ "id": 1, "role": "leader", "disk_writes": 4, "peers": peers });
        let counts = Counts { id: 1, leads: true, disk_writes: 4, appends: 5, entries: 16 };
        assert_eq!(Counts::of(&status), Some(counts));
        assert_eq!(Counts::of(&json!({ "id": 1, "role": "leader", "disk_writes": 4, "peers": [{}] })), None);
    }
}
