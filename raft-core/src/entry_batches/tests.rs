//! Entry batches against one list of the same entries.

use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::Entries;

use super::EntryBatches;
use crate::batches::tests::cut;

proptest! {
    #[test]
    fn entry_batches_are_a_list(sizes in vec(0_usize..4, 0..5)) {
        let (batches, all) = cut(&sizes);
        let some: EntryBatches = batches.into_iter().collect();
        prop_assert_eq!(&some, &all);
        prop_assert_eq!(&some, &EntryBatches::from(all.clone()));
        prop_assert_eq!(some.to_vec(), all.clone());
        prop_assert_eq!((some.len(), some.is_empty()), (all.len(), all.is_empty()));
        prop_assert_eq!((some.first(), some.last()), (all.first(), all.last()));
        prop_assert!(some.batches().all(|batch| !batch.is_empty()));
        prop_assert_eq!(some.batches().count(), sizes.iter().filter(|size| **size > 0).count());
    }

    #[test]
    fn a_batch_alone_takes_no_list(size in 0_usize..3) {
        let (batches, _) = cut(&[size]);
        let collected: EntryBatches = batches.into_iter().chain([Entries::default()]).collect();
        prop_assert!(collected.rest.is_none());
    }
}
