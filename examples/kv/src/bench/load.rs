//! The clients: each makes a request, waits for its answer, and makes the next.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::Exit;
use crate::cluster::Signals;
use crate::options::{BenchOptions, ReadConsistency};

/// How much longer than the servers may take an answer is waited for.
const GRACE: Duration = Duration::from_secs(5);
/// The longest latency that is told apart from longer ones, in µs.
const MAX_LATENCY: u64 = 300_000_000;
/// How long a client pauses after a failure, so that it isn't busy with failing.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// How often the progress is shown.
const PROGRESS: Duration = Duration::from_secs(1);

/// What became of the requests of a kind.
#[derive(Clone)]
pub(super) struct Seen {
    /// Of those that were done: how long they took, in µs.
    pub(super) latency: Histogram<u64>,
    /// How many failed, by how.
    pub(super) failures: BTreeMap<String, u64>,
}

impl Seen {
    /// # Errors
    /// The bounds make no sense; they do.
    pub(super) fn new() -> Result<Seen, Exit> {
        let latency = Histogram::new_with_bounds(1, MAX_LATENCY, 3).map_err(Exit::failed)?;
        Ok(Seen { latency, failures: BTreeMap::new() })
    }

    pub(super) fn done(&self) -> u64 {
        self.latency.len()
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    pub(super) fn add(&mut self, took: Duration, result: Result<(), String>) {
        match result {
            Ok(()) => self.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            Err(how) => *self.failures.entry(how).or_default() += 1,
        }
    }
}

/// What became of all requests.
#[derive(Clone)]
pub(super) struct Tally {
    pub(super) writes: Seen,
    pub(super) reads: Seen,
}

impl Tally {
    pub(super) fn done(&self) -> u64 {
        self.writes.done() + self.reads.done()
    }
}

/// What came of a run.
pub(super) struct Outcome {
    pub(super) tally: Tally,
    /// From the first request to the last answer.
    pub(super) took: Duration,
    /// What ended it before its time.
    pub(super) signal: Option<&'static str>,
}

/// What the clients do, and what they share.
pub(super) struct Load {
    targets: Vec<String>,
    clients: u32,
    /// None if the writes are counted.
    time: Option<Duration>,
    shared: Arc<Shared>,
}

struct Shared {
    http: Client<HttpConnector, Full<Bytes>>,
    value: Bytes,
    keys: u64,
    /// Of a hundred requests.
    reads: u64,
    consistency: ReadConsistency,
    server_limit: Duration,
    max_writes: u64,
    writes_begun: AtomicU64,
    reads_begun: AtomicU64,
    /// No more requests are begun.
    ended: AtomicBool,
    tally: Mutex<Tally>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Read,
}

impl Load {
    /// Each client asks one of the targets, `IP:PORT`, in turn.
    ///
    /// # Errors
    /// As for [`Seen::new`].
    pub(super) fn new(options: &BenchOptions, targets: Vec<String>) -> Result<Load, Exit> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new()).build(connector);
        let shared = Shared {
            http,
            value: Bytes::from(vec![b'v'; usize::try_from(options.value_bytes).map_err(Exit::failed)?]),
            keys: options.keys,
            reads: u64::from(options.reads),
            consistency: options.consistency,
            server_limit: Duration::from_millis(options.tuning.request_timeout_ms),
            max_writes: options.writes.unwrap_or(u64::MAX),
            writes_begun: AtomicU64::new(0),
            reads_begun: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            tally: Mutex::new(Tally { writes: Seen::new()?, reads: Seen::new()? }),
        };
        let time = options.writes.is_none().then_some(options.time);
        Ok(Load { targets, clients: options.clients, time, shared: Arc::new(shared) })
    }

    /// Runs to its end, or to the first signal: what is under way then is still waited for, until the second.
    pub(super) async fn run(self, signals: &mut Signals) -> Outcome {
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for (number, target) in (0..self.clients).zip(self.targets.iter().cycle()) {
            clients.spawn(client(self.shared.clone(), target.clone(), u64::from(number)));
        }
        let deadline = self.time.map(|time| began + time);
        let mut progress = Progress::new(began);
        let mut first_signal = None;
        loop {
            let over = self.shared.ended.load(Ordering::Relaxed);
            tokio::select! {
                client = clients.join_next() => if client.is_none() { break },
                () = sleep_until(deadline.unwrap_or(began)), if deadline.is_some() && !over => self.shared.end(),
                () = sleep_until(progress.next) => progress.show(&self.shared.tally()),
                signal = signals.next() => {
                    self.shared.end();
                    if first_signal.replace(signal).is_some() {
                        break;
                    }
                }
            }
        }
        progress.clear();
        let tally = self.shared.tally().clone();
        Outcome { tally, took: began.elapsed(), signal: first_signal }
    }
}

async fn client(shared: Arc<Shared>, target: String, number: u64) {
    // Each begins at another place of the hundred, so that they don't all read at once.
    let mut turn = number;
    while !shared.ended.load(Ordering::Relaxed) {
        let kind = if is_read(turn, shared.reads) { Kind::Read } else { Kind::Write };
        turn += 1;
        let Some(request) = shared.request(kind, &target) else { return };
        let began = Instant::now();
        let result = match request {
            Ok(request) => shared.ask(kind, request).await,
            Err(error) => Err(error.to_string()),
        };
        let failed = result.is_err();
        shared.tally().of(kind).add(began.elapsed(), result);
        if failed {
            sleep(AFTER_FAILURE).await;
        }
    }
}

