//! What README.md tells people to type.

use std::path::Path;

use crate::curl::Curl;
use crate::harness::{Cluster, program};

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap()
}

#[test]
fn its_curl_commands_work_in_their_order() {
    let cluster = Cluster::start(3, &[]);
    let text = readme();
    let curls: Vec<Curl> = text.lines().filter_map(Curl::parse).collect();
    assert!(curls.len() >= 7, "{curls:?}");
    let mut read = Vec::new();
    for curl in &curls {
        // The ports are those of `raft-kv cluster` where nothing else has them.
        let node = usize::from(curl.addr.port()).checked_sub(7001).and_then(|place| cluster.nodes.get(place));
        let node = node.unwrap_or_else(|| panic!("{} is none of the cluster's", curl.addr));
        let answer = curl.succeeds(node.http);
        if answer.status == 200 && curl.target.starts_with("/kv/") {
            read.push(answer.text().to_string());
        }
    }
    assert_eq!(read, ["hello", "hello"]);
}

#[test]
fn its_commands_for_raft_kv_are_understood() {
    let text = readme();
    let arguments = text.lines().filter_map(|line| line.strip_prefix("cargo run --release -p raft-kv -- "));
    let mut count = 0;
    for arguments in arguments {
        count += 1;
        let output = program().args(arguments.split(' ')).arg("--help").output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(count, 8);
}
