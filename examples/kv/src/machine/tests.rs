use std::collections::BTreeMap;

use proptest::prelude::*;
use raft_proto::ConfChangeSingle;

use super::*;
use crate::command::{ClientId, Session};

fn command(operation: Operation) -> Bytes {
    Command::new(operation).encode().unwrap()
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> Operation {
    Operation::Put { key: bytes(key), value: bytes(value) }
}

fn swap(key: &str, expected: Option<&str>, new: Option<&str>) -> Operation {
    Operation::CompareAndSet { key: bytes(key), expected: expected.map(bytes), new: new.map(bytes) }
}

fn in_session(client: &str, serial: u64, operation: Operation) -> Bytes {
    let session = Session { client: ClientId::new(bytes(client)).unwrap(), serial };
    Command { session: Some(session), operation }.encode().unwrap()
}

fn restored(machine: &mut Machine) -> Machine {
    let mut stream = Vec::new();
    machine.freeze().write_to(&mut stream).unwrap();
    Machine::restore(&stream[..]).unwrap()
}

fn contents(machine: &mut Machine) -> BTreeMap<Bytes, Versioned> {
    BTreeMap::clone(&machine.store.freeze())
}

/// Applies one command after the other.
struct At(Machine, u64);

impl At {
    fn apply(&mut self, command: &Bytes) -> Outcome {
        self.1 += 1;
        self.0.apply(Index::new(self.1), command)
    }
}

#[test]
fn each_operation_does_what_it_says() {
    let mut at = At(Machine::new(), 0);
    assert_eq!(at.apply(&command(put("a", "1"))), Outcome::Done);
    assert_eq!(at.0.get(b"a"), Some(&Versioned { value: bytes("1"), modified: Index::new(1) }));
    assert_eq!(
        at.apply(&command(swap("a", Some("2"), None))),
        Outcome::NotSwapped { current: Some(bytes("1")) }
    );
    assert_eq!(at.apply(&command(swap("a", Some("1"), Some("2")))), Outcome::Swapped);
    assert_eq!(at.0.get(b"a").unwrap().modified, Index::new(3));
    assert_eq!(at.apply(&command(swap("b", Some(""), None))), Outcome::NotSwapped { current: None });
    assert_eq!(at.apply(&command(swap("b", None, Some("")))), Outcome::Swapped);
    assert_eq!(at.0.len(), 2);
    assert_eq!(at.apply(&command(swap("b", Some(""), None))), Outcome::Swapped);
    assert_eq!(
        at.apply(&command(Operation::Delete { key: bytes("b") })),
        Outcome::Deleted { existed: false }
    );
    assert_eq!(at.apply(&command(Operation::Delete { key: bytes("a") })), Outcome::Deleted { existed: true });
    assert!(at.0.is_empty());
    assert_eq!(at.apply(&Bytes::new()), Outcome::Malformed);
    assert_eq!(at.apply(&bytes("no command")), Outcome::Malformed);
    assert_eq!(at.0.applied(), Index::new(at.1));
}

#[test]
fn an_index_is_applied_once() {
    let mut at = At(Machine::new(), 0);
    at.apply(&command(put("a", "1")));
    at.0.skip(Index::new(2));
    for index in [0, 1, 2] {
        assert_eq!(at.0.apply(Index::new(index), &command(put("a", "2"))), Outcome::AlreadyApplied);
    }
    assert_eq!(at.0.get(b"a").unwrap().value, "1");
}

#[test]
fn a_retry_gets_the_outcome_of_the_first_time_also_after_a_restore() {
    let mut at = At(Machine::new(), 0);
    at.apply(&command(put("lock", "free")));
    let take = in_session("alice", 7, swap("lock", Some("free"), Some("alice")));
    let lose = in_session("bob", 1, swap("lock", Some("free"), Some("bob")));
    assert_eq!(at.apply(&take), Outcome::Swapped);
    let lost = Outcome::NotSwapped { current: Some(bytes("alice")) };
    assert_eq!(at.apply(&lose), lost);
    at.apply(&command(put("lock", "free")));
    for _ in 0..2 {
        assert_eq!(at.apply(&take), Outcome::Swapped);
        assert_eq!(at.apply(&lose), lost);
        assert_eq!(at.0.get(b"lock").unwrap().value, "free", "applied twice");
        assert_eq!(at.apply(&in_session("alice", 6, put("lock", "?"))), Outcome::StaleSerial);
        at.0 = restored(&mut at.0);
    }
    assert_eq!(at.apply(&in_session("alice", 8, put("lock", "new"))), Outcome::Done);
    assert_eq!(at.apply(&take), Outcome::StaleSerial);
}

#[test]
fn the_session_that_was_used_the_longest_time_ago_is_forgotten_first() {
    for restarts in [false, true] {
        let mut at = At(Machine::new(), 0);
        let nth = |n: usize| in_session(&format!("client {n}"), 1, swap("k", None, None));
        for n in 0..MAX_SESSIONS {
            at.apply(&nth(n));
        }
        // A retry is a use, so the second is the oldest now.
        at.apply(&nth(0));
        if restarts {
            at.0 = restored(&mut at.0);
        }
        at.apply(&nth(MAX_SESSIONS));
        assert_eq!(at.0.sessions(), MAX_SESSIONS);
        at.apply(&command(put("k", "v")));
        assert_eq!(at.apply(&nth(0)), Outcome::Swapped);
        assert_eq!(at.apply(&nth(2)), Outcome::Swapped);
        assert_eq!(at.apply(&nth(1)), Outcome::NotSwapped { current: Some(bytes("v")) });
    }
}

#[test]
fn the_outcomes_that_are_remembered_are_bounded_in_bytes() {
    let mut at = At(Machine::new(), 0);
    let large = "x".repeat(crate::command::MAX_VALUE);
    at.apply(&command(put("large", &large)));
    let held = MAX_SESSION_BYTES / large.len();
    for n in 0..held + 3 {
        at.apply(&in_session(&format!("client {n}"), 1, swap("large", None, None)));
    }
    assert_eq!(at.0.sessions(), held);
    assert_eq!(restored(&mut at.0).sessions(), held);
}

#[test]
fn a_small_value_does_not_pin_the_message_that_it_came_in() {
    let message = command(put("key", &"v".repeat(40)));
    let mut at = At(Machine::new(), 0);
    at.apply(&message);
    let kept = at.0.get(b"key").unwrap().value.as_ptr();
    assert!(!message.as_ptr_range().contains(&kept));
}

#[test]
fn a_frozen_machine_stays_as_it_was_while_the_other_goes_on() {
    let mut at = At(Machine::new(), 0);
    for n in 0..500 {
        at.apply(&command(put(&format!("{n:03}"), "old")));
    }
    let frozen = at.0.freeze();
    for n in 0..400 {
        at.apply(&command(put(&format!("{n:03}"), "new")));
        at.apply(&command(Operation::Delete { key: bytes(&format!("{:03}", n + 50)) }));
    }
    let mut stream = Vec::new();
    frozen.write_to(&mut stream).unwrap();
    let mut old = Machine::restore(&stream[..]).unwrap();
    assert_eq!((old.applied(), old.len()), (Index::new(500), 500));
    assert!(contents(&mut old).values().all(|versioned| versioned.value == "old"));

    drop(frozen);
    let len = at.0.len();
    for _ in 0..100 {
        at.apply(&Bytes::new());
    }
    assert_eq!(at.0.len(), len);
    assert_eq!(contents(&mut at.0).len(), len);
}

#[test]
fn a_key_that_waits_to_move_back_does_not_hide_what_is_written_next() {
    let write = |n| Versioned { value: bytes("v"), modified: Index::new(n) };
    let mut store = Store::default();
    store.put(bytes("a"), write(1));
    let frozen = store.freeze();
    store.put(bytes("a"), write(2));
    store.put(bytes("b"), write(3));
    drop(frozen);
    store.put(bytes("a"), write(4));
    store.remove(b"b");
    for _ in 0..2 {
        assert_eq!(store.get(b"a"), Some(&write(4)));
        assert_eq!((store.get(b"b"), store.len()), (None, 1));
        store.settle();
    }
}

#[test]
fn members_addresses_come_and_go_and_survive_a_snapshot() {
    let id = |id| NodeId::new(id).unwrap();
    let change = |kind, node, raft_addr: Option<&str>| ConfChangeV2 {
        changes: vec![ConfChangeSingle { kind, node: Some(id(node)) }],
        context: Note { raft_addr: raft_addr.map(|addr| addr.parse().unwrap()), ..Note::default() }.encode(),
        ..ConfChangeV2::default()
    };
    let mut machine = Machine::new();
    let now = |learners: &[u64]| ConfState {
        learners: learners.iter().copied().map(id).collect(),
        ..ConfState::of_voters([id(1)])
    };
    let add = change(ConfChangeKind::AddLearner, 4, Some("127.0.0.1:7104"));
    machine.change_members(Index::new(1), &add, &now(&[4]));
    let add = change(ConfChangeKind::AddLearner, 5, Some("[::1]:7105"));
    machine.change_members(Index::new(2), &add, &now(&[4, 5]));
    machine.change_members(Index::new(3), &change(ConfChangeKind::AddVoter, 5, None), &now(&[4, 5]));
    let mut stream = Vec::new();
    machine.freeze().write_to(&mut stream).unwrap();
    let restored = Machine::restore(&stream[..]).unwrap();
    assert_eq!((restored.peers(), restored.applied()), (machine.peers(), Index::new(3)));
    let expected = BTreeMap::from(
        [(id(4), "127.0.0.1:7104"), (id(5), "[::1]:7105")].map(|(id, addr)| (id, addr.parse().unwrap())),
    );
    assert_eq!(*restored.peers(), expected);
    machine.change_members(Index::new(4), &change(ConfChangeKind::Remove, 4, None), &now(&[5]));
    assert_eq!(machine.peers().keys().copied().collect::<Vec<_>>(), [id(5)]);
}

#[test]
fn a_snapshot_of_the_version_before_members_is_read() {
    let mut at = At(Machine::new(), 0);
    at.apply(&in_session("client", 1, put("key", "value")));
    let mut stream = Vec::new();
    at.0.freeze().write_to(&mut stream).unwrap();
    stream[8] = 1;
    assert_eq!(Machine::restore(&stream[..]).unwrap().len(), 1);
}

#[test]
fn streams_that_are_no_machine_are_refused() {
    let mut at = At(Machine::new(), 0);
    for n in 0..3 {
        at.apply(&in_session(&format!("client {n}"), 1, put(&format!("key {n}"), "value")));
    }
    let mut stream = Vec::new();
    at.0.freeze().write_to(&mut stream).unwrap();
    for cut in 0..stream.len() {
        assert!(Machine::restore(&stream[..cut]).is_err());
    }
    stream.push(0);
    assert!(matches!(Machine::restore(&stream[..]), Err(RestoreError::WrongCounts)));
    stream[8] = 3;
    assert!(matches!(Machine::restore(&stream[..]), Err(RestoreError::UnknownVersion(3))));
    stream[0] = b'?';
    assert!(matches!(Machine::restore(&stream[..]), Err(RestoreError::NotAMachine)));
}

fn operations() -> impl Strategy<Value = Operation> {
    let text = |choices: &'static [&'static str]| prop::sample::select(choices).prop_map(bytes);
    let key = move || text(&["a", "b", "c", "d", "e", "f"]);
    let value = move || text(&["", "1", "2"]);
    prop_oneof![
        (key(), value()).prop_map(|(key, value)| Operation::Put { key, value }),
        key().prop_map(|key| Operation::Delete { key }),
        (key(), prop::option::of(value()), prop::option::of(value()))
            .prop_map(|(key, expected, new)| Operation::CompareAndSet { key, expected, new }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Operation, Option<(u8, u8)>),
    Freeze,
    Thaw,
    Restore,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (operations(), prop::option::of((0..3_u8, 0..6_u8))).prop_map(|(op, by)| Step::Apply(op, by)),
        1 => Just(Step::Freeze),
        1 => Just(Step::Thaw),
        1 => Just(Step::Restore),
    ]
}

