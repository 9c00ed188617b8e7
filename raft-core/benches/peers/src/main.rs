//! Our core and the `raft` crate under the same workloads, in turn, in one process: one table.

mod allocator;
#[path = "../../harness/mod.rs"]
mod harness;
#[path = "../../ours/mod.rs"]
mod ours;
#[path = "../../../../raft-proto/benches/ours/mod.rs"]
mod ours_encoded;
mod theirs;

use allocator::{Allocations, freed_by};
use harness::clock::{CpuTime, median};
use harness::weight::{self, Weight};
use harness::{Scale, Spec, Unmeasured, chosen, codec, valgrind};
use ours::{Ours, Shared};
use ours_encoded::OurCodec;
use theirs::{TheirCodec, Theirs};

const ROUNDS: usize = 14;
/// In front of the name of a workload that is to run on their side.
const THEIRS: &str = "theirs:";

/// What ours is to reach: theirs in terms of our time, our instructions, our allocations.
const TARGETS: [(&str, &str); 18] = [
    ("W1", "4.5×, 6500, 5"),
    ("W2", "3× (6×), 1400 (600), 2.1 (1.1)"),
    ("W2s", "6.5×, 2100, 2.1"),
    ("W3", "1.4×, 6200, 2.1"),
    ("W4", "3.5×, 1600, 2.1"),
    ("W5", "4.3× (15×), 4500, 2.3"),
    ("W6", "4.5×, 4200, 4"),
    ("W7a", "5×, 450, 0"),
    ("W7b", "5×, 380, 0"),
    ("W7c", "5×, 25, 0"),
    ("W7d", "5×, 650, 0"),
    ("W9", "3.8×, 400, 0.05"),
    ("W10", "12×, 700, 1.2"),
    ("W13a", "–, 25, –"),
    ("W15", "–, 20, –"),
    ("W11a", "3×, –, 2"),
    ("W11b", "3×, –, 2"),
    ("W11d", "3.5×, –, 2"),
];

fn ours() -> Vec<Spec> {
    harness::all::<Ours>().into_iter().chain(codec::all::<OurCodec>()).collect()
}

fn theirs() -> Vec<Spec> {
    harness::all::<Theirs>().into_iter().chain(codec::all::<TheirCodec>()).collect()
}

/// Nanoseconds of both sides, and how many times ours are theirs: medians of rounds in turn.
fn times(ours: &Spec, theirs: &Spec) -> (f64, f64, f64) {
    let mut sides = [ours, theirs].map(|spec| (spec.make)(Scale::Full));
    sides.iter_mut().for_each(|workload| _ = workload.round(&mut Unmeasured));
    let rounds: Vec<[f64; 2]> =
        (0..ROUNDS).map(|_| sides.each_mut().map(|workload| CpuTime::per_unit(workload.as_mut()))).collect();
    sides.iter_mut().for_each(|workload| workload.check());
    let of = |what: fn(&[f64; 2]) -> f64| median(rounds.iter().map(what).collect());
    (of(|round| round[0]), of(|round| round[1]), of(|round| round[1] / round[0]))
}

fn allocations(spec: &Spec) -> f64 {
    let mut workload = (spec.make)(Scale::Counted);
    workload.round(&mut Unmeasured);
    let mut allocations = Allocations(0);
    let units = workload.round(&mut allocations);
    workload.check();
    allocations.0 as f64 / units as f64
}

fn main() {
    if let Some(name) = valgrind::asked_for() {
        return match name.strip_prefix(THEIRS) {
            Some(name) => valgrind::run(&theirs(), name),
            None => valgrind::run(&ours(), &name),
        };
    }
    let counts = valgrind::is_there();
    if !counts {
        println!("valgrind isn't installed: instructions are not counted\n");
    }
    println!(
        "|  | per | ns ours | ns theirs | ratio | target | instructions ours | theirs | allocations ours | theirs |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let name = |spec: &Spec| spec.name;
    for (ours, theirs) in chosen(ours(), name).iter().zip(&chosen(theirs(), name)) {
        let (our_time, their_time, ratio) = times(ours, theirs);
        let target = TARGETS.iter().find(|(name, _)| *name == ours.name).map_or("–", |(_, target)| target);
        let instructions =
            |name: &str| if counts { format!("{:.0}", valgrind::count(name, None)) } else { "–".into() };
        println!(
            "| {} | {} | {our_time:.1} | {their_time:.1} | {ratio:.2} | {target} | {} | {} | {:.3} | {:.3} |",
            ours.name,
            ours.unit,
            instructions(ours.name),
            instructions(&format!("{THEIRS}{}", ours.name)),
            allocations(ours),
            allocations(theirs),
        );
    }
    println!("\n|  | bytes ours | bytes theirs |\n|---|---|---|");
    let name = |weight: &Weight| weight.name;
    for (ours, theirs) in
        chosen(weight::all::<Ours<Shared>>(), name).iter().zip(&chosen(weight::all::<Theirs>(), name))
    {
        println!("| {} | {} | {} |", ours.name, ours.weigh(freed_by), theirs.weigh(freed_by));
    }
}
