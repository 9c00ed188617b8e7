//! Does again what a schedule says, and looks for the shortest that still fails.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

use super::action::{Action, Parcel};
use super::driver::Driver;
use super::script::Schedule;
use super::setup;
use super::trail::Trail;
use super::world::{Sent, World};
use super::{Failure, words_of};
use crate::oracle::{Check, Violation};
use crate::parts::{Own, Parts};

/// So many candidates are tried at most.
const ATTEMPTS: usize = 4_000;

/// Replays a schedule.
///
/// # Errors
/// The first statement that doesn't hold.
pub fn replay(schedule: &Schedule) -> Result<(), Box<Failure>> {
    replay_with(schedule, &Own)
}

/// Replays a schedule with nodes that are made of a user's parts.
///
/// # Errors
/// The first statement that doesn't hold.
pub fn replay_with<P: Parts>(schedule: &Schedule, parts: &P) -> Result<(), Box<Failure>> {
    let trail = Some(Trail::default());
    let Err((world, violation)) = attempt(schedule, &schedule.actions, trail, parts) else { return Ok(()) };
    let trail = world.as_ref().and_then(|world| world.trail.as_ref()).map_or(Vec::new(), Trail::lines);
    let at = world.map_or(0, |world| world.now);
    Err(Box::new(Failure { seed: schedule.seed, at, violation, trail, schedule: None }))
}

/// The shortest schedule that is found by leaving parts out and still breaks the same statement; nothing if even all of it
/// doesn't.
pub(super) fn shrink<P: Parts>(schedule: &Schedule, statement: &str, parts: &P) -> Option<Schedule> {
    let fails = |actions: &[(u64, Action)]| matches!(attempt(schedule, actions, None, parts), Err((_, violation)) if violation.statement == statement);
    let mut actions = schedule.actions.clone();
    if !fails(&actions) {
        return None;
    }
    let mut attempts = 0;
    let mut size = actions.len().div_ceil(2);
    while size > 0 && attempts < ATTEMPTS {
        let mut at = 0;
        let before = actions.len();
        while at < actions.len() && attempts < ATTEMPTS {
            let end = (at + size).min(actions.len());
            let candidate: Vec<_> = actions[..at].iter().chain(&actions[end..]).copied().collect();
            attempts += 1;
            if fails(&candidate) {
                actions = candidate;
            } else {
                at = end;
            }
        }
        // Single actions are tried until none can be left out.
        size = if size == 1 && actions.len() < before { 1 } else { size / 2 };
    }
    Some(Schedule { actions, ..schedule.clone() })
}

type Broken<P> = (Option<Box<World<P>>>, Violation);

fn attempt<P: Parts>(
    schedule: &Schedule,
    actions: &[(u64, Action)],
    trail: Option<Trail>,
    parts: &P,
) -> Result<(), Broken<P>> {
    let mut rng = Rng::with_seed(schedule.seed);
    let (mut world, plan) =
        setup::any_run(&mut rng, &schedule.options, parts).map_err(|violation| (None, *violation))?;
    world.trail = trail;
    let leases = plan.leases;
    let mut driver = Driver::new(rng, plan, world.nodes.len());
    let all = || all_of(&mut world, &mut driver, schedule.seed, actions, leases);
    let violation = match catch_unwind(AssertUnwindSafe(all)) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(violation)) => *violation,
        Err(panic) => Violation { statement: "panic", what: words_of(&*panic) },
    };
    Err((Some(Box::new(world)), violation))
}

fn all_of<P: Parts>(
    world: &mut World<P>,
    driver: &mut Driver,
    seed: u64,
    actions: &[(u64, Action)],
    leases: bool,
) -> Check {
    let mut sent: BTreeMap<Parcel, Sent> = BTreeMap::new();
    let mut ticked = vec![0; world.nodes.len()];
    for (now, action) in actions.iter().copied() {
        if !exists(world, action) {
            continue;
        }
        world.now = now;
        match action {
            Action::Heal => {
                driver.heal(world, seed)?;
                return driver.demand_progress(world);
            }
            // A clock that stood still for long promises nothing, so what follows shows nothing.
            Action::Tick(at) if leases && world.nodes[at].raw.is_some() => {
                if now - ticked[at] > 2 * world.nodes[at].options.tick_every {
                    return Ok(());
                }
                ticked[at] = now;
            }
            Action::Start(at) | Action::Replace(at) | Action::Repair(at) if world.nodes[at].raw.is_none() => {
                ticked[at] = now;
            }
            _ => {}
        }
        let mut message = match action {
            Action::Deliver(parcel) => sent.get(&parcel).cloned(),
            _ => None,
        };
        world.perform(action, &mut message)?;
        sent.extend(world.sent.drain(..).map(|one| (one.parcel, one)));
    }
    Ok(())
}

/// Are all that it names there? A schedule may have been written by hand.
fn exists<P: Parts>(world: &World<P>, action: Action) -> bool {
    let nodes = world.nodes.len();
    let peer = match action {
        Action::Deliver(parcel) => parcel.from,
        Action::Changes { from, .. } => from,
        Action::Transfer { to, .. } => to.unwrap_or(0),
        Action::Unreachable { peer, .. } | Action::Report { peer, .. } | Action::Window { peer, .. } => peer,
        _ => 0,
    };
    let client = match action {
        Action::Write { client, .. } | Action::Read { client, .. } | Action::GiveUp(client) => client,
        _ => 0,
    };
    let at = super::driver::node_of(action).unwrap_or(0);
    at < nodes && peer < nodes && client < crate::machine::CLIENTS
}
