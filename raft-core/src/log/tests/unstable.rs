//! The end of the log that is kept in memory, against a list of everything.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{Entries, Entry, LogPosition};

use super::super::unstable::Unstable;
use super::{at, entries_behind, named, position, snapshot};
use crate::entry_batches::EntryBatches;

/// The twin: the whole log, and how much of it is durable and handed out.
#[derive(Clone, Debug)]
struct Twin {
    before: LogPosition,
    log: Vec<Entry>,
    /// No entry up to here needs to be kept.
    needless: u64,
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
        let start = unstable.start().index.get();
        assert!(start <= self.needless, "{start} in {self:?}");
        assert_eq!(Some(unstable.start()), self.position(start), "{self:?}");
        for index in 0..self.last().index.get() + 3 {
            let expected = self.position(index).filter(|_| index >= start).map(|own| own.term);
            assert_eq!(unstable.term(at(index)), expected, "{index} in {self:?}");
            if index > start {
                assert!(unstable.from(at(index)).eq(&self.behind(index - 1)), "{index} in {self:?}");
                for (end, count) in (index..self.last().index.get() + 2).zip(0..) {
                    let page = unstable.page(at(index)..at(end), u64::MAX);
                    assert!(
                        page.iter().eq(self.behind(index - 1).iter().take(count)),
                        "{index}..{end} in {self:?}"
                    );
                }
                for limit in [0, 9, 20] {
                    let page = unstable.page(at(index)..self.last().index.next(), limit);
                    let expected = Entries::from(self.behind(index - 1)).fitting(0, limit);
                    assert_eq!(page, expected, "{index}, {limit} in {self:?}");
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Replace { back: u64, steps: Vec<u64> },
    Append { count: usize, seal: bool },
    HandOut,
    Stable(u64),
    Forget { applying: u64, all: bool },
    Restore { ahead: u64, step: u64 },
    StableSnapshot,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u64..6, vec(0_u64..2, 1..5)).prop_map(|(back, steps)| Event::Replace { back, steps }),
        4 => (1_usize..4, any::<bool>()).prop_map(|(count, seal)| Event::Append { count, seal }),
        3 => (0_u64..12, prop::bool::weighted(0.2)).prop_map(|(applying, all)| Event::Forget { applying, all }),
        3 => Just(Event::HandOut),
        3 => (0_u64..10).prop_map(Event::Stable),
        1 => (1_u64..5, 0_u64..2).prop_map(|(ahead, step)| Event::Restore { ahead, step }),
        1 => Just(Event::StableSnapshot),
    ]
}

proptest! {
    #[test]
    fn the_unstable_part_is_a_list(start in 0_u64..4, events in vec(event(), 0..30)) {
        let before = position(start, start);
        let mut unstable = Unstable::new(before);
        let mut twin =
            Twin { before, log: Vec::new(), needless: start, durable: start, handed: start, snapshot: None };
        for event in events {
            match event {
                Event::Replace { back, steps } => {
                    let index = twin.last().index.get().saturating_sub(back).max(twin.before.index.get());
                    let prev = twin.position(index).unwrap();
                    let mut term = prev.term.get();
                    let terms: Vec<u64> = steps.iter().map(|step| { term += step; term }).collect();
                    let entries = entries_behind(index, &terms);
                    unstable.replace_after(prev, entries.clone().into());
                    twin.log.retain(|entry| entry.index <= prev.index);
                    twin.log.extend(entries);
                    twin.needless = twin.needless.min(index);
                    twin.durable = twin.durable.min(index);
                    twin.handed = twin.handed.min(index);
                }
                Event::Append { count, seal } => {
                    let last = twin.last();
                    let mut entries = entries_behind(last.index.get(), &std::vec![last.term.get(); count]);
                    twin.log.extend(entries.iter().cloned());
                    unstable.append(&mut entries);
                    prop_assert!(entries.is_empty());
                    if seal {
                        unstable.seal();
                    }
                }
                Event::Forget { applying, all } => {
                    unstable.forget(at(applying), if all { 0 } else { u64::MAX });
                    let needless = twin.durable.min(if all { u64::MAX } else { applying });
                    twin.needless = twin.needless.max(needless);
                }
                Event::HandOut => {
                    let mut out = EntryBatches::default();
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
                    twin = Twin {
                        before,
                        log: Vec::new(),
                        needless: index,
                        durable: index,
                        handed: index,
                        snapshot: Some(false),
                    };
                }
                Event::StableSnapshot => {
                    let expected = twin.snapshot.take().map(|_| twin.before.index);
                    prop_assert_eq!(unstable.stable_snapshot(), expected);
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
    unstable.replace_after(position(1, 4), entries_behind(4, &[1, 1, 1]).into());
    let mut out = EntryBatches::default();
    assert!(unstable.hand_out(&mut out).is_none());
    assert_eq!(named(&out), [(1, 5), (1, 6), (1, 7)]);
    assert!(!unstable.has_work());
    unstable.replace_after(position(1, 4), entries_behind(4, &[2, 2]).into());
    assert!(unstable.has_work());
    unstable.hand_out(&mut out);
    assert_eq!(named(&out), [(2, 5), (2, 6)]);
}

/// Are these the same memory?
fn shared(left: &[Entry], right: &[Entry]) -> bool {
    core::ptr::eq(left, right)
}

#[test]
fn one_batch_is_sent_written_and_applied() {
    let mut unstable = Unstable::new(position(1, 4));
    for index in [4, 6] {
        unstable.append(&mut entries_behind(index, &[1, 1]));
    }
    unstable.seal();
    let sent = unstable.page(at(5)..at(9), u64::MAX);
    let mut written = EntryBatches::default();
    unstable.hand_out(&mut written);
    unstable.stable_to(at(8));
    unstable.forget(at(4), u64::MAX);
    let applied = unstable.page(at(5)..at(9), u64::MAX);
    let written: Vec<&Entries> = written.batches().collect();
    assert_eq!(written.len(), 1);
    assert!(shared(&sent, written[0]) && shared(&sent, &applied));
    assert!(shared(&sent[1..3], &unstable.page(at(6)..at(8), u64::MAX)), "a part too");
}

#[test]
fn batches_that_are_written_together_are_not_copied() {
    let mut unstable = Unstable::new(position(1, 0));
    for index in 0..3 {
        unstable.replace_after(position(1, index), entries_behind(index, &[1]).into());
    }
    let mut written = EntryBatches::default();
    unstable.hand_out(&mut written);
    assert_eq!(named(&written), [(1, 1), (1, 2), (1, 3)]);
    let batches: Vec<&Entries> = written.batches().collect();
    assert_eq!(batches.len(), 3);
    for (batch, index) in batches.into_iter().zip(1..) {
        assert!(shared(batch, &unstable.page(at(index)..at(index + 1), u64::MAX)));
    }
}

#[test]
fn what_is_durable_is_kept_until_it_is_applied_unless_that_is_too_much() {
    let kept_after = |applying: u64, max_bytes: u64| {
        let mut unstable = Unstable::new(position(1, 0));
        for index in 0..4 {
            unstable.replace_after(position(1, index), entries_behind(index, &[1]).into());
            unstable.hand_out(&mut EntryBatches::default());
        }
        unstable.stable_to(at(3));
        unstable.forget(at(applying), max_bytes);
        unstable.start().index.get()
    };
    let one = entries_behind(0, &[1])[0].encoded_len();
    assert_eq!(kept_after(0, 4 * one), 0);
    assert_eq!(kept_after(2, 4 * one), 2);
    assert_eq!(kept_after(9, 4 * one), 3, "what isn't durable stays");
    assert_eq!(kept_after(0, 4 * one - 1), 1, "the oldest go first");
    assert_eq!(kept_after(0, 0), 3);
}

#[test]
fn the_memory_of_many_entries_is_given_back_and_that_of_few_is_kept() {
    let at_once: fn(&mut Unstable) = |unstable| unstable.forget(unstable.last().index, u64::MAX);
    let one_by_one: fn(&mut Unstable) = |unstable| while !unstable.take_first().is_empty() {};
    let capacity_after = |count: usize, drain: fn(&mut Unstable)| {
        let mut unstable = Unstable::new(position(1, 0));
        for index in 0..count as u64 {
            unstable.replace_after(position(1, index), entries_behind(index, &[1]).into());
        }
        unstable.append(&mut entries_behind(count as u64, &std::vec![1; count]));
        let open = unstable.capacity().1;
        unstable.seal();
        let used = (unstable.capacity().0, open);
        unstable.stable_to(at(2 * count as u64));
        drain(&mut unstable);
        (used, unstable.capacity())
    };
    for drain in [at_once, one_by_one] {
        let ((batches, open), left) = capacity_after(1_000, drain);
        assert!(batches >= 1_000 && open >= 1_000 && left == (0, 0), "{batches} {open} {left:?}");
        let (used, left) = capacity_after(8, drain);
        assert_eq!(left, used, "a buffer that is used again and again isn't allocated each time");
    }
}
