//! What only a disk of our own making can do: lose power between any two writes, keep any part of what wasn't
//! flushed, and fail.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use raft_core::DataLoss;
use raft_proto::{Entry, LogPosition, Term};
use redb::StorageBackend;

use super::engine::Change;
use super::*;

/// A file that remembers how it came to be.
#[derive(Clone, Debug, Default)]
struct Tape(Arc<Mutex<Recording>>);

#[derive(Debug, Default)]
struct Recording {
    file: Vec<u8>,
    events: Vec<Event>,
    flushes_fail: bool,
}

#[derive(Clone, Debug)]
enum Event {
    Write(usize, Vec<u8>),
    Resize(usize),
    Flush,
}

impl Event {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Event::Write(offset, data) => {
                file.resize(file.len().max(offset + data.len()), 0);
                file[*offset..offset + data.len()].copy_from_slice(data);
            }
            Event::Resize(len) => file.resize(*len, 0),
            Event::Flush => {}
        }
    }
}

impl Recording {
    fn record(&mut self, event: Event) {
        event.apply(&mut self.file);
        self.events.push(event);
    }
}

impl Tape {
    fn of(file: Vec<u8>) -> Tape {
        Tape(Arc::new(Mutex::new(Recording { file, ..Recording::default() })))
    }

    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().events.clone()
    }
}

impl StorageBackend for Tape {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().file.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let offset = usize::try_from(offset).unwrap();
        let recording = self.0.lock().unwrap();
        let place = recording.file.get(offset..offset + out.len());
        out.copy_from_slice(place.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.lock().unwrap().record(Event::Resize(usize::try_from(len).unwrap()));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut recording = self.0.lock().unwrap();
        if recording.flushes_fail {
            return Err(io::Error::other("the disk is gone"));
        }
        recording.record(Event::Flush);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.lock().unwrap().record(Event::Write(usize::try_from(offset).unwrap(), data.to_vec()));
        Ok(())
    }
}

/// Numbers without a pattern.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn entries(term: u64, range: std::ops::Range<u64>) -> Vec<Entry> {
    let data = |n: u64| Bytes::from(format!("{n} of {term} ").repeat(20));
    range.map(|n| Entry::normal(Term::new(term), Index::new(n), data(n))).collect()
}

fn identity() -> Identity {
    Identity { node: NodeId::new(1).unwrap(), cluster: String::new() }
}

fn content(engine: &Engine) -> Vec<Entry> {
    let mut all = Vec::new();
    engine
        .scan(Index::ZERO, |entry| {
            all.push(entry);
            Ok(())
        })
        .unwrap();
    all
}

/// A history of appends, replaced tails, compactions and a clearing. What there is after each write.
fn history(engine: &Engine, tape: &Tape) -> Vec<(usize, Vec<Entry>)> {
    let mut after = Vec::new();
    let mut log: Vec<Entry> = Vec::new();
    for n in 1..=14_u64 {
        let first = log.first().map_or(n * 10, |entry| entry.index.get());
        let last = log.last().map_or(n * 10, |entry| entry.index.get());
        let from = last + 1 - (n % 3).min(last - first);
        let new = entries(n, from..from + 1 + n * 3 % 17);
        let below = first + if n % 4 == 0 { 3 } else { 0 };
        let mut changes = vec![
            Change::Remove(Index::new(first)..Index::new(below)),
            Change::Remove(Index::new(from)..Index::new(last + 1)),
            Change::Put(&new),
        ];
        log.retain(|entry| entry.index.get() < from && entry.index.get() >= below);
        if n == 9 {
            changes = vec![Change::Clear, Change::Put(&new)];
            log.clear();
        }
        engine.commit(&changes, &State { number: n, ..State::default() }).unwrap();
        log.extend(new);
        after.push((tape.events().len(), log.clone()));
    }
    after
}

/// Power fails at a moment of chance; of what was written since the last flush, any part of the sectors is there.
fn after_power_failure(events: &[Event], at: usize, chance: &mut Chance) -> Vec<u8> {
    let done = &events[..at];
    let flushed = done.iter().rposition(|event| matches!(event, Event::Flush)).map_or(0, |flush| flush + 1);
    let mut file = Vec::new();
    done[..flushed].iter().for_each(|event| event.apply(&mut file));
    let percent = [0, 100, chance.below(100)][usize::try_from(chance.below(3)).unwrap()];
    for event in &done[flushed..] {
        match event {
            Event::Write(offset, data) => {
                for (n, sector) in data.chunks(512).enumerate() {
                    if chance.below(100) < percent {
                        Event::Write(offset + n * 512, sector.to_vec()).apply(&mut file);
                    }
                }
            }
            other if chance.below(100) < percent => other.apply(&mut file),
            _ => {}
        }
    }
    file
}

