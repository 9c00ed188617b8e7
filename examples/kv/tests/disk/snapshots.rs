//! Snapshot files: made, sent, received, installed; and refused if they aren't what they should be.

use std::fs;
use std::io::Read;

use raft_kv::disk::snapshot::{SnapshotDescriptor, SnapshotError, SnapshotReceiver};
use raft_kv::disk::{Corruption, DiskError, ReadError, WriteBatch, WriteRefusal};

use super::*;

/// Longer than any buffer on the way, and of no round length.
fn long_state() -> Vec<u8> {
    (0..700_123_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn snapshot_files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("snapshot-")).collect();
    names.sort();
    names
}

fn transfer(from: &SnapshotStore, snapshot: &Snapshot, mut receiver: SnapshotReceiver) -> SnapshotDescriptor {
    let descriptor = SnapshotDescriptor::of(snapshot).unwrap();
    let mut reader = from.send(&descriptor).unwrap();
    while let Some(chunk) = reader.next_chunk(10_007).unwrap() {
        assert!(chunk.len() <= 10_007);
        receiver.push(&chunk).unwrap();
    }
    assert_eq!(receiver.received(), descriptor.size);
    receiver.finish().unwrap()
}

fn read_state(store: &SnapshotStore, descriptor: &SnapshotDescriptor) -> std::io::Result<Vec<u8>> {
    let mut state = Vec::new();
    let mut file = store.open(descriptor).map_err(std::io::Error::other)?;
    file.read_to_end(&mut state).map(|_| state)
}

#[test]
fn a_snapshot_goes_from_one_node_to_another_and_replaces_its_log() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sender = open(here.path()).unwrap();
    sender.writer.write(&[appended(2, 1..=30, 30)], true).unwrap();
    let snapshot = make_snapshot(&sender.snapshots, at(2, 25), &long_state());
    sender.writer.record_snapshot(&snapshot).unwrap();
    assert_eq!(sender.reader.first_index(), index(22));
    assert_eq!(sender.reader.snapshot(index(25), node(2)).unwrap(), snapshot);

    let mut receiver = open(there.path()).unwrap();
    receiver.writer.write(&[appended(1, 1..=40, 0)], true).unwrap();
    let descriptor = SnapshotDescriptor::of(&snapshot).unwrap();
    assert!(!receiver.snapshots.has(&descriptor));
    let receiving = receiver.snapshots.receive(descriptor).unwrap();
    assert_eq!(transfer(&sender.snapshots, &snapshot, receiving), descriptor);
    assert!(receiver.snapshots.has(&descriptor));

    let batch = WriteBatch {
        snapshot: Some(snapshot.clone()),
        entries: entries(2, 26..=27).into(),
        hard_state: Some(hard_state(2, 25)),
        ..WriteBatch::default()
    };
    receiver.writer.write(&[batch], true).unwrap();
    for _ in 0..2 {
        assert_eq!(read_all(&receiver), entries(2, 26..=27));
        assert_eq!(receiver.reader.latest_snapshot(), Some(snapshot.clone()));
        assert_eq!(receiver.reader.initial_state(), (hard_state(2, 25), members()));
        assert_eq!(read_state(&receiver.snapshots, &descriptor).unwrap(), long_state());
        drop(receiver);
        receiver = open(there.path()).unwrap();
        assert_eq!(receiver.reader.applied_at_start(), index(25));
    }
}

#[test]
fn states_of_all_lengths_around_a_chunk_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path()).unwrap();
    let chunk = 64 << 10;
    for len in [0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk] {
        let state = &long_state()[..len];
        let snapshot = make_snapshot(&disk.snapshots, at(1, 1), state);
        let descriptor = SnapshotDescriptor::of(&snapshot).unwrap();
        assert_eq!(read_state(&disk.snapshots, &descriptor).unwrap(), state);
    }
}

