//! Flipped bits and torn files: the folder says so, or gives exactly what was acknowledged.

use std::fs;
use std::path::PathBuf;
use std::sync::Once;

use raft_kv::disk::{Corruption, DiskError};

use super::crash::fastrand_like;
use super::*;

/// The engine's panics over damage are expected, and turned into errors; they needn't be printed.
fn silence_the_engine() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|location| location.file().contains("redb")) {
                others(panic);
            }
        }));
    });
}

/// A folder with a history; what it holds.
fn history(dir: &Path) -> Vec<Entry> {
    let mut disk = open(dir).unwrap();
    for n in 0..12 {
        disk.writer.write(&[appended(1 + n / 4, n * 5 + 1..=n * 5 + 5, n * 4)], true).unwrap();
    }
    let snapshot = make_snapshot(&disk.snapshots, at(2, 40), &[7; 5000]);
    disk.writer.record_snapshot(&snapshot).unwrap();
    disk.writer.write(&[appended(4, 59..=70, 58)], true).unwrap();
    read_all(&disk)
}

/// The folder's files as they are.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// A folder with these files.
fn lay_out(files: &[(PathBuf, Vec<u8>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        fs::write(dir.path().join(path.file_name().unwrap()), content).unwrap();
    }
    dir
}

/// The folder as a killed process leaves it: copied while it is open.
fn killed(history: impl FnOnce(&mut Disk)) -> (Vec<(PathBuf, Vec<u8>)>, Vec<Entry>) {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap();
    history(&mut disk);
    (files(dir.path()), read_all(&disk))
}

fn flip_everywhere(files: &[(PathBuf, Vec<u8>)], name: &str, stride: usize, expected: &[Entry]) {
    let mut chance = fastrand_like(stride as u64);
    let at = files.iter().position(|(path, _)| path.file_name().unwrap() == name).unwrap();
    let len = files[at].1.len();
    let (mut refused, mut intact) = (0, 0);
    let mut place = 0;
    while place < len {
        let mut damaged = files.to_vec();
        damaged[at].1[place] ^= 1 << (chance() % 8);
        match open(lay_out(&damaged).path()) {
            Ok(disk) => {
                assert_eq!(read_all(&disk), expected, "{name}, byte {place}: other data without an error");
                intact += 1;
            }
            // One bit makes another format of the first.
            Err(DiskError::Corrupt { .. } | DiskError::UnknownFormat { .. }) => refused += 1,
            Err(error) => panic!("{name}, byte {place}: {error:?}"),
        }
        // Most of the engine's head, samples of the rest.
        let step = if place < 330 { 2 } else { stride as u64 };
        place += 1 + (chance() % step) as usize;
    }
    assert!(refused > 0, "no flip in {name} was found out ({intact} did no harm)");
}

#[test]
fn a_flipped_bit_in_a_closed_log_is_found_out_or_does_no_harm() {
    silence_the_engine();
    let dir = tempfile::tempdir().unwrap();
    let expected = history(dir.path());
    flip_everywhere(&files(dir.path()), "log.redb", 3000, &expected);
}

#[test]
fn a_flipped_bit_in_the_log_of_a_killed_process_is_found_out_or_does_no_harm() {
    silence_the_engine();
    let (files, expected) = killed(|disk| {
        for n in 0..12 {
            disk.writer.write(&[appended(1 + n / 4, n * 5 + 1..=n * 5 + 5, n * 4)], true).unwrap();
        }
    });
    flip_everywhere(&files, "log.redb", 3000, &expected);
    flip_everywhere(&files, "IDENTITY", 1, &expected);
}

/// The engine goes back to the write before if the pages of the last one are damaged; the witness tells.
#[test]
fn rot_in_the_last_acknowledged_write_is_not_taken_for_a_torn_one() {
    let (before, _) = killed(|disk| disk.writer.write(&[appended(1, 1..=50, 0)], true).unwrap());
    let (after, expected) = killed(|disk| {
        disk.writer.write(&[appended(1, 1..=50, 0)], true).unwrap();
        disk.writer.write(&[appended(1, 51..=60, 0)], true).unwrap();
    });
    let log = |files: &[(PathBuf, Vec<u8>)]| {
        files.iter().position(|(path, _)| path.file_name().unwrap() == "log.redb").unwrap()
    };
    let old = &before[log(&before)].1;
    let mut refusals = 0;
    // A page of the last write at a time.
    for page in 1..after[log(&after)].1.len() / 4096 {
        let mut damaged = after.clone();
        let new = &mut damaged[log(&after)].1;
        let place = page * 4096..(page + 1) * 4096;
        if old.get(place.clone()) == Some(&new[place.clone()]) {
            continue;
        }
        new[place].fill(0xa5);
        match open(lay_out(&damaged).path()) {
            Ok(disk) => assert_eq!(read_all(&disk), expected),
            Err(DiskError::Corrupt { what: Corruption::AcknowledgedWriteLost { .. }, .. }) => refusals += 1,
            Err(DiskError::Corrupt { .. }) => {}
            Err(error) => panic!("page {page}: {error:?}"),
        }
    }
    assert!(refusals > 0, "the engine never went back");
}

/// A write that was on its way when the power failed, and was never acknowledged, is rolled back without
/// complaint.
#[test]
fn a_torn_write_that_was_never_acknowledged_is_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap();
    disk.writer.write(&[appended(1, 1..=50, 0)], true).unwrap();
    let (before, old) = (files(dir.path()), read_all(&disk));
    disk.writer.write(&[appended(1, 51..=60, 0)], true).unwrap();
    let (after, new) = (files(dir.path()), read_all(&disk));
    let content = |files: &[(PathBuf, Vec<u8>)], name: &str| {
        files.iter().find(|(path, _)| path.file_name().unwrap() == name).unwrap().1.clone()
    };
    let (log_before, log_after) = (content(&before, "log.redb"), content(&after, "log.redb"));
    let mut chance = fastrand_like(3);
    let (mut rolled_back, mut whole) = (0, 0);
    for _ in 0..60 {
        // Any part of its sectors reached the disk; the acknowledgement didn't.
        let mut torn = log_before.clone();
        torn.resize(log_after.len(), 0);
        let percent = chance() % 101;
        for sector in 0..log_after.len() / 512 {
            if chance() % 100 < percent {
                let place = sector * 512..(sector + 1) * 512;
                torn[place.clone()].copy_from_slice(&log_after[place]);
            }
        }
        let folder: Vec<_> = before
            .iter()
            .map(|(path, bytes)| {
                let is_log = path.file_name().unwrap() == "log.redb";
                (path.clone(), if is_log { torn.clone() } else { bytes.clone() })
            })
            .collect();
        let found = read_all(&open(lay_out(&folder).path()).unwrap());
        assert!(found == old || found == new, "neither the state before nor the one after");
        if found == old { rolled_back += 1 } else { whole += 1 }
    }
    assert!(rolled_back > 0 && whole > 0, "{rolled_back} rolled back, {whole} whole");
}

