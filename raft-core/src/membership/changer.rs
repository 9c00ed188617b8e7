//! The configuration that follows from a change (thesis §4.1 to §4.3). Pure: a configuration and a change give the next
//! configuration, or the name of the rule that the change breaks.
//!
//! ```text
//!   simple:        C_old ──────────── one voter more or less ───────────▶ C_new
//!   joint:         C_old ──▶ C_old,new: decisions need both halves ─────▶ C_new
//!                              incoming = new, outgoing = old   (leave)
//! ```
//!
//! A voter of the outgoing half that is to become a learner is put aside as "learner next": while it still votes for the old
//! half it can't be counted as a learner.

use alloc::vec::Vec;
use core::fmt;

use raft_proto::{ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, NodeId};

use super::{Configuration, Learners};
use crate::quorum::MajorityQuorum;

/// How a change passes from one configuration to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    Simple,
    EnterJoint { auto_leave: bool },
    LeaveJoint,
}

/// Which passage a change asks for.
fn passage(change: &ConfChangeV2) -> Passage {
    match (change.transition, change.changes.as_slice()) {
        (ConfChangeTransition::Auto, []) => Passage::LeaveJoint,
        (ConfChangeTransition::Auto, [_]) => Passage::Simple,
        (ConfChangeTransition::Auto | ConfChangeTransition::JointImplicit, _) => {
            Passage::EnterJoint { auto_leave: true }
        }
        (ConfChangeTransition::JointExplicit, _) => Passage::EnterJoint { auto_leave: false },
    }
}

impl Configuration {
    /// The configuration after this change.
    ///
    /// # Errors
    /// The first rule that the change breaks.
    pub fn apply(&self, change: &ConfChangeV2) -> Result<Configuration, ConfChangeError> {
        match passage(change) {
            Passage::Simple => self.simple(&change.changes),
            Passage::EnterJoint { auto_leave } => self.enter_joint(auto_leave, &change.changes),
            Passage::LeaveJoint => self.leave_joint(),
        }
    }

    /// At most one voter comes or goes, so every quorum of the old configuration meets every quorum of the new one
    /// (thesis §4.1).
    ///
    /// # Errors
    /// [`ConfChangeError::JointPending`], [`ConfChangeError::NoVotersLeft`], [`ConfChangeError::MoreThanOneVoter`].
    pub fn simple(&self, changes: &[ConfChangeSingle]) -> Result<Configuration, ConfChangeError> {
        if self.voters.is_joint() {
            return Err(ConfChangeError::JointPending);
        }
        let next = self.with(changes)?;
        let (old, new) = (&self.voters.incoming, &next.voters.incoming);
        let gone = old.voters().iter().filter(|id| !new.contains(**id)).count();
        let come = new.voters().iter().filter(|id| !old.contains(**id)).count();
        if gone.saturating_add(come) > 1 {
            return Err(ConfChangeError::MoreThanOneVoter);
        }
        Ok(next)
    }

    /// Any change, by way of a configuration in which both the old and the new voters decide (thesis §4.3).
    ///
    /// # Errors
    /// [`ConfChangeError::AlreadyJoint`], [`ConfChangeError::NoVotersToLeave`], [`ConfChangeError::NoVotersLeft`].
    pub fn enter_joint(
        &self,
        auto_leave: bool,
        changes: &[ConfChangeSingle],
    ) -> Result<Configuration, ConfChangeError> {
        if self.voters.is_joint() {
            return Err(ConfChangeError::AlreadyJoint);
        }
        if self.voters.incoming.is_empty() {
            return Err(ConfChangeError::NoVotersToLeave);
        }
        let mut joint = self.clone();
        joint.voters.outgoing = joint.voters.incoming.clone();
        let mut next = joint.with(changes)?;
        next.auto_leave = auto_leave;
        Ok(next)
    }

    /// Only the new voters decide from here on.
    ///
    /// # Errors
    /// [`ConfChangeError::NotJoint`].
    pub fn leave_joint(&self) -> Result<Configuration, ConfChangeError> {
        if !self.voters.is_joint() {
            return Err(ConfChangeError::NotJoint);
        }
        let mut next = self.clone();
        next.voters.outgoing = MajorityQuorum::default();
        let mut learners = next.take_learners();
        for id in core::mem::take(&mut learners.next) {
            insert(&mut learners.now, id);
        }
        next.learners = learners.boxed();
        next.auto_leave = false;
        Ok(next)
    }

