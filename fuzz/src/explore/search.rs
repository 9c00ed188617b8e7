//! The search: breadth first, a level after the other, by several threads.
//!
//! Each thread owns the states whose fingerprint falls to it. In turns all threads first look what follows from some of their own
//! states, and then take over what fell to them of what the others found.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::thread;
use std::time::Instant;

use raft_core::{ConfState, Message, RoleKind};

use super::history::History;
use super::intern::Interner;
use super::node::{Event, Input, Node, View};
use super::{Bounds, Budget, Effort, Progress, Report, Violation, schedule};

/// A step from one state of the cluster to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Begin,
    /// At the node of this position.
    At(u8, Input),
    /// The message is delivered, and stays on its way.
    DeliverAgain(u8, u32),
    Drop(u32),
}

/// What all threads share: everything that is kept once.
#[derive(Debug)]
pub(super) struct World {
    pub(super) bounds: Bounds,
    configurations: Vec<ConfState>,
    pub(super) nodes: Interner<u64, (Node, View)>,
    pub(super) messages: Interner<Message, Message>,
    histories: Interner<History, History>,
}

/// A state of the cluster, in words: the numbers of the nodes' states, of the history, and, in ascending order, of the
/// messages on their way.
pub(super) type State = [u32];

/// States, one behind the other.
#[derive(Debug, Default)]
struct States {
    words: Vec<u32>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl States {
    fn push(&mut self, state: &State) {
        self.words.extend_from_slice(state);
        self.ends.push(self.words.len());
    }

    fn get(&self, at: usize) -> &State {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.words[start..self.ends[at]]
    }

    fn clear(&mut self) {
        self.words.clear();
        self.ends.clear();
    }
}

/// What a node does on an input, by numbers.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) after: u32,
    pub(super) sent: Vec<u32>,
    events: Vec<Event>,
}

/// A state that was found, by which step from which state.
#[derive(Clone, Copy, Debug)]
struct Found {
    fingerprint: u64,
    step: Step,
}

/// How a state was reached first.
#[derive(Clone, Copy, Debug)]
struct Step {
    from: u32,
    action: Action,
}

