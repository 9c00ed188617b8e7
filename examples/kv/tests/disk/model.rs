//! The folder does what a `Vec` would do.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use raft_kv::disk::{Disk, ReadError, WriteBatch};
use raft_proto::{Entry, HardState, Index, LogPosition, Snapshot};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// So many batches of so many entries, each beginning so far before the end of the log, in one write.
    Write(Vec<Append>),
    /// A commit index that is this part of the way to the last, synced or not.
    Commit(u8, bool),
    /// A snapshot of our own at the commit index.
    Snapshot,
    /// One from elsewhere, so far behind the end of the log, then so many entries, in one write.
    Install {
        ahead: u64,
        entries: u64,
    },
    Reopen,
}

#[derive(Clone, Debug)]
struct Append {
    back: u64,
    count: u64,
    new_term: bool,
}

fn appends() -> impl Strategy<Value = Append> {
    (prop_oneof![3 => Just(0), 1 => 0..10_u64], 0..12_u64, prop::bool::weighted(0.3))
        .prop_map(|(back, count, new_term)| Append { back, count, new_term })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(appends(), 1..4).prop_map(Step::Write),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(part, sync)| Step::Commit(part, sync)),
        2 => Just(Step::Snapshot),
        1 => (1..20_u64, 0..5_u64).prop_map(|(ahead, entries)| Step::Install { ahead, entries }),
        2 => Just(Step::Reopen),
    ]
}

/// The slowest obvious log.
#[derive(Default)]
struct Model {
    base: LogPosition,
    entries: Vec<Entry>,
    hard_state: HardState,
    snapshot: Option<Snapshot>,
}

impl Model {
    fn last(&self) -> LogPosition {
        self.entries.last().map_or(self.base, Entry::position)
    }

