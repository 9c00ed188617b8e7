//! What durability costs here: the table of `STORAGE.md`.
//!
//! `cargo run --release -p raft-kv --example storage_cost [FOLDER]`; the folder decides which disk is measured
//! (default: the one for temporary files), and some 2 GB are used in it for a minute.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_kv::command::{Command, Operation};
use raft_kv::disk::snapshot::SnapshotDescriptor;
use raft_kv::disk::{Disk, Identity, LogReader, Options, WriteBatch};
use raft_kv::machine::Machine;
use raft_proto::{ConfState, Entry, HardState, Index, NodeId, SnapshotMetadata, Term};
use redb::{Database, TableDefinition};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const PAYLOAD: usize = 256;
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");

fn main() -> Outcome {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = parent.join(format!("raft-kv-storage-cost-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn measure(folder: &Path) -> Outcome {
    println!(
        "## One durable append of a batch of entries of {PAYLOAD} bytes: median (99th percentile) in ms\n"
    );
    println!("| | 1 entry | 16 entries | 256 entries |\n|---|---|---|---|");
    row("plain file, one fdatasync", |batch| plain(&folder.join("plain"), batch))?;
    row("redb, one fdatasync a commit", |batch| redb(&folder.join("one.redb"), batch, false))?;
    row("redb, two (its two-phase commit)", |batch| redb(&folder.join("two.redb"), batch, true))?;
    row("this folder: redb + checksums + state + witness", |batch| ours(&folder.join("ours"), batch))?;

    println!("\n## Everything else\n");
    println!("| | |\n|---|---|");
    tails(&folder.join("tails"))?;
    compaction(&folder.join("compaction"))?;
    reads(&folder.join("reads"))?;
    start(&folder.join("start"))?;
    machine(&folder.join("machine"))
}

fn row(name: &str, measure: impl Fn(u64) -> Outcome<Vec<Duration>>) -> Outcome {
    print!("| {name} |");
    for batch in [1, 16, 256] {
        let mut times = measure(batch)?;
        print!(" {} |", spread(&mut times));
        io::stdout().flush()?;
    }
    println!();
    Ok(())
}

fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, ms);
    format!("{:.2} ({:.1})", at(50), at(99))
}

fn spread_us(times: &mut [Duration]) -> String {
    let mut thousandfold: Vec<_> = times.iter().map(|time| *time * 1000).collect();
    spread(&mut thousandfold)
}

fn ms(time: &Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn line(what: &str, value: impl std::fmt::Display) {
    println!("| {what} | {value} |");
}

fn took<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Duration)> {
    let start = Instant::now();
    let result = work()?;
    Ok((result, start.elapsed()))
}

/// So many times, the first few not counted.
fn repeat(mut work: impl FnMut(u64) -> Outcome) -> Outcome<Vec<Duration>> {
    let mut times = Vec::new();
    for n in 0..310 {
        let (_, time) = took(|| work(n))?;
        if n >= 10 {
            times.push(time);
        }
    }
    Ok(times)
}

fn payload(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(PAYLOAD / 8)
}

fn entries(from: u64, count: u64) -> Vec<Entry> {
    let entry = |n| Entry::normal(Term::new(1), Index::new(n), Bytes::from(payload(n)));
    (from..from + count).map(entry).collect()
}

fn batch(entries: Vec<Entry>, commit: u64) -> WriteBatch {
    let hard_state = HardState { term: Term::new(1), vote: None, commit: Index::new(commit) };
    WriteBatch { entries: entries.into(), hard_state: Some(hard_state), ..WriteBatch::default() }
}

fn plain(path: &Path, batch: u64) -> Outcome<Vec<Duration>> {
    let mut file = File::create(path)?;
    repeat(|n| {
        let bytes: Vec<u8> = (0..batch).flat_map(|k| payload(n * batch + k)).collect();
        file.write_all(&bytes)?;
        Ok(file.sync_data()?)
    })
}

