//! A process that writes and acknowledges is killed at moments of chance; what it acknowledged is there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

const FOLDER: &str = "RAFT_KV_CRASH_TEST_FOLDER";

/// What the child writes in its n-th step, given the log as it found it. Steps replace tails, take snapshots
/// and install them, so that a kill meets all of these.
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
            let batch = WriteBatch {
                snapshot: Some(snapshot),
                entries: entries(n, last + 6..=last + 8).into(),
                hard_state,
                ..WriteBatch::default()
            };
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

/// What identifies the content, up to a full stop: terms and indexes name entries here as in Raft.
fn summary(disk: &Disk) -> String {
    let all = read_all(disk);
    assert!(
        all.iter().all(|it| *it == entry(it.term.get(), it.index.get())),
        "an entry with another content"
    );
    let positions: Vec<_> = all.iter().map(|entry| entry.position().to_string()).collect();
    let snapshot = disk.reader.latest_snapshot().map(|snapshot| snapshot.position().to_string());
    let (hard_state, _) = disk.reader.initial_state();
    format!("{} {:?} {snapshot:?} {}.", hard_state.term, hard_state.commit, positions.join(","))
}

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let mut disk = open(Path::new(&folder)).unwrap();
    let mut out = std::io::stderr();
    let start = disk.reader.initial_state().0.term.get() + 1;
    writeln!(out, "up {start} {}", summary(&disk)).unwrap();
    for n in start.. {
        step(&mut disk, n);
        writeln!(out, "ack {n} {}", summary(&disk)).unwrap();
    }
}

/// A line of the child, if it is whole: what happened, in which step, and what there is since.
fn parse(line: &str) -> Option<(&str, u64, &str)> {
    let (what, rest) = line.split_once(' ')?;
    let (step, summary) = rest.split_once(' ')?;
    Some((what, step.parse().ok()?, summary))
}

/// A twin does every step that was acknowledged, in a folder that nobody kills.
#[test]
fn what_was_acknowledged_survives_kills_at_any_moment() {
    let (dir, safe) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut twin = open(safe.path()).unwrap();
    let mut delays = fastrand_like(0x5eed);
    let (mut steps, mut unacknowledged) = (0, 0);
    // The step that may have been done, and not acknowledged.
    let mut next = 1;
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
        let up = lines.next().unwrap().unwrap();
        let Some(("up", start, found)) = parse(&up) else { panic!("round {round}: {up}") };
        let delay = Duration::from_micros(delays() % 60_000);
        let killer = std::thread::spawn(move || {
            // Not a condition that is waited for: the moment of chance at which the child dies.
            std::thread::sleep(delay);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        if found != summary(&twin) {
            step(&mut twin, next);
            unacknowledged += 1;
        }
        assert_eq!(found, summary(&twin), "round {round}");
        next = start;
        for line in lines.map_while(Result::ok) {
            // The last line may be cut.
            if let Some(("ack", n, summary_there)) = parse(&line)
                && n == next
                && line.ends_with('.')
            {
                step(&mut twin, n);
                assert_eq!(summary_there, summary(&twin), "round {round}, step {n}");
                next = n + 1;
                steps += 1;
            }
        }
        killer.join().unwrap();
    }
    assert!(steps > 0, "no step was acknowledged in any round ({unacknowledged} were done)");
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
