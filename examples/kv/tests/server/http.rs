//! What clients are answered.

use crate::harness::{Cluster, exchange, request, wait_until};

fn single(flags: &[&str]) -> Cluster {
    Cluster::start(1, flags)
}

#[test]
fn keys_and_values_are_any_bytes() {
    let cluster = single(&[]);
    let node = &cluster.nodes[0];
    let all_bytes: Vec<u8> = (0..=255).collect();
    let percent: String = all_bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let keys =
        ["plain", "with/slash", "with%20space", "+", "%2B%2b", "%00", "%FF%FE", "a//b", "a/", "%", &percent];
    for (number, key) in keys.iter().enumerate() {
        if *key == "%" {
            continue;
        }
        let value = [&all_bytes[..], number.to_string().as_bytes()].concat();
        assert_eq!(node.put(&format!("/kv/{key}"), &value).unwrap().status, 204, "{key}");
        let response = node.get(&format!("/kv/{key}")).unwrap();
        assert_eq!((response.status, &response.body), (200, &value), "{key}");
    }
    // Two ways to write one key.
    let slash = node.get("/kv/with%2Fslash").unwrap();
    assert_eq!(slash.body, node.get("/kv/with/slash").unwrap().body);
    assert_eq!(node.get("/kv/%70lain").unwrap().body, node.get("/kv/plain").unwrap().body);
    // The empty value is a value.
    assert_eq!(node.put("/kv/empty", "").unwrap().status, 204);
    let empty = node.get("/kv/empty").unwrap();
    assert_eq!((empty.status, empty.body.len()), (200, 0));

    assert_eq!(node.delete("/kv/plain").unwrap().status, 204);
    assert_eq!(node.get("/kv/plain").unwrap().status, 404);
    assert_eq!(node.delete("/kv/plain").unwrap().status, 404);
}

#[test]
fn compare_and_set() {
    let cluster = single(&[]);
    let node = &cluster.nodes[0];
    let absent = node.put("/kv/k?expect=a", "b").unwrap();
    assert_eq!((absent.status, absent.headers["x-raft-current"].as_str()), (412, "absent"));
    assert_eq!(node.put("/kv/k?expect-absent", "a").unwrap().status, 204);
    let present = node.put("/kv/k?expect-absent", "b").unwrap();
    assert_eq!((present.status, present.text()), (412, "a"));
    assert_eq!(present.headers["x-raft-current"], "present");
    assert_eq!(node.put("/kv/k?expect=a", b"\0\xff").unwrap().status, 204);
    assert_eq!(node.put("/kv/k?expect=%00%FF", "two words").unwrap().status, 204);
    assert_eq!(node.delete("/kv/k?expect=two").unwrap().status, 412);
    assert_eq!(node.delete("/kv/k?expect=two+words").unwrap().status, 204);
    assert_eq!(node.get("/kv/k").unwrap().status, 404);
}

#[test]
fn answers_say_where_the_write_stands() {
    let cluster = single(&[]);
    let node = &cluster.nodes[0];
    let first = node.put("/kv/k", "1").unwrap();
    let second = node.put("/kv/k", "2").unwrap();
    assert_eq!(second.number("x-raft-index"), first.number("x-raft-index") + 1);
    assert_eq!(second.number("x-raft-term"), first.number("x-raft-term"));
    assert_eq!(second.number("x-raft-node"), 1);
    let read = node.get("/kv/k").unwrap();
    assert_eq!(read.number("x-raft-modified"), second.number("x-raft-index"));
    assert!(read.number("x-raft-applied") >= second.number("x-raft-index"));
}

#[test]
fn the_demo_paths() {
    let cluster = single(&[]);
    let node = &cluster.nodes[0];
    let set = node.get("/set?key=a+b&value=%31+2").unwrap();
    assert_eq!((set.status, set.text()), (200, "ok\n"));
    let got = node.get("/get?key=a%20b").unwrap();
    assert_eq!((got.status, got.text()), (200, "1 2"));
    let missing = node.get("/get?key=c&consistency=stale").unwrap();
    assert_eq!((missing.status, missing.text()), (404, "there is no such key\n"));
    // Who asks only for a head wants nothing to happen.
    let head = "HEAD /set?key=h&value=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(node.http, head.as_bytes()).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 405"), "{}", answer.escape_ascii());
    assert_eq!(node.get("/get?key=h").unwrap().status, 404);
    for wrong in
        ["/set", "/set?key=a", "/set?value=a", "/set?key=&value=a", "/get", "/get?key=", "/get?key=%"]
    {
        assert_eq!(node.get(wrong).unwrap().status, 400, "{wrong}");
    }
}

