//! The power of the tests, measured by breaking the core on purpose.
//!
//! `fuzz/mutants/` holds real faults of other implementations, and siblings of theirs, each as a patch of this tree. One is applied to a
//! scratch copy of the sources, built there, and the suite runs against it: the core's own tests, the scripts of etcd, and
//! the simulator for as long as it is given. Whatever survives is a check that is missing, or no fault at all: then its
//! patch says why.

mod catalogue;
mod child;
mod report;
mod scratch;
mod suite;

pub use catalogue::{Mutant, Severity, catalogue, listing};
pub use child::{Finished, Limits, Stop, run_limited};
pub use report::{Trial, summary, table};
pub use scratch::{Scratch, checks_out};
pub use suite::{Means, Suite, Verdict};
