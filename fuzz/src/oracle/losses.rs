//! A node that lost what it had acknowledged notices it when a leader counts on that, and keeps still, over restarts too, until a
//! leader's log has brought it past what it lost (`loss`).

use raft_core::{DataLoss, DataLossReport, Heartbeat, Index, Ready, RoleKind, Storage, Term};

use super::{Check, Context, Seen, broken};
use crate::cluster::{Raw, Shadow};
use crate::parts::Parts;

/// A leader of this term counts on an entry that the log doesn't hold.
#[derive(Debug)]
pub(super) struct Missing(Term, Index);

/// What the node says that it lost. Whose disk is the first has lost nothing.
pub(super) fn of<P: Parts>(cx: &Context<P>, raw: &Raw<P>) -> Option<DataLoss> {
    if cx.node().disks == 0 { None } else { raw.basic_status().lost }
}

/// What a heartbeat counts on, if a log isn't that of its sender up to there. What lies before the shadow was committed.
pub(super) fn missing(term: Term, heartbeat: &Heartbeat, shadow: &Shadow) -> Option<Missing> {
    let relied = heartbeat.relied;
    let counted = relied.index.max(heartbeat.commit);
    let other = relied.index > shadow.before()
        && !relied.term.is_zero()
        && shadow.term(relied.index) != Some(relied.term);
    (counted > shadow.last_index() || other).then_some(Missing(term, counted))
}

/// The heartbeat of a leader was stepped that counts on what isn't there.
pub(super) fn check_noticed<P: Parts>(cx: &Context<P>, raw: &Raw<P>, missing: Option<Missing>) -> Check {
    let Some(Missing(term, counted)) = missing else { return Ok(()) };
    let lost = raw.basic_status().lost.map(|lost| lost.acknowledged);
    if raw.term() != term || raw.role() != RoleKind::Follower || lost >= Some(counted) {
        return Ok(());
    }
    let id = cx.node().id;
    broken(
        "loss",
        format!("node {id} is counted on up to {counted}, doesn't hold that, and says it lost {lost:?}"),
    )
}

/// Its state changed. While it doesn't have what it acknowledged it neither votes nor campaigns.
pub(super) fn check_stillness<P: Parts>(cx: &Context<P>, raw: &Raw<P>, before: &Seen, now: &Seen) -> Check {
    let (Some(lost), id) = (before.lost, cx.node().id) else { return Ok(()) };
    if now.lost.is_none() {
        if raw.last_index() >= lost.acknowledged {
            return Ok(());
        }
        return broken("loss", format!("node {id} regains {lost:?} with a log up to {}", raw.last_index()));
    }
    let votes = now.hard.vote.is_some() && before.hard.vote != now.hard.vote;
    if votes || now.role != Some(RoleKind::Follower) {
        return broken("loss", format!("node {id} lost {lost:?} and goes from {before:?} to {now:?}"));
    }
    Ok(())
}

/// It started: what was stored of a loss is known.
pub(super) fn check_start<P: Parts>(cx: &Context<P>, raw: &Raw<P>) -> Check {
    let stored = cx.node().disk.initial_state().ok().and_then(|state| state.lost);
    let known = raw.basic_status().lost;
    if known == stored {
        return Ok(());
    }
    broken("loss", format!("node {} starts with {known:?} lost, and has stored {stored:?}", cx.node().id))
}

/// What is noticed must become durable, and nobody notices a loss whose disk lost nothing.
pub(super) fn check_ready<P: Parts>(cx: &Context<P>, ready: &Ready) -> Check {
    let Some(report) = ready.data_loss else { return Ok(()) };
    let id = cx.node().id;
    if !ready.must_sync {
        return broken("loss", format!("node {id} reports {report:?} and needn't make it durable"));
    }
    if matches!(report, DataLossReport::Noticed(_)) && cx.node().disks == 0 {
        return broken("loss", format!("node {id} reports {report:?}, and its disk is as it was"));
    }
    Ok(())
}