#[test]
fn a_log_that_was_cut_is_refused() {
    silence_the_engine();
    let dir = tempfile::tempdir().unwrap();
    let expected = history(dir.path());
    let whole = files(dir.path());
    let at = whole.iter().position(|(path, _)| path.file_name().unwrap() == "log.redb").unwrap();
    let len = whole[at].1.len();
    for keep in [0, 1, 100, 512, 4096, len / 2, len - 4096, len - 1] {
        let mut cut = whole.clone();
        cut[at].1.truncate(keep);
        match open(lay_out(&cut).path()) {
            Ok(disk) => assert_eq!(read_all(&disk), expected),
            Err(error) => assert!(matches!(error, DiskError::Corrupt { .. }), "{keep} bytes: {error:?}"),
        }
    }
}

#[test]
fn a_damaged_witness_is_survived_if_one_half_is_whole() {
    let (files, expected) = killed(|disk| {
        disk.writer.write(&[appended(1, 1..=5, 0)], true).unwrap();
        disk.writer.write(&[appended(1, 6..=9, 0)], true).unwrap();
    });
    flip_both(&files, &[3], Some(&expected));
    flip_both(&files, &[4096 + 9], Some(&expected));
    flip_both(&files, &[3, 4096 + 9], None);
}

fn flip_both(files: &[(PathBuf, Vec<u8>)], places: &[usize], expected: Option<&[Entry]>) {
    let mut damaged = files.to_vec();
    let witness = damaged.iter_mut().find(|(path, _)| path.file_name().unwrap() == "ACKNOWLEDGED").unwrap();
    places.iter().for_each(|place| witness.1[*place] ^= 1);
    match (open(lay_out(&damaged).path()), expected) {
        (Ok(disk), Some(expected)) => assert_eq!(read_all(&disk), expected),
        (Err(DiskError::Corrupt { what: Corruption::Witness, .. }), None) => {}
        (other, _) => panic!("{other:?}"),
    }
}