/// The machine without layers or eviction.
#[derive(Default)]
struct Model {
    map: BTreeMap<Bytes, Versioned>,
    sessions: BTreeMap<u8, (u8, Outcome)>,
}

impl Model {
    fn apply(&mut self, index: Index, operation: &Operation, session: Option<(u8, u8)>) -> Outcome {
        if let Some((client, serial)) = session {
            match self.sessions.get(&client) {
                Some((last, outcome)) if serial == *last => return outcome.clone(),
                Some((last, _)) if serial < *last => return Outcome::StaleSerial,
                _ => {}
            }
        }
        let current = self.map.get(operation.key()).map(|versioned| versioned.value.clone());
        let (outcome, new) = match operation.clone() {
            Operation::Put { value, .. } => (Outcome::Done, Some(Some(value))),
            Operation::Delete { .. } => (Outcome::Deleted { existed: current.is_some() }, Some(None)),
            Operation::CompareAndSet { expected, new, .. } if expected == current => {
                (Outcome::Swapped, Some(new))
            }
            Operation::CompareAndSet { .. } => (Outcome::NotSwapped { current }, None),
        };
        match new {
            Some(Some(value)) => {
                drop(self.map.insert(operation.key().clone(), Versioned { value, modified: index }))
            }
            Some(None) => drop(self.map.remove(operation.key())),
            None => {}
        }
        if let Some((client, serial)) = session {
            self.sessions.insert(client, (serial, outcome.clone()));
        }
        outcome
    }
}

proptest! {
    #[test]
    fn the_machine_is_a_map(steps in prop::collection::vec(steps(), 0..80)) {
        let (mut machine, mut model) = (Machine::new(), Model::default());
        let mut frozen = Vec::new();
        for (step, index) in steps.into_iter().zip((1..).map(Index::new)) {
            match step {
                Step::Apply(operation, session) => {
                    let bytes = match session {
                        Some((client, serial)) => in_session(&client.to_string(), serial.into(), operation.clone()),
                        None => command(operation.clone()),
                    };
                    prop_assert_eq!(machine.apply(index, &bytes), model.apply(index, &operation, session));
                }
                Step::Freeze => frozen.push((machine.freeze(), model.map.clone())),
                Step::Thaw => drop(frozen.pop()),
                Step::Restore => machine = restored(&mut machine),
            }
            prop_assert_eq!(machine.len(), model.map.len());
            for key in ["a", "b", "c", "d", "e", "f"] {
                prop_assert_eq!(machine.get(key.as_bytes()), model.map.get(key.as_bytes()));
            }
            for (frozen, then) in &frozen {
                prop_assert_eq!(&*frozen.map, then);
            }
        }
    }
}
