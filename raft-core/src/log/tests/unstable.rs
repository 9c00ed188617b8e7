//! The part that isn't durable, against a list of everything.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{Entry, LogPosition};

use super::super::unstable::Unstable;
use super::{at, entries_behind, named, position, snapshot};

/// The twin: the whole log, and how much of it is durable and handed out.
#[derive(Clone, Debug)]
struct Twin {
    before: LogPosition,
    log: Vec<Entry>,
    durable: u64,
    handed: u64,
    /// A snapshot at `before`, and whether it was handed out.
    snapshot: Option<bool>,
}

impl Twin {
    fn last(&self) -> LogPosition {
        self.log.last().map_or(self.before, Entry::position)
    }

    fn position(&self, index: u64) -> Option<LogPosition> {
        [self.before]
            .into_iter()
            .chain(self.log.iter().map(Entry::position))
            .find(|own| own.index == at(index))
    }

    fn behind(&self, index: u64) -> Vec<Entry> {
        self.log.iter().filter(|entry| entry.index > at(index)).cloned().collect()
    }

    fn check(&self, unstable: &Unstable) {
        assert_eq!(Some(unstable.base()), self.position(self.durable), "{self:?}");
        assert_eq!(unstable.last(), self.last(), "{self:?}");
        assert_eq!(unstable.is_empty(), self.durable == self.last().index.get(), "{self:?}");
        let has_work = self.handed < self.last().index.get() || self.snapshot == Some(false);
        assert_eq!(unstable.has_work(), has_work, "{self:?}");
        let pending = unstable.snapshot().map(|snapshot| snapshot.position());
        assert_eq!(pending, self.snapshot.map(|_| self.before), "{self:?}");
        for index in 0..self.last().index.get() + 3 {
            let expected = self.position(index).filter(|_| index >= self.durable).map(|own| own.term);
            assert_eq!(unstable.term(at(index)), expected, "{index} in {self:?}");
            if index > self.durable {
                assert!(unstable.from(at(index)).eq(&self.behind(index - 1)), "{index} in {self:?}");
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Replace { back: u64, steps: Vec<u64> },
    HandOut,
    Stable(u64),
    Restore { ahead: u64, step: u64 },
    StableSnapshot { ours: bool },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u64..6, vec(0_u64..2, 1..5)).prop_map(|(back, steps)| Event::Replace { back, steps }),
        3 => Just(Event::HandOut),
        3 => (0_u64..10).prop_map(Event::Stable),
        1 => (1_u64..5, 0_u64..2).prop_map(|(ahead, step)| Event::Restore { ahead, step }),
        1 => any::<bool>().prop_map(|ours| Event::StableSnapshot { ours }),
    ]
}

proptest! {
    #[test]
    fn the_unstable_part_is_a_list(start in 0_u64..4, events in vec(event(), 0..30)) {
        let before = position(start, start);
        let mut unstable = Unstable::new(before);
        let mut twin = Twin { before, log: Vec::new(), durable: start, handed: start, snapshot: None };
        for event in events {
            match event {
                Event::Replace { back, steps } => {
                    let index = twin.last().index.get().saturating_sub(back).max(twin.before.index.get());
                    let prev = twin.position(index).unwrap();
                    let mut term = prev.term.get();
                    let terms: Vec<u64> = steps.iter().map(|step| { term += step; term }).collect();
                    let entries = entries_behind(index, &terms);
                    unstable.replace_after(prev, entries.clone());
                    twin.log.retain(|entry| entry.index <= prev.index);
                    twin.log.extend(entries);
                    twin.durable = twin.durable.min(index);
                    twin.handed = twin.handed.min(index);
                }
                Event::HandOut => {
                    let mut out = Vec::new();
                    let given = unstable.hand_out(&mut out);
                    prop_assert_eq!(named(&out), named(&twin.behind(twin.handed)));
                    let due = (twin.snapshot == Some(false)).then_some(twin.before);
                    prop_assert_eq!(given.map(|snapshot| snapshot.position()), due);
                    twin.handed = twin.last().index.get();
                    twin.snapshot = twin.snapshot.map(|_| true);
                }
                Event::Stable(index) => {
                    let index = index.min(twin.handed);
                    unstable.stable_to(at(index));
                    twin.durable = twin.durable.max(index);
                }
                Event::Restore { ahead, step } => {
                    let last = twin.last();
                    let (term, index) = (last.term.get() + step, last.index.get() + ahead);
                    unstable.restore(snapshot(term, index));
                    let before = position(term, index);
                    twin = Twin { before, log: Vec::new(), durable: index, handed: index, snapshot: Some(false) };
                }
                Event::StableSnapshot { ours } => {
                    let index = if ours { twin.before.index } else { twin.before.index.next() };
                    let expected = ours && twin.snapshot.is_some();
                    prop_assert_eq!(unstable.stable_snapshot(index), expected);
                    if expected {
                        twin.snapshot = None;
                    }
                }
            }
            twin.check(&unstable);
        }
    }
}

#[test]
fn entries_are_handed_out_once_after_their_last_change() {
    // B018: write of 5 to 7 in flight, a leader of term 2 replaces 5 and 6.
    let mut unstable = Unstable::new(position(1, 4));
    unstable.replace_after(position(1, 4), entries_behind(4, &[1, 1, 1]));
    let mut out = Vec::new();
    assert!(unstable.hand_out(&mut out).is_none());
    assert_eq!(named(&out), [(1, 5), (1, 6), (1, 7)]);
    assert!(!unstable.has_work());
    unstable.replace_after(position(1, 4), entries_behind(4, &[2, 2]));
    assert!(unstable.has_work());
    out.clear();
    unstable.hand_out(&mut out);
    assert_eq!(named(&out), [(2, 5), (2, 6)]);
}

#[test]
fn the_memory_of_many_entries_is_given_back_when_all_are_durable_and_that_of_few_is_kept() {
    let capacity_after = |count: usize| {
        let mut unstable = Unstable::new(position(1, 0));
        unstable.replace_after(position(1, 0), entries_behind(0, &std::vec![1; count]));
        let used = unstable.capacity();
        unstable.hand_out(&mut Vec::new());
        unstable.stable_to(at(count as u64 - 1));
        assert_eq!(unstable.capacity(), used, "it is still in use");
        unstable.stable_to(at(count as u64));
        (used, unstable.capacity())
    };
    let (used, left) = capacity_after(1_000);
    assert!(used >= 1_000 && left == 0, "{used} {left}");
    let (used, left) = capacity_after(8);
    assert!(used >= 8 && left == used, "a buffer that is used again and again isn't allocated each time");
}
