use std::collections::BTreeMap;

use raft_core::{HardState, Storage, Term};

use super::*;

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn read(path: &Path) -> MemoryStorage {
    let mut storage = MemoryStorage::with_voters((1..=3).map(node));
    file::replay(&std::fs::read(path).unwrap(), &mut storage).unwrap();
    storage
}

fn job(number: u64, index: u64) -> Job {
    let (term, index) = (Term::new(1), Index::new(index));
    Job {
        number,
        entries: vec![Entry::normal(term, index, format!("command {index}").into())].into(),
        hard_state: Some(HardState { term, vote: Some(node(2)), commit: index.prev() }),
        must_sync: true,
        messages: Vec::new(),
    }
}

/// Every server applies every command once, in one order; a second run goes on from the files.
#[test]
fn all_apply_the_same_and_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for run_number in 1..=2 {
        let outcome = run(folder.path(), 200).unwrap();
        assert_eq!(outcome.len(), 3);
        let (_, first, _) = &outcome[0];
        let mut times = BTreeMap::new();
        for command in first {
            *times.entry(command.clone()).or_insert(0) += 1;
        }
        assert_eq!(times.len(), 200);
        assert!(times.values().all(|count| *count == run_number), "{times:?}");
        for (id, applied, _) in &outcome {
            assert_eq!(applied, first, "node {id}");
        }
        for id in 1..=3 {
            let stored = read(&folder.path().join(format!("node-{id}.log")));
            let commands = stored.all_entries().filter_map(Entry::data);
            assert!(commands.eq(first), "node {id}");
        }
    }
}

/// What waits when the writer gets to it is written at once, and reported when it can be read back.
#[test]
fn one_sync_covers_all_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let file = LogFile::open(&path, &mut MemoryStorage::default()).unwrap();
    let (jobs, queue) = mpsc::sync_channel(QUEUE);
    let (reporter, reports) = mpsc::channel();
    for number in 1..=5 {
        jobs.send(job(number, number)).unwrap();
    }
    let writer = thread::spawn(move || writer::run(node(1), file, &queue, &reporter));
    assert_eq!(reports.recv().unwrap().unwrap().number, 5);
    assert_eq!(read(&path).last_index().unwrap(), Index::new(5));
    jobs.send(job(6, 6)).unwrap();
    assert_eq!(reports.recv().unwrap().unwrap().number, 6);
    assert_eq!(read(&path).last_index().unwrap(), Index::new(6));
    drop(jobs);
    assert_eq!(writer.join().unwrap().0, [5, 1]);
}

/// Wherever a crash cuts the file, the rest is a state that a node starts from, and holds every frame that was whole.
#[test]
fn a_torn_tail_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut file = LogFile::open(&path, &mut MemoryStorage::default()).unwrap();
    let mut ends = vec![0];
    for number in 1..=3 {
        let Job { entries, hard_state, .. } = job(number, number);
        file.add(&entries, hard_state).unwrap();
        file.write(false).unwrap();
        ends.push(std::fs::metadata(&path).unwrap().len());
    }
    let bytes = std::fs::read(&path).unwrap();
    for length in 0..=bytes.len() {
        let whole = ends.iter().rposition(|end| *end <= length as u64).unwrap();
        let mut torn = bytes[..length].to_vec();
        // The file system may have made the file longer before it wrote the rest.
        torn.resize(bytes.len(), 0);
        for torn in [&bytes[..length], &torn] {
            std::fs::write(&path, torn).unwrap();
            let mut storage = MemoryStorage::with_voters([node(2)]);
            drop(LogFile::open(&path, &mut storage).unwrap());
            assert_eq!(storage.last_index().unwrap(), Index::new(whole as u64), "cut at {length}");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), ends[whole]);
            RawNode::new(Config::new(node(2), 0), storage).unwrap();
        }
    }
}
