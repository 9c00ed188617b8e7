//! The scenarios, each played as a process of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// They run one after the other: each has three servers, and some claim that nothing happens in a certain time.
static STAGE: Mutex<()> = Mutex::new(());

fn scenario(arguments: &[&str], temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-kv"));
    command.arg("scenario").args(arguments).env("TMPDIR", temporary).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Plays a scenario, which must hold, and say these lines in this order.
fn holds(name: &str, lines: &[&str]) {
    let _alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().unwrap();
    let Output { status, stdout, stderr } = scenario(&[name], temporary.path()).output().unwrap();
    let (told, stderr) = (text(&stdout), text(&stderr));
    assert!(status.success(), "{status}\n{told}\n{stderr}");
    let mut rest = told.as_str();
    for line in lines {
        let at = rest.find(line).unwrap_or_else(|| panic!("`{line}` is not there, or too early:\n{told}"));
        rest = &rest[at + line.len()..];
    }
    assert!(!told.contains("FAILED"), "{told}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "the temporary folder is removed");
    for server in servers(&told) {
        assert!(!is_running(server), "the server at {server} is left");
    }
}

/// Where the servers that were started serve clients.
fn servers(told: &str) -> Vec<SocketAddr> {
    let started = told.lines().filter_map(|line| line.split_once("clients at http://"));
    started.map(|(_, addr)| addr.trim_end().parse().unwrap()).collect()
}

/// Not by its number: a process that has ended keeps it until it is waited for, and then another may have it.
fn is_running(server: SocketAddr) -> bool {
    TcpStream::connect(server).is_ok()
}

#[test]
fn election_1_one_alone_cannot_win() {
    holds(
        "election-1",
        &[
            "becomes candidate of term 1",
            "vote of node 1 granted: has 1, needs 2 (term 1)",
            "becomes candidate of term 2",
            "becomes candidate of term 3",
            "OK       : its term grows at each try: [1, 2, 3",
            "-> HTTP 503: \"the write was not done: no leader is known; this node is a candidate",
            "becomes pre-candidate and stays in term",
            "and stays the same at each try",
            "-> HTTP 503: \"the write was not done: no leader is known; this node is a pre-candidate",
            "outcome none",
        ],
    );
}

#[test]
fn election_2_two_of_three_elect_a_leader() {
    holds(
        "election-2",
        &[
            "OK       : it has one vote, its own, and needs two",
            "becomes leader of term",
            "OK       : no term has two leaders",
            "-> HTTP 204: index",
            "OK       : a leader serves",
        ],
    );
}

#[test]
fn election_3_heartbeats_keep_followers_quiet() {
    holds(
        "election-3",
        &[
            "receives Heartbeat of term",
            "it would campaign after",
            "OK       : no node campaigned, voted or changed its role",
            "kill -9 of node",
            "hears no leader for",
            "OK       : without heartbeats a follower campaigns",
        ],
    );
}

#[test]
fn election_4_a_leader_without_followers_steps_down() {
    holds(
        "election-4",
        &[
            "-> HTTP 204: index",
            "kill -9 of node",
            "has heard nothing of nodes [",
            "an election time-out",
            "becomes candidate of term",
            "OK       : without PreVote its term grows at each try",
            "-> HTTP 503: \"the write was not done: no leader is known",
            "consistency=stale at node",
            "-> HTTP 200",
        ],
    );
}

#[test]
fn replicate_log_1_the_path_of_a_write() {
    holds(
        "replicate-log-1",
        &[
            "receives from a client: put of key `color`, 4 bytes",
            "appends write",
            "sends entry",
            "sends entry",
            "is told by node",
            "is committed",
            "OK       : received, appended, sent to both followers before any answer",
            "OK       : committed with two durable copies of three, then applied, then answered",
            "OK       : all three state machines hold the value",
        ],
    );
}

#[test]
fn replicate_log_2_a_follower_catches_up() {
    holds(
        "replicate-log-2",
        &[
            "kill -9 of node",
            "= red at node",
            "OK       : committed and answered with the copies of nodes",
            "starts as process",
            "has the leader's log to its end",
            "OK       : its own state machine has the value `red`",
        ],
    );
}

#[test]
fn replicate_log_3_an_unknown_outcome() {
    holds(
        "replicate-log-3",
        &[
            "-> HTTP 504: \"the outcome is unknown",
            "outcome unknown",
            "alone: not committed, not applied",
            "has heard nothing of nodes [",
            "of the two only it can",
            "is committed after all",
            "changes nothing: the key was last written at index",
            "the same with a new serial counts as another write",
            "-> HTTP 504: \"the outcome is unknown",
            "the write never happened",
            "this time the retry does the write",
        ],
    );
}

#[test]
fn what_cannot_be_played_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let unknown = scenario(&["election-5"], temporary.path()).output().unwrap();
    let error = text(&unknown.stderr);
    assert_eq!(unknown.status.code(), Some(2), "{error}");
    for word in ["election-5", "election-1", "election-4", "replicate-log-1", "replicate-log-3", "all"] {
        assert!(error.contains(word), "{error}");
    }
    let folder = temporary.path().join("data");
    std::fs::create_dir_all(folder.join("election-2")).unwrap();
    let used = scenario(&["all", "--data-dir", folder.to_str().unwrap()], temporary.path()).output().unwrap();
    let error = text(&used.stderr);
    assert_eq!(used.status.code(), Some(2), "{error}");
    assert!(error.contains("election-2 is there already"), "{error}");
}

/// Starts a scenario that takes a while, and waits until it has come as far as this line. Gives what was told.
fn begin(temporary: &Path, line: &str) -> (Child, String) {
    let mut child = scenario(&["election-3"], temporary).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    let mut byte = [0];
    while !told.contains(line) {
        // Not ahead: what comes later may be read by somebody else.
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap_or_else(|_| panic!("it ended:\n{told}"));
        told.push(char::from(byte[0]));
    }
    (child, told)
}

/// Sends a signal to a process of a test's own.
fn signal(name: &str, process: impl std::fmt::Display) {
    // The shell's own `kill`: nothing else need be installed.
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {process}")).status().unwrap();
    assert!(sent.success());
}

fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Where all three servers run, and a leader was found.
const WATCHING: &str = "2. Nothing happens";

#[test]
fn a_claim_that_does_not_hold_is_reported() {
    let _alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().unwrap();
    let (child, told) = begin(temporary.path(), WATCHING);
    // The leader stands still: no heartbeats, so a follower campaigns, and the claim is wrong.
    let leader = told.lines().rev().find(|line| line.contains("becomes leader of term")).unwrap();
    let name = leader.split('|').next().unwrap();
    let start =
        told.lines().find(|line| line.starts_with(name) && line.contains("starts as process")).unwrap();
    let (_, process) = start.split_once("starts as process ").unwrap();
    signal("STOP", process.split(',').next().unwrap());
    let output = child.wait_with_output().unwrap();
    let rest = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}{rest}");
    let failed = rest.lines().find(|line| line.contains("FAILED: expected")).unwrap();
    assert!(
        failed.contains("no campaign and no change of role while heartbeats arrive, saw node"),
        "{failed}"
    );
    // Whichever of the followers' lines is read first: that one's time-out, or what the other makes of its campaign.
    let what = ["hears no leader for", "knows no leader", "campaigns", "votes for", "votes needed"];
    assert!(what.iter().any(|what| failed.contains(what)), "{failed}");
    assert!(!rest.contains("OK       : no node campaigned"), "{rest}");
    assert!(servers(&told).iter().all(|server| !is_running(*server)));
}

#[test]
fn an_interruption_leaves_nothing_behind() {
    let _alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().unwrap();
    let (mut child, told) = begin(temporary.path(), WATCHING);
    // It no longer reads what is told either, which is no reason to leave anything behind.
    drop(child.stdout.take());
    signal("INT", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(servers(&told).iter().all(|server| !is_running(*server)), "{told}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn the_servers_end_with_a_process_that_is_killed() {
    let _alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().unwrap();
    let (mut child, told) = begin(temporary.path(), WATCHING);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the servers end", || servers(&told).iter().all(|server| !is_running(*server)));
}
