//! Membership changes and the transfer of leadership: proposed, applied, waited for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use raft_core::{
    ConfChangeProposal, ConfChangeRefusal, ProposeError, RawNode, Storage, TransferEnd, TransferError,
    TransferOutcome,
};
use raft_kv::membership::Note;
use raft_proto::{
    ConfChangeKind, ConfChangeSingle, ConfChangeV2, ConfState, Entry, Index, NodeId, Payload, Term,
};
use tokio::sync::oneshot;

/// A change of one member, or of several in one joint step, on its way.
pub(crate) struct Change {
    pub(crate) changes: Vec<ConfChangeSingle>,
    /// Where the node is reached that it brings, if that isn't known yet.
    pub(crate) raft_addr: Option<SocketAddr>,
    pub(crate) answer: oneshot::Sender<Result<Applied, AdminError>>,
}

/// A transfer of leadership, on its way.
pub(crate) struct Transfer {
    pub(crate) to: NodeId,
    pub(crate) answer: oneshot::Sender<Result<(), AdminError>>,
}

/// A change that was made.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) index: Index,
    pub(crate) now: ConfState,
}

/// A change or a transfer that isn't done, or isn't known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminError {
    /// This node doesn't lead. Nothing was done.
    NotLeader,
    /// The core refuses it, for this reason. Nothing was done.
    Refused(String),
    /// Not now: nothing was done, and it may be tried again.
    NotDone(String),
    /// Leadership was given up, and this node took it instead of the one that was asked for.
    TakenBy(NodeId),
    /// Nobody knows here what becomes of it.
    Unknown(&'static str),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminError::NotLeader => f.write_str("this node doesn't lead"),
            AdminError::Refused(reason) | AdminError::NotDone(reason) => f.write_str(reason),
            AdminError::TakenBy(leader) => write!(f, "node {leader} took over instead, and leads now"),
            AdminError::Unknown(why) => f.write_str(why),
        }
    }
}

/// The requests that wait for the end of a change or a transfer.
#[derive(Default)]
pub(super) struct Admin {
    changes: BTreeMap<(Index, Term), oneshot::Sender<Result<Applied, AdminError>>>,
    transfers: Vec<Transfer>,
    /// This node has stepped down for them; who leads instead isn't heard yet.
    handed_over: Vec<Transfer>,
}

impl Admin {
    pub(super) fn propose<S: Storage>(&mut self, raft: &mut RawNode<S>, before: &ConfState, change: Change) {
        let note = Note { raft_addr: change.raft_addr, before: before.clone() };
        let entry =
            ConfChangeV2 { changes: change.changes, context: note.encode(), ..ConfChangeV2::default() };
        let error = match raft.propose_conf_change(entry) {
            Ok(ConfChangeProposal::Appended { term, index }) => {
                self.changes.insert((index, term), change.answer);
                return;
            }
            Ok(ConfChangeProposal::Refused { reason, .. }) => refused(reason),
            // Can't be: forwarding is off.
            Ok(ConfChangeProposal::Forwarded { .. }) => AdminError::Unknown("it was passed on"),
            Err(error) => not_proposed(error),
        };
        let _ = change.answer.send(Err(error));
    }

    pub(super) fn transfer<S: Storage>(&mut self, raft: &mut RawNode<S>, transfer: Transfer) {
        if raft.leader() != Some(raft.id()) {
            let _ = transfer.answer.send(Err(AdminError::NotLeader));
            return;
        }
        match raft.transfer_leader(transfer.to) {
            Ok(()) => self.transfers.push(transfer),
            Err(TransferError::NoLeader) => drop(transfer.answer.send(Err(AdminError::NotLeader))),
            Err(error) => drop(transfer.answer.send(Err(AdminError::Refused(error.to_string())))),
        }
    }

    /// A transfer has ended.
    pub(super) fn transferred(&mut self, outcome: TransferOutcome) {
        for transfer in self.transfers.extract_if(.., |transfer| transfer.to == outcome.to) {
            let result = match outcome.end {
                TransferEnd::SteppedDown => {
                    self.handed_over.push(transfer);
                    continue;
                }
                TransferEnd::TimedOut => Err(AdminError::Unknown(
                    "the node did not take over within an election time-out; it still may",
                )),
                TransferEnd::TargetRemoved => {
                    Err(AdminError::Refused("the node is no longer a voter".to_string()))
                }
                TransferEnd::Superseded => {
                    Err(AdminError::Refused("another transfer was asked for".to_string()))
                }
            };
            let _ = transfer.answer.send(result);
        }
    }

    /// This node leads, or heard who does.
    pub(super) fn led_by(&mut self, leader: NodeId) {
        for transfer in self.handed_over.drain(..) {
            let taken = if leader == transfer.to { Ok(()) } else { Err(AdminError::TakenBy(leader)) };
            let _ = transfer.answer.send(taken);
        }
    }

