//! Asks a storage for everything, and compares the answers with what they should be.

use std::ops::Range;

use raft_core::{Entries, Entry, Index, NodeId, Snapshot, Storage, StorageError};

use super::Subject;
use super::failure::{Broken, Rule};
use super::twin::State;

/// The index of the first entry.
pub(super) fn first<T: Subject>(subject: &T) -> Result<Index, Broken> {
    subject.storage().first_index().map_err(|error| wrong(Rule::Bounds, "first_index()", "an index", error))
}

/// Is everything in the storage as in this state?
pub(super) fn compare<T: Subject>(subject: &mut T, state: &State) -> Result<(), Broken> {
    compare_initial(subject.storage(), state)?;
    let first = compare_bounds(subject, state)?;
    compare_terms(subject.storage(), state, first)?;
    compare_entries(subject, state, first)?;
    compare_outside(subject, state, first)?;
    compare_snapshot(subject.storage(), state)
}

/// The same in short: the entries are asked for once.
pub(super) fn compare_once<T: Subject>(subject: &mut T, state: &State) -> Result<(), Broken> {
    compare_initial(subject.storage(), state)?;
    let first = compare_bounds(subject, state)?;
    compare_terms(subject.storage(), state, first)?;
    let there: Vec<&Entry> = state.entries.iter().filter(|entry| entry.index >= first).collect();
    if !there.is_empty() {
        compare_range(subject, &there, u64::MAX)?;
    }
    compare_outside(subject, state, first)?;
    compare_snapshot(subject.storage(), state)
}

fn wrong(rule: Rule, call: &str, expected: &str, error: StorageError) -> Broken {
    Broken::new(rule, format!("{call} is {expected}"), error.to_string())
}

/// An answer that should be equal to this.
fn equal<V: PartialEq + std::fmt::Debug>(
    rule: Rule,
    call: impl Fn() -> String,
    expected: &V,
    found: Result<V, StorageError>,
) -> Result<(), Broken> {
    match found {
        Ok(found) if found == *expected => Ok(()),
        Ok(found) => Err(Broken::new(rule, format!("{} is {expected:?}", call()), format!("{found:?}"))),
        Err(error) => Err(wrong(rule, &call(), &format!("{expected:?}"), error)),
    }
}

fn compare_initial<S: Storage>(storage: &S, state: &State) -> Result<(), Broken> {
    let initial = storage.initial_state();
    let initial = initial.map_err(|error| wrong(Rule::HardState, "initial_state()", "known", error))?;
    let call = || "the hard state of initial_state()".to_owned();
    equal(Rule::HardState, call, &state.hard_state, Ok(initial.hard_state))?;
    let call = || "the configuration of initial_state()".to_owned();
    equal(Rule::ConfState, call, &state.conf_state, Ok(initial.conf_state))?;
    equal(Rule::Lost, || "what initial_state() says is lost".to_owned(), &state.lost, Ok(initial.lost))
}

fn compare_bounds<T: Subject>(subject: &T, state: &State) -> Result<Index, Broken> {
    let last = state.last().index;
    equal(Rule::Bounds, || "last_index()".to_owned(), &last, subject.storage().last_index())?;
    let first = first(subject)?;
    let (least, most) = (state.base.index.next(), state.droppable.next());
    if first < least {
        let expected = format!("first_index() is {least} or above, behind the snapshot that was received");
        return Err(Broken::new(Rule::Bounds, expected, first.to_string()));
    }
    if first > most {
        let expected = format!("first_index() is {most} at most: no more may be dropped");
        return Err(Broken::new(Rule::Compaction, expected, first.to_string()));
    }
    Ok(first)
}

fn compare_terms<S: Storage>(storage: &S, state: &State, first: Index) -> Result<(), Broken> {
    let mut index = first.prev();
    while let Some(term) = state.term(index) {
        equal(Rule::Terms, || format!("term({index})"), &term, storage.term(index))?;
        index = index.next();
    }
    Ok(())
}

/// How often a storage that fetches entries is asked.
const ASKED: u32 = 100;

/// Reads a range; where it must be fetched, until it is.
fn read<T: Subject>(
    subject: &mut T,
    range: Range<Index>,
    limit: u64,
) -> Result<Result<Entries, StorageError>, Broken> {
    let mut result = Err(StorageError::Fetching);
    for _ in 0..ASKED {
        result = subject.storage().entries(range.clone(), limit);
        if !matches!(result, Err(StorageError::Fetching)) {
            break;
        }
        subject.wait_until_fetched();
    }
    Ok(result)
}

/// Every short range, and long ones from every start, under limits that cut them.
fn compare_entries<T: Subject>(subject: &mut T, state: &State, first: Index) -> Result<(), Broken> {
    let there: Vec<&Entry> = state.entries.iter().filter(|entry| entry.index >= first).collect();
    for skip in 0..there.len() {
        let left = &there[skip..];
        for len in (1..=left.len().min(3)).chain([left.len()]) {
            let wanted = &left[..len];
            let sizes =
                |count: usize| wanted.iter().take(count).map(|entry| entry.encoded_len()).sum::<u64>();
            for limit in [u64::MAX, 0, sizes(1) + 1, sizes(2), sizes(2).saturating_sub(1), sizes(len) - 1] {
                compare_range(subject, wanted, limit)?;
            }
        }
    }
    Ok(())
}