/// What the engine promises, on which everything here stands: one flush a commit is enough, whatever part of an
/// unfinished commit reaches the disk.
#[test]
fn an_acknowledged_commit_survives_a_power_failure_at_any_moment() {
    let tape = Tape::default();
    let engine = Engine::over(tape.clone()).unwrap();
    engine.commit(&[], &State::default()).unwrap();
    let made = tape.events().len();
    let after = history(&engine, &tape);
    let events = tape.events();
    let mut chance = Chance(1);
    let (mut finished, mut rolled_back) = (0, 0);
    for at in made..=events.len() {
        for _ in 0..3 {
            let engine = Engine::over(Tape::of(after_power_failure(&events, at, &mut chance))).unwrap();
            let number = usize::try_from(engine.state().unwrap().number).unwrap();
            let acknowledged = after.iter().filter(|(done, _)| *done <= at).count();
            assert!(
                number >= acknowledged,
                "event {at}: write {acknowledged} was acknowledged, {number} is there"
            );
            assert!(number <= acknowledged + 1, "event {at}: {number} is there and wasn't begun");
            let expected = number.checked_sub(1).map_or(&[][..], |last| &after[last].1);
            assert_eq!(content(&engine), expected, "event {at}, write {number}");
            if number > acknowledged { finished += 1 } else { rolled_back += 1 }
        }
    }
    assert!(finished > 0 && rolled_back > 0, "{finished} finished, {rolled_back} rolled back");
}

#[test]
fn a_commit_costs_one_flush() {
    let tape = Tape::default();
    let engine = Engine::over(tape.clone()).unwrap();
    let new = entries(1, 1..200);
    let flushes = || tape.events().iter().filter(|event| matches!(event, Event::Flush)).count();
    let commit = |number| {
        engine.commit(&[Change::Clear, Change::Put(&new)], &State { number, ..State::default() }).unwrap();
    };
    // Until the file has grown to what this needs: a file that grows is flushed once more.
    (1..=10).for_each(commit);
    let before = flushes();
    (11..=30).for_each(commit);
    assert_eq!(flushes(), before + 20);
}

/// Until a failed flush is looked into, nobody can know what is on the disk (the kernel may have dropped the
/// pages), so nothing more is promised.
#[test]
fn after_a_failed_flush_nothing_is_written_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let tape = Tape::default();
    let open = |tape: &Tape, first: bool| {
        let (folder, _) = Folder::open(dir.path(), &identity()).unwrap();
        let engine = Engine::over(tape.clone()).unwrap();
        if first {
            engine.commit(&[], &State::default()).unwrap();
            folder.write_whole(ACKNOWLEDGED, &Witness::content(0)).unwrap();
        }
        Disk::verified(folder, engine, &Options::default()).unwrap()
    };
    let batch = |range: std::ops::Range<u64>| {
        let hard_state = HardState { term: Term::new(1), vote: None, commit: Index::ZERO };
        WriteBatch {
            entries: entries(1, range).into(),
            hard_state: Some(hard_state),
            ..WriteBatch::default()
        }
    };
    let mut disk = open(&tape, true);
    disk.writer.write(&[batch(1..5)], true).unwrap();
    tape.0.lock().unwrap().flushes_fail = true;
    assert!(matches!(disk.writer.write(&[batch(5..9)], true), Err(DiskError::Engine(_))));
    tape.0.lock().unwrap().flushes_fail = false;
    assert!(matches!(disk.writer.write(&[batch(5..9)], true), Err(DiskError::Failed)));
    // What was acknowledged can still be read, what wasn't isn't shown.
    assert_eq!(disk.reader.last_index(), Index::new(4));
    drop(disk);

    let file = tape.0.lock().unwrap().file.clone();
    let disk = open(&Tape::of(file), false);
    assert!([4, 8].contains(&disk.reader.last_index().get()));
}

