//! The requests that wait: writes for their entry, reads for their confirmation.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_core::ReadError;
use raft_kv::machine::Outcome;
use raft_proto::{Index, Term};
use tokio::sync::oneshot;

use super::{Applied, WriteError};

type WriteAnswer = oneshot::Sender<Result<Applied, WriteError>>;
type ReadAnswer = oneshot::Sender<Result<(), ReadError>>;

/// Writes that were appended to this node's log as its leader, by the place of their entry.
///
/// They stay when the node steps down: their entries may yet be committed. What is applied at their index decides.
#[derive(Default)]
pub(super) struct Writes {
    waiting: BTreeMap<(Index, Term), (u64, WriteAnswer)>,
}

/// A write that was answered, for the log.
pub(super) struct Answered {
    pub(super) number: u64,
    pub(super) index: Index,
    pub(super) result: &'static str,
}

impl Writes {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Waits for the entry of this term at this index.
    pub(super) fn add(&mut self, index: Index, term: Term, number: u64, answer: WriteAnswer) {
        self.waiting.insert((index, term), (number, answer));
    }

    /// The entry of this term was applied at this index, with this outcome.
    pub(super) fn applied(
        &mut self,
        index: Index,
        term: Term,
        outcome: &Outcome,
        mut answered: impl FnMut(Answered),
    ) {
        while let Some(first) = self.waiting.first_entry() {
            let (at, of) = *first.key();
            if at > index {
                return;
            }
            let (number, answer) = first.remove();
            let (result, said) = if at < index {
                (Err(WriteError::Unknown(COVERED)), "unknown")
            } else if of == term {
                (Ok(Applied { term, index, outcome: outcome.clone() }), "applied")
            } else {
                (Err(WriteError::Superseded { term, index }), "superseded")
            };
            // Who no longer waits has had the answer that the outcome is unknown.
            let said = if answer.send(result).is_ok() { said } else { "nobody waits" };
            answered(Answered { number, index: at, result: said });
        }
    }

    /// The state machine was replaced by a snapshot of this index: what became of the entries before can't be told.
    pub(super) fn covered(&mut self, index: Index) {
        let after = self.waiting.split_off(&(index.next(), Term::ZERO));
        for (_, (_, answer)) in std::mem::replace(&mut self.waiting, after) {
            let _ = answer.send(Err(WriteError::Unknown(COVERED)));
        }
    }

    /// Forgets those for which nobody waits any more.
    pub(super) fn prune(&mut self) {
        self.waiting.retain(|_, (_, answer)| !answer.is_closed());
    }
}

const COVERED: &str = "a snapshot of another node took the place of the log at the write's index";

/// Reads that the core was asked to confirm, then those that wait for the state machine.
#[derive(Default)]
pub(super) struct Reads {
    next: u64,
    asked: BTreeMap<u64, Vec<ReadAnswer>>,
    confirmed: BTreeMap<Index, Vec<ReadAnswer>>,
}

/// What a read waits for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// The core, which was asked with this context.
    Unconfirmed(Bytes),
    /// The state machine, which must have applied this index.
    Unapplied(Index),
}

impl Reads {
    /// What the oldest waits for. Reads are confirmed in the order in which they were asked, or nearly.
    pub(super) fn oldest(&self) -> Option<Waits> {
        let unapplied = self.confirmed.keys().next().map(|index| Waits::Unapplied(*index));
        unapplied.or_else(|| self.asked.keys().next().map(|number| Waits::Unconfirmed(context(*number))))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.asked.values().chain(self.confirmed.values()).map(Vec::len).sum()
    }

    /// Takes a batch of reads, and gives the context to ask the core with.
    pub(super) fn ask(&mut self, batch: Vec<ReadAnswer>) -> Bytes {
        self.next = self.next.wrapping_add(1);
        self.asked.insert(self.next, batch);
        context(self.next)
    }

    /// The core confirmed the batch: it may be answered when this index is applied.
    pub(super) fn confirm(&mut self, context: &[u8], index: Index) {
        if let Some(batch) = self.take(context) {
            self.confirmed.entry(index).or_default().extend(batch);
        }
    }

    /// The core gave the batch up.
    pub(super) fn drop_batch(&mut self, context: &[u8], reason: ReadError) {
        for answer in self.take(context).unwrap_or_default() {
            let _ = answer.send(Err(reason));
        }
    }

    /// Everything up to this index is applied.
    pub(super) fn applied(&mut self, index: Index) {
        while let Some(first) = self.confirmed.first_entry() {
            if *first.key() > index {
                return;
            }
            for answer in first.remove() {
                let _ = answer.send(Ok(()));
            }
        }
    }

    fn take(&mut self, context: &[u8]) -> Option<Vec<ReadAnswer>> {
        self.asked.remove(&u64::from_be_bytes(context.try_into().ok()?))
    }
}

fn context(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(index: u64) -> Index {
        Index::new(index)
    }

    fn term(term: u64) -> Term {
        Term::new(term)
    }

    #[test]
    fn a_write_is_answered_by_its_own_entry_only() {
        let mut writes = Writes::default();
        let mut add = |at, of| {
            let (answer, answered) = oneshot::channel();
            writes.add(index(at), term(of), 0, answer);
            answered
        };
        let (mut own, mut lost, mut later) = (add(5, 3), add(5, 2), add(6, 3));
        writes.applied(index(4), term(2), &Outcome::Done, |_| ());
        assert!(own.try_recv().is_err() && lost.try_recv().is_err());
        writes.applied(index(5), term(3), &Outcome::Done, |_| ());
        assert_eq!(own.try_recv().unwrap().unwrap().index, index(5));
        let superseded = WriteError::Superseded { term: term(3), index: index(5) };
        assert_eq!(lost.try_recv().unwrap().unwrap_err(), superseded);
        assert!(later.try_recv().is_err());
        writes.covered(index(6));
        assert_eq!(later.try_recv().unwrap().unwrap_err(), WriteError::Unknown(COVERED));
        assert_eq!(writes.len(), 0);
    }

    #[test]
    fn who_no_longer_waits_is_forgotten() {
        let mut writes = Writes::default();
        let (answer, answered) = oneshot::channel();
        writes.add(index(5), term(3), 0, answer);
        writes.prune();
        assert_eq!(writes.len(), 1);
        drop(answered);
        writes.prune();
        assert_eq!(writes.len(), 0);
    }

    #[test]
    fn a_read_waits_for_its_index() {
        let mut reads = Reads::default();
        let ask = |reads: &mut Reads| {
            let (answer, answered) = oneshot::channel();
            (reads.ask(vec![answer]), answered)
        };
        let (context, mut answered) = ask(&mut reads);
        let (dropped, mut given_up) = ask(&mut reads);
        assert_eq!(reads.oldest(), Some(Waits::Unconfirmed(context.clone())));
        reads.confirm(b"another's", index(1));
        reads.confirm(&context, index(7));
        reads.drop_batch(&dropped, ReadError::LeaderChanged);
        assert_eq!(given_up.try_recv().unwrap(), Err(ReadError::LeaderChanged));
        assert_eq!(reads.oldest(), Some(Waits::Unapplied(index(7))));
        reads.applied(index(6));
        assert!(answered.try_recv().is_err());
        reads.applied(index(7));
        assert_eq!(answered.try_recv().unwrap(), Ok(()));
        assert_eq!((reads.len(), reads.oldest()), (0, None));
    }
}
