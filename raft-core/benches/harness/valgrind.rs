//! Instructions of a workload: the program runs itself once more under callgrind, with this workload only.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitCode};

use super::baseline::{self, Figure};
use super::{Meter, Scale, Spec, Unmeasured, chosen};

const RUN: &str = "--run";

/// Callgrind counts while this function runs: it is found by its name.
#[inline(never)]
fn counted_by_callgrind(part: &mut dyn FnMut()) {
    part();
}

/// A program that counts the instructions of these workloads and compares them with the baseline.
pub(crate) fn main(specs: Vec<Spec>) -> ExitCode {
    if let Some(name) = asked_for() {
        run(&specs, &name);
        return ExitCode::SUCCESS;
    }
    if !is_there() {
        println!("valgrind isn't installed: instructions are not counted");
        return ExitCode::SUCCESS;
    }
    let keep = env::var_os("CALLGRIND_OUT_DIR");
    let count = |spec: Spec| {
        let value = count(spec.name, keep.as_deref());
        Figure { name: spec.name, unit: spec.unit, value }
    };
    let figures: Vec<Figure> = chosen(specs, |spec| spec.name).into_iter().map(count).collect();
    baseline::settle("instructions", &tools(), &figures)
}

/// What the counts depend on beside the sources: compiler, C library (its allocator and how it copies), valgrind, processor.
fn tools() -> String {
    let first_line = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
    };
    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let said = [&*compiler, "ldd", "valgrind"].map(|program| first_line(program).unwrap_or_default());
    let wide = if avx2() { " with AVX2" } else { "" };
    format!("{}, {}{wide}", said.join(", "), env::consts::ARCH)
}

#[cfg(target_arch = "x86_64")]
fn avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn avx2() -> bool {
    false
}

struct Counted;

impl Meter for Counted {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        counted_by_callgrind(part);
    }
}

/// Can anything be counted here?
pub(crate) fn is_there() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The workload that this program is to run, if it is the one under valgrind.
pub(crate) fn asked_for() -> Option<String> {
    env::args().skip_while(|arg| arg != RUN).nth(1)
}

/// Runs this workload, and prints how many units were counted.
pub(crate) fn run(specs: &[Spec], name: &str) {
    let spec = specs.iter().find(|spec| spec.name == name).unwrap();
    let mut workload = (spec.make)(Scale::Counted);
    workload.round(&mut Unmeasured);
    let units = workload.round(&mut Counted);
    workload.check();
    println!("{units}");
}

/// Instructions per unit. The whole profile goes into the folder `keep`, if there is one.
pub(crate) fn count(name: &str, keep: Option<&OsStr>) -> f64 {
    let mut profile = keep.map_or_else(|| Path::new("/dev/null").to_owned(), |dir| Path::new(dir).join(name));
    if keep.is_some() {
        profile.set_extension("callgrind");
    }
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_by_callgrind*"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(env::current_exe().unwrap())
        .args([RUN, name])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let (_, collected) = said.lines().find_map(|line| line.split_once("Collected : ")).unwrap();
    let units = String::from_utf8_lossy(&output.stdout);
    collected.trim().parse::<f64>().unwrap() / units.trim().parse::<f64>().unwrap()
}
