//! Running a program that may be broken in any way.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Set when the whole run is to end: every child is killed then.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// End the run.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Is it to end?
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a program may use. Memory is bounded too: a broken loop can fill it within seconds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time on the clock.
    pub time: Duration,
    /// Address space in KiB.
    pub memory: u64,
}

impl Limits {
    /// This much time, and memory enough for any part of the suite.
    pub fn of(time: Duration) -> Limits {
        Limits { time, memory: 2 << 20 }
    }
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// `None` if it was killed because its time was over.
    pub status: Option<ExitStatus>,
    /// What it printed.
    pub output: String,
    /// The processor time that it took, or the time on the clock where that can't be known.
    pub cpu: Duration,
}

impl Finished {
    /// Did it end by itself, and call that a success?
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// What one file of output may come to, in units of 512 bytes.
const OUTPUT_BLOCKS: u64 = 200_000;

/// Runs a command to its end or to that of its time. What it prints goes through the file `output`.
///
/// # Errors
/// It can't be started, or the run is to end.
pub fn run_limited(
    command: &mut Command,
    limits: Limits,
    output: &Path,
    stop: &Stop,
) -> Result<Finished, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", output.display());
    let file = File::create(output).map_err(failed)?;
    let mut limited = Command::new("sh");
    let script = format!(
        "ulimit -v {} 2>/dev/null; ulimit -f {OUTPUT_BLOCKS} 2>/dev/null; exec \"$0\" \"$@\"",
        limits.memory
    );
    limited.arg("-c").arg(script).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        limited.current_dir(folder);
    }
    limited.stdin(std::process::Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
    let start = Instant::now();
    let mut child = limited.spawn().map_err(|error| format!("sh: {error}"))?;
    let mut cpu = None;
    let status = loop {
        cpu = cpu_of(child.id()).or(cpu);
        if let Some(status) = child.try_wait().map_err(failed)? {
            break Some(status);
        }
        if stop.is_asked() || start.elapsed() > limits.time {
            let _ = child.kill();
            child.wait().map_err(failed)?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if stop.is_asked() {
        return Err("interrupted".to_owned());
    }
    let output = std::fs::read(output).map_err(failed)?;
    let output = String::from_utf8_lossy(&output).into_owned();
    Ok(Finished { status, output, cpu: cpu.unwrap_or_else(|| start.elapsed()) })
}

/// The processor time of a process so far, where the system tells it under `/proc` in hundredths of a second.
fn cpu_of(id: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything; the two times are fields 14 and 15, and the first behind the name is field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_whitespace().skip(11).take(2);
    let hundredths: u64 = times.map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(Duration::from_millis(hundredths * 10))
}
