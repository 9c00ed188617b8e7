//! A run as text, so that it can be kept, read, cut down by hand and replayed.
//!
//! ```text
//! raft-fuzz schedule
//! # anything
//! seed 17
//! chaos 60
//! changes true
//! ----
//! 1200 tick 2
//! 1300 deliver 1 3 append 4
//! ```
//!
//! The first part describes the cluster: it is the one that this version of the simulator draws from the seed. Then there is an
//! action on each line, with its time in simulated microseconds. Nodes and clients are counted from 1.

use std::fmt::{self, Write};
use std::str::{FromStr, SplitWhitespace};

use raft_core::{ConfChangeKind, ConfChangeTransition, NodeId};

use super::Options;
use super::action::{Action, Change, Limits, Parcel};
use super::faults::Fault;
use crate::cluster::Stage;
use crate::disk::ReadFault;
use crate::network::Kind;

/// The first line of a schedule.
pub const TITLE: &str = "raft-fuzz schedule";

/// A cluster, and what happens to it.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What the cluster is drawn from.
    pub seed: u64,
    /// With these options.
    pub options: Options,
    pub(super) actions: Vec<(u64, Action)>,
}

impl Schedule {
    /// How many actions there are.
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seconds, nodes, changes, faults } = &self.options;
        writeln!(f, "{TITLE}\nseed {}\nchaos {seconds}", self.seed)?;
        if let Some(nodes) = nodes {
            writeln!(f, "nodes {nodes}")?;
        }
        if let Some(changes) = changes {
            writeln!(f, "changes {changes}")?;
        }
        let faults: Vec<_> = faults.iter().map(|fault| fault.text()).collect();
        writeln!(f, "faults {}\n----", faults.join(" "))?;
        for (at, action) in &self.actions {
            writeln!(f, "{at} {action}")?;
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Schedule, String> {
        let mut schedule = Schedule { seed: 0, options: Options::default(), actions: Vec::new() };
        let mut in_head = true;
        for (k, line) in text.lines().enumerate().skip(1) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if line == "----" {
                in_head = false;
                continue;
            }
            let mut words = Words(line.split_whitespace());
            let result =
                if in_head { schedule.read_head(&mut words) } else { schedule.read_action(&mut words) };
            result.ok_or_else(|| format!("line {}: not understood: {line}", k + 1))?;
        }
        Ok(schedule)
    }
}

impl Schedule {
    fn read_head(&mut self, words: &mut Words) -> Option<()> {
        match words.word()? {
            "seed" => self.seed = words.number()?,
            "chaos" => self.options.seconds = words.number()?,
            "nodes" => self.options.nodes = Some(words.number()?),
            "changes" => self.options.changes = Some(words.number()?),
            "faults" => {
                let names = std::iter::from_fn(|| words.word());
                self.options.faults = names.map(Fault::of).collect::<Option<_>>()?;
            }
            _ => return None,
        }
        Some(())
    }

    fn read_action(&mut self, words: &mut Words) -> Option<()> {
        let at = words.number()?;
        self.actions.push((at, words.action()?));
        words.word().is_none().then_some(())
    }
}

/// Pairs of values and their names.
const TRANSITIONS: &[(ConfChangeTransition, &str)] = &[
    (ConfChangeTransition::Auto, "auto"),
    (ConfChangeTransition::JointImplicit, "implicit"),
    (ConfChangeTransition::JointExplicit, "explicit"),
];
const STEPS: &[(ConfChangeKind, &str)] = &[
    (ConfChangeKind::AddVoter, "voter"),
    (ConfChangeKind::Remove, "remove"),
    (ConfChangeKind::Update, "update"),
    (ConfChangeKind::AddLearner, "learner"),
];
const STAGES: &[(Stage, &str)] = &[
    (Stage::Taken, "taken"),
    (Stage::Sent, "sent"),
    (Stage::Written, "written"),
    (Stage::Released, "released"),
    (Stage::Applied, "applied"),
];
const READ_FAULTS: &[(ReadFault, &str)] = &[(ReadFault::Fetching, "fetching"), (ReadFault::Error, "error")];

