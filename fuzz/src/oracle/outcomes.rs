//! What a state machine that is tested comes to is the same on all nodes (5), and what its clients see is as if each command took effect
//! once (20).

use bytes::Bytes;
use raft_core::{Index, NodeId};

use super::{Check, broken};

/// What an entry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the client is told.
    pub answer: Bytes,
    /// Stands for the state then.
    pub digest: u64,
}

/// What the first node that applied it came to, for each entry.
#[derive(Debug, Default)]
pub(super) struct Outcomes(Vec<Option<(NodeId, Outcome)>>);

impl Outcomes {
    fn at(&self, index: Index) -> Option<&(NodeId, Outcome)> {
        self.0.get(usize::try_from(index.get()).ok()?)?.as_ref()
    }

    /// A node has applied the entry at `index`, which is the same command as the one at `first`, if it was sent again.
    pub(super) fn on_applied(
        &mut self,
        id: NodeId,
        index: Index,
        outcome: Outcome,
        first: Option<Index>,
    ) -> Check {
        let before = first.and_then(|first| Some((first, self.at(first)?)));
        if let Some((first, (_, known))) = before
            && known.answer != outcome.answer
        {
            let (answer, known) = (outcome.answer, &known.answer);
            return broken(
                "20",
                format!("node {id} answers {answer:?} at {index} to what was answered {known:?} at {first}"),
            );
        }
        let Some((other, known)) = self.at(index) else {
            let at = usize::try_from(index.get()).unwrap_or(usize::MAX);
            self.0.resize(self.0.len().max(at.saturating_add(1)), None);
            self.0[at] = Some((id, outcome));
            return Ok(());
        };
        if known.answer != outcome.answer {
            let (answer, known) = (outcome.answer, &known.answer);
            return broken(
                "5",
                format!("node {id} answers {answer:?} at {index}, and node {other} answered {known:?}"),
            );
        }
        if known.digest != outcome.digest {
            let what = format!("node {id} is in another state after {index} than node {other} was");
            return broken("5", what);
        }
        Ok(())
    }

    /// A node has restored a snapshot of the state at `index`.
    pub(super) fn on_restored(&self, id: NodeId, index: Index, digest: u64) -> Check {
        match self.at(index) {
            Some((other, known)) if known.digest != digest => broken(
                "5",
                format!("node {id} is in another state after a snapshot of {index} than node {other} was"),
            ),
            _ => Ok(()),
        }
    }
}
