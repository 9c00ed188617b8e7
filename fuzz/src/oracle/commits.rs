//! What is committed is durable on a quorum, and the same everywhere (4, 5, 12, 13, 14).

use raft_core::{Entry, Index, RoleKind};

use super::history::History;
use super::{Check, Context, broken};
use crate::cluster::{Raw, Shadow};
use crate::members::{Members, Set};
use crate::parts::Parts;
use crate::reached::Situation;

/// An index is committed for the first time (4, 12, 13, 14). `before` is what this node knew.
pub(super) fn on_new<P: Parts>(
    cx: &Context<P>,
    raw: &Raw<P>,
    before: Index,
    history: &mut History,
    shadows: &[Shadow],
) -> Check {
    let (id, term, commit) = (cx.node().id, raw.term(), raw.commit_index());
    let shadow = &shadows[cx.at];
    if raw.role() != RoleKind::Leader {
        return broken("13", format!("node {id} commits {commit} as {}", raw.role()));
    }
    let Some(line) = shadow.line(commit) else {
        return broken("11", format!("node {id} commits {commit}, its log ends at {}", shadow.last()));
    };
    if line.term != term {
        return broken(
            "5.4.2",
            format!("node {id} leads term {term} and commits {commit} of term {}", line.term),
        );
    }
    let members = Members::of(raw.configuration());
    let voters = members.voters.or(members.outgoing);
    let some = |holds: &dyn Fn(&crate::cluster::Node<P>) -> bool| {
        let nodes = cx.nodes.iter().filter(|node| voters.contains(node.id) && holds(node));
        nodes.fold(Set::EMPTY, |set, node| set.with(node.id))
    };
    let durable = some(&|node| node.disk.holds(commit, line.term));
    let matched = some(&|node| raw.peer(node.id).is_some_and(|peer| peer.match_index >= commit));
    for (statement, set) in [("12", durable), ("14", matched)] {
        if !members.is_quorum(set) {
            let set: Vec<_> = set.iter().map(|id| id.get()).collect();
            return broken(
                statement,
                format!("node {id} commits {commit} in term {term}, held by {set:?}: {members}"),
            );
        }
    }
    for (other, shadow) in cx.nodes.iter().zip(shadows) {
        let leads = other.raw.as_ref().filter(|raw| raw.role() == RoleKind::Leader && raw.term() > term);
        let Some(leader) = leads else { continue };
        cx.reach(Situation::LateCommit);
        if commit > shadow.before() && shadow.line(commit) != Some(line) {
            let later = leader.term();
            return broken(
                "4",
                format!("node {id} commits {commit} in term {term}; the leader of {later} lacks it"),
            );
        }
    }
    let known = history.last_committed();
    let earlier = shadow.behind(before).take_while(|(index, _)| *index <= commit);
    cx.reached
        .reach_if(earlier.into_iter().any(|(_, line)| line.term < term), Situation::CommitOfEarlierTerm);
    let Some(agrees) = history.committed(known).map(|committed| shadow.line(known) == Some(committed.line))
    else {
        return Ok(());
    };
    if !agrees && known > shadow.before() {
        return broken(
            "5",
            format!("node {id} commits {commit} on another log than what is committed up to {known}"),
        );
    }
    for (_, line) in shadow.behind(known).take_while(|(index, _)| *index <= commit) {
        history.commit(line, term);
    }
    Ok(())
}

/// What a node holds for committed is what was committed (5).
pub(super) fn check_agreement<P: Parts>(
    cx: &Context<P>,
    raw: &Raw<P>,
    history: &History,
    shadow: &Shadow,
) -> Check {
    let commit = raw.commit_index();
    if commit <= shadow.before() {
        return Ok(());
    }
    let committed = history.committed(commit).map(|committed| committed.line);
    if committed.is_none() || shadow.line(commit) != committed {
        return broken("5", format!("node {} holds another entry for committed at {commit}", cx.node().id));
    }
    Ok(())
}

/// An entry was applied: it is what was committed, and durable where that was asked for (5, 10).
pub(super) fn on_applied<P: Parts>(cx: &Context<P>, entry: &Entry, history: &History) -> Check {
    let node = cx.node();
    let committed = history.committed(entry.index);
    if committed.is_none_or(|committed| committed.line.chain != node.machine.chain) {
        return broken(
            "5",
            format!("node {} applies {}, which isn't what was committed", node.id, entry.position()),
        );
    }
    let config = &node.options.config;
    let durable = node.disk.last();
    let ahead = if config.async_writes { u64::from(config.max_apply_ahead) } else { 0 };
    if entry.index > durable.plus(ahead) {
        return broken("10", format!("node {} applies {}, durable is {durable}", node.id, entry.index));
    }
    cx.reached.reach_if(entry.index > durable, Situation::AppliedAhead);
    Ok(())
}