fn redb(path: &Path, batch: u64, two_phases: bool) -> Outcome<Vec<Duration>> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let database = Database::create(path)?;
    repeat(|n| {
        let mut transaction = database.begin_write()?;
        transaction.set_two_phase_commit(two_phases);
        {
            let mut table = transaction.open_table(LOG)?;
            for k in n * batch..(n + 1) * batch {
                table.insert(k, &payload(k)[..])?;
            }
        }
        Ok(transaction.commit()?)
    })
}

fn open(path: &Path) -> Outcome<Disk> {
    let node = NodeId::new(1).ok_or("zero")?;
    let identity = Identity { node, cluster: "measured".to_owned() };
    let bootstrap = ConfState::of_voters([node]);
    Ok(Disk::open(path, &identity, Options { bootstrap, ..Options::default() })?)
}

fn ours(path: &Path, size: u64) -> Outcome<Vec<Duration>> {
    if path.exists() {
        std::fs::remove_dir_all(path)?;
    }
    let mut disk = open(path)?;
    repeat(|n| Ok(disk.writer.write(&[batch(entries(n * size + 1, size), n * size)], true)?))
}

/// A log of so many entries, written in batches of a thousand.
fn filled(path: &Path, count: u64) -> Outcome<Disk> {
    let mut disk = open(path)?;
    for from in (1..=count).step_by(10_000) {
        let batches: Vec<_> = (0..10).map(|k| batch(entries(from + k * 1000, 1000), 0)).collect();
        disk.writer.write(&batches, true)?;
    }
    Ok(disk)
}

fn tails(path: &Path) -> Outcome {
    let mut disk = filled(path, 100_000)?;
    for tail in [1, 1_000, 10_000] {
        let mut times = Vec::new();
        for _ in 0..10 {
            let last = disk.reader.last_index().get();
            let replaced = batch(entries(last - tail + 1, 1), 0);
            times.push(took(|| Ok(disk.writer.write(&[replaced], true)?))?.1);
            let refill = batch(entries(last - tail + 2, tail.saturating_sub(1)), 0);
            disk.writer.write(&[refill], true)?;
        }
        line(&format!("one entry replaces the last {tail} of 100,000, ms"), spread(&mut times));
    }
    Ok(())
}

fn compaction(path: &Path) -> Outcome {
    let mut disk = filled(path, 100_000)?;
    disk.writer.write(&[batch(Vec::new(), 100_000)], true)?;
    let conf_state = disk.reader.initial_state().1;
    let metadata = SnapshotMetadata { conf_state, index: Index::new(100_000), term: Term::new(1) };
    let snapshot = disk.snapshots.create(metadata)?.finish()?;
    let (_, time) = took(|| Ok(disk.writer.record_snapshot(&snapshot)?))?;
    line("recording a snapshot that ends 99,000 entries, ms", format!("{:.2}", ms(&time)));
    let mut times = Vec::new();
    for n in 0..50 {
        let write = batch(entries(100_001 + n, 1), 100_000);
        times.push(took(|| Ok(disk.writer.write(&[write], true)?))?.1);
    }
    line("each of the next 50 writes of one entry, which sweep 2,048 entries each, ms", spread(&mut times));
    Ok(())
}

fn reads(path: &Path) -> Outcome {
    let Disk { reader, mut writer, .. } = filled(path, 200_000)?;
    let old = |reader: &LogReader, n: u64| -> Outcome {
        let from = Index::new(1 + n * 97 % 100_000);
        let mut into = Vec::new();
        reader.entries(from..from.plus(64), u64::MAX, &mut into)?;
        Ok(())
    };
    let mut times = repeat(|n| old(&reader, n))?;
    line("reading 64 entries that aren't in our memory, µs", spread_us(&mut times));
    let stop = AtomicBool::new(false);
    let mut times = std::thread::scope(|scope| -> Outcome<Vec<Duration>> {
        let writing = scope.spawn(|| {
            let mut next = 200_001;
            while !stop.load(Ordering::Relaxed) {
                writer.write(&[batch(entries(next, 64), 0)], true).map_err(|error| error.to_string())?;
                next += 64;
            }
            Ok::<_, String>(())
        });
        let times = repeat(|n| old(&reader, n));
        stop.store(true, Ordering::Relaxed);
        writing.join().map_err(|_| "the writer panicked")??;
        times
    })?;
    line("the same while another thread writes without a pause, µs", spread_us(&mut times));
    let last = reader.last_index();
    let mut times = repeat(|_| {
        let mut into = Vec::new();
        Ok(reader.entries(Index::new(last.get() - 63)..last.next(), u64::MAX, &mut into)?)
    })?;
    line("reading the 64 latest entries, µs", spread_us(&mut times));
    Ok(())
}