/// A statement that doesn't hold after `last`.
#[derive(Debug)]
struct Fault {
    statement: String,
    last: Step,
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// What one thread has.
#[derive(Debug, Default)]
struct Worker {
    /// What was computed of nodes.
    effects: HashMap<(u32, Input), Option<Effect>>,
    /// The fingerprints of its states. That two of 100 million states have the same one, so that one of them is passed over,
    /// has a chance of 1 in 3,700.
    visited: HashSet<u64, BuildHasherDefault<AsItIs>>,
    /// How each of its states was reached.
    steps: Vec<Step>,
    /// The states of this level, of which those before `at` are done, and of the next.
    level: States,
    at: usize,
    next: States,
    /// The numbers of the first states of the two.
    first: usize,
    first_next: usize,
    /// What it found, for each thread.
    found: Vec<(Vec<Found>, States)>,
    transitions: u64,
    fault: Option<Fault>,
}

/// So many states does a thread look at in its turn.
const TURN: usize = 1 << 14;

/// Visits every state within the bounds, unless that is more than the effort allows or a statement is broken. `watch` is told
/// now and then how far it has come.
///
/// # Errors
/// The core refuses to start.
pub fn explore(bounds: &Bounds, effort: Effort, mut watch: impl FnMut(&Progress)) -> Result<Report, String> {
    let begin = Instant::now();
    let world = World::new(bounds);
    let threads = effort.threads.clamp(1, 64);
    let mut workers: Vec<Worker> = (0..threads).map(|_| Worker::new(threads)).collect();
    let start = world.start()?;
    let found = Found { fingerprint: fingerprint(&start), step: Step { from: 0, action: Action::Begin } };
    workers[0].take(&world, &found, &start);

    let mut progress = Progress::default();
    let mut exhausted = false;
    while workers.iter().all(|worker| worker.fault.is_none()) {
        if workers.iter().all(Worker::is_done) {
            workers.iter_mut().for_each(Worker::begin_level);
            exhausted = workers.iter().all(Worker::is_done);
            progress.depth += u32::from(!exhausted);
        }
        if exhausted || progress.states >= effort.states || begin.elapsed() >= effort.time {
            break;
        }
        turn(&world, &mut workers);
        progress.states = workers.iter().map(|worker| worker.steps.len() as u64).sum();
        progress.transitions = workers.iter().map(|worker| worker.transitions).sum();
        progress.node_states = world.nodes.len();
        progress.messages = world.messages.len();
        watch(&progress);
    }
    let fault = workers.iter_mut().find_map(|worker| worker.fault.take());
    let violation = fault.map(|Fault { statement, last }| {
        let mut actions = vec![last.action];
        let mut number = last.from as usize;
        while number != 0 {
            let Step { from, action } = workers[number % threads].steps[number / threads];
            actions.push(action);
            number = from as usize;
        }
        actions.reverse();
        Violation { schedule: schedule::tell(&world, &start, &actions), statement }
    });
    Ok(Report { progress, exhausted, violation })
}

/// Each thread looks what follows from its next states, then takes over what fell to it.
fn turn(world: &World, workers: &mut [Worker]) {
    let threads = workers.len();
    thread::scope(|scope| {
        for (me, worker) in workers.iter_mut().enumerate() {
            scope.spawn(move || worker.look(world, (me, threads)));
        }
    });
    let mut fallen: Vec<Vec<(Vec<Found>, States)>> = (0..threads).map(|_| Vec::new()).collect();
    for worker in workers.iter_mut() {
        for (to, found) in worker.found.iter_mut().enumerate() {
            fallen[to].push(std::mem::take(found));
        }
    }
    thread::scope(|scope| {
        for (worker, fallen) in workers.iter_mut().zip(&fallen) {
            scope.spawn(move || {
                for (found, states) in fallen {
                    for (at, one) in found.iter().enumerate() {
                        worker.take(world, one, states.get(at));
                    }
                }
            });
        }
    });
    // The buffers go back.
    for (to, from_all) in fallen.into_iter().enumerate() {
        for (worker, (mut found, mut states)) in workers.iter_mut().zip(from_all) {
            found.clear();
            states.clear();
            worker.found[to] = (found, states);
        }
    }
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

impl World {
    fn new(bounds: &Bounds) -> World {
        World {
            bounds: bounds.clone(),
            configurations: bounds.configurations(),
            nodes: Interner::new(),
            messages: Interner::new(),
            histories: Interner::new(),
        }
    }

    /// The state in which every run begins.
    fn start(&self) -> Result<Vec<u32>, String> {
        let mut state = Vec::new();
        for id in self.bounds.ids() {
            state.push(self.intern_node(Node::start(id, self.bounds.disk(), 0, &self.bounds)?));
        }
        state.push(self.intern_history(History::new(self.bounds.budget)));
        Ok(state)
    }

    fn intern_node(&self, node: Node) -> u32 {
        self.nodes.intern(node.fingerprint(), || {
            let view = node.view();
            (node, view)
        })
    }

    fn intern_history(&self, history: History) -> u32 {
        self.histories.intern(history.clone(), || history)
    }

    /// How many nodes there are; behind their numbers comes that of the history, then those of the messages.
    fn size(&self) -> usize {
        self.bounds.nodes as usize
    }

    fn views(&self, state: &State) -> Vec<&View> {
        state[..self.size()].iter().map(|node| &self.nodes.get(*node).1).collect()
    }

    fn history(&self, state: &State) -> &History {
        self.histories.get(state[self.size()])
    }

    /// What a node does.
    ///
    /// # Errors
    /// The statement that it breaks.
    pub(super) fn react(&self, node: u32, input: Input) -> Result<Option<Effect>, String> {
        let message = match input {
            Input::Deliver(message) => Some(self.messages.get(message)),
            _ => None,
        };
        let Some(reaction) = self.nodes.get(node).0.react(input, message, &self.bounds)? else {
            return Ok(None);
        };
        let sent = reaction.sent.into_iter();
        let sent = sent.map(|message| self.messages.intern(message.clone(), || message)).collect();
        Ok(Some(Effect { after: self.intern_node(reaction.after), sent, events: reaction.events }))
    }

    /// Puts into `next` what follows from a step. Returns false if it can't be taken, or leads out of the bounds.
    ///
    /// # Errors
    /// The statement that the step breaks.
    pub(super) fn follow(
        &self,
        state: &State,
        action: Action,
        effect: Option<&Effect>,
        next: &mut Vec<u32>,
    ) -> Result<bool, String> {
        next.clear();
        next.extend_from_slice(state);
        if let Action::At(_, Input::Deliver(message)) | Action::Drop(message) = action
            && let Some(at) = next[self.size() + 1..].iter().position(|other| *other == message)
        {
            next.remove(self.size() + 1 + at);
        }
        let mut history = self.spend(state, action);
        if let (Action::At(node, _) | Action::DeliverAgain(node, _), Some(effect)) = (action, effect) {
            let node = usize::from(node);
            next[node] = effect.after;
            next.extend_from_slice(&effect.sent);
            if next.len() > self.size() + 1 + self.bounds.in_flight {
                return Ok(false);
            }
            next[self.size() + 1..].sort_unstable();
            if self.nodes.get(effect.after).1.log.len() > self.bounds.max_log {
                return Ok(false);
            }
            let all = self.views(next);
            for event in &effect.events {
                let history = history.get_or_insert_with(|| self.history(state).clone());
                history.note(event, all[node], &all)?;
            }
        }
        if let Some(history) = history {
            next[self.size()] = self.intern_history(history);
        }
        Ok(true)
    }

    /// The history, if the step takes something off the budget.
    fn spend(&self, state: &State, action: Action) -> Option<History> {
        let take: fn(&mut Budget) -> &mut u8 = match action {
            Action::Begin | Action::At(_, Input::Deliver(_) | Input::Persist | Input::Apply) => {
                return None;
            }
            Action::Drop(_) => |budget| &mut budget.drops,
            Action::DeliverAgain(..) => |budget| &mut budget.duplicates,
            Action::At(_, Input::TimeOut) => |budget| &mut budget.time_outs,
            Action::At(_, Input::Tick) => |budget| &mut budget.ticks,
            Action::At(_, Input::Heartbeat) => |budget| &mut budget.heartbeats,
            Action::At(_, Input::Propose) => |budget| &mut budget.proposals,
            Action::At(_, Input::Change) => |budget| &mut budget.changes,
            Action::At(_, Input::Read { .. }) => |budget| &mut budget.reads,
            Action::At(_, Input::Crash { .. }) => |budget| &mut budget.crashes,
        };
        let mut history = self.history(state).clone();
        let left = take(&mut history.budget);
        *left = left.saturating_sub(1);
        Some(history)
    }

    /// What could happen in a state.
    fn actions(&self, state: &State, is_start: bool, into: &mut Vec<Action>) {
        into.clear();
        let history = self.history(state);
        for (at, view) in self.views(state).into_iter().enumerate() {
            let node = u8::try_from(at).unwrap_or(u8::MAX);
            node_inputs(view, history, &self.bounds, |input| into.push(Action::At(node, input)));
            // At the start the nodes differ in nothing but their names, so the first to act may be called 1. (One that isn't a
            // member does nothing of which another learns, so it may as well act later.)
            if is_start {
                return;
            }
        }
        let mut last = None;
        for message in &state[self.size() + 1..] {
            if last.replace(*message) == Some(*message) {
                continue;
            }
            let to = self.messages.get(*message).to.get() - 1;
            let node = u8::try_from(to).unwrap_or(u8::MAX);
            into.push(Action::At(node, Input::Deliver(*message)));
            if history.budget.duplicates > 0 {
                into.push(Action::DeliverAgain(node, *message));
            }
            if history.budget.drops > 0 {
                into.push(Action::Drop(*message));
            }
        }
    }
}

/// What could happen to a node by itself.
fn node_inputs(view: &View, history: &History, bounds: &Bounds, mut push: impl FnMut(Input)) {
    let Budget { time_outs, ticks, heartbeats, proposals, changes, reads, crashes, .. } = history.budget;
    let leads = view.role == RoleKind::Leader;
    let may_campaign = !leads && view.term.get() < bounds.max_term;
    let possible = [
        (view.writes > 0, Input::Persist),
        (view.batches > 0, Input::Apply),
        (may_campaign && time_outs > 0, Input::TimeOut),
        ((leads || may_campaign) && ticks > 0, Input::Tick),
        (leads && heartbeats > 0, Input::Heartbeat),
        (leads && proposals > 0, Input::Propose),
        (leads && changes > 0, Input::Change),
        (reads > 0, Input::Read { floor: u8::try_from(history.committed()).unwrap_or(u8::MAX) }),
    ];
    possible.into_iter().filter(|(is, _)| *is).for_each(|(_, input)| push(input));
    if crashes > 0 {
        (0..=view.writes)
            .for_each(|survive| push(Input::Crash { survive: u8::try_from(survive).unwrap_or(u8::MAX) }));
    }
}

impl Worker {
    fn new(threads: usize) -> Worker {
        Worker { found: (0..threads).map(|_| Default::default()).collect(), ..Worker::default() }
    }

    /// Are all states of this level done?
    fn is_done(&self) -> bool {
        self.at == self.level.ends.len()
    }

    fn begin_level(&mut self) {
        std::mem::swap(&mut self.level, &mut self.next);
        self.next.clear();
        self.at = 0;
        self.first = self.first_next;
        self.first_next = self.steps.len();
    }

    /// What follows from the next states of this level?
    fn look(&mut self, world: &World, (me, threads): (usize, usize)) {
        let level = std::mem::take(&mut self.level);
        let end = level.ends.len().min(self.at + TURN);
        let (mut actions, mut next) = (Vec::new(), Vec::new());
        for at in self.at..end {
            let state = level.get(at);
            let number = (self.first + at) * threads + me;
            world.actions(state, number == 0, &mut actions);
            for action in &actions {
                let step =
                    Step { from: u32::try_from(number).expect("fewer than 2^32 states"), action: *action };
                if let Err(statement) = self.take_step(world, state, step, &mut next) {
                    self.fault.get_or_insert(Fault { statement, last: step });
                }
            }
        }
        self.at = end;
        self.level = level;
    }

    fn take_step(
        &mut self,
        world: &World,
        state: &State,
        step: Step,
        next: &mut Vec<u32>,
    ) -> Result<(), String> {
        let effect = match step.action {
            Action::At(node, input) => match self.effect(world, state[usize::from(node)], input)? {
                Some(effect) => Some(effect),
                None => return Ok(()),
            },
            Action::DeliverAgain(node, message) => {
                match self.effect(world, state[usize::from(node)], Input::Deliver(message))? {
                    Some(effect) => Some(effect),
                    None => return Ok(()),
                }
            }
            Action::Begin | Action::Drop(_) => None,
        };
        if !world.follow(state, step.action, effect, next)? {
            return Ok(());
        }
        self.transitions += 1;
        let fingerprint = fingerprint(next);
        // The lower bits place it in the owner's set.
        let owner = (fingerprint >> 32) as usize % self.found.len();
        let (found, states) = &mut self.found[owner];
        found.push(Found { fingerprint, step });
        states.push(next);
        Ok(())
    }

    fn effect(&mut self, world: &World, node: u32, input: Input) -> Result<Option<&Effect>, String> {
        use std::collections::hash_map::Entry;
        let effect = match self.effects.entry((node, input)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(world.react(node, input)?),
        };
        Ok(effect.as_ref())
    }

    /// Takes a state over that falls to this thread. If it is new it is checked, and looked at in the next level.
    fn take(&mut self, world: &World, found: &Found, state: &State) {
        if !self.visited.insert(found.fingerprint) {
            return;
        }
        self.steps.push(found.step);
        self.next.push(state);
        if let Err(statement) = world.history(state).check(&world.views(state), &world.configurations) {
            self.fault.get_or_insert(Fault { statement, last: found.step });
        }
    }
}
