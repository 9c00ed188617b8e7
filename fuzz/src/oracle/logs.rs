//! Logs (2, 3, 11), and what a leader sends of its own.

use raft_core::{AppendEntries, Entry, EntryBatches, RoleKind, Term};

use super::elections::Elections;
use super::history::{History, Known};
use super::{Check, Context, broken};
use crate::cluster::{Line, Raw, Shadow};
use crate::parts::Parts;
use crate::reached::Situation;

/// Entries were handed out to be written: what they replace may be replaced, and only a leader makes new ones (2, 3, 11).
pub(super) fn on_entries<P: Parts>(
    cx: &Context<P>,
    raw: &Raw<P>,
    entries: &EntryBatches,
    elections: &Elections,
    history: &mut History,
    shadow: &mut Shadow,
) -> Check {
    let Some(first) = entries.first() else { return Ok(()) };
    let (id, last) = (cx.node().id, shadow.last_index());
    if first.index > last.next() || first.index <= shadow.before() {
        return broken(
            "11",
            format!("node {id} writes from {} on, its log holds {} to {last}", first.index, shadow.before()),
        );
    }
    if first.index <= last {
        if raw.role() == RoleKind::Leader {
            return broken("2", format!("leader {id} replaces entry {}", first.index));
        }
        let replaced = shadow.line(first.index);
        // A leader of an older term than the one that committed it may still replace it on a node that lags behind.
        let committed = history.committed(first.index).filter(|committed| committed.by <= raw.term());
        if replaced.is_some() && replaced == committed.map(|committed| committed.line) {
            return broken("3", format!("node {id} replaces entry {}, which is committed", first.index));
        }
        cx.reach(Situation::TailReplaced);
        cx.reached.reach_if(replaced.is_some_and(|line| line.payload > 0), Situation::ProposalLost);
        cx.reached.reach_if(first.index > cx.node().disk.last(), Situation::WriteVoided);
        shadow.cut(first.index);
    }
    let mut before = shadow.line(shadow.last_index()).unwrap_or_default();
    for entry in entries {
        if entry.index != shadow.last_index().next() || entry.term < before.term {
            return broken("3", format!("node {id} writes {} after {}", entry.position(), shadow.last()));
        }
        let line = Line::of(before, entry);
        match history.enter(entry.index, line) {
            Known::Same => {}
            Known::Other => {
                return broken("3", format!("there are two logs that end at {}", entry.position()));
            }
            Known::New { others } => {
                cx.reached.reach_if(others == 2, Situation::ThreeVersions);
                if elections.leader_of(entry.term) != Some(cx.at) {
                    return broken("3", format!("node {id} makes up entry {}", entry.position()));
                }
            }
        }
        shadow.push(line);
        before = line;
    }
    Ok(())
}

/// What was handed out, put together, is the log (11).
pub(super) fn check_end<P: Parts>(cx: &Context<P>, raw: &Raw<P>, shadow: &Shadow) -> Check {
    if raw.last_position() != shadow.last() {
        let (id, last) = (cx.node().id, raw.last_position());
        return broken(
            "11",
            format!("the log of node {id} ends at {last}, and was handed out up to {}", shadow.last()),
        );
    }
    Ok(())
}

/// A leader sends a part of its log: what it holds, in the limits of a message.
pub(super) fn on_append_sent<P: Parts>(
    cx: &Context<P>,
    raw: &Raw<P>,
    term: Term,
    append: &AppendEntries,
    elections: &Elections,
    history: &History,
) -> Check {
    let id = cx.node().id;
    if elections.leader_of(term) != Some(cx.at) {
        return broken("append", format!("node {id} sends entries in term {term}, which it never led"));
    }
    let ends = [Some(append.prev), append.entries.last().map(Entry::position)];
    for position in ends.into_iter().flatten().filter(|position| !position.index.is_zero()) {
        let held = elections.term_in_log_of(term, position.index, history);
        if held.is_some_and(|held| held != position.term) {
            return broken(
                "append",
                format!("leader {id} of term {term} sends {position}, and holds {held:?} there"),
            );
        }
    }
    if append.entries.len() > 1 {
        let bytes: u64 = append.entries.iter().map(Entry::encoded_len).sum();
        if bytes > raw.config().max_message_bytes {
            return broken("append", format!("leader {id} sends {bytes} bytes in one message"));
        }
    }
    if append.commit > history.last_committed() {
        return broken("13", format!("leader {id} tells that {} is committed", append.commit));
    }
    Ok(())
}
