//! Sets of nodes, and the slowest obvious rules of quorums and membership changes: what the core's are compared with.

use raft_core::{
    ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, ConfState, Configuration, NodeId,
};

/// A set of nodes, whose ids are 1 to 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(u16);

fn bit(id: NodeId) -> u16 {
    1_u16.checked_shl(u32::try_from(id.get() - 1).unwrap_or(u32::MAX)).unwrap_or(0)
}

impl Set {
    /// Nobody.
    pub const EMPTY: Set = Set(0);

    /// Is this node in it?
    pub fn contains(self, id: NodeId) -> bool {
        self.0 & bit(id) != 0
    }

    /// With this node.
    #[must_use]
    pub fn with(self, id: NodeId) -> Set {
        Set(self.0 | bit(id))
    }

    /// Without this node.
    #[must_use]
    pub fn without(self, id: NodeId) -> Set {
        Set(self.0 & !bit(id))
    }

    /// Everybody who is in one of them.
    #[must_use]
    pub fn or(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }

    /// How many there are.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Is nobody in it?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its members, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        (1..=16).filter_map(NodeId::new).filter(move |id| self.contains(*id))
    }

    /// More than half of them are in `some`.
    fn has_majority(self, some: Set) -> bool {
        (self.0 & some.0).count_ones() * 2 > self.len()
    }
}

impl<'a> FromIterator<&'a NodeId> for Set {
    fn from_iter<I: IntoIterator<Item = &'a NodeId>>(ids: I) -> Set {
        ids.into_iter().fold(Set::EMPTY, |set, id| set.with(*id))
    }
}

/// A configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The voters; in a joint configuration those of the incoming half.
    pub voters: Set,
    /// The voters of the outgoing half.
    pub outgoing: Set,
    /// Who only learns.
    pub learners: Set,
    /// Who will, when the joint configuration is left.
    pub learners_next: Set,
    /// It is left by itself.
    pub auto_leave: bool,
}

impl Members {
    /// What the core acts by.
    pub fn of(configuration: &Configuration) -> Members {
        let voters = configuration.voters();
        Members {
            voters: voters.incoming.voters().iter().collect(),
            outgoing: voters.outgoing.voters().iter().collect(),
            learners: configuration.learners().iter().collect(),
            learners_next: configuration.learners_next().iter().collect(),
            auto_leave: configuration.leaves_by_itself(),
        }
    }

    /// What is stored.
    pub fn of_state(state: &ConfState) -> Members {
        Members {
            voters: state.voters.iter().collect(),
            outgoing: state.voters_outgoing.iter().collect(),
            learners: state.learners.iter().collect(),
            learners_next: state.learners_next.iter().collect(),
            auto_leave: state.auto_leave,
        }
    }

    /// Has it two halves?
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Has this node a vote, in either half?
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.or(self.outgoing).contains(id)
    }

    /// Is this node in it?
    pub fn contains(&self, id: NodeId) -> bool {
        self.all().contains(id)
    }

    /// Everybody.
    pub fn all(&self) -> Set {
        self.voters.or(self.outgoing).or(self.learners)
    }

    /// Can these nodes decide? It takes a majority of each half that there is.
    pub fn is_quorum(&self, some: Set) -> bool {
        (self.voters.is_empty() || self.voters.has_majority(some))
            && (self.outgoing.is_empty() || self.outgoing.has_majority(some))
    }

    /// Could some nodes decide in one of the two, and the rest in the other?
    pub fn is_apart_from(&self, other: &Members) -> bool {
        let all = self.all().or(other.all()).0;
        (0..=all)
            .filter(|some| some & !all == 0)
            .any(|some| self.is_quorum(Set(some)) && other.is_quorum(Set(all & !some)))
    }

    /// What follows from a change; nothing if it can't be made.
    pub fn after(&self, change: &ConfChangeV2) -> Option<Members> {
        let mut next = *self;
        match (change.transition, change.changes.as_slice()) {
            (ConfChangeTransition::Auto, []) => {
                next.learners = next.learners.or(next.learners_next);
                (next.outgoing, next.learners_next, next.auto_leave) = (Set::EMPTY, Set::EMPTY, false);
                return self.is_joint().then_some(next);
            }
            (ConfChangeTransition::Auto, [single]) => next.take_step(*single),
            (transition, steps) => {
                next.outgoing = next.voters;
                next.auto_leave = transition != ConfChangeTransition::JointExplicit;
                steps.iter().for_each(|single| next.take_step(*single));
                if next.outgoing.is_empty() {
                    return None;
                }
            }
        }
        (!self.is_joint() && !next.voters.is_empty()).then_some(next)
    }

    /// Who is taken out by a change that can be made, and brought in again.
    pub fn renewed_by(&self, change: &ConfChangeV2) -> Set {
        let mut next = Members { outgoing: self.voters, ..*self };
        let (mut out, mut renewed) = (Set::EMPTY, Set::EMPTY);
        for single in &change.changes {
            let Some(id) = single.node else { continue };
            let was_in = next.contains(id);
            next.take_step(*single);
            match (was_in, next.contains(id)) {
                (true, false) => out = out.with(id),
                (false, true) if out.contains(id) => renewed = renewed.with(id),
                _ => {}
            }
        }
        renewed
    }

    fn take_step(&mut self, ConfChangeSingle { kind, node }: ConfChangeSingle) {
        let Some(id) = node.filter(|_| kind != ConfChangeKind::Update) else { return };
        self.voters = self.voters.without(id);
        let leaving = self.outgoing.contains(id);
        match kind {
            ConfChangeKind::AddLearner if leaving => self.learners_next = self.learners_next.with(id),
            ConfChangeKind::AddLearner => self.learners = self.learners.with(id),
            ConfChangeKind::AddVoter | ConfChangeKind::Remove | ConfChangeKind::Update => {
                (self.learners, self.learners_next) =
                    (self.learners.without(id), self.learners_next.without(id));
                if kind == ConfChangeKind::AddVoter {
                    self.voters = self.voters.with(id);
                }
            }
        }
    }
}

impl std::fmt::Display for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |set: Set| set.iter().map(|id| id.get().to_string()).collect::<Vec<_>>().join(" ");
        write!(f, "voters {}", list(self.voters))?;
        if self.is_joint() {
            write!(f, ", outgoing {}", list(self.outgoing))?;
        }
        if !self.learners.is_empty() {
            write!(f, ", learners {}", list(self.learners))?;
        }
        if !self.learners_next.is_empty() {
            write!(f, ", learners next {}", list(self.learners_next))?;
        }
        f.write_str(if self.auto_leave { ", left by itself" } else { "" })
    }
}
