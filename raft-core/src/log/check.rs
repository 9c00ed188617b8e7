//! What a storage gives is believed when it is what was asked for.

use core::ops::Range;

use raft_proto::{Entry, Index, Term};

use crate::storage::{Inconsistency, StorageError};

/// Are these what was asked for? `highest` is the term of the last entry that can be asked for.
pub(super) fn check_entries(
    entries: &[Entry],
    asked: &Range<Index>,
    highest: Term,
) -> Result<(), StorageError> {
    let mut expected = asked.start;
    let mut term = Term::ZERO;
    for entry in entries {
        if entry.index != expected {
            return Err(StorageError::Inconsistent(Inconsistency::NotContiguous));
        }
        if entry.index >= asked.end {
            return Err(StorageError::Inconsistent(Inconsistency::MoreThanAsked));
        }
        if entry.term < term || entry.term > highest {
            return Err(StorageError::Inconsistent(Inconsistency::TermsOutOfOrder));
        }
        term = entry.term;
        expected = expected.next();
    }
    if entries.is_empty() {
        return Err(StorageError::Inconsistent(Inconsistency::NothingForRange));
    }
    Ok(())
}
