//! How much a leader sends and takes on, and to whom it hands over (9, 16, 23, 24).

use raft_core::{
    AppendEntries, Body, ConfChangeKind, ConfChangeV2, Index, Message, NodeId, PeerState, RawNode, RoleKind,
    Snapshot, SnapshotStatus, Storage,
};

use super::{Check, Context, broken};
use crate::cluster::{Raw, Shadow};
use crate::members::Members;
use crate::network::Summary;
use crate::parts::Parts;
use crate::reached::Situation;

/// What is remembered of a leader.
#[derive(Clone, Debug)]
struct Sender {
    /// For each peer: messages with entries that were sent since it was heard.
    unheard: Vec<u32>,
    /// For each peer: its match.
    matched: Vec<Index>,
    /// The leader began with nothing to apply, so what it counts as uncommitted is exact.
    exact: bool,
    /// The ticks of the transfer that is on its way.
    transferring: u32,
    /// Messages that it sent in this event, but for entries and answers; and how often it was called.
    sent: usize,
    calls: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Flow(Vec<Sender>);

fn position(id: NodeId) -> usize {
    usize::try_from(id.get() - 1).unwrap_or(usize::MAX)
}

impl Flow {
    pub(super) fn new(nodes: usize) -> Flow {
        let sender = Sender {
            unheard: vec![0; nodes],
            matched: vec![Index::ZERO; nodes],
            exact: false,
            transferring: 0,
            sent: 0,
            calls: 0,
        };
        Flow(vec![sender; nodes])
    }

    /// A node is up again, or leads: it has sent nothing.
    pub(super) fn on_start(&mut self, at: usize) {
        let sender = &mut self.0[at];
        sender.unheard.fill(0);
        sender.matched.fill(Index::ZERO);
        (sender.transferring, sender.sent, sender.calls) = (0, 0, 0);
    }

    pub(super) fn on_arrival(&mut self, at: usize, summary: &Summary) {
        if let Some(unheard) = self.0[at].unheard.get_mut(position(summary.from)) {
            *unheard = 0;
        }
    }

    /// Somebody wants a transfer: whatever was on its way may begin anew.
    pub(super) fn on_transfer_asked(&mut self, at: usize) {
        self.0[at].transferring = 0;
    }

    /// Those who were taken out, or brought in again, are new; who was taken out is sent a probe when it is in again.
    pub(super) fn on_configured(&mut self, at: usize, change: &ConfChangeV2) {
        let Sender { matched, unheard, .. } = &mut self.0[at];
        for single in &change.changes {
            let Some(at) = single.node.map(position).filter(|at| *at < matched.len()) else { continue };
            matched[at] = Index::ZERO;
            if single.kind == ConfChangeKind::Remove {
                unheard[at] = 0;
            }
        }
    }

    /// A node leads: nothing of its term is uncommitted yet (23).
    pub(super) fn on_elected<P: Parts>(&mut self, cx: &Context<P>, raw: &Raw<P>, shadow: &Shadow) -> Check {
        self.on_start(cx.at);
        self.0[cx.at].exact = shadow.behind(raw.applied_index()).all(|(_, line)| line.payload == 0);
        match raw.uncommitted_bytes() {
            0 => Ok(()),
            bytes => {
                broken("23", format!("node {} begins to lead with {bytes} bytes uncommitted", cx.node().id))
            }
        }
    }

    /// The core was called.
    pub(super) fn on_call(&mut self, at: usize) {
        self.0[at].calls += 1;
    }

