//! What must be remembered of the way to a state, and what must hold in it. The numbers are those of
//! `../shared/invariants.md`.

use std::collections::BTreeMap;

use raft_core::{ConfState, NodeId, RoleKind, Term};

use super::Budget;
use super::node::{Cell, Event, Halves, View};

/// The part of the past that the checks need. Two runs are in the same state only if they agree on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    /// What may still happen.
    pub(super) budget: Budget,
    /// Who led which term (1).
    leaders: BTreeMap<Term, NodeId>,
    /// Whom each node voted for in each term (6).
    votes: BTreeMap<(Term, NodeId), NodeId>,
    /// What was committed, each with the term in which it was (4).
    committed: Vec<(Cell, Term)>,
}

impl History {
    /// The past of a cluster that begins.
    pub(super) fn new(budget: Budget) -> History {
        History { budget, ..History::default() }
    }

    /// How many entries were committed.
    pub(super) fn committed(&self) -> usize {
        self.committed.len()
    }

    /// Takes note of what a node did; `view` is that node afterwards, among `all`.
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub(super) fn note(&mut self, event: &Event, view: &View, all: &[&View]) -> Result<(), String> {
        let id = view.id;
        match event {
            Event::Vote { term, candidate } => {
                let known = *self.votes.entry((*term, id)).or_insert(*candidate);
                if known != *candidate {
                    return Err(format!("6: node {id} votes for {known} and {candidate} in term {term}"));
                }
            }
            Event::Leads { term, halves } => {
                let known = *self.leaders.entry(*term).or_insert(id);
                if known != id {
                    return Err(format!("1: nodes {known} and {id} lead term {term}"));
                }
                let own = (view.durable_state.term, view.durable_state.vote) == (*term, Some(id));
                let voted = |voter| match voter == id {
                    true => own,
                    false => self.votes.get(&(*term, voter)) == Some(&id),
                };
                if !is_quorum(halves, voted) {
                    return Err(format!("17: node {id} leads term {term} without a quorum of votes"));
                }
            }
            Event::Commits { index, term, role, halves } => {
                let index = usize::try_from(*index).unwrap_or(usize::MAX);
                if index <= self.committed.len() {
                    return Ok(());
                }
                if *role != RoleKind::Leader {
                    return Err(format!("13: node {id} commits {index} as {role}"));
                }
                let Some(last) = view.log.get(index - 1).filter(|cell| cell.term == *term) else {
                    return Err(format!(
                        "12: node {id} commits {index} by counting, which isn't of its term"
                    ));
                };
                let holds = |peer| {
                    all.iter().any(|view| view.id == peer && view.durable.get(index - 1) == Some(last))
                };
                if !is_quorum(halves, holds) {
                    return Err(format!("12: node {id} commits {index}, which no quorum has on its disks"));
                }
                let news = &view.log[self.committed.len()..index];
                self.committed.extend(news.iter().map(|cell| (*cell, *term)));
            }
        }
        Ok(())
    }

