//! `raft-kv bench`: what it counts, never how fast that was.

use std::io::Read;
use std::process::Stdio;

use crate::harness::{Cluster, program, signal, wait_until};

/// The words of the line that begins so.
fn words<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.starts_with(begin));
    line.unwrap_or_else(|| panic!("no line of `{begin}`: {text}")).split_whitespace().collect()
}

fn number(words: &[&str], place: usize) -> u64 {
    words[place].parse().unwrap_or_else(|_| panic!("{words:?}"))
}

#[test]
fn a_cluster_of_its_own_serves_a_number_of_writes_and_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let output = program()
        .args(["bench", "--writes", "200", "--reads", "50", "--clients", "16", "--election-ticks", "30"])
        .arg("--temp-dir")
        .arg(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let writes = words(&text, "writes");
    assert_eq!((number(&writes, 1), number(&writes, 3)), (200, 0), "{text}");
    // Each client alternates; the last ones may come to a read, or not.
    let reads = number(&words(&text, "reads"), 1);
    assert!((180..=220).contains(&reads), "{text}");
    let nodes: Vec<Vec<&str>> = (1..=3).map(|id| words(&text, &format!("node {id}"))).collect();
    let leader = nodes.iter().find(|words| words[2] == "leader").unwrap_or_else(|| panic!("{text}"));
    assert!((1..=201).contains(&number(leader, 3)), "at most one flush for each write: {text}");
    assert!(number(leader, 6) >= 400, "each write is sent to two followers: {text}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "its folder is removed");
}

#[test]
fn interrupted_it_prints_the_table_all_the_same() {
    let mut cluster = Cluster::start(1, &[]);
    let leader = cluster.leader();
    let url = format!("http://{}", cluster.nodes[leader].http);
    let mut bench = program()
        .args(["bench", "--for", "1440m", "--clients", "4", "--url", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let before = cluster.nodes[leader].status().unwrap()["last"].as_u64().unwrap();
    wait_until("it writes", || {
        cluster.nodes[leader].status().is_some_and(|status| status["last"].as_u64().unwrap() >= before + 20)
    });
    signal("INT", bench.id());
    let mut text = String::new();
    bench.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(bench.wait().unwrap().success(), "{text}");
    assert!(text.contains("interrupted after"), "{text}");
    let writes = words(&text, "writes");
    assert!(number(&writes, 1) >= 16, "{text}");
    assert_eq!(number(&writes, 3), 0, "what was under way is waited for: {text}");
    assert_eq!(words(&text, "node 1")[2], "leader");
}