/// The engine doesn't verify its pages when it reads them; our own digests tell.
#[test]
fn an_entry_that_rots_in_a_running_process_is_found_when_it_is_read() {
    let tape = Tape::default();
    let engine = Engine::over(tape.clone()).unwrap();
    engine.commit(&[Change::Put(&entries(1, 1..30))], &State::default()).unwrap();
    let range = Index::new(1)..Index::new(30);
    let mut got = Vec::new();
    engine.view().unwrap().entries(range.clone(), u64::MAX, &mut got).unwrap();
    assert_eq!(got, entries(1, 1..30));

    let rotten = b"17 of 1 17 of 1";
    {
        let file = &mut tape.0.lock().unwrap().file;
        let places: Vec<_> = (0..file.len()).filter(|at| file[*at..].starts_with(rotten)).collect();
        assert!(!places.is_empty());
        places.into_iter().for_each(|at| file[at] ^= 4);
    }
    let error = engine.view().unwrap().entries(range, u64::MAX, &mut Vec::new()).unwrap_err();
    let expected = Corruption::Entry(Index::new(17));
    assert!(matches!(&error, engine::EngineError::Corrupt(what) if *what == expected), "{error:?}");
}

#[test]
fn the_witness_loses_one_number_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(ACKNOWLEDGED);
    std::fs::write(&path, Witness::content(40)).unwrap();
    for number in 41..45 {
        let mut witness = Witness::open(&path).unwrap();
        witness.set(number).unwrap();
        assert_eq!(witness.number().unwrap(), Some(number));
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 8, 23, 4096, 4096 + 15] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert!(witness.number().unwrap().is_some_and(|left| left + 1 >= number));
        }
        std::fs::write(&path, &whole).unwrap();
    }
    std::fs::write(&path, []).unwrap();
    assert_eq!(Witness::open(&path).unwrap().number().unwrap(), None);
}

#[test]
fn a_record_with_any_bit_flipped_is_none() {
    let mut encoded = bytes::BytesMut::new();
    let entry = &entries(7, 300..301)[0];
    record::encode_entry(entry, &mut encoded);
    assert_eq!(record::decode_entry(entry.index, &encoded).as_ref(), Some(entry));
    assert_eq!(record::decode_entry(entry.index.next(), &encoded), None, "in another's place");

    let node = NodeId::new(3).unwrap();
    let metadata = raft_proto::SnapshotMetadata { index: Index::new(4), ..Default::default() };
    let state = State {
        number: 9,
        hard_state: HardState { term: Term::new(5), vote: Some(node), commit: Index::new(6) },
        base: LogPosition { term: Term::new(1), index: Index::new(2) },
        last: Index::new(8),
        snapshot: Some(Snapshot { metadata, data: Bytes::from_static(b"data") }),
        bootstrap: ConfState::of_voters([node]),
        lost: Some(DataLoss { acknowledged: Index::new(9), last: Index::new(2) }),
    };
    let other = state.encode();
    assert_eq!(State::decode(&other), Some(state));
    for bit in 0..encoded.len() * 8 {
        let mut flipped = encoded.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(record::decode_entry(entry.index, &flipped), None, "bit {bit}");
    }
    for bit in 0..other.len() * 8 {
        let mut flipped = other.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(State::decode(&flipped), None, "bit {bit}");
    }
}

#[test]
fn a_state_from_before_losses_were_kept_is_read() {
    let state = State { number: 3, last: Index::new(8), ..State::default() };
    let now = state.encode();
    let mut earlier = now[..now.len() - 9].to_vec();
    earlier[0] = 1;
    let digest = xxhash_rust::xxh3::xxh3_64(&earlier);
    earlier.extend_from_slice(&digest.to_le_bytes());
    assert_eq!(State::decode(&earlier), Some(state));
}

#[test]
fn the_shape_of_a_log_follows_its_entries() {
    let terms = [1, 1, 3, 3, 3, 4, 7, 7].map(Term::new);
    let position = |n: usize| LogPosition { term: terms[n - 1], index: Index::new(n as u64) };
    let mut whole = LogIndex::empty(LogPosition::ZERO);
    (1..=8).for_each(|n| whole.push(position(n)).unwrap());
    for base in 0..=8 {
        for last in base..=8 {
            let mut index = whole.clone();
            index.truncate(Index::new(last as u64));
            index.compact(Index::new(base as u64));
            for n in 0..=9 {
                let expected = match n {
                    _ if n < base => Err("compacted"),
                    _ if n > last => Err("unavailable"),
                    0 => Ok(Term::ZERO),
                    _ => Ok(terms[n - 1]),
                };
                let got = index.term(Index::new(n as u64)).map_err(|error| match error {
                    ReadError::Compacted => "compacted",
                    _ => "unavailable",
                });
                assert_eq!(got, expected, "the term at {n} between {base} and {last}");
            }
            let expected = if last == 0 { Term::ZERO } else { terms[last - 1] };
            assert_eq!(index.last_term(), expected);
        }
    }
}