    /// The nodes that this change takes out and brings in again, in ascending order: whatever was known of such a node's
    /// log is no longer true of the one that takes its place. A voter of the outgoing half is never out.
    pub fn renewed_by(&self, change: &ConfChangeV2) -> Vec<NodeId> {
        let mut out = Vec::new();
        let mut renewed = Vec::new();
        let enters = matches!(passage(change), Passage::EnterJoint { .. });
        for ConfChangeSingle { kind, node } in &change.changes {
            let Some(id) = *node else { continue };
            let stays = self.voters.outgoing.contains(id) || (enters && self.voters.incoming.contains(id));
            match kind {
                ConfChangeKind::Remove if self.contains(id) && !stays => insert(&mut out, id),
                ConfChangeKind::AddVoter | ConfChangeKind::AddLearner if out.contains(&id) => {
                    insert(&mut renewed, id)
                }
                ConfChangeKind::Remove
                | ConfChangeKind::AddVoter
                | ConfChangeKind::AddLearner
                | ConfChangeKind::Update => {}
            }
        }
        renewed
    }

    /// Is it joint, and to be left by itself?
    pub fn leaves_by_itself(&self) -> bool {
        self.auto_leave
    }

    fn with(&self, changes: &[ConfChangeSingle]) -> Result<Configuration, ConfChangeError> {
        let mut next = self.clone();
        let mut incoming = next.voters.incoming.voters().to_vec();
        let mut learners = next.take_learners();
        for ConfChangeSingle { kind, node } in changes {
            let Some(id) = *node else { continue };
            match kind {
                ConfChangeKind::AddVoter => {
                    remove(&mut learners.now, id);
                    remove(&mut learners.next, id);
                    insert(&mut incoming, id);
                }
                ConfChangeKind::AddLearner => {
                    remove(&mut incoming, id);
                    let outgoing = next.voters.outgoing.contains(id);
                    insert(if outgoing { &mut learners.next } else { &mut learners.now }, id);
                }
                ConfChangeKind::Remove => {
                    remove(&mut incoming, id);
                    remove(&mut learners.now, id);
                    remove(&mut learners.next, id);
                }
                ConfChangeKind::Update => {}
            }
        }
        if incoming.is_empty() {
            return Err(ConfChangeError::NoVotersLeft);
        }
        next.voters.incoming = MajorityQuorum::new(incoming);
        next.learners = learners.boxed();
        Ok(next)
    }

    fn take_learners(&mut self) -> Learners {
        self.learners.take().map_or_else(Learners::default, |learners| *learners)
    }
}

fn insert(sorted: &mut Vec<NodeId>, id: NodeId) {
    if let Err(at) = sorted.binary_search(&id) {
        sorted.insert(at, id);
    }
}

fn remove(sorted: &mut Vec<NodeId>, id: NodeId) {
    if let Ok(at) = sorted.binary_search(&id) {
        sorted.remove(at);
    }
}

/// Why a change can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfChangeError {
    /// No voter would be left.
    NoVotersLeft,
    /// A joint configuration must be left before another is entered.
    AlreadyJoint,
    /// There is no voter who could agree to a joint configuration.
    NoVotersToLeave,
    /// There is no joint configuration to leave.
    NotJoint,
    /// A joint configuration must be left before a simple change.
    JointPending,
    /// A simple change can bring or remove one voter only; several need a joint configuration.
    MoreThanOneVoter,
}

impl fmt::Display for ConfChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfChangeError::NoVotersLeft => "no voter would be left",
            ConfChangeError::AlreadyJoint => "the configuration is joint already",
            ConfChangeError::NoVotersToLeave => "a configuration without voters can't become joint",
            ConfChangeError::NotJoint => "the configuration isn't joint",
            ConfChangeError::JointPending => "the joint configuration must be left first",
            ConfChangeError::MoreThanOneVoter => "a simple change can bring or remove one voter only",
        })
    }
}

impl core::error::Error for ConfChangeError {}