fn start(path: &Path) -> Outcome {
    let disk = filled(path, 1_000_000)?;
    // What a killed process leaves is what is in the files while it runs.
    let killed = path.with_extension("killed");
    std::fs::create_dir_all(&killed)?;
    for file in std::fs::read_dir(path)? {
        let file = file?;
        std::fs::copy(file.path(), killed.join(file.file_name()))?;
    }
    drop(disk);
    let size = std::fs::metadata(path.join("log.redb"))?.len();
    line("file of 1,000,000 entries, MB", size / 1_000_000);
    let (disk, time) = took(|| open(path))?;
    line("opening it after an orderly end, everything verified, s", format!("{:.2}", time.as_secs_f64()));
    drop(disk);
    let (_, time) = took(|| open(&killed))?;
    line("opening it after a kill, everything verified, s", format!("{:.2}", time.as_secs_f64()));
    std::fs::remove_dir_all(&killed)?;
    std::fs::remove_dir_all(path)?;
    Ok(())
}

fn machine(path: &Path) -> Outcome {
    const KEYS: u64 = 1_000_000;
    let put = |n: u64, value: Vec<u8>| {
        let key = Bytes::copy_from_slice(&(n * 7919 % KEYS).to_be_bytes());
        Command::new(Operation::Put { key, value: Bytes::from(value) }).encode()
    };
    let mut machine = Machine::new();
    let commands = (0..KEYS).map(|n| put(n, payload(n))).collect::<Result<Vec<_>, _>>()?;
    let (_, time) = took(|| {
        for (n, command) in (1..).zip(&commands) {
            machine.apply(Index::new(n), command);
        }
        Ok(())
    })?;
    line("applying 1,000,000 puts, µs each", format!("{:.2}", time.as_secs_f64()));
    let (frozen, time) = took(|| Ok(machine.freeze()))?;
    line("freezing the machine of 1,000,000 keys, µs", format!("{:.1}", time.as_secs_f64() * 1e6));
    let (_, time) = took(|| {
        for (n, command) in (KEYS + 1..).zip(&commands[..100_000]) {
            machine.apply(Index::new(n), command);
        }
        Ok(())
    })?;
    line("applying 100,000 puts while it is frozen, µs each", format!("{:.2}", time.as_secs_f64() * 10.0));

    let disk = open(path)?;
    let conf_state = disk.reader.initial_state().1;
    let metadata = SnapshotMetadata { conf_state, index: frozen.applied(), term: Term::new(1) };
    let (snapshot, time) = took(|| {
        let mut file = disk.snapshots.create(metadata)?;
        frozen.write_to(&mut file)?;
        Ok(file.finish()?)
    })?;
    let descriptor = SnapshotDescriptor::of(&snapshot)?;
    let seconds = |time: Duration| format!("{:.2}", time.as_secs_f64());
    line("its snapshot file, MB", descriptor.size / 1_000_000);
    line("writing that, flushed, s", seconds(time));
    drop(frozen);
    let (_, time) = took(|| {
        for (n, command) in (KEYS + 100_001..).zip(&commands[..100_000]) {
            machine.apply(Index::new(n), command);
        }
        Ok(())
    })?;
    line("applying 100,000 puts after it is thawed, µs each", format!("{:.2}", time.as_secs_f64() * 10.0));
    let (restored, time) = took(|| Ok(Machine::restore(disk.snapshots.open(&descriptor)?)?))?;
    line("restoring the machine from it, verified, s", seconds(time));
    assert_eq!(restored.len() as u64, KEYS);
    Ok(())
}