/// Method, target, headers; status, and a part of the reason.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str);

#[test]
fn what_cannot_be_taken_is_refused_with_its_reason() {
    let cluster = single(&["--max-body", "1000"]);
    let node = &cluster.nodes[0];
    let long_key = format!("/kv/{}", "k".repeat(17 << 10));
    let long_timeout = [("x-raft-timeout-ms", "60001")];
    let cases: &[Case] = &[
        ("PUT", "/kv/", &[], 400, "the key is empty"),
        ("GET", "/kv", &[], 400, "the key is empty"),
        ("PUT", "/kv/%", &[], 400, "hexadecimal"),
        ("PUT", "/kv/%4", &[], 400, "hexadecimal"),
        ("GET", "/kv/%zz", &[], 400, "hexadecimal"),
        ("GET", "/kv/k?consistency=strong", &[], 400, "linearizable, lease or stale"),
        ("GET", "/kv/k?consistancy=stale", &[], 400, "`consistancy` is unknown"),
        ("GET", "/kv/k?consistency=stale&consistency=stale", &[], 400, "occurs twice"),
        ("PUT", "/kv/k?expect=%", &[], 400, "hexadecimal"),
        ("PUT", "/kv/k?expect=a&expect-absent", &[], 400, "exclude each other"),
        ("PUT", "/kv/k?expect-absent=yes", &[], 400, "has no value"),
        ("DELETE", "/kv/k?expect-absent", &[], 400, "can't be deleted"),
        ("PUT", "/kv/k", &[("x-client-id", "me")], 400, "together"),
        ("PUT", "/kv/k", &[("x-serial", "1")], 400, "together"),
        ("PUT", "/kv/k", &[("x-client-id", "me"), ("x-serial", "one")], 400, "must be a number"),
        ("PUT", "/kv/k", &[("x-client-id", "me"), ("x-serial", "-1")], 400, "must be a number"),
        ("PUT", "/kv/k", &[("x-client-id", "me"), ("x-serial", "1"), ("x-serial", "2")], 400, "occurs twice"),
        (
            "PUT",
            "/kv/k",
            &[("x-client-id", "a"), ("x-client-id", "b"), ("x-serial", "1")],
            400,
            "occurs twice",
        ),
        ("PUT", "/kv/k", &[("x-raft-timeout-ms", "0")], 400, "from 1 to 60000"),
        ("PUT", "/kv/k", &long_timeout, 400, "from 1 to 60000"),
        ("PUT", &long_key, &[], 414, "a key of 17408 bytes"),
        ("GET", "/nothing", &[], 404, "no such path"),
        ("POST", "/kv/k", &[], 405, "method"),
        ("PUT", "/status", &[], 405, "method"),
    ];
    for (method, target, headers, status, reason) in cases {
        let response = request(node.http, method, target, headers, b"v").unwrap();
        let error = response.json()["error"].as_str().unwrap().to_string();
        assert_eq!(response.status, *status, "{method} {target}: {error}");
        assert!(error.contains(reason), "{method} {target}: {error}");
    }
    let client = "c".repeat(65);
    let headers = [("x-client-id", client.as_str()), ("x-serial", "1")];
    assert_eq!(request(node.http, "PUT", "/kv/k", &headers, b"v").unwrap().status, 400);
    // None of them did anything.
    assert_eq!(node.get("/kv/k").unwrap().status, 404);
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let cluster = single(&["--max-body", "1000"]);
    let node = &cluster.nodes[0];
    assert_eq!(node.put("/kv/k", [b'v'; 1000]).unwrap().status, 204);
    let refused = node.put("/kv/k", [b'v'; 1001]).unwrap();
    assert_eq!((refused.status, refused.json()["outcome"].as_str()), (413, Some("none")));
    // One that doesn't say its length beforehand.
    let chunk = format!("3e9\r\n{}\r\n0\r\n\r\n", "v".repeat(1001));
    let head = "PUT /kv/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = exchange(node.http, format!("{head}{chunk}").as_bytes()).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", answer.escape_ascii());
    // One that never comes.
    let head = "PUT /kv/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\nx-raft-timeout-ms: 100\r\n\r\n";
    let answer = exchange(node.http, format!("{head}abc").as_bytes()).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", answer.escape_ascii());
    assert_eq!(node.get("/kv/k").unwrap().body.len(), 1000);
    let long = format!("/set?key=k&value={}", "v".repeat(1001));
    assert_eq!(node.get(&long).unwrap().status, 413);
}

