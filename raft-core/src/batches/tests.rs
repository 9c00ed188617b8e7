//! Batches against one list of the same entries.

#![allow(clippy::arithmetic_side_effects)]

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{Entries, Entry, Index, LogPosition, Term};

use super::{Batches, WORTH_SHARING};

fn entries(first: usize, count: usize) -> Vec<Entry> {
    let index = |nth: usize| Index::new(u64::try_from(nth).unwrap());
    (first..first + count)
        .map(|nth| Entry::normal(Term::new(1), index(nth), std::vec![0; nth % 5].into()))
        .collect()
}

/// Batches of these sizes from index 1 on, and all of their entries.
pub(crate) fn cut(sizes: &[usize]) -> (Vec<Entries>, Vec<Entry>) {
    let mut all = Vec::new();
    let batch = |size: &usize| {
        let batch = entries(all.len() + 1, *size);
        all.extend(batch.iter().cloned());
        batch.into()
    };
    (sizes.iter().map(batch).collect(), all)
}

proptest! {
    #[test]
    fn pages_one_after_the_other_are_all_there_is(
        sizes in vec(prop_oneof![1_usize..4, 60_usize..70], 1..6),
        max_bytes in prop_oneof![0_u64..200, Just(u64::MAX)],
    ) {
        let (batches, all) = cut(&sizes);
        let mut log = Batches::behind(LogPosition::default());
        batches.into_iter().for_each(|batch| log.push(batch));
        let end = log.last().index.next();
        let (mut next, mut read) = (Index::new(1), Vec::new());
        while next < end {
            let page = log.page(next..end, max_bytes);
            prop_assert!(!page.is_empty());
            prop_assert!(page.len() == 1 || page.encoded_len() <= max_bytes);
            next = page.last().unwrap().index.next();
            // It may be short only for the limit, or where many were found.
            let follows = all.get(read.len() + page.len());
            let is_full = follows.is_none_or(|entry| page.encoded_len() + entry.encoded_len() > max_bytes);
            prop_assert!(is_full || page.len() >= WORTH_SHARING);
            read.extend(page.iter().cloned());
        }
        prop_assert_eq!(read, all);
    }
}
