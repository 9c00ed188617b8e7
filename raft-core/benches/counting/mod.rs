//! Heap allocations. Counting them has a price, so it is a part of those programs only that measure nothing else.

#![allow(clippy::arithmetic_side_effects)]

use crate::harness::baseline::Figure;
use crate::harness::{Meter, Scale, Spec, Unmeasured};

struct Allocations(u64);

impl Meter for Allocations {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        self.0 += allocation_counter::measure(part).count_total;
    }
}

/// Allocations per unit of each of the workloads that are chosen.
pub(crate) fn count(specs: Vec<Spec>) -> Vec<Figure> {
    let count = |spec: Spec| {
        let mut workload = (spec.make)(Scale::Counted);
        workload.round(&mut Unmeasured);
        let mut allocations = Allocations(0);
        let units = workload.round(&mut allocations);
        workload.check();
        Figure { name: spec.name, unit: spec.unit, value: allocations.0 as f64 / units as f64 }
    };
    specs.into_iter().map(count).collect()
}