    fn append(&mut self, entries: &[Entry]) {
        if let Some(first) = entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            self.entries.extend_from_slice(entries);
        }
    }

    /// What the step writes, which it takes note of.
    fn write(&mut self, step: &Append) -> WriteBatch {
        let floor = self.hard_state.commit.max(self.base.index);
        let start = Index::new(self.last().index.get().saturating_sub(step.back)).max(floor).next();
        let mut term = self.hard_state.term.get().max(1);
        if step.new_term || step.back > 0 {
            term += 1;
        }
        let entries = entries(term, start.get()..=start.get() + step.count - 1);
        self.append(&entries);
        self.hard_state.term = Term::new(term);
        WriteBatch { entries: entries.into(), hard_state: Some(self.hard_state), ..WriteBatch::default() }
    }

    fn check(&self, disk: &Disk) {
        let reader = &disk.reader;
        assert_eq!(reader.first_index(), self.base.index.next());
        assert_eq!(reader.last_index(), self.last().index);
        assert_eq!(reader.initial_state(), (self.hard_state, members()));
        assert_eq!(reader.latest_snapshot(), self.snapshot);
        assert_eq!(read_all(disk), self.entries);
        assert_eq!(reader.term(self.base.index).unwrap(), self.base.term);
        for entry in &self.entries {
            assert_eq!(reader.term(entry.index).unwrap(), entry.term);
        }
        assert!(matches!(reader.term(self.last().index.next()), Err(ReadError::Unavailable)));
        if !self.base.index.is_zero() {
            assert!(matches!(reader.term(self.base.index.prev()), Err(ReadError::Compacted)));
        }
        let beyond = reader.entries(self.base.index.next()..self.last().index.plus(2), 1, &mut Vec::new());
        assert!(matches!(beyond, Err(ReadError::Unavailable)), "{beyond:?}");
        let before = reader.entries(self.base.index..self.last().index.next(), 1, &mut Vec::new());
        assert!(matches!(before, Err(ReadError::Compacted)), "{before:?}");
        self.check_limits(disk);
    }

    /// Every range from every start, under a limit that cuts most of them.
    fn check_limits(&self, disk: &Disk) {
        for (skip, limit) in (0..self.entries.len()).map(|skip| (skip, skip as u64 * 17 % 150)) {
            let wanted = &self.entries[skip..];
            let mut sum = 0;
            let fit = wanted.iter().take_while(|entry| {
                sum += entry.encoded_len();
                sum <= limit
            });
            let expected = &wanted[..fit.count().max(1)];
            let mut got = Vec::new();
            let range = wanted[0].index..self.last().index.next();
            disk.reader.entries(range, limit, &mut got).unwrap();
            assert_eq!(got, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_folder_is_a_log(steps in prop::collection::vec(steps(), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = open(dir.path()).unwrap();
        let mut model = Model::default();
        for step in &steps {
            match step {
                Step::Write(appends) => {
                    let batches: Vec<_> = appends.iter().filter(|a| a.count > 0).map(|a| model.write(a)).collect();
                    disk.writer.write(&batches, true).unwrap();
                }
                Step::Commit(part, sync) => {
                    let (commit, last) = (model.hard_state.commit.get(), model.last().index.get());
                    model.hard_state.commit = index(commit + (last - commit) * u64::from(*part) / 255);
                    let batch = WriteBatch { hard_state: Some(model.hard_state), ..WriteBatch::default() };
                    disk.writer.write(&[batch], *sync).unwrap();
                }
                Step::Snapshot => own_snapshot(&mut disk, &mut model),
                Step::Install { ahead, entries } => install(&mut disk, &mut model, *ahead, *entries),
                Step::Reopen => {
                    drop(disk);
                    disk = open(dir.path()).unwrap();
                }
            }
            model.check(&disk);
        }
        disk.writer.close().unwrap();
        drop((disk.reader, disk.snapshots));
        model.check(&open(dir.path()).unwrap());
    }
}

fn own_snapshot(disk: &mut Disk, model: &mut Model) {
    let commit = model.hard_state.commit;
    let latest = model.snapshot.as_ref().map_or(Index::ZERO, |snapshot| snapshot.metadata.index);
    if commit <= latest {
        return;
    }
    let term = disk.reader.term(commit).unwrap();
    let snapshot = make_snapshot(&disk.snapshots, LogPosition { term, index: commit }, b"own");
    disk.writer.record_snapshot(&snapshot).unwrap();
    model.snapshot = Some(snapshot);
    let keep = Index::new(commit.get().saturating_sub(options().keep_entries));
    if keep > model.base.index {
        model.base = model.entries.iter().find(|entry| entry.index == keep).unwrap().position();
        model.entries.retain(|entry| entry.index > keep);
    }
}

fn install(disk: &mut Disk, model: &mut Model, ahead: u64, count: u64) {
    let last = model.last();
    let position = LogPosition { term: last.term, index: last.index.plus(ahead) };
    let snapshot = make_snapshot(&disk.snapshots, position, b"from elsewhere");
    let start = position.index.get() + 1;
    let tail = entries(model.hard_state.term.get().max(1), start..=start + count - 1);
    model.hard_state.commit = position.index;
    model.hard_state.term = model.hard_state.term.max(Term::new(1));
    model.base = position;
    model.entries = tail.clone();
    model.snapshot = Some(snapshot.clone());
    let batch = WriteBatch {
        snapshot: Some(snapshot),
        entries: tail.into(),
        hard_state: Some(model.hard_state),
        ..WriteBatch::default()
    };
    disk.writer.write(&[batch], true).unwrap();
}

#[test]
fn one_write_is_one_commit_however_many_batches_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap();
    let before = disk.writer.last_write();
    let batches: Vec<_> = (0..50).map(|n| appended(1, n * 10 + 1..=n * 10 + 10, 0)).collect();
    disk.writer.write(&batches, true).unwrap();
    assert_eq!(disk.writer.last_write(), before + 1);
    assert_eq!(read_all(&disk).len(), 500);

    // A commit index alone needs no flush, and is there after an orderly end.
    let commit = WriteBatch { hard_state: Some(hard_state(1, 500)), ..WriteBatch::default() };
    disk.writer.write(&[commit], false).unwrap();
    assert_eq!(disk.writer.last_write(), before + 1);
    drop(disk);
    assert_eq!(open(dir.path()).unwrap().reader.initial_state().0, hard_state(1, 500));
}

#[test]
fn a_vote_is_flushed_even_if_the_caller_says_that_it_need_not_be() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap();
    let before = disk.writer.last_write();
    let vote = WriteBatch { hard_state: Some(hard_state(3, 0)), ..WriteBatch::default() };
    disk.writer.write(&[vote], false).unwrap();
    assert_eq!(disk.writer.last_write(), before + 1);
}

#[test]
fn what_is_lost_is_remembered_until_it_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let lost = DataLoss { acknowledged: index(9), last: index(2) };
    for (report, expected) in [(DataLossReport::Noticed(lost), Some(lost)), (DataLossReport::Regained, None)]
    {
        let mut disk = open(dir.path()).unwrap();
        let before = disk.writer.last_write();
        // Alone, and even if the caller says that no flush is needed.
        let news = WriteBatch { data_loss: Some(report), ..WriteBatch::default() };
        disk.writer.write(&[news], false).unwrap();
        assert_eq!(disk.writer.last_write(), before + 1);
        // Later writes that say nothing of it leave it as it is.
        let vote = WriteBatch { hard_state: Some(hard_state(before + 1, 0)), ..WriteBatch::default() };
        disk.writer.write(&[vote], true).unwrap();
        drop(disk);
        assert_eq!(Storage::initial_state(&open(dir.path()).unwrap().reader).unwrap().lost, expected);
    }
}

