//! The membership (18a, b, d, f, and 19).

use raft_core::{ConfChangeV2, ConfState, Index, RoleKind};

use super::{Check, Context, broken};
use crate::cluster::{Raw, Shadow};
use crate::members::Members;
use crate::parts::Parts;
use crate::reached::Situation;

/// A change that was applied somewhere.
#[derive(Clone, Copy, Debug)]
struct Configured {
    at: Index,
    /// It was one that could be made.
    made: bool,
    members: Members,
}

/// What each change came to, in the order of their indexes.
#[derive(Debug)]
pub(super) struct Configurations(Vec<Configured>);

impl Configurations {
    pub(super) fn new(at: Index, members: Members) -> Configurations {
        Configurations(vec![Configured { at, made: true, members }])
    }

    fn last_at(&self, index: Index) -> Option<&Configured> {
        self.0.iter().rev().find(|configured| configured.at <= index)
    }

    /// The configuration as of this index. A node that knows nothing has none.
    pub(super) fn at(&self, index: Index) -> Members {
        self.last_at(index).map_or(Members::default(), |configured| configured.members)
    }

    pub(super) fn newest(&self) -> Members {
        self.0.last().map_or(Members::default(), |configured| configured.members)
    }

    /// How many changes could be made.
    pub(super) fn made(&self) -> u64 {
        self.0.iter().skip(1).filter(|configured| configured.made).count() as u64
    }

    pub(super) fn changed_at(&self) -> Index {
        self.0.last().map_or(Index::ZERO, |configured| configured.at)
    }

    /// A change was applied: it came to what the rules say, and to the same everywhere (18b, 18d).
    pub(super) fn on_configured<P: Parts>(
        &mut self,
        cx: &Context<P>,
        index: Index,
        change: &ConfChangeV2,
        result: Option<&ConfState>,
    ) -> Check {
        let id = cx.node().id;
        let known = self.last_at(index).filter(|configured| configured.at == index).copied();
        let expected = match known {
            Some(configured) => configured,
            None => {
                let before = self.at(index);
                let after = before.after(change);
                let configured =
                    Configured { at: index, made: after.is_some(), members: after.unwrap_or(before) };
                if configured.made && !before.voters.is_empty() && before.is_apart_from(&configured.members) {
                    return broken("18b", format!("{before} is followed by {}", configured.members));
                }
                self.0.push(configured);
                count(cx, &before, &configured.members, change, configured.made);
                configured
            }
        };
        if result.map(Members::of_state) != expected.made.then_some(expected.members) {
            let members = if expected.made { expected.members.to_string() } else { "none".to_owned() };
            return broken(
                "18d",
                format!("the change at {index} came to {result:?} at node {id}, not to {members}"),
            );
        }
        if expected.made { self.check_renewed(cx, index, change) } else { Ok(()) }
    }

    /// Of a node that is taken out and brought in again by one change a leader knows nothing (15).
    fn check_renewed<P: Parts>(&self, cx: &Context<P>, index: Index, change: &ConfChangeV2) -> Check {
        let renewed = self.at(index.prev()).renewed_by(change);
        let Some(raw) = cx.raw().filter(|raw| raw.role() == RoleKind::Leader) else { return Ok(()) };
        for id in renewed.iter().filter(|id| *id != raw.id()) {
            cx.reach(Situation::Renewed);
            if let Some(peer) = raw.peer(id).filter(|peer| !peer.match_index.is_zero()) {
                return broken(
                    "15",
                    format!("node {id} is renewed at {index}, and leader {} has {peer:?}", raw.id()),
                );
            }
        }
        Ok(())
    }

    /// A node acts by what it has applied, or by a snapshot that it is writing; and a leader is a voter of that (18d, 18f).
    pub(super) fn check<P: Parts>(&self, cx: &Context<P>, raw: &Raw<P>) -> Check {
        let node = cx.node();
        let applied = node.machine.index();
        let acts_by = Members::of(raw.configuration());
        let index = node.disk.queued_snapshot().map_or(applied, |snapshot| snapshot.max(applied));
        // Until the cluster's own beginning has reached it a node has no members, or those it was set up with.
        let expected =
            if index.is_zero() { Members::of_state(&node.machine.conf_state) } else { self.at(index) };
        if acts_by != expected {
            return broken(
                "18d",
                format!("node {} acts by {acts_by}, and as of {index} it is {expected}", node.id),
            );
        }
        let leads = raw.role() == RoleKind::Leader && raw.config().step_down_on_removal;
        if leads && !acts_by.is_voter(node.id) {
            return broken("18f", format!("node {} leads without a vote: {acts_by}", node.id));
        }
        Ok(())
    }

    /// A leader has at most one change that it hasn't applied (18a).
    pub(super) fn check_single<P: Parts>(&self, cx: &Context<P>, raw: &Raw<P>, shadow: &Shadow) -> Check {
        let unapplied = shadow.behind(raw.applied_index()).filter(|(_, line)| line.is_change).count();
        if unapplied > 1 {
            return broken("18a", format!("leader {} has {unapplied} changes to apply", cx.node().id));
        }
        Ok(())
    }
}

fn count<P: Parts>(cx: &Context<P>, before: &Members, after: &Members, change: &ConfChangeV2, made: bool) {
    cx.reached.reach_if(!made, Situation::ChangeImpossible);
    cx.reached.reach_if(after.is_joint() && !before.is_joint(), Situation::JointEntered);
    cx.reached.reach_if(before.is_joint() && !made, Situation::ChangeInJoint);
    if before.is_joint() && !after.is_joint() {
        cx.reach(if before.auto_leave { Situation::LeftByItself } else { Situation::LeftExplicitly });
    }
    let names = change.changes.iter().filter_map(|single| single.node);
    for id in names.filter(|_| made) {
        cx.reached.reach_if(before.learners.contains(id) && after.voters.contains(id), Situation::Promoted);
        let demoted = after.learners.contains(id) || after.learners_next.contains(id);
        cx.reached.reach_if(before.voters.contains(id) && demoted, Situation::Demoted);
        cx.reached
            .reach_if(before.contains(id) && !after.voters.contains(id) && !demoted, Situation::Removed);
        cx.reached.reach_if(!before.contains(id) && after.contains(id), Situation::Readmitted);
    }
}