fn name<T: PartialEq>(pairs: &[(T, &'static str)], value: &T) -> &'static str {
    pairs.iter().find(|(one, _)| one == value).map_or("", |(_, name)| name)
}

fn value<T: Copy>(pairs: &[(T, &'static str)], wanted: &str) -> Option<T> {
    pairs.iter().find(|(_, name)| *name == wanted).map(|(value, _)| *value)
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Action::Tick(at) => write!(f, "tick {}", at + 1),
            Action::Deliver(Parcel { from, to, kind, number }) => {
                write!(f, "deliver {} {} {} {number}", from + 1, to + 1, kind.text())
            }
            Action::Complete { at, count } => write!(f, "complete {} {}", at + 1, Amount(count)),
            Action::Apply(at) => write!(f, "apply {}", at + 1),
            Action::Crash { at, keep, torn } => write!(f, "crash {} {} {torn}", at + 1, Amount(keep)),
            Action::Fuse { at, stage } => write!(f, "fuse {} {}", at + 1, name(STAGES, &stage)),
            Action::Start(at) => write!(f, "start {}", at + 1),
            Action::Spoil(at) => write!(f, "spoil {}", at + 1),
            Action::Replace(at) => write!(f, "replace {}", at + 1),
            Action::Repair(at) => write!(f, "repair {}", at + 1),
            Action::LoseVote(at) => write!(f, "lose-vote {}", at + 1),
            Action::FailReads { at, count, fault } => {
                write!(f, "fail-reads {} {count} {}", at + 1, name(READ_FAULTS, &fault))
            }
            Action::Fetched(at) => write!(f, "fetched {}", at + 1),
            Action::Write { at, client, first, count, padding } => {
                write!(f, "write {} {} {first} {count} {padding}", at + 1, client + 1)
            }
            Action::Read { at, client, lease } => write!(f, "read {} {} {lease}", at + 1, client + 1),
            Action::GiveUp(client) => write!(f, "give-up {}", client + 1),
            Action::Change { at, change, old_format } => {
                write!(f, "change {} {old_format} {}", at + 1, InWords(change))
            }
            Action::Changes { at, from, ahead, changes: [first, second] } => {
                let (first, second) = (InWords(first), InWords(second));
                write!(f, "changes {} {} {ahead} {first} then {second}", at + 1, from + 1)
            }
            Action::Transfer { at, to: Some(to) } => write!(f, "transfer {} {}", at + 1, to + 1),
            Action::Transfer { at, to: None } => write!(f, "transfer-to-best {}", at + 1),
            Action::Campaign(at) => write!(f, "campaign {}", at + 1),
            Action::Forget(at) => write!(f, "forget {}", at + 1),
            Action::Ping(at) => write!(f, "ping {}", at + 1),
            Action::Unreachable { at, peer } => write!(f, "unreachable {} {}", at + 1, peer + 1),
            Action::Report { at, peer, finished } => write!(f, "report {} {} {finished}", at + 1, peer + 1),
            Action::Reconfigure { at, limits } => {
                let Limits { message, inflight, inflight_bytes, committed, uncommitted, priority } = limits;
                let numbers = format!("{message} {inflight} {inflight_bytes} {committed} {uncommitted}");
                write!(f, "limits {} {numbers} {priority}", at + 1)
            }
            Action::Window { at, peer, messages } => write!(f, "window {} {} {messages}", at + 1, peer + 1),
            Action::Hurry { at, ticks } => write!(f, "hurry {} {ticks}", at + 1),
            Action::Busy(at) => write!(f, "busy {}", at + 1),
            Action::Shrink(at) => write!(f, "shrink {}", at + 1),
            Action::Compact(at) => write!(f, "compact {}", at + 1),
            Action::Propose { at, count, bytes } => write!(f, "propose {} {count} {bytes}", at + 1),
            Action::Damage(at) => write!(f, "damage {}", at + 1),
            Action::Withdraw(at) => write!(f, "withdraw {}", at + 1),
            Action::Groups { at, second: Some(second) } => write!(f, "groups {} {second}", at + 1),
            Action::Groups { at, second: None } => write!(f, "no-groups {}", at + 1),
            Action::Heal => f.write_str("heal"),
        }
    }
}

/// A membership change.
struct InWords(Change);

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(TRANSITIONS, &self.0.transition))?;
        let mut steps = self.0.steps.iter().flatten();
        steps.try_for_each(|(kind, id)| write!(f, " {} {id}", name(STEPS, kind)))
    }
}

/// So many writes, or all.
struct Amount(usize);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == usize::MAX { f.write_str("all") } else { self.0.fmt(f) }
    }
}

