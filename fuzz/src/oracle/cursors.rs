//! What a node knows goes forward, and a restart begins where its disk ends (8, 9, 10).

use raft_core::{Index, LogPosition};

use super::{Check, Context, Seen, broken};
use crate::cluster::{Raw, Shadow};
use crate::parts::Parts;

/// Within a life nothing goes back, and the cursors are in order (9, 10).
pub(super) fn check_monotonic<P: Parts>(cx: &Context<P>, before: &Seen, now: &Seen) -> Check {
    let (was, is) = (before.hard, now.hard);
    let vote_changed = was.term == is.term && was.vote.is_some() && was.vote != is.vote;
    if is.term < was.term || vote_changed || is.commit < was.commit || now.applied < before.applied {
        return broken("9", format!("node {} goes back from {before:?} to {now:?}", cx.node().id));
    }
    if now.applied > is.commit {
        return broken(
            "10",
            format!("node {} has applied {} and committed {}", cx.node().id, now.applied, is.commit),
        );
    }
    Ok(())
}

/// After a start (8).
pub(super) fn check_start<P: Parts>(cx: &Context<P>, raw: &Raw<P>, shadow: &Shadow) -> Check {
    let node = cx.node();
    let (hard, synced) = (raw.hard_state(), node.disk.synced());
    if (hard.term, hard.vote) != (synced.term, synced.vote) || hard.commit < synced.commit {
        return broken("8", format!("node {} starts with {hard:?}, and has stored {synced:?}", node.id));
    }
    let last = raw.last_position();
    if last != shadow.last() && !(last == LogPosition::ZERO && shadow.last_index() == Index::ZERO) {
        return broken(
            "8",
            format!("node {} starts with a log up to {last}, not {}", node.id, shadow.last()),
        );
    }
    let applied = if node.machine.index().is_zero() { shadow.before() } else { node.machine.index() };
    if raw.applied_index() != applied {
        return broken(
            "8",
            format!("node {} starts with {} applied, not {applied}", node.id, raw.applied_index()),
        );
    }
    Ok(())
}