#[test]
fn what_was_compacted_away_leaves_the_file_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap();
    disk.writer.write(&[appended(1, 1..=6_000, 6_000)], true).unwrap();
    let snapshot = make_snapshot(&disk.snapshots, at(1, 6_000), b"state");
    disk.writer.record_snapshot(&snapshot).unwrap();
    assert_eq!(disk.reader.first_index(), index(5_997));
    // Half swept: what is left over isn't part of the log.
    drop(disk);
    let mut disk = open(dir.path()).unwrap();
    assert_eq!(read_all(&disk), entries(1, 5_997..=6_000));
    for at in 6_001..6_010 {
        disk.writer.write(&[appended(1, at..=at, at)], true).unwrap();
    }
    drop(disk);
    assert_eq!(read_all(&open(dir.path()).unwrap()), entries(1, 5_997..=6_009));
}

#[test]
fn a_log_that_is_compacted_again_and_again_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap();
    let mut sizes = Vec::new();
    for last in (1..=12).map(|round| round * 3_000) {
        disk.writer.write(&[appended(1, last - 2_999..=last, last)], true).unwrap();
        let snapshot = make_snapshot(&disk.snapshots, at(1, last), b"state");
        disk.writer.record_snapshot(&snapshot).unwrap();
        sizes.push(std::fs::metadata(dir.path().join("log.redb")).unwrap().len());
    }
    assert!(sizes[11] <= sizes[3], "{sizes:?}");
}

/// Tails are replaced and heads compacted away meanwhile. What can be seen is always whole: consecutive, and each entry is
/// the one of its term.
#[test]
fn readers_go_on_beside_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let Disk { reader, mut writer, snapshots } = open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) {
                let (first, last) = (reader.first_index(), reader.last_index());
                let mut got = Vec::new();
                match reader.entries(first..last.next(), u64::MAX, &mut got) {
                    Ok(()) => {
                        let indexes: Vec<_> = got.iter().map(|entry| entry.index.get()).collect();
                        assert_eq!(indexes, (first.get()..=last.get()).collect::<Vec<_>>());
                        assert!(got.iter().all(|it| *it == entry(it.term.get(), it.index.get())));
                        reads += 1;
                    }
                    // The log changed between the two calls.
                    Err(ReadError::Compacted | ReadError::Unavailable) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            reads
        });
        for n in 1..=60 {
            let last = reader.last_index().get();
            writer.write(&[appended(2 * n, last + 1..=last + 20, last)], true).unwrap();
            // Fifteen become two.
            writer.write(&[appended(2 * n + 1, last + 6..=last + 7, last + 5)], true).unwrap();
            if n % 10 == 9 {
                let snapshot = make_snapshot(&snapshots, at(2 * n, last + 5), b"state");
                writer.record_snapshot(&snapshot).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        reading.join().unwrap()
    });
    assert!(reads > 0);
}