/// The words of a line.
struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn word(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    fn number<T: FromStr>(&mut self) -> Option<T> {
        self.word()?.parse().ok()
    }

    fn amount(&mut self) -> Option<usize> {
        let word = self.word()?;
        if word == "all" { Some(usize::MAX) } else { word.parse().ok() }
    }

    /// A node or a client, counted from 1.
    fn at(&mut self) -> Option<usize> {
        self.number::<usize>()?.checked_sub(1)
    }

    /// A membership change, to the end of the line or up to the word `then`.
    fn change(&mut self) -> Option<Change> {
        let mut change = Change { transition: value(TRANSITIONS, self.word()?)?, steps: [None; 4] };
        let mut steps = change.steps.iter_mut();
        while let Some(kind) = self.word().filter(|word| *word != "then") {
            *steps.next()? = Some((value(STEPS, kind)?, NodeId::new(self.number()?)?));
        }
        Some(change)
    }

    fn action(&mut self) -> Option<Action> {
        Some(match self.word()? {
            "tick" => Action::Tick(self.at()?),
            "deliver" => {
                let (from, to, kind) = (self.at()?, self.at()?, self.word()?);
                let kind = Kind::ALL.iter().copied().find(|one| one.text() == kind)?;
                Action::Deliver(Parcel { from, to, kind, number: self.number()? })
            }
            "complete" => Action::Complete { at: self.at()?, count: self.amount()? },
            "apply" => Action::Apply(self.at()?),
            "crash" => Action::Crash { at: self.at()?, keep: self.amount()?, torn: self.number()? },
            "fuse" => Action::Fuse { at: self.at()?, stage: value(STAGES, self.word()?)? },
            "start" => Action::Start(self.at()?),
            "spoil" => Action::Spoil(self.at()?),
            "replace" => Action::Replace(self.at()?),
            "repair" => Action::Repair(self.at()?),
            "lose-vote" => Action::LoseVote(self.at()?),
            "fail-reads" => {
                let (at, count) = (self.at()?, self.number()?);
                Action::FailReads { at, count, fault: value(READ_FAULTS, self.word()?)? }
            }
            "fetched" => Action::Fetched(self.at()?),
            "write" => {
                let (at, client, first) = (self.at()?, self.at()?, self.number()?);
                Action::Write { at, client, first, count: self.number()?, padding: self.number()? }
            }
            "read" => Action::Read { at: self.at()?, client: self.at()?, lease: self.number()? },
            "give-up" => Action::GiveUp(self.at()?),
            "change" => {
                let (at, old_format) = (self.at()?, self.number()?);
                Action::Change { at, change: self.change()?, old_format }
            }
            "changes" => {
                let (at, from, ahead) = (self.at()?, self.at()?, self.number()?);
                Action::Changes { at, from, ahead, changes: [self.change()?, self.change()?] }
            }
            "transfer" => Action::Transfer { at: self.at()?, to: Some(self.at()?) },
            "transfer-to-best" => Action::Transfer { at: self.at()?, to: None },
            "campaign" => Action::Campaign(self.at()?),
            "forget" => Action::Forget(self.at()?),
            "ping" => Action::Ping(self.at()?),
            "unreachable" => Action::Unreachable { at: self.at()?, peer: self.at()? },
            "report" => Action::Report { at: self.at()?, peer: self.at()?, finished: self.number()? },
            "limits" => {
                let at = self.at()?;
                let limits = Limits {
                    message: self.number()?,
                    inflight: self.number()?,
                    inflight_bytes: self.number()?,
                    committed: self.number()?,
                    uncommitted: self.number()?,
                    priority: self.number()?,
                };
                Action::Reconfigure { at, limits }
            }
            "window" => Action::Window { at: self.at()?, peer: self.at()?, messages: self.number()? },
            "hurry" => Action::Hurry { at: self.at()?, ticks: self.number()? },
            "busy" => Action::Busy(self.at()?),
            "shrink" => Action::Shrink(self.at()?),
            "compact" => Action::Compact(self.at()?),
            "propose" => Action::Propose { at: self.at()?, count: self.number()?, bytes: self.number()? },
            "damage" => Action::Damage(self.at()?),
            "withdraw" => Action::Withdraw(self.at()?),
            "groups" => Action::Groups { at: self.at()?, second: Some(self.number()?) },
            "no-groups" => Action::Groups { at: self.at()?, second: None },
            "heal" => Action::Heal,
            _ => return None,
        })
    }
}

/// The schedule, with what it shows written above it.
pub fn with_remarks(schedule: &Schedule, remarks: &str) -> String {
    let text = schedule.to_string();
    let (title, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let mut out = format!("{title}\n");
    for remark in remarks.lines() {
        // Writing to a string can't fail.
        let _ = writeln!(out, "# {remark}");
    }
    out + rest
}