    /// What must hold in each state.
    ///
    /// # Errors
    /// The statement that doesn't.
    pub(super) fn check(&self, all: &[&View], configurations: &[ConfState]) -> Result<(), String> {
        for view in all {
            self.check_node(view)?;
            check_configuration(view, configurations)?;
        }
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                let agree = logs_match(&one.log, &other.log)
                    && logs_match(&one.log, &other.durable)
                    && logs_match(&one.durable, &other.log)
                    && logs_match(&one.durable, &other.durable);
                if !agree {
                    return Err(format!("3: the logs of nodes {} and {} don't match", one.id, other.id));
                }
            }
        }
        if let [configuration] = configurations {
            self.check_durable(all, configuration)?;
        }
        self.check_matches(all)
    }

    fn check_node(&self, view: &View) -> Result<(), String> {
        let id = view.id;
        let committed = self.committed.iter().map(|(cell, _)| cell);
        if view.commit > self.committed.len() {
            return Err(format!("13: node {id} has commit index {}, which no leader reached", view.commit));
        }
        if view.log.len() < view.commit
            || view.log.iter().zip(committed.clone()).take(view.commit).any(differ)
        {
            return Err(format!("5: node {id} takes other entries than those committed for committed"));
        }
        if view.applied.len() > self.committed.len() || view.applied.iter().zip(committed).any(differ) {
            return Err(format!("5: node {id} has applied other entries than those committed"));
        }
        if view.role == RoleKind::Leader {
            let lacks = |(at, (cell, term)): (usize, &(Cell, Term))| {
                *term < view.term && view.log.get(at) != Some(cell)
            };
            if let Some(at) = self.committed.iter().enumerate().position(lacks) {
                return Err(format!("4: node {id} leads term {} without entry {}", view.term, at + 1));
            }
        }
        Ok(())
    }

    /// Where the configuration never changes, what is committed stays on the disks of a quorum (12).
    fn check_durable(&self, all: &[&View], configuration: &ConfState) -> Result<(), String> {
        let holds = |id| {
            let committed = self.committed.iter().map(|(cell, _)| cell);
            let view = all.iter().find(|view| view.id == id);
            view.is_some_and(|view| {
                view.durable.len() >= self.committed.len() && !view.durable.iter().zip(committed).any(differ)
            })
        };
        if !self.committed.is_empty() && !is_quorum(&[configuration.voters.clone(), Vec::new()], holds) {
            return Err("12: what is committed is no longer on the disks of a quorum".to_owned());
        }
        Ok(())
    }

    /// The leader of the newest term knows no more of its peers than is so (15). Of itself it may count on what isn't durable
    /// yet, but for entries of its own term.
    fn check_matches(&self, all: &[&View]) -> Result<(), String> {
        let newest = self.leaders.keys().next_back();
        let leads = |view: &&&View| view.role == RoleKind::Leader && Some(&view.term) == newest;
        let Some(leader) = all.iter().find(leads) else { return Ok(()) };
        for (peer, index) in leader.matches.iter().filter(|(_, index)| *index > 0) {
            let cell = leader.log.get(index - 1);
            let own_old = *peer == leader.id && cell.is_some_and(|cell| cell.term < leader.term);
            let durable =
                all.iter().find(|view| view.id == *peer).and_then(|view| view.durable.get(index - 1));
            if !own_old && (cell.is_none() || durable != cell) {
                return Err(format!("15: leader {} believes that node {peer} has entry {index}", leader.id));
            }
        }
        Ok(())
    }
}

fn differ((one, other): (&Cell, &Cell)) -> bool {
    one != other
}

/// Entries of the same index and term are the same, and so is all before them (3).
fn logs_match(one: &[Cell], other: &[Cell]) -> bool {
    let same = one.iter().zip(other).rposition(|(one, other)| one.term == other.term);
    same.is_none_or(|last| one[..=last] == other[..=last])
}

/// At most one change waits at a leader (18a), and the configuration is the one after the changes that were applied (18d).
fn check_configuration(view: &View, configurations: &[ConfState]) -> Result<(), String> {
    let waiting = view.log.iter().skip(view.applied.len()).filter(|cell| cell.is_change).count();
    if view.role == RoleKind::Leader && waiting > 1 {
        return Err(format!("18a: {waiting} changes wait at leader {}", view.id));
    }
    let applied = view.applied.iter().filter(|cell| cell.is_change).count();
    if configurations.get(applied) != Some(&view.conf_state) {
        return Err(format!("18d: node {} acts by {:?} after {applied} changes", view.id, view.conf_state));
    }
    Ok(())
}

/// Is it a majority of both halves? An empty half agrees.
fn is_quorum(halves: &Halves, agrees: impl Fn(NodeId) -> bool) -> bool {
    halves
        .iter()
        .all(|half| half.is_empty() || 2 * half.iter().filter(|id| agrees(**id)).count() > half.len())
}
