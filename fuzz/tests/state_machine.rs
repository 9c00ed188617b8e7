//! A state machine that is put under simulated nodes: a right one passes, and what a wrong one does is named.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft_core::{ConfState, Index, NodeId};
use raft_fuzz::machine::Command;
use raft_fuzz::parts::{Parts, StateMachine};
use raft_fuzz::{Failure, Options, Report, run_with};

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It answers with what differs from run to run.
    AnswersByChance,
    /// Its state holds what differs from run to run.
    ChangesByChance,
    /// A command that is sent again takes effect again.
    AppliesAgain,
    /// So it does, and tells nobody what it holds.
    AnswersAgain,
    /// A snapshot lacks the sessions.
    ForgetsSessions,
    /// A snapshot can't be restored.
    RestoresNothing,
}

/// A number, and the last sequence of each client with its answer.
#[derive(Debug, Default)]
struct Register {
    fault: Option<Fault>,
    value: u64,
    applied: u64,
    sessions: BTreeMap<u64, (u64, u64)>,
}

impl Register {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

impl StateMachine for Register {
    type Error = &'static str;

    fn write(command: Command, padding: usize) -> Bytes {
        let mut data = BytesMut::with_capacity(24 + padding);
        data.put_u64(u64::from(command.client));
        data.put_u64(u64::from(command.sequence));
        data.put_u64(command.value());
        data.put_bytes(7, padding);
        data.freeze()
    }

    fn apply(&mut self, _: Index, mut command: Bytes) -> Bytes {
        let (client, sequence, value) = (command.get_u64(), command.get_u64(), command.get_u64());
        let last = self.sessions.get(&client).copied().filter(|_| !self.has(Fault::AppliesAgain));
        let answer = match last {
            Some((last, answer)) if sequence == last && !self.has(Fault::AnswersAgain) => answer,
            Some((last, _)) if sequence < last => 0,
            _ => {
                self.applied += 1;
                self.value = value;
                self.sessions.insert(client, (sequence, self.applied));
                self.applied
            }
        };
        if self.has(Fault::ChangesByChance) {
            self.applied = RandomState::new().hash_one(0) >> 1;
        }
        let chance = if self.has(Fault::AnswersByChance) { RandomState::new().hash_one(0) } else { 0 };
        Bytes::copy_from_slice(&(answer ^ chance).to_be_bytes())
    }

    fn read(&self) -> Option<u64> {
        Some(self.value)
    }

    fn snapshot(&mut self) -> Bytes {
        let mut data = BytesMut::new();
        data.put_u64(self.value);
        data.put_u64(self.applied);
        for (client, (sequence, answer)) in
            self.sessions.iter().filter(|_| self.fault != Some(Fault::ForgetsSessions))
        {
            data.put_u64(*client);
            data.put_u64(*sequence);
            data.put_u64(*answer);
        }
        data.freeze()
    }

    fn restore(&mut self, mut state: &[u8]) -> Result<(), &'static str> {
        if self.has(Fault::RestoresNothing) {
            return Err("it is full of nonsense");
        }
        (self.value, self.applied) = (state.get_u64(), state.get_u64());
        self.sessions.clear();
        while !state.is_empty() {
            let (client, sequence, answer) = (state.get_u64(), state.get_u64(), state.get_u64());
            self.sessions.insert(client, (sequence, answer));
        }
        Ok(())
    }

    /// Of what it knows, not only of what a snapshot holds.
    fn digest(&mut self) -> u64 {
        let sessions =
            self.sessions.iter().flat_map(|(client, (sequence, answer))| [client, sequence, answer]);
        sessions.fold(self.value ^ self.applied, |hash, word| raft_fuzz::machine::mix(hash, *word))
    }
}

#[derive(Clone, Copy)]
struct Registers(Option<Fault>);

impl Parts for Registers {
    type Machine = Register;
    type Storage = ();

    fn machine(&self, _: NodeId) -> Register {
        Register { fault: self.0, ..Register::default() }
    }

    fn storage(&self, _: NodeId, _: &ConfState) -> Result<(), String> {
        Ok(())
    }
}

fn first_failure(fault: Option<Fault>) -> Result<Report, Box<Failure>> {
    let mut sum = Report::default();
    for seed in 60_000..60_030 {
        sum.add(&run_with(seed, &Options::default(), &Registers(fault))?);
    }
    Ok(sum)
}

#[test]
fn a_state_machine_without_a_fault_passes() {
    let sum = first_failure(None).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(sum.snapshots > 50 && sum.crashes > 300 && sum.changes > 50, "{sum:?}");
}

#[test]
fn what_is_wrong_with_a_state_machine_is_named_with_its_seed() {
    let faults = [
        (Fault::AnswersByChance, "5", "answers"),
        (Fault::ChangesByChance, "5", "is in another state after"),
        (Fault::AppliesAgain, "20", ""),
        (Fault::AnswersAgain, "20", "to what was answered"),
        (Fault::ForgetsSessions, "5", "is in another state after a snapshot of"),
        (Fault::RestoresNothing, "snapshot", "can't restore that of"),
    ];
    for (fault, statement, words) in faults {
        let failure = first_failure(Some(fault)).expect_err(&format!("{fault:?} passes"));
        assert_eq!(failure.violation.statement, statement, "{fault:?}: {failure}");
        let said = failure.to_string();
        let last = said.lines().last().unwrap();
        let seed = format!("seed {} at", failure.seed);
        assert!(last.starts_with(&seed) && last.contains(words), "{fault:?}: {last}");
    }
}

/// What fails is cut down to a schedule that fails with the same parts, and passes with the simulator's own.
#[test]
fn a_failure_of_a_state_machine_is_cut_down() {
    let parts = Registers(Some(Fault::ChangesByChance));
    let options = Options { seconds: 20, nodes: Some(3), changes: Some(false), ..Options::default() };
    let failure = (60_001..60_100).find_map(|seed| run_with(seed, &options, &parts).err()).unwrap();
    let short = failure.shrink_with(&parts).unwrap();
    let whole = failure.schedule.as_ref().unwrap();
    // It takes an election, and a write that two nodes apply.
    assert!(short.len() < whole.len() / 4, "{} of {}:\n{short}", short.len(), whole.len());
    let again = raft_fuzz::simulation::replay_with(&short, &parts).unwrap_err();
    assert_eq!(again.violation.statement, failure.violation.statement);
    raft_fuzz::simulation::replay(&short).unwrap_or_else(|failure| panic!("{failure}"));
}
