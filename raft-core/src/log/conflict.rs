//! Where two logs can still agree: the fast back-off at the end of §5.3, on both sides.
//!
//! Along a log the terms never go down. So if a log holds, at some index, a term above `t`, no entry from there on can
//! agree with one of term `t` or below, and a whole term can be skipped at once:
//!
//! ```text
//!                    index   1 2 3 4 5 6 7 8 9
//!   the leader's log terms   1 3 3 3 5 5 5 5 5      sends prev = 5/9
//!   the follower's   terms   1 1 1 1 2 2            has nothing at 9: starts at its last, 6
//!
//!   follower: go down from 6 while the own term is above 5        → hint 2/6
//!   leader:   go down from 6 while the own term is above 2        → 1/1, probe there
//! ```
//!
//! Each round trip skips at least one term of one of the logs.

use raft_proto::{Index, LogPosition, Term};

use crate::storage::StorageError;

/// The last position at or below `from` whose term is at most `term`. Its term is zero where it can't be known
/// any more because the log is compacted there.
///
/// # Errors
/// Those of `term_at`, except [`StorageError::Compacted`].
pub(crate) fn last_not_above(
    from: Index,
    term: Term,
    term_at: impl Fn(Index) -> Result<Term, StorageError>,
) -> Result<LogPosition, StorageError> {
    let mut index = from;
    loop {
        match term_at(index) {
            Ok(own) if own > term && !index.is_zero() => index = index.prev(),
            Ok(own) => return Ok(LogPosition::new(own, index)),
            Err(StorageError::Compacted | StorageError::Unavailable) => {
                return Ok(LogPosition::new(Term::ZERO, index));
            }
            Err(
                error @ (StorageError::Fetching
                | StorageError::SnapshotTemporarilyUnavailable
                | StorageError::Inconsistent(_)
                | StorageError::Other(_)),
            ) => return Err(error),
        }
    }
}
