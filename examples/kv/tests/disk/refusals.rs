//! What isn't this node's folder, or no sensible write, is refused by name and changes nothing.

use std::fs;

use raft_kv::disk::{Corruption, DiskError, Identity, WriteBatch, WriteRefusal};

use super::*;

#[test]
fn a_folder_of_another_node_or_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let refused = |identity: Identity| Disk::open(dir.path(), &identity, options()).unwrap_err();

    let other = refused(Identity { node: node(2), ..identity() });
    assert!(
        matches!(&other, DiskError::WrongNode { found, expected, .. } if (*found, *expected) == (node(1), node(2)))
    );
    assert!(other.to_string().contains("belongs to node 1, not to node 2"), "{other}");

    let other = refused(Identity { cluster: "else\nwhere".to_owned(), ..identity() });
    assert!(matches!(other, DiskError::WrongCluster { .. }), "{other}");
    open(dir.path()).unwrap();
}

#[test]
fn any_text_can_name_a_cluster() {
    for cluster in ["", "a\nb\nchecksum 0", "checksum x", "Ünïcode\u{0}"] {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { node: node(7), cluster: cluster.to_owned() };
        drop(Disk::open(dir.path(), &identity, options()).unwrap());
        Disk::open(dir.path(), &identity, options()).unwrap();
    }
}

#[test]
fn a_folder_in_use_is_refused_until_all_parts_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path()).unwrap();
    let in_use = open(dir.path()).unwrap_err();
    let me = std::process::id();
    assert!(matches!(in_use, DiskError::Locked { holder: Some(pid), .. } if pid == me), "{in_use}");
    let reader = disk.reader.clone();
    drop(disk);
    assert!(matches!(open(dir.path()), Err(DiskError::Locked { .. })));
    drop(reader);
    open(dir.path()).unwrap();
}

#[test]
fn a_folder_with_other_files_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(
        matches!(&error, DiskError::NotADataFolder { stranger, .. } if stranger == "thesis.txt"),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_of_a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let path = dir.path().join("IDENTITY");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("format 1", "format 2")).unwrap();
    assert!(matches!(open(dir.path()), Err(DiskError::UnknownFormat { found: 2, supported: 1, .. })));
    fs::write(&path, text.replace("node 1", "node 3")).unwrap();
    assert!(matches!(open(dir.path()), Err(DiskError::Corrupt { what: Corruption::Identity, .. })));
}

#[test]
fn a_folder_that_lost_a_file_is_not_taken_for_a_new_one() {
    for lost in ["IDENTITY", "log.redb", "ACKNOWLEDGED"] {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = open(dir.path()).unwrap();
        disk.writer.write(&[appended(1, 1..=3, 3)], true).unwrap();
        drop(disk);
        fs::remove_file(dir.path().join(lost)).unwrap();
        let error = open(dir.path()).unwrap_err();
        let missing =
            matches!(&error, DiskError::Corrupt { what: Corruption::Missing(name), .. } if *name == lost);
        assert!(missing, "{lost}: {error}");
        assert!(error.to_string().contains("add it again with an empty folder"), "{error}");
    }
}

#[test]
fn a_folder_whose_making_was_interrupted_is_made_anew() {
    for present in [
        &["LOCK"][..],
        &["LOCK", "log.redb.tmp"],
        &["LOCK", "log.redb"],
        &["LOCK", "log.redb", "ACKNOWLEDGED"],
    ] {
        let whole = tempfile::tempdir().unwrap();
        drop(open(whole.path()).unwrap());
        let dir = tempfile::tempdir().unwrap();
        for name in present {
            match *name {
                "log.redb.tmp" => fs::write(dir.path().join(name), [0; 100]).unwrap(),
                _ => drop(fs::copy(whole.path().join(name), dir.path().join(name)).unwrap()),
            }
        }
        let disk = open(dir.path()).unwrap();
        assert_eq!(disk.reader.initial_state(), (HardState::default(), members()));
    }
}

#[test]
fn a_path_that_is_no_folder_is_an_error_of_the_operating_system() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(open(&file), Err(DiskError::Io { .. })));
}

#[test]
fn a_write_that_makes_no_sense_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap();
    disk.writer.write(&[appended(2, 1..=9, 9)], true).unwrap();
    let snapshot = make_snapshot(&disk.snapshots, at(2, 9), b"state");
    disk.writer.record_snapshot(&snapshot).unwrap();

    let nowhere = Snapshot { metadata: metadata(at(2, 30)), data: Bytes::from_static(b"KVS1?") };
    let mut never_made = snapshot.clone();
    never_made.metadata.index = index(12);
    let mut gap = appended(2, 10..=12, 9);
    let all_but_one = gap.entries.iter().filter(|entry| entry.index != index(11)).cloned();
    gap.entries = all_but_one.collect::<Vec<_>>().into();
    let installs =
        |snapshot: &Snapshot| WriteBatch { snapshot: Some(snapshot.clone()), ..WriteBatch::default() };
    let votes = |hard_state| WriteBatch { hard_state: Some(hard_state), ..WriteBatch::default() };
    let cases = [
        (appended(2, 12..=13, 9), WriteRefusal::Gap { last: index(10), first: index(12) }),
        (appended(2, 3..=12, 9), WriteRefusal::Compacted(index(3))),
        (gap, WriteRefusal::NotContiguous(index(12))),
        (appended(1, 10..=12, 9), WriteRefusal::TermDescends(index(10))),
        (appended(2, 10..=12, 13), WriteRefusal::CommitBeyondLog { commit: index(13), last: index(12) }),
        (votes(hard_state(1, 9)), WriteRefusal::TermGoesBack { from: Term::new(2), to: Term::new(1) }),
        (
            votes(HardState { vote: NodeId::new(3), ..hard_state(2, 9) }),
            WriteRefusal::SecondVote(Term::new(2)),
        ),
        (
            WriteBatch { entries: entries(3, 11..=11).into(), ..WriteBatch::default() },
            WriteRefusal::TermBehindLog(index(11)),
        ),
        (installs(&nowhere), WriteRefusal::SnapshotDescriptor),
        (installs(&never_made), WriteRefusal::SnapshotDescriptor),
    ];
    for (batch, expected) in cases {
        // Also behind a batch that is in order.
        let error = disk.writer.write(&[appended(2, 10..=10, 9), batch], true).unwrap_err();
        assert!(matches!(error, DiskError::Refused(why) if why == expected), "{error}, expected {expected}");
    }
    assert_eq!(read_all(&disk), entries(2, 6..=9));
    disk.writer.write(&[appended(3, 10..=10, 10)], true).unwrap();
    drop(disk);
    assert_eq!(read_all(&open(dir.path()).unwrap()).last(), Some(&entry(3, 10)));
}
