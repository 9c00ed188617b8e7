//! What can't be done as it was asked for ends with code 2 and a clear word.

use std::net::TcpListener;

use crate::harness::{Cluster, free_addr, program};

fn refused(arguments: &[&str]) -> String {
    let output = program().args(arguments).stdin(std::process::Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    text
}

fn serve<'a>(changed: &[(&'a str, &'a str)]) -> Vec<&'a str> {
    let mut options = vec![
        ("--id", "1"),
        ("--http-addr", "127.0.0.1:1"),
        ("--raft-addr", "127.0.0.1:2"),
        ("--cluster", "1/127.0.0.1:2,2/127.0.0.1:3"),
        ("--data-dir", "/nonexistent/raft-kv"),
    ];
    for (name, value) in changed {
        match options.iter_mut().find(|(known, _)| known == name) {
            Some(option) => option.1 = value,
            None => options.push((name, value)),
        }
    }
    let mut arguments = vec!["serve"];
    arguments.extend(options.into_iter().flat_map(|(name, value)| [name, value]));
    arguments
}

#[test]
fn a_command_line_that_makes_no_sense() {
    assert!(refused(&[]).contains("Usage"));
    assert!(refused(&["serve", "--idd", "1"]).contains("--idd"));
    assert!(refused(&["dance"]).contains("dance"));
    assert!(refused(&["serve", "--id", "1"]).contains("--http-addr"));
    for (changed, reason) in [
        (("--id", "3"), "--id 3 is not among the nodes of --cluster: 1, 2"),
        (("--id", "0"), "at least 1"),
        (("--id", "one"), "`one` is not a node's number"),
        (("--cluster", "1/127.0.0.1:2,1/127.0.0.1:3"), "node 1 occurs twice"),
        (("--cluster", "1/127.0.0.1:2,2/127.0.0.1:2"), "two nodes have the address 127.0.0.1:2"),
        (("--cluster", "1=127.0.0.1:2"), "not of the form ID/IP:PORT"),
        (("--cluster", "1/nowhere"), "`nowhere` (node 1)"),
        (("--cluster", "1/127.0.0.1:0"), "`127.0.0.1:0` (node 1) has no port"),
        (("--http-addr", "127.0.0.1:0"), "--http-addr 127.0.0.1:0 has no port"),
        (("--raft-addr", "127.0.0.1:9"), "not the address that --cluster gives for node 1: 127.0.0.1:2"),
        (("--http-addr", "127.0.0.1:2"), "--http-addr and --raft-addr are both 127.0.0.1:2"),
        (("--http-addr", "localhost"), "localhost"),
        (("--advertise-http-addr", "localhost"), "`localhost` is not of the form HOST:PORT"),
        (("--tick-ms", "0"), "--tick-ms"),
        (("--election-ticks", "1"), "--election-ticks"),
        (("--heartbeat-ticks", "10"), "--election-ticks must be more than --heartbeat-ticks"),
        (("--heartbeat-ticks", "0"), "--heartbeat-ticks"),
        (("--pre-vote", "maybe"), "maybe"),
        (("--max-body", "8388609"), "8388609"),
        (("--snapshot-every", "0"), "--snapshot-every"),
        (("--log-level", "loud"), "loud"),
    ] {
        let text = refused(&serve(&[changed]));
        assert!(text.contains(reason), "{changed:?}: {text}");
    }
}

#[test]
fn a_benchmark_that_makes_no_sense() {
    let url = "http://127.0.0.1:1";
    for (arguments, reason) in [
        (&["--for", "10"][..], "`10` is not of the form 10s, 500ms or 2m"),
        (&["--for", "0s"], "more than nothing"),
        (&["--for", "1s", "--writes", "5"], "--writes"),
        (&["--writes", "0"], "--writes"),
        (&["--clients", "0"], "--clients"),
        (&["--clients", "many"], "many"),
        (&["--reads", "101"], "--reads"),
        (&["--reads", "100", "--writes", "5"], "--reads 100 leaves no room for --writes"),
        (&["--value-bytes", "0"], "--value-bytes"),
        (&["--value-bytes", "2000000"], "--value-bytes 2000000 is more than --max-body 1048576"),
        (&["--keys", "0"], "--keys"),
        (&["--consistency", "eventual"], "eventual"),
        (&["--nodes", "0"], "--nodes"),
        (&["--heartbeat-ticks", "10"], "--election-ticks must be more than --heartbeat-ticks"),
        (&["--temp-dir", "/nonexistent/raft-kv"], "no temporary folder in /nonexistent/raft-kv"),
        (&["--url", "http://127.0.0.1:1/kv"], "is not of the form http://IP:PORT"),
        // What is said of a cluster that is started for it says nothing of one that runs.
        (&["--url", url, "--nodes", "3"], "--nodes"),
        (&["--url", url, "--temp-dir", "/tmp"], "--temp-dir"),
        (&["--url", url, "--tick-ms", "10"], "--tick-ms"),
    ] {
        let text = refused(&[&["bench"], arguments].concat());
        assert!(text.contains(reason), "{arguments:?}: {text}");
    }
    let nobody = program().args(["bench", "--url", url]).output().unwrap();
    let text = String::from_utf8(nobody.stderr).unwrap();
    assert_eq!(nobody.status.code(), Some(1), "{text}");
    assert!(text.contains("127.0.0.1:1 can't be reached"), "{text}");
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken_addr, free) = (taken.local_addr().unwrap().to_string(), free_addr().to_string());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("data");
    let members = format!("1/{free}");
    let common = [
        ("--raft-addr", free.as_str()),
        ("--cluster", members.as_str()),
        ("--data-dir", dir.to_str().unwrap()),
    ];
    let text = refused(&serve(&[&common[..], &[("--http-addr", &taken_addr)]].concat()));
    assert!(text.contains(&format!("can't listen on {taken_addr} (--http-addr)")), "{text}");
    let members = format!("1/{taken_addr}");
    let options =
        [("--raft-addr", taken_addr.as_str()), ("--cluster", &members), ("--http-addr", &free), common[2]];
    let text = refused(&serve(&options));
    assert!(text.contains(&format!("can't listen on {taken_addr} (--raft-addr)")), "{text}");
    assert!(!dir.exists(), "nothing was made");
}

