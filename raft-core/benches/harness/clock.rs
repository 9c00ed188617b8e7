//! CPU time of this thread: on a machine that is shared it says more than the time that passes.

use rustix::time::{ClockId, clock_gettime};

use super::{Meter, Scale, Spec, Unmeasured, Workload, chosen};

const ROUNDS: usize = 9;

/// A program that prints the time of these workloads: the median of some rounds.
pub(crate) fn main(specs: Vec<Spec>) {
    for spec in chosen(specs, |spec| spec.name) {
        let mut workload = (spec.make)(Scale::Full);
        workload.round(&mut Unmeasured);
        let times = (0..ROUNDS).map(|_| CpuTime::per_unit(workload.as_mut())).collect();
        workload.check();
        println!("{:16} {:>10.1} ns per {}", spec.name, median(times), spec.unit);
    }
}

/// Adds up nanoseconds.
pub(crate) struct CpuTime(f64);

impl CpuTime {
    /// Nanoseconds for each unit of one round.
    pub(crate) fn per_unit(workload: &mut dyn Workload) -> f64 {
        let mut time = CpuTime(0.0);
        let units = workload.round(&mut time);
        time.0 / units as f64
    }
}

fn now() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

impl Meter for CpuTime {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        let start = now();
        part();
        self.0 += now() - start;
    }
}

/// The middle one of these, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (lower, upper) = ((values.len() - 1) / 2, values.len() / 2);
    (values[lower] + values[upper]) / 2.0
}