#[test]
fn what_is_not_finished_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path()).unwrap();
    let snapshot = make_snapshot(&disk.snapshots, at(1, 1), b"whole");
    let descriptor = SnapshotDescriptor::of(&snapshot).unwrap();
    let before = snapshot_files(dir.path());

    let mut writer = disk.snapshots.create(metadata(at(1, 2))).unwrap();
    writer.write_all(&long_state()).unwrap();
    let mut receiver = disk.snapshots.receive(descriptor).unwrap();
    receiver.push(b"RKV").unwrap();
    assert_eq!(snapshot_files(dir.path()).len(), before.len() + 2);
    drop((writer, receiver));
    assert_eq!(snapshot_files(dir.path()), before);
}

#[test]
fn a_received_file_that_is_not_what_was_announced_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path()).unwrap();
    let snapshot = make_snapshot(&disk.snapshots, at(1, 1), &long_state()[..1000]);
    let descriptor = SnapshotDescriptor::of(&snapshot).unwrap();
    let name = snapshot_files(dir.path()).remove(0);
    let whole = fs::read(dir.path().join(name)).unwrap();
    let receive = |descriptor: SnapshotDescriptor, bytes: &[u8]| {
        let mut receiver = disk.snapshots.receive(descriptor)?;
        receiver.push(bytes)?;
        receiver.finish()
    };
    receive(descriptor, &whole).unwrap();

    let damaged = |result| assert!(matches!(result, Err(SnapshotError::Damaged(_))), "{result:?}");
    damaged(receive(descriptor, &whole[..whole.len() - 1]));
    damaged(receive(descriptor, &[&whole[..], b"!"].concat()));
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        damaged(receive(descriptor, &flipped));
    }
    // A digest that fits bytes that are no snapshot.
    let nonsense = vec![7; 100];
    let digest = xxhash_rust::xxh3::xxh3_64(&nonsense);
    damaged(receive(SnapshotDescriptor { size: 100, digest, ..descriptor }, &nonsense));
    // Or that of another position.
    damaged(receive(SnapshotDescriptor { index: index(9), ..descriptor }, &whole));
    assert_eq!(snapshot_files(dir.path()).len(), 1);
}

/// Whoever restores from it sees no more than the chunk before the damage.
#[test]
fn a_damaged_chunk_is_found_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path()).unwrap();
    let snapshot = make_snapshot(&disk.snapshots, at(1, 1), &long_state());
    let descriptor = SnapshotDescriptor::of(&snapshot).unwrap();
    let path = dir.path().join(snapshot_files(dir.path()).remove(0));
    let mut bytes = fs::read(&path).unwrap();
    bytes[300_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut seen = Vec::new();
    let error = disk.snapshots.open(&descriptor).unwrap().read_to_end(&mut seen).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(seen.len() <= 300_000 && long_state().starts_with(&seen));

    let mut reader = disk.snapshots.send(&descriptor).unwrap();
    let sent = std::iter::from_fn(|| reader.next_chunk(1 << 20).transpose()).last();
    assert!(matches!(sent, Some(Err(SnapshotError::Damaged(_)))), "{sent:?}");
}

/// A file that is sound, and another one than was recorded.
#[test]
fn another_snapshot_of_the_same_position_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path()).unwrap();
    let one = SnapshotDescriptor::of(&make_snapshot(&disk.snapshots, at(1, 1), b"one")).unwrap();
    let name_of_one = snapshot_files(dir.path()).remove(0);
    make_snapshot(&disk.snapshots, at(1, 1), b"two");
    let name_of_two = snapshot_files(dir.path()).into_iter().find(|name| *name != name_of_one).unwrap();
    fs::copy(dir.path().join(name_of_two), dir.path().join(name_of_one)).unwrap();
    assert_eq!(read_state(&disk.snapshots, &one).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn only_the_latest_snapshot_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap();
    disk.writer.write(&[appended(1, 1..=30, 30)], true).unwrap();
    let [first, second] = [10, 20].map(|n| make_snapshot(&disk.snapshots, at(1, n), b"state"));
    disk.writer.record_snapshot(&second).unwrap();
    assert_eq!(snapshot_files(dir.path()).len(), 1);
    let gone = SnapshotDescriptor::of(&first).unwrap();
    assert!(matches!(disk.snapshots.open(&gone), Err(SnapshotError::Gone)));

    // One that was overtaken is no error, and removed.
    let late = make_snapshot(&disk.snapshots, at(1, 15), b"state");
    disk.writer.record_snapshot(&late).unwrap();
    assert_eq!(disk.reader.latest_snapshot(), Some(second.clone()));
    assert_eq!(snapshot_files(dir.path()).len(), 1);

    // One that was received and never installed is removed at the next start.
    make_snapshot(&disk.snapshots, at(1, 29), b"state");
    fs::write(dir.path().join("snapshot-7.tmp"), "unfinished").unwrap();
    drop(disk);
    let disk = open(dir.path()).unwrap();
    assert_eq!(snapshot_files(dir.path()).len(), 1);
    assert_eq!(disk.reader.latest_snapshot(), Some(second));
}

