//! A process that writes and acknowledges is killed at moments of chance; what it acknowledged is there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const FOLDER: &str = "RAFT_KV_CRASH_TEST_FOLDER";

/// What the child writes in its n-th step, given the log as it found it. Steps replace tails, take snapshots and install
/// them, so that a kill meets all of these.
fn step(disk: &mut Disk, n: u64) {
    let (first, last) = (disk.reader.first_index().get(), disk.reader.last_index().get());
    match n % 8 {
        6 if last > 20 => {
            let position = LogPosition { term: disk.reader.term(index(last)).unwrap(), index: index(last) };
            let snapshot = make_snapshot(&disk.snapshots, position, &vec![n as u8; 100_000]);
            disk.writer.record_snapshot(&snapshot).unwrap();
        }
        7 => {
            let position = at(n, last + 5);
            let snapshot = make_snapshot(&disk.snapshots, position, &vec![n as u8; 100_000]);
            let hard_state = Some(hard_state(n, last + 5));
            let batch =
                WriteBatch { snapshot: Some(snapshot), entries: entries(n, last + 6..=last + 8), hard_state };
            disk.writer.write(&[batch], true).unwrap();
        }
        _ => {
            // The tail from here on is replaced by one of the new term, in two batches.
            let from =
                last.saturating_sub(n % 5).max(first).max(disk.reader.initial_state().0.commit.get() + 1);
            let middle = from + n % 30;
            let batches = [appended(n, from..=middle, 0), appended(n, middle + 1..=middle + 3, 0)];
            let commit = disk.reader.initial_state().0.commit.get();
            let batches =
                batches.map(|batch| WriteBatch { hard_state: Some(hard_state(n, commit)), ..batch });
            disk.writer.write(&batches, true).unwrap();
        }
    }
}

/// What identifies the content: terms and indexes name entries here as in Raft.
fn summary(disk: &Disk) -> String {
    let all = read_all(disk);
    assert!(
        all.iter().all(|it| *it == entry(it.term.get(), it.index.get())),
        "an entry with another content"
    );
    let positions: Vec<_> = all.iter().map(|entry| entry.position().to_string()).collect();
    let snapshot = disk.reader.latest_snapshot().map(|snapshot| snapshot.position().to_string());
    let (hard_state, _) = disk.reader.initial_state();
    format!("{} {:?} {snapshot:?} {}", hard_state.term, hard_state.commit, positions.join(","))
}

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let mut disk = open(Path::new(&folder)).unwrap();
    let mut out = std::io::stderr();
    writeln!(out, "ack 0 {}", summary(&disk)).unwrap();
    let start = disk.reader.initial_state().0.term.get() + 1;
    for n in start.. {
        step(&mut disk, n);
        writeln!(out, "ack {n} {}", summary(&disk)).unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kills_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut delays = fastrand_like(0x5eed);
    let mut acknowledged = String::new();
    let mut steps = 0;
    for round in 0..25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
            .env(FOLDER, dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // It is up, and has what its predecessor acknowledged.
        let up = lines.next().unwrap().unwrap();
        let found = up.strip_prefix("ack 0 ").unwrap_or_else(|| panic!("round {round}: {up}"));
        if !acknowledged.is_empty() && found != acknowledged {
            // A step that was done and not acknowledged may be there as well, whole: then it is a later one.
            let term = |summary: &str| summary.split(' ').next().unwrap().parse::<u64>().unwrap();
            assert!(term(found) >= term(&acknowledged), "round {round}: {acknowledged}\nbecame {found}");
            assert!(term(found) <= term(&acknowledged) + 1, "round {round}: {acknowledged}\nbecame {found}");
        }
        let killer = {
            let at = Instant::now() + Duration::from_micros(delays() % 60_000);
            let pid = child.id();
            std::thread::spawn(move || {
                // Not a condition that is waited for: the moment of chance at which the child dies.
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                let status = Command::new("kill").args(["-9", &pid.to_string()]).status();
                assert!(status.unwrap().success());
            })
        };
        acknowledged = found.to_owned();
        for line in lines.map_while(Result::ok) {
            // The last line may be cut.
            if let Some((_, summary)) = line.strip_prefix("ack ").and_then(|rest| rest.split_once(' ')) {
                acknowledged = summary.to_owned();
                steps += 1;
            }
        }
        killer.join().unwrap();
        child.wait().unwrap();
    }
    assert!(steps > 25, "only {steps} steps in all rounds");
}

/// Numbers without a pattern.
pub(crate) fn fastrand_like(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