#[test]
fn a_data_folder_that_is_not_this_nodes() {
    let mut cluster = Cluster::start(2, &[]);
    assert_eq!(cluster.nodes[0].put("/kv/k", "v").unwrap().status, 204);
    let dir = cluster.nodes[0].dir.display().to_string();
    let (http, first, second) = (free_addr().to_string(), free_addr().to_string(), free_addr().to_string());
    let two = format!("1/{first},2/{second}");
    let base =
        [("--http-addr", http.as_str()), ("--raft-addr", &first), ("--cluster", &two), ("--data-dir", &dir)];
    let refused = |more: &[(&'static str, &str)]| {
        let changed: Vec<(&str, &str)> = base
            .iter()
            .filter(|(name, _)| more.iter().all(|(other, _)| other != name))
            .chain(more)
            .copied()
            .collect();
        refused(&serve(&changed))
    };

    let text = refused(&[]);
    assert!(text.contains("is in use by another process"), "{text}");
    assert!(cluster.nodes[0].stop().success());
    let text = refused(&[("--cluster-id", "another")]);
    assert!(text.contains("belongs to a node of the cluster"), "{text}");
    let text = refused(&[("--id", "2"), ("--raft-addr", &second)]);
    assert!(text.contains("belongs to node 1, not to node 2"), "{text}");
    // Nothing was lost by all this.
    cluster.nodes[0].start();
    cluster.leader();
    assert_eq!(cluster.nodes[0].get("/kv/k").unwrap().text(), "v");
}

#[test]
fn a_folder_with_strange_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.tex"), "…").unwrap();
    let (http, raft) = (free_addr().to_string(), free_addr().to_string());
    let members = format!("1/{raft}");
    let options = [
        ("--http-addr", http.as_str()),
        ("--raft-addr", &raft),
        ("--cluster", &members),
        ("--data-dir", dir.path().to_str().unwrap()),
    ];
    let text = refused(&serve(&options));
    assert!(text.contains("is not a data folder of this program"), "{text}");
}

#[test]
fn a_damaged_data_folder_is_not_served_from() {
    let mut cluster = Cluster::start(1, &[]);
    for number in 0..50 {
        assert_eq!(cluster.nodes[0].put(&format!("/kv/{number}"), [b'v'; 5_000]).unwrap().status, 204);
    }
    assert!(cluster.nodes[0].stop().success());
    let log = cluster.nodes[0].dir.join("log.redb");
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle - 2_000..middle + 50_000].fill(0xa5);
    std::fs::write(&log, bytes).unwrap();
    let addr = |addr: std::net::SocketAddr| addr.to_string();
    let (http, raft) = (addr(cluster.nodes[0].http), addr(cluster.nodes[0].raft));
    let (members, dir) = (format!("1/{raft}"), cluster.nodes[0].dir.display().to_string());
    let options = [
        ("--http-addr", http.as_str()),
        ("--raft-addr", &raft),
        ("--cluster", &members),
        ("--data-dir", &dir),
    ];
    let output = program().args(serve(&options)).stdin(std::process::Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is corrupt"), "{text}");
}
