//! Is a history linearizable? A search over the orders that the clients can't exclude (Wing and Gong), for one key.

use std::collections::{BTreeSet, HashSet};

/// What a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Get,
    Put(u64),
    Delete,
    /// Put the second if it's the first now.
    Swap(Option<u64>, u64),
}

/// What it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The value that was read.
    Value(Option<u64>),
    Done,
    /// The swap found this.
    Found(Option<u64>),
    /// Nothing, or that nobody knows.
    Unknown,
}

/// A request, from when to when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) ask: Ask,
    pub(crate) told: Told,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// The value afterwards, if the request can have been told this where `value` was the value before.
fn step(value: Option<u64>, call: &Call) -> Option<Option<u64>> {
    let (told, after) = match call.ask {
        Ask::Get => (Told::Value(value), value),
        Ask::Put(new) => (Told::Done, Some(new)),
        Ask::Delete => (Told::Done, None),
        Ask::Swap(expected, new) if expected == value => (Told::Done, Some(new)),
        Ask::Swap(..) => (Told::Found(value), value),
    };
    (call.told == told || call.told == Told::Unknown).then_some(after)
}

/// Is there an order of the calls, each at a moment between its begin and its end, that explains all answers? One whose
/// outcome is unknown may come at any moment after its begin, or never.
pub(crate) fn is_linearizable(calls: &[Call]) -> bool {
    // Values are unique. A write of unknown outcome whose value nobody met can come last: it needs no place.
    let met: HashSet<u64> = calls.iter().filter_map(value_met).collect();
    let matters = |call: &&Call| match (call.told, call.ask) {
        (Told::Unknown, Ask::Get) => false,
        (Told::Unknown, Ask::Put(value) | Ask::Swap(_, value)) => met.contains(&value),
        _ => true,
    };
    let end = |call: &Call| if call.told == Told::Unknown { u64::MAX } else { call.to };
    let mut calls: Vec<Call> =
        calls.iter().filter(matters).map(|call| Call { to: end(call), ..*call }).collect();
    calls.sort_by_key(|call| call.from);
    let mut seen = HashSet::new();
    // A node of the search: all calls before this place have happened, and these beyond it; and the value they left.
    let mut open = vec![(0, BTreeSet::<usize>::new(), None)];
    while let Some((prefix, beyond, value)) = open.pop() {
        // The next is one that began before any that hasn't happened came to its end.
        let mut first_end = u64::MAX;
        let mut next = Vec::new();
        for (place, call) in
            calls.iter().enumerate().skip(prefix).filter(|(place, _)| !beyond.contains(place))
        {
            if call.from > first_end {
                break;
            }
            first_end = first_end.min(call.to);
            next.push((place, call));
        }
        next.retain(|(_, call)| call.from <= first_end);
        if first_end == u64::MAX {
            return true;
        }
        // The one that ended first is the likeliest: it is tried first, those of unknown outcome last.
        next.sort_by_key(|(_, call)| std::cmp::Reverse(call.to));
        let mut deleted = false;
        for (place, call) in next {
            let Some(after) = step(value, call) else { continue };
            // One of unknown outcome that changes nothing here is as good as one that never comes, and of the deletes
            // among them, one is as good as another.
            if call.told == Told::Unknown {
                let delete = call.ask == Ask::Delete;
                if after == value || (delete && deleted) {
                    continue;
                }
                deleted |= delete;
            }
            let (mut prefix, mut beyond) = (prefix, beyond.clone());
            beyond.insert(place);
            while beyond.remove(&prefix) {
                prefix += 1;
            }
            if seen.insert((prefix, beyond.clone(), after)) {
                open.push((prefix, beyond, after));
            }
        }
    }
    false
}

/// The value that a call shows to have been there.
fn value_met(call: &Call) -> Option<u64> {
    match (call.told, call.ask) {
        (Told::Value(value) | Told::Found(value), _) => value,
        (Told::Done, Ask::Swap(expected, _)) => expected,
        _ => None,
    }
}

fn call(ask: Ask, told: Told, from: u64, to: u64) -> Call {
    Call { ask, told, from, to }
}

#[test]
fn what_is_linearizable_is_found_to_be() {
    let put = |value, from, to| call(Ask::Put(value), Told::Done, from, to);
    let get = |value, from, to| call(Ask::Get, Told::Value(value), from, to);
    assert!(is_linearizable(&[]));
    assert!(is_linearizable(&[put(1, 0, 9), get(None, 1, 2), get(Some(1), 3, 4)]));
    assert!(is_linearizable(&[put(1, 0, 1), put(2, 2, 9), get(Some(2), 3, 4), get(Some(2), 5, 6)]));
    let unknown = call(Ask::Put(2), Told::Unknown, 2, 3);
    assert!(is_linearizable(&[put(1, 0, 1), unknown, get(Some(1), 4, 5), get(Some(2), 6, 7)]));
    assert!(is_linearizable(&[put(1, 0, 1), unknown, get(Some(1), 4, 5)]));
    let swap = call(Ask::Swap(Some(1), 3), Told::Found(Some(2)), 4, 5);
    assert!(is_linearizable(&[put(1, 0, 1), unknown, swap]));
}

#[test]
fn what_is_not_is_not() {
    let put = |value, from, to| call(Ask::Put(value), Told::Done, from, to);
    let get = |value, from, to| call(Ask::Get, Told::Value(value), from, to);
    // Lost, stale, going back, from nowhere, before its time, swapped without being so.
    assert!(!is_linearizable(&[put(1, 0, 1), get(None, 2, 3)]));
    assert!(!is_linearizable(&[put(1, 0, 1), put(2, 2, 3), get(Some(1), 4, 5)]));
    assert!(!is_linearizable(&[put(1, 0, 1), put(2, 2, 9), get(Some(2), 3, 4), get(Some(1), 5, 6)]));
    assert!(!is_linearizable(&[get(Some(1), 0, 1)]));
    assert!(!is_linearizable(&[get(Some(1), 0, 1), put(1, 2, 3)]));
    assert!(!is_linearizable(&[put(1, 0, 1), call(Ask::Swap(None, 2), Told::Done, 2, 3)]));
    let deleted = call(Ask::Delete, Told::Done, 2, 3);
    assert!(!is_linearizable(&[put(1, 0, 1), deleted, get(Some(1), 4, 5)]));
}