#[test]
fn a_retry_with_the_same_serial_is_applied_once() {
    let mut cluster = single(&[]);
    let put = |cluster: &Cluster, serial: &str, target: &str, value: &str| {
        let headers = [("x-client-id", "me"), ("x-serial", serial)];
        request(cluster.nodes[0].http, "PUT", target, &headers, value.as_bytes()).unwrap()
    };
    assert_eq!(put(&cluster, "7", "/kv/k?expect-absent", "mine").status, 204);
    assert_eq!(cluster.nodes[0].put("/kv/k", "another's").unwrap().status, 204);
    // Applied again it would be refused, or overwrite.
    assert_eq!(put(&cluster, "7", "/kv/k?expect-absent", "mine").status, 204);
    assert_eq!(cluster.nodes[0].get("/kv/k").unwrap().text(), "another's");
    // The same after a restart: sessions are part of the state.
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.leader();
    assert_eq!(put(&cluster, "7", "/kv/k?expect-absent", "mine").status, 204);
    assert_eq!(cluster.nodes[0].get("/kv/k").unwrap().text(), "another's");
    // The outcome of the first time is given even where it was a refusal.
    let refused = put(&cluster, "8", "/kv/k?expect-absent", "mine");
    assert_eq!((refused.status, refused.text()), (412, "another's"));
    assert_eq!(cluster.nodes[0].delete("/kv/k").unwrap().status, 204);
    assert_eq!(put(&cluster, "8", "/kv/k?expect-absent", "mine").status, 412);
    assert_eq!(put(&cluster, "7", "/kv/k?expect-absent", "mine").status, 409);
    assert_eq!(cluster.nodes[0].get("/kv/k").unwrap().status, 404);
}

#[test]
fn status_and_health() {
    let cluster = single(&[]);
    let node = &cluster.nodes[0];
    node.put("/kv/k", "v").unwrap();
    let status = node.status().unwrap();
    assert_eq!(status["id"], 1);
    assert_eq!(status["role"], "leader");
    assert_eq!(status["leader"], 1);
    assert_eq!(status["leader_http_addr"], node.http.to_string());
    assert_eq!(status["keys"], 1);
    assert_eq!(status["commit"], status["applied"]);
    assert!(status["term"].as_u64().unwrap() >= 1);
    assert_eq!(node.get("/health").unwrap().status, 200);

    // One of three: nobody to lead.
    let mut three = Cluster::new(3, &[]);
    three.nodes[0].start();
    wait_until("it answers", || three.nodes[0].get("/health").is_ok());
    let health = three.nodes[0].get("/health").unwrap();
    assert_eq!(health.status, 503);
    assert!(health.json()["error"].as_str().unwrap().starts_with("no leader is known"));
}

#[test]
fn the_leader_says_how_far_each_peer_is() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let last = cluster.nodes[leader].put("/kv/k", "v").unwrap().number("x-raft-index");
    let others: Vec<u64> =
        cluster.nodes.iter().map(|node| node.id).filter(|id| *id != cluster.nodes[leader].id).collect();
    wait_until("both have acknowledged it", || {
        let status = cluster.nodes[leader].status().unwrap();
        let peers = status["progress"].as_array().unwrap();
        assert_eq!(peers.iter().map(|peer| peer["id"].as_u64().unwrap()).collect::<Vec<_>>(), others);
        peers
            .iter()
            .all(|peer| peer["match"] == last && peer["next"] == last + 1 && peer["state"] == "replicate")
    });
    let follower = cluster.followers()[0];
    let status = cluster.nodes[follower].status().unwrap();
    assert_eq!(status["progress"].as_array().unwrap().len(), 0, "only a leader knows");
    assert_eq!(status["leader"], cluster.nodes[leader].id);
    assert_eq!(status["why_not_leader"], format!("node {} leads", cluster.nodes[leader].id));
    let leading = cluster.nodes[leader].status().unwrap();
    assert!(leading["why_not_leader"].is_null() && leading["why_not_committed"].is_null(), "{leading}");
    assert_eq!(status["leader_http_addr"], cluster.nodes[leader].http.to_string());
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let cluster = single(&[]);
    let addr = cluster.nodes[0].http;
    let put =
        |number: u32| format!("PUT /kv/k{number} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n{number}");
    let get = "GET /kv/k1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(addr, format!("{}{}{get}", put(1), put(2)).as_bytes()).unwrap();
    let text = String::from_utf8(answer).unwrap();
    assert_eq!(text.matches("HTTP/1.1 204").count(), 2, "{text}");
    assert!(text.ends_with("\r\n\r\n1"), "{text}");
}