fn compare_range<T: Subject>(subject: &mut T, wanted: &[&Entry], limit: u64) -> Result<(), Broken> {
    let range = wanted[0].index..wanted[wanted.len() - 1].index.next();
    let mut sum = 0_u64;
    let fits = |entry: &&&Entry| {
        sum = sum.saturating_add(entry.encoded_len());
        sum <= limit
    };
    let count = wanted.iter().take_while(fits).count().max(1);
    let call = format!("entries({}..{}, {limit})", range.start, range.end);
    let found = read(subject, range, limit)?;
    let found = found.map_err(|error| wrong(Rule::Entries, &call, &format!("{count} entries"), error))?;
    let differ = found.iter().zip(wanted).find(|(found, wanted)| found != *wanted);
    if let Some((found, wanted)) = differ {
        let expected = format!("{call} has {:?} at {}", shown(wanted), wanted.index);
        return Err(Broken::new(Rule::Entries, expected, format!("{:?}", shown(found))));
    }
    if found.is_empty() || found.len() > count {
        // More than were asked for is no matter of the limit.
        let rule = if found.len() > wanted.len() { Rule::Entries } else { Rule::ByteLimit };
        let bytes: Vec<u64> = wanted.iter().map(|entry| entry.encoded_len()).collect();
        let expected = format!("{call} gives one to {count} of the entries of {bytes:?} bytes");
        return Err(Broken::new(rule, expected, format!("{} of them", found.len())));
    }
    Ok(())
}

/// An entry without most of its bytes.
fn shown(entry: &Entry) -> Entry {
    match entry.data() {
        Some(data) if data.len() > 40 => Entry::normal(entry.term, entry.index, data.slice(..40)),
        _ => entry.clone(),
    }
}

/// Before and behind the log.
fn compare_outside<T: Subject>(subject: &mut T, state: &State, first: Index) -> Result<(), Broken> {
    let last = state.last().index;
    let refused = |rule: Rule, call: String, result: Result<String, StorageError>| {
        let expected = match (rule, &result) {
            (Rule::Compacted, Err(StorageError::Compacted)) => return Ok(()),
            (Rule::Unavailable, Err(StorageError::Unavailable)) => return Ok(()),
            (Rule::Compacted, _) => "Compacted",
            _ => "Unavailable",
        };
        let found = result.unwrap_or_else(|error| format!("the error \"{error}\""));
        Err(Broken::new(rule, format!("{call} is refused as {expected}"), found))
    };
    let term = |subject: &T, index: Index| subject.storage().term(index).map(|term| format!("term {term}"));
    let counted =
        |entries: Result<Entries, StorageError>| entries.map(|found| format!("{} entries", found.len()));
    for index in [last.next(), last.plus(100), Index::LIMIT] {
        refused(Rule::Unavailable, format!("term({index})"), term(subject, index))?;
        let found = counted(read(subject, first..index.next(), u64::MAX)?);
        refused(Rule::Unavailable, format!("entries({first}..{})", index.next()), found)?;
    }
    let before = first.prev();
    if before.is_zero() {
        return Ok(());
    }
    refused(Rule::Compacted, format!("term({})", before.prev()), term(subject, before.prev()))?;
    for start in [before, before.prev()] {
        let found = counted(read(subject, start..first.max(last), u64::MAX)?);
        refused(Rule::Compacted, format!("entries({start}..{})", first.max(last)), found)?;
    }
    Ok(())
}

fn compare_snapshot<S: Storage>(storage: &S, state: &State) -> Result<(), Broken> {
    let Some(to) = NodeId::new(2) else { return Ok(()) };
    let latest = state.snapshot.as_ref().map_or(Index::ZERO, |snapshot| snapshot.metadata.index);
    for at_least in [Index::ZERO, latest.prev(), latest, latest.next(), latest.plus(50)] {
        let found = storage.snapshot(at_least, to);
        let call = || format!("snapshot({at_least}, 2)");
        match &state.snapshot {
            Some(snapshot) if at_least <= latest => {
                equal::<Snapshot>(Rule::Snapshot, call, snapshot, found)?;
            }
            _ => match found {
                Err(StorageError::SnapshotTemporarilyUnavailable) => {}
                Err(error) => {
                    return Err(wrong(Rule::NoSnapshot, &call(), "SnapshotTemporarilyUnavailable", error));
                }
                Ok(found) => {
                    let expected = format!("{} is SnapshotTemporarilyUnavailable", call());
                    return Err(Broken::new(Rule::NoSnapshot, expected, format!("{found:?}")));
                }
            },
        }
    }
    Ok(())
}