    /// A message leaves (24).
    pub(super) fn on_send(&mut self, at: usize, body: &Body) {
        self.0[at].sent += usize::from(match body {
            Body::AppendEntries(append) => append.entries.is_empty(),
            Body::PreVote(_)
            | Body::InstallSnapshot(_)
            | Body::Heartbeat(_)
            | Body::TimeoutNow => true,
            Body::Propose(_)
            | Body::AppendEntriesReply(_)
            // What waited for a slow disk leaves together.
            | Body::RequestVote(_)
            | Body::RequestVoteReply(_)
            | Body::PreVoteReply(_)
            | Body::HeartbeatReply(_)
            | Body::TransferLeader(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexReply(_) => false,
        });
    }

    /// An event is over: not more than a few messages to each peer came of it (24).
    pub(super) fn check_sent<P: Parts>(&mut self, cx: &Context<P>) -> Check {
        let sender = &mut self.0[cx.at];
        let (sent, calls) = (std::mem::take(&mut sender.sent), std::mem::take(&mut sender.calls));
        let bound = 4 * cx.nodes.len() * calls;
        if sent > bound {
            return broken("24", format!("node {} sends {sent} messages in one event", cx.node().id));
        }
        Ok(())
    }

    /// Entries leave: not more than the window holds (16).
    pub(super) fn on_append_sent<P: Parts>(
        &mut self,
        cx: &Context<P>,
        raw: &Raw<P>,
        message: &Message,
        append: &AppendEntries,
    ) -> Check {
        if append.entries.is_empty() {
            return Ok(());
        }
        let peer = raw.peer(message.to);
        cx.reached.reach_if(peer.is_some_and(|peer| peer.window_full), Situation::WindowFull);
        let Some(unheard) = self.0[cx.at].unheard.get_mut(position(message.to)) else { return Ok(()) };
        *unheard += 1;
        // A probe may come on top of a full window, when the peer is reported to be unreachable or renewed.
        if *unheard > cx.node().windows.0.saturating_add(2) {
            let (id, to) = (cx.node().id, message.to);
            return broken(
                "16",
                format!("node {id} sends node {to} {unheard} messages with entries, unheard"),
            );
        }
        Ok(())
    }

    /// The word to campaign leaves: its receiver has the whole log.
    pub(super) fn on_timeout_now(&self, raw: &RawNode<impl Storage>, to: NodeId) -> Check {
        let Some(peer) = raw.peer(to) else { return Ok(()) };
        let last = raw.last_index();
        if peer.match_index != last {
            return broken(
                "transfer",
                format!("node {to} is to campaign with {}, the log ends at {last}", peer.match_index),
            );
        }
        Ok(())
    }

    /// What a leader knows of a peer (9, 16).
    pub(super) fn check_row<P: Parts>(&mut self, cx: &Context<P>, raw: &Raw<P>, id: NodeId) -> Check {
        let Some(peer) = raw.peer(id) else { return Ok(()) };
        let Some(matched) = self.0[cx.at].matched.get_mut(position(id)) else { return Ok(()) };
        if peer.match_index < *matched {
            let (me, now) = (cx.node().id, peer.match_index);
            return broken(
                "9",
                format!("node {me} takes the match of node {id} back from {matched} to {now}"),
            );
        }
        *matched = peer.match_index;
        let (messages, bytes) = cx.node().windows;
        let too_many = peer.inflight_messages > usize::try_from(messages).unwrap_or(usize::MAX);
        if peer.next_index <= peer.match_index || too_many || peer.inflight_bytes > bytes {
            return broken("16", format!("node {} sends to {peer:?}", cx.node().id));
        }
        Ok(())
    }

    /// A leader has ticked (16, 23, and that a transfer ends).
    pub(super) fn check_leader<P: Parts>(&mut self, cx: &Context<P>, raw: &Raw<P>, shadow: &Shadow) -> Check {
        let (id, term) = (cx.node().id, raw.term());
        let members = Members::of(raw.configuration());
        for peer in members.all().iter() {
            self.check_row(cx, raw, peer)?;
        }
        let own = shadow.behind(raw.applied_index()).filter(|(_, line)| line.term == term);
        let bytes: u64 = own.map(|(_, line)| u64::from(line.payload)).sum();
        let counted = raw.uncommitted_bytes();
        let sender = &mut self.0[cx.at];
        if counted > bytes || (sender.exact && counted != bytes) {
            return broken("23", format!("node {id} counts {counted} bytes uncommitted, there are {bytes}"));
        }
        let Some(to) = raw.transferee() else {
            sender.transferring = 0;
            return Ok(());
        };
        sender.transferring += 1;
        if !members.is_voter(to) || sender.transferring > raw.config().election_ticks + 1 {
            return broken(
                "transfer",
                format!("node {id} hands over to {to} for {} ticks", sender.transferring),
            );
        }
        Ok(())
    }
}

/// A proposal was taken on: there was room, and no transfer on its way (23).
pub(super) fn check_admission(raw: &RawNode<impl Storage>, bytes: u64) -> Check {
    if let Some(to) = raw.transferee() {
        return broken(
            "transfer",
            format!("node {} takes a proposal on while it hands over to {to}", raw.id()),
        );
    }
    let counted = raw.uncommitted_bytes();
    if raw.role() == RoleKind::Leader && bytes > 0 && counted > raw.config().max_uncommitted_bytes.max(bytes)
    {
        return broken("23", format!("node {} has {counted} bytes uncommitted", raw.id()));
    }
    Ok(())
}

/// A transfer of a snapshot was reported: what is sent next begins where the peer's log may end. `before` is how the leader
/// sent to the peer.
pub(super) fn check_report(
    raw: &RawNode<impl Storage>,
    peer: NodeId,
    before: PeerState,
    status: SnapshotStatus,
) -> Check {
    let (PeerState::Snapshot { pending }, Some(now)) = (before, raw.peer(peer)) else { return Ok(()) };
    let from = match status {
        SnapshotStatus::Finished => now.match_index.max(pending),
        SnapshotStatus::Failed => now.match_index,
    };
    if now.state != PeerState::Probe || now.next_index != from.next() {
        return broken("snapshot", format!("after {status:?} node {} sends to {now:?}", raw.id()));
    }
    Ok(())
}

/// A snapshot arrives: what is it to its receiver?
pub(super) fn count_snapshot<P: Parts>(cx: &Context<P>, snapshot: &Snapshot, shadow: &Shadow) {
    let Some(raw) = cx.raw() else { return };
    let metadata = &snapshot.metadata;
    let id = cx.node().id;
    let old = metadata.index <= raw.commit_index();
    cx.reached.reach_if(old, Situation::SnapshotOld);
    let known = shadow.term(metadata.index) == Some(metadata.term);
    cx.reached.reach_if(known && !old, Situation::SnapshotKnown);
    let members = Members::of_state(&metadata.conf_state);
    cx.reached.reach_if(members.is_joint(), Situation::SnapshotInJoint);
    let votes = Members::of(raw.configuration()).is_voter(id);
    cx.reached.reach_if(votes && members.contains(id) && !members.is_voter(id), Situation::SnapshotDemotes);
    cx.reached.reach_if(raw.last_index().is_zero(), Situation::SnapshotToNewcomer);
}