    /// An entry was applied; if it was a change, with this result.
    pub(super) fn applied(&mut self, entry: &Entry, made: Option<Result<ConfState, String>>) {
        while let Some(first) = self.changes.first_entry() {
            let (index, term) = *first.key();
            if index > entry.index {
                return;
            }
            let answer = first.remove();
            let result = match &made {
                _ if index < entry.index => Err(AdminError::Unknown(COVERED)),
                Some(made) if term == entry.term => match made {
                    Ok(now) => Ok(Applied { index, now: now.clone() }),
                    Err(reason) => Err(AdminError::Refused(reason.clone())),
                },
                _ => Err(AdminError::NotDone(
                    "the leader changed, and another entry took its place".to_string(),
                )),
            };
            let _ = answer.send(result);
        }
    }

    /// The state machine was replaced by a snapshot of this index.
    pub(super) fn covered(&mut self, index: Index) {
        let after = self.changes.split_off(&(index.next(), Term::ZERO));
        for answer in std::mem::replace(&mut self.changes, after).into_values() {
            let _ = answer.send(Err(AdminError::Unknown(COVERED)));
        }
    }

    /// Forgets those for which nobody waits any more.
    pub(super) fn prune(&mut self) {
        self.changes.retain(|_, answer| !answer.is_closed());
        self.transfers.retain(|transfer| !transfer.answer.is_closed());
        self.handed_over.retain(|transfer| !transfer.answer.is_closed());
    }
}

const COVERED: &str = "a snapshot of another node took the place of the log at its index";

fn refused(reason: ConfChangeRefusal) -> AdminError {
    match reason {
        // It passes by itself.
        ConfChangeRefusal::ChangePending { .. } => AdminError::NotDone(reason.to_string()),
        _ => AdminError::Refused(reason.to_string()),
    }
}

fn not_proposed(error: ProposeError) -> AdminError {
    match error {
        ProposeError::NoLeader | ProposeError::NotLeader { .. } | ProposeError::Campaigning => {
            AdminError::NotLeader
        }
        _ => AdminError::NotDone(error.to_string()),
    }
}

/// The change in an entry, if it is one.
pub(super) fn change_of(entry: &Entry) -> Option<ConfChangeV2> {
    match &entry.payload {
        Payload::ConfChangeV2(change) => Some(change.as_ref().clone()),
        Payload::ConfChange(change) => Some(change.to_v2()),
        Payload::LeaveJoint => Some(ConfChangeV2::default()),
        Payload::Normal(_) | Payload::TermStart | Payload::RefusedChange => None,
    }
}

/// Applies a committed change. `state` is the configuration before it, and after.
///
/// # Errors
/// The rule that it breaks: then it has no effect, here as everywhere.
pub(super) fn apply<S: Storage>(
    raft: &mut RawNode<S>,
    state: &mut ConfState,
    change: &ConfChangeV2,
) -> Result<ConfState, String> {
    if *state == ConfState::default()
        && let Some(note) = Note::decode(&change.context)
    {
        // This node joined with nothing, and replays the log from its beginning.
        let voters = note.before.voters.iter().map(|id| (ConfChangeKind::AddVoter, *id));
        let learners = note.before.learners.iter().map(|id| (ConfChangeKind::AddLearner, *id));
        for (kind, node) in voters.chain(learners) {
            let changes = vec![ConfChangeSingle { kind, node: Some(node) }];
            *state = raft
                .apply_conf_change(&ConfChangeV2 { changes, ..ConfChangeV2::default() })
                .map_err(|error| error.to_string())?;
        }
    }
    *state = raft.apply_conf_change(change).map_err(|error| error.to_string())?;
    Ok(state.clone())
}

/// The numbers of nodes.
pub(crate) fn ids(nodes: &[NodeId]) -> Vec<u64> {
    nodes.iter().map(|id| id.get()).collect()
}

/// A configuration in the log.
pub(super) fn shown(state: &ConfState) -> String {
    let mut text = format!("voters {:?}", ids(&state.voters));
    for (what, nodes) in [
        ("learners", &state.learners),
        ("outgoing", &state.voters_outgoing),
        ("learners next", &state.learners_next),
    ] {
        if !nodes.is_empty() {
            text.push_str(&format!(", {what} {:?}", ids(nodes)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_done_when_its_target_is_heard_to_lead() {
        let node = |id| NodeId::new(id).unwrap();
        for (leader, expected) in [(2, Ok(())), (3, Err(AdminError::TakenBy(node(3))))] {
            let mut admin = Admin::default();
            let (answer, mut answered) = oneshot::channel();
            admin.transfers.push(Transfer { to: node(2), answer });
            admin.led_by(node(1));
            admin.transferred(TransferOutcome { to: node(2), end: TransferEnd::SteppedDown });
            assert!(answered.try_recv().is_err(), "nobody is known to lead yet");
            admin.led_by(node(leader));
            assert_eq!(answered.try_recv().unwrap(), expected);
        }
    }
}
