#![allow(clippy::arithmetic_side_effects)]

use std::vec;
use std::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Entries, Part, sum_of};
use crate::{Entry, Index, Term};

fn sized(sizes: &[usize]) -> Vec<Entry> {
    let entry = |(size, index): (&usize, u64)| {
        Entry::normal(Term::new(1), Index::new(index), Bytes::from(vec![7; *size]))
    };
    sizes.iter().zip(1..).map(entry).collect()
}

proptest! {
    #[test]
    fn a_part_is_that_of_a_vec_and_knows_its_size(
        sizes in prop::collection::vec(0_usize..40, 0..12),
        (start, end) in (0_usize..14, 0_usize..14),
        (start_of_part, end_of_part) in (0_usize..14, 0_usize..14),
    ) {
        let mut plain = sized(&sizes);
        let mut shared: Entries = plain.iter().cloned().collect();
        for range in [start..end, start_of_part..end_of_part] {
            let end = range.end.min(plain.len());
            plain = plain.get(range.start..end).unwrap_or_default().to_vec();
            shared = shared.slice(range);
            prop_assert_eq!(&shared, &plain);
            prop_assert_eq!(shared.encoded_len(), sum_of(&plain, Entry::encoded_len));
            prop_assert_eq!(shared.payload_len(), sum_of(&plain, |entry| entry.payload.len()));
        }
    }

    // Numbers grow by a byte in an encoding where they pass a power of 128; entries of messages that make no sense may stand in any order.
    #[test]
    fn its_sums_are_those_of_its_entries_wherever_they_stand(
        places in prop::collection::vec((0_u32..64, 0_u32..64, 0_u64..300, 0_usize..200), 0..12),
    ) {
        let entry = |(term, index, more, size): &(u32, u32, u64, usize)| {
            let index = (1_u64 << index).saturating_add(*more).saturating_sub(150);
            Entry::normal(Term::new(1 << term), Index::new(index), Bytes::from(vec![7; *size]))
        };
        let mut all: Vec<Entry> = places.iter().map(entry).collect();
        // As they stand in a log, too.
        let follow = all.last().map(|last| {
            (1..200).map(|next| Entry { index: last.index.plus(next), ..last.clone() }).collect::<Vec<_>>()
        });
        all.extend(follow.unwrap_or_default());
        let shared = Entries::from(all.clone());
        prop_assert_eq!(shared.encoded_len(), sum_of(&all, Entry::encoded_len));
        prop_assert_eq!(shared.payload_len(), sum_of(&all, |entry| entry.payload.len()));
    }

    #[test]
    fn as_many_as_fit_but_at_least_one(
        sizes in prop::collection::vec(0_usize..40, 0..12),
        first in 0_usize..5,
        limit in 0_u64..400,
    ) {
        let all = Entries::from(sized(&sizes));
        let some = all.fitting(first, limit);
        let all = all.slice(first..);
        prop_assert_eq!(&*some, &all[..some.len()]);
        prop_assert!(some.len() <= 1 || some.encoded_len() <= limit);
        let one_more = all.slice(..=some.len());
        prop_assert!(one_more.len() == some.len() || one_more.encoded_len() > limit);
        prop_assert_eq!(some.is_empty(), all.is_empty());
    }
}

#[test]
fn a_part_is_not_copied_and_holds_no_memory_if_it_is_empty() {
    let all = Entries::from(sized(&[1, 2, 3]));
    assert!(core::ptr::eq(&all[1..3], &*all.slice(1..).clone()));
    assert!(all.slice(3..).batch.is_none() && Entries::from(vec![]).batch.is_none());
    assert!(std::iter::empty().collect::<Entries>().batch.is_none());
}

#[test]
fn sums_that_are_too_large_to_keep_are_counted_anew() {
    let all = Entries::from(sized(&[1, 2, 3]));
    let sums = (all.encoded_len(), all.payload_len());
    let part = Part { encoded: u32::MAX, payload: u32::MAX, ..all.part };
    let huge = Entries { part, ..all };
    assert_eq!((huge.encoded_len(), huge.payload_len()), sums);
}

#[test]
fn a_message_stays_small() {
    assert!(size_of::<Entries>() <= 32, "{}", size_of::<Entries>());
    assert!(size_of::<crate::Message>() <= 88, "{}", size_of::<crate::Message>());
}
