//! What is acknowledged is durable, and what a leader counts on is there (7, 15).

use std::cmp::Ordering;

use raft_core::{AppendEntriesReply, Heartbeat, Index, Message, NodeId, RawNode, RoleKind, Storage, Term};

use super::elections::Elections;
use super::history::History;
use super::{Check, Context, broken};
use crate::cluster::{Raw, Shadow};
use crate::parts::Parts;
use crate::reached::Situation;

/// How far the leader of the newest term that a node heard has vouched for its log.
#[derive(Debug)]
pub(super) struct Vouched(Vec<(Term, Index)>);

impl Vouched {
    pub(super) fn new(nodes: usize) -> Vouched {
        Vouched(vec![(Term::ZERO, Index::ZERO); nodes])
    }

    /// A leader says that the log agrees with its own up to here.
    pub(super) fn on_word(&mut self, at: usize, term: Term, last: Index) {
        let (newest, highest) = &mut self.0[at];
        match term.cmp(newest) {
            Ordering::Less => {}
            Ordering::Equal => *highest = last.max(*highest),
            Ordering::Greater => (*newest, *highest) = (term, last),
        }
    }

    /// An acknowledgement leaves: nobody but the leader knows that the log agrees with its own, and it has told how far.
    fn check<P: Parts>(&self, cx: &Context<P>, raw: &Raw<P>, term: Term, index: Index) -> Check {
        let (newest, highest) = self.0[cx.at];
        if term == newest && index > highest.max(raw.commit_index()) {
            let id = cx.node().id;
            return broken("7", format!("node {id} acknowledges {index}, its leader vouched for {highest}"));
        }
        Ok(())
    }
}

/// What a node takes for durable is on its disk (7).
pub(super) fn check_durable<P: Parts>(cx: &Context<P>, raw: &Raw<P>, shadow: &Shadow) -> Check {
    let (node, durable) = (cx.node(), raw.basic_status().durable);
    let there = shadow.term(durable);
    if durable > shadow.before() && !there.is_some_and(|there| node.disk.holds(durable, there)) {
        let held = node.disk.term_at(durable);
        return broken(
            "7",
            format!("node {} takes entry {durable} of term {there:?} for durable, that is {held:?}", node.id),
        );
    }
    Ok(())
}

/// The answer to an append leaves (7).
pub(super) fn on_reply<P: Parts>(
    cx: &Context<P>,
    raw: &Raw<P>,
    (term, reply): (Term, &AppendEntriesReply),
    vouched: &Vouched,
    elections: &Elections,
    history: &History,
) -> Check {
    let AppendEntriesReply::Accepted { index } = *reply else {
        cx.reach(Situation::Rejected);
        return Ok(());
    };
    let node = cx.node();
    // An acknowledgement to the leader of a term that is over can leave together with the cut that ended it.
    if index.is_zero() || node.disk.synced().term > term {
        return Ok(());
    }
    vouched.check(cx, raw, term, index)?;
    let there = elections.term_in_log_of(term, index, history);
    if there.is_some_and(|there| node.disk.holds(index, there)) {
        return Ok(());
    }
    broken(
        "7",
        format!(
            "node {} acknowledges {index} in term {term}, where its leader has an entry of {there:?}; durable is {:?}",
            node.id,
            node.disk.term_at(index)
        ),
    )
}

/// A heartbeat leaves: it tells no more than what its receiver has acknowledged.
pub(super) fn on_heartbeat(raw: &RawNode<impl Storage>, message: &Message, heartbeat: &Heartbeat) -> Check {
    if raw.role() != RoleKind::Leader || raw.term() != message.term {
        return Ok(());
    }
    let known = raw.peer(message.to).map_or(Index::ZERO, |peer| peer.match_index);
    let told = heartbeat.commit.max(heartbeat.relied.index);
    if told > known {
        return broken(
            "heartbeat",
            format!("node {} is told {told}, and has acknowledged {known}", message.to),
        );
    }
    Ok(())
}

/// A leader counts on a node's log up to its match (15). Leaders of earlier terms may be mistaken.
pub(super) fn check_row<P: Parts>(
    cx: &Context<P>,
    raw: &Raw<P>,
    elections: &Elections,
    history: &History,
    id: NodeId,
) -> Check {
    let term = raw.term();
    if raw.role() != RoleKind::Leader || term != elections.newest_term() {
        return Ok(());
    }
    let Some(peer) = raw.peer(id) else { return Ok(()) };
    let Some(node) = cx.nodes.iter().find(|node| node.id == id) else { return Ok(()) };
    let index = peer.match_index;
    let there = elections.term_in_log_of(term, index, history);
    // Its own match is set when it is elected, before its log is durable; only entries of its own term are counted by it.
    let own_tail = id == cx.node().id && there != Some(term);
    if index.is_zero() || own_tail || node.lossy || there.is_some_and(|there| node.disk.holds(index, there)) {
        return Ok(());
    }
    broken(
        "15",
        format!(
            "node {} counts on node {id} up to {index} of term {there:?}, durable there is {:?}",
            cx.node().id,
            node.disk.term_at(index)
        ),
    )
}