#[test]
fn a_snapshot_that_was_asked_for_in_vain_is_wished_for() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path()).unwrap();
    assert_eq!(disk.reader.wanted_snapshot(), None);
    assert!(matches!(disk.reader.snapshot(index(5), node(2)), Err(ReadError::NoSnapshot)));
    assert_eq!(disk.reader.wanted_snapshot(), Some(index(5)));
    assert_eq!(disk.reader.wanted_snapshot(), None);
}

#[test]
fn a_snapshot_must_lie_in_the_log_or_have_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap();
    disk.writer.write(&[appended(2, 1..=9, 9)], true).unwrap();
    for position in [at(1, 5), at(2, 12)] {
        let snapshot = make_snapshot(&disk.snapshots, position, b"state");
        let error = disk.writer.record_snapshot(&snapshot).unwrap_err();
        assert!(
            matches!(error, DiskError::Refused(WriteRefusal::SnapshotNotInLog(p)) if p == position),
            "{error}"
        );
    }
    let there = make_snapshot(&disk.snapshots, at(2, 20), b"state");
    for name in snapshot_files(dir.path()) {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let batch = WriteBatch { snapshot: Some(there), ..WriteBatch::default() };
    let error = disk.writer.write(&[batch], true).unwrap_err();
    assert!(
        matches!(error, DiskError::Refused(WriteRefusal::SnapshotMissing(p)) if p == at(2, 20)),
        "{error}"
    );
}

#[test]
fn a_folder_without_its_snapshot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap();
    disk.writer.write(&[appended(2, 1..=9, 9)], true).unwrap();
    let snapshot = make_snapshot(&disk.snapshots, at(2, 9), b"state");
    disk.writer.record_snapshot(&snapshot).unwrap();
    drop(disk);
    let path = dir.path().join(snapshot_files(dir.path()).remove(0));
    let whole = fs::read(&path).unwrap();
    for damage in [Some(&whole[..whole.len() - 1]), Some(&[0; 80][..]), None] {
        fs::remove_file(&path).unwrap();
        if let Some(bytes) = damage {
            fs::write(&path, bytes).unwrap();
        }
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, DiskError::Corrupt { what: Corruption::Snapshot(_), .. }), "{error}");
        if damage.is_none() {
            fs::write(&path, &whole).unwrap();
        }
    }
    open(dir.path()).unwrap();
}

#[test]
fn a_snapshot_commits_what_it_covers_even_if_the_hard_state_says_so_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap();
    disk.writer.write(&[appended(2, 1..=9, 3)], true).unwrap();
    let snapshot = make_snapshot(&disk.snapshots, at(2, 8), b"state");
    disk.writer.record_snapshot(&snapshot).unwrap();
    let late = WriteBatch { hard_state: Some(hard_state(3, 5)), ..WriteBatch::default() };
    disk.writer.write(&[late], true).unwrap();
    drop(disk);
    assert_eq!(open(dir.path()).unwrap().reader.initial_state().0, hard_state(3, 8));
}
