//! The ledger against a list of writes, each with its own answers.

#![allow(clippy::arithmetic_side_effects)]

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{Index, Term};

use super::{InFlight, Own, OwnAnswer, Write};

fn answer(index: u64) -> OwnAnswer {
    OwnAnswer { after: 0, term: Term::new(1), what: Own::Accepted(Index::new(index)) }
}

fn write(number: u64) -> Write {
    Write { number, term: Term::new(1), covers: Index::new(number), own: 0, snapshot: false }
}

/// The indexes that answers tell of.
fn told<'a>(answers: impl IntoIterator<Item = &'a OwnAnswer>) -> Vec<u64> {
    let index = |answer: &OwnAnswer| match answer.what {
        Own::Accepted(index) => index.get(),
        Own::Vote | Own::PreVote => 0,
    };
    answers.into_iter().map(index).collect()
}

fn hash(ledger: &InFlight) -> u64 {
    let mut state = DefaultHasher::new();
    ledger.hash(&mut state);
    state.finish()
}

#[derive(Clone, Debug)]
enum Event {
    Gather,
    Push { skipped: u64 },
    Acknowledge { ahead: u64 },
    Shrink,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Gather),
        4 => (0_u64..3).prop_map(|skipped| Event::Push { skipped }),
        3 => (0_u64..4).prop_map(|ahead| Event::Acknowledge { ahead }),
        1 => Just(Event::Shrink),
    ]
}

proptest! {
    #[test]
    fn each_write_has_what_was_gathered_for_it(events in vec(event(), 0..40)) {
        let (mut ledger, mut numbers, mut indexes) = (InFlight::default(), 0, 0);
        let (mut twin, mut gathered) = (VecDeque::<(u64, Vec<u64>)>::new(), Vec::new());
        for event in events {
            match event {
                Event::Gather => {
                    indexes += 1;
                    ledger.gather(answer(indexes));
                    gathered.push(indexes);
                }
                Event::Push { skipped } => {
                    // What needn't be acknowledged has a number too.
                    numbers += 1 + skipped;
                    ledger.push(write(numbers));
                    twin.push_back((numbers, core::mem::take(&mut gathered)));
                }
                Event::Acknowledge { ahead } => {
                    let number = twin.front().map_or(numbers, |(first, _)| first - 1) + ahead;
                    let expected = if twin.front().is_some_and(|(first, _)| *first <= number) { twin.pop_front() } else { None };
                    let done = ledger.acknowledge(number);
                    prop_assert_eq!(done.map(|write| write.number), expected.as_ref().map(|(number, _)| *number));
                    for index in expected.into_iter().flat_map(|(_, own)| own) {
                        prop_assert_eq!(told(&ledger.next_own()), [index]);
                    }
                }
                Event::Shrink => ledger.shrink_to_fit(),
            }
            prop_assert_eq!((ledger.len(), ledger.gathered() as usize), (twin.len(), gathered.len()));
            for number in 0..=numbers + 1 {
                let own = twin.iter().find(|(other, _)| *other == number).map(|(_, own)| own.clone());
                prop_assert_eq!(told(ledger.own(number)), own.unwrap_or_default(), "write {}", number);
            }
        }
    }
}

#[test]
fn ledgers_are_the_same_whatever_the_numbers_and_the_memory() {
    let make = |first: u64, write: Write, answers: &[u64], gathered: &[u64]| {
        let mut ledger = InFlight::default();
        answers.iter().for_each(|index| ledger.gather(answer(*index)));
        ledger.push(Write { number: first, ..write });
        gathered.iter().for_each(|index| ledger.gather(answer(*index)));
        hash(&ledger)
    };
    let one = make(1, write(7), &[5], &[6]);
    assert_eq!(one, make(100, write(7), &[5], &[6]));
    assert_ne!(one, make(1, write(8), &[5], &[6]), "it covers something else");
    assert_ne!(one, make(1, Write { term: Term::new(2), ..write(7) }, &[5], &[6]));
    assert_ne!(one, make(1, Write { snapshot: true, ..write(7) }, &[5], &[6]));
    assert_ne!(one, make(1, write(7), &[4], &[6]), "it tells something else");
    assert_ne!(one, make(1, write(7), &[5, 6], &[]), "it tells it sooner");
    let mut drained = InFlight::default();
    drained.gather(answer(1));
    drained.push(write(1));
    drained.acknowledge(1);
    assert_eq!(told(&drained.next_own()), [1]);
    assert_eq!(hash(&drained), hash(&InFlight::default()));
}

#[test]
fn there_is_room_for_one_at_first_and_what_is_empty_is_given_back() {
    let mut ledger = InFlight::default();
    ledger.gather(answer(1));
    ledger.push(write(1));
    let room =
        |ledger: &InFlight| (ledger.writes.capacity(), ledger.own.as_ref().map(|own| own.list.capacity()));
    assert_eq!(room(&ledger), (1, Some(1)));
    ledger.shrink_to_fit();
    assert_eq!(room(&ledger), (1, Some(1)), "it is used");
    ledger.acknowledge(1);
    ledger.next_own();
    ledger.shrink_to_fit();
    assert_eq!(room(&ledger), (0, None));
}