/// Spreads the reads evenly over a hundred turns.
fn is_read(turn: u64, reads: u64) -> bool {
    let place = turn % 100;
    (place + 1) * reads / 100 > place * reads / 100
}

impl Tally {
    fn of(&mut self, kind: Kind) -> &mut Seen {
        match kind {
            Kind::Write => &mut self.writes,
            Kind::Read => &mut self.reads,
        }
    }
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The next request; none if that would be a write too many.
    fn request(&self, kind: Kind, target: &str) -> Option<Result<Request<Full<Bytes>>, axum::http::Error>> {
        let limit = self.server_limit.as_millis().to_string();
        let request = Request::builder().header("x-raft-timeout-ms", limit);
        Some(match kind {
            Kind::Write => {
                let number = self.writes_begun.fetch_add(1, Ordering::Relaxed);
                if number >= self.max_writes {
                    return None;
                }
                let uri = format!("http://{target}/kv/bench-{}", number % self.keys);
                request.method(Method::PUT).uri(uri).body(Full::new(self.value.clone()))
            }
            Kind::Read => {
                let number = self.reads_begun.fetch_add(1, Ordering::Relaxed);
                let written = self.writes_begun.load(Ordering::Relaxed).clamp(1, self.keys);
                let consistency = self.consistency.name();
                let uri = format!(
                    "http://{target}/kv/bench-{}?consistency={consistency}",
                    scattered(number) % written
                );
                request.method(Method::GET).uri(uri).body(Full::default())
            }
        })
    }

    /// # Errors
    /// How it failed.
    async fn ask(&self, kind: Kind, request: Request<Full<Bytes>>) -> Result<(), String> {
        let exchange = async {
            let response =
                self.http.request(request).await.map_err(|error| {
                    if error.is_connect() { "no connection" } else { "the connection broke" }
                })?;
            let status = response.status();
            // All of it, or the connection can't serve the next request.
            response.into_body().collect().await.map_err(|_| "the answer broke off")?;
            Ok::<StatusCode, &str>(status)
        };
        match timeout(self.server_limit + GRACE, exchange).await {
            Ok(Ok(status)) if status.is_success() => Ok(()),
            Ok(Ok(StatusCode::NOT_FOUND)) if kind == Kind::Read => Ok(()),
            Ok(Ok(status)) => Err(format!("{status}{}", meaning(kind, status))),
            Ok(Err(how)) => Err(how.to_string()),
            Err(_) => Err("no answer in time".to_string()),
        }
    }
}

/// What a status says of a write, beyond its name.
fn meaning(kind: Kind, status: StatusCode) -> &'static str {
    match (kind, status) {
        (Kind::Write, StatusCode::SERVICE_UNAVAILABLE) => ", not done",
        (Kind::Write, StatusCode::GATEWAY_TIMEOUT) => ", outcome unknown",
        _ => "",
    }
}

/// A number that looks like chance, the same in each run.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

/// Shows on the standard error how it goes: in one line on a terminal.
struct Progress {
    began: Instant,
    next: Instant,
    shown: u64,
    on_terminal: bool,
}

impl Progress {
    fn new(began: Instant) -> Progress {
        Progress { began, next: began + PROGRESS, shown: 0, on_terminal: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, tally: &Tally) {
        self.next += PROGRESS;
        let done = tally.done();
        let failed = tally.writes.failed() + tally.reads.failed();
        let line = format!(
            "{:>5} s: {} writes, {} reads, {failed} failed; {} in the last second",
            self.began.elapsed().as_secs(),
            tally.writes.done(),
            tally.reads.done(),
            done - self.shown,
        );
        self.shown = done;
        let mut out = std::io::stderr();
        let _ = if self.on_terminal { write!(out, "\r{line}\x1b[K") } else { writeln!(out, "{line}") };
    }

    fn clear(&self) {
        if self.on_terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_spread_evenly() {
        for reads in 0..=100 {
            for begin in [0, 7, 250] {
                let count = (begin..begin + 100).filter(|turn| is_read(*turn, reads)).count();
                assert_eq!(count as u64, reads);
            }
        }
        let quarter: Vec<bool> = (0..8).map(|turn| is_read(turn, 25)).collect();
        assert_eq!(quarter, [false, false, false, true, false, false, false, true]);
    }

    #[test]
    fn what_is_done_has_a_latency_and_what_failed_has_a_kind() {
        let mut seen = Seen::new().ok().unwrap();
        seen.add(Duration::from_micros(1_500), Ok(()));
        seen.add(Duration::from_secs(1 << 40), Ok(()));
        seen.add(Duration::from_secs(1), Err("no connection".to_string()));
        assert_eq!((seen.done(), seen.failed()), (2, 1));
        assert!(seen.latency.equivalent(seen.latency.min(), 1_500));
        assert!(seen.latency.max() >= MAX_LATENCY);
    }
}
