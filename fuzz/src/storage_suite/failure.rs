//! What a storage can do wrong.

use std::fmt;

/// A rule of the contract of [`Storage`](raft_core::Storage), or of what must survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// What a node asks for can be done.
    Accepts,
    /// `first_index` is one more than the last that was compacted away, `last_index` that of the last entry written.
    Bounds,
    /// Nothing is dropped but what was allowed to be, and what was dropped doesn't come back.
    Compaction,
    /// `term` is known from `first_index() - 1` to `last_index()`.
    Terms,
    /// What lies before the log is `Compacted`.
    Compacted,
    /// What lies behind the log is `Unavailable`.
    Unavailable,
    /// `entries` gives those of the range, in order, as they were written.
    Entries,
    /// `entries` stops before the entry with which the sum would pass the limit, but gives one whatever its size.
    ByteLimit,
    /// `initial_state` has the hard state that was written last.
    HardState,
    /// `initial_state` has the configuration of the latest snapshot; without any, the one that the storage was made with.
    ConfState,
    /// `initial_state` has the loss of data that was written last.
    Lost,
    /// `snapshot` gives the latest, if that is of the index asked for or above.
    Snapshot,
    /// `snapshot` says `SnapshotTemporarilyUnavailable` if there is none that is new enough.
    NoSnapshot,
    /// A snapshot that was received gives its state back.
    State,
    /// What was synced is there after a crash.
    Durable,
    /// A write that wasn't synced is there after a crash as a whole or not at all, and not without those before it.
    Whole,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Accepts => "what a node asks for can be done",
            Rule::Bounds => {
                "first_index is one more than the last that was compacted away, last_index that of the last entry"
            }
            Rule::Compaction => {
                "nothing is dropped but what was allowed to be, and what was dropped doesn't come back"
            }
            Rule::Terms => "the term is known from first_index() - 1 to last_index()",
            Rule::Compacted => "what lies before the log is Compacted",
            Rule::Unavailable => "what lies behind the log is Unavailable",
            Rule::Entries => "entries gives those of the range, in order, as they were written",
            Rule::ByteLimit => "entries stops before the entry that would pass the limit, but gives one",
            Rule::HardState => "the hard state is the one that was written last",
            Rule::ConfState => {
                "the configuration is that of the latest snapshot, or the one that the storage was made with"
            }
            Rule::Lost => "what was lost of acknowledged data is what was written last",
            Rule::Snapshot => {
                "snapshot gives the latest as it was written, if it is of the index asked for or above"
            }
            Rule::NoSnapshot => "where no snapshot is new enough, it is SnapshotTemporarilyUnavailable",
            Rule::State => "the state of a snapshot is the one that was received with it",
            Rule::Durable => "what was synced is there after a crash",
            Rule::Whole => "a write that wasn't synced is there after a crash as a whole or not at all, in its turn",
        })
    }
}

/// A rule that was broken, and how.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The story in which it was.
    pub(super) story: String,
    /// The steps up to there.
    pub(super) steps: Vec<String>,
    pub(super) broken: Broken,
}

impl Failure {
    /// The rule.
    pub fn rule(&self) -> Rule {
        self.broken.rule
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { rule, expected, found } = &self.broken;
        writeln!(f, "{rule}: broken in \"{}\"", self.story)?;
        writeln!(f, "  expected: {expected}")?;
        writeln!(f, "  found:    {found}")?;
        for (step, number) in self.steps.iter().zip(1..) {
            writeln!(f, "  step {number}: {step}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// The same, without the story.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    rule: Rule,
    expected: String,
    found: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { rule, expected, found } = self;
        write!(f, "{rule}; expected: {expected}; found: {found}")
    }
}

impl Broken {
    pub(super) fn new(rule: Rule, expected: impl Into<String>, found: impl Into<String>) -> Broken {
        Broken { rule, expected: expected.into(), found: shortened(found.into()) }
    }

    pub(super) fn refused(call: &str, error: impl fmt::Display) -> Broken {
        Broken::new(Rule::Accepts, format!("{call} succeeds"), error.to_string())
    }

    /// What is different after a crash breaks another rule than a wrong answer.
    pub(super) fn after_a_crash(self, rule: Rule) -> Broken {
        Broken { rule, expected: format!("after the crash, at the newest, {}", self.expected), ..self }
    }
}

/// Large entries fill screens.
fn shortened(mut text: String) -> String {
    const MOST: usize = 400;
    if let Some((end, _)) = text.char_indices().nth(MOST) {
        text.truncate(end);
        text.push('…');
    }
    text
}
