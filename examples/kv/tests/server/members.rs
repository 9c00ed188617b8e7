//! The membership changes while the cluster runs: nothing that was acknowledged is lost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::{Cluster, Node, Response, program, request, signal, wait_for, wait_until};

/// The election time-out of these clusters: ten ticks of 40 ms, the harness's default; a node campaigns after one to two.
const ELECTION: Duration = Duration::from_millis(400);

/// For how long writes may stop at the most, while members come and go and nodes are killed.
const STALL: Duration = Duration::from_millis(15 * ELECTION.as_millis() as u64);

/// Writes keys of its own, one after the other, to whichever of the nodes takes them.
struct Writer {
    stop: Arc<AtomicBool>,
    addrs: Arc<Mutex<Vec<SocketAddr>>>,
    /// How many writes were acknowledged, and the longest time in which none was.
    thread: JoinHandle<(usize, Duration)>,
}

impl Writer {
    fn start(number: usize, addrs: Vec<SocketAddr>) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let addrs = Arc::new(Mutex::new(addrs));
        let (stopped, nodes) = (stop.clone(), addrs.clone());
        let thread = std::thread::spawn(move || {
            let (mut count, mut turn, mut longest, mut last) = (0, number, Duration::ZERO, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                let addr = {
                    let nodes = nodes.lock().unwrap();
                    nodes[turn % nodes.len()]
                };
                let target = format!("/kv/writer-{number}/{count}");
                let timeout = (2 * ELECTION).as_millis().to_string();
                match request(addr, "PUT", &target, &[("x-raft-timeout-ms", &timeout)], b"v") {
                    Ok(response) if response.status == 204 => {
                        count += 1;
                        longest = longest.max(last.elapsed());
                        last = Instant::now();
                    }
                    Ok(_) | Err(_) => turn += 1,
                }
            }
            (count, longest.max(last.elapsed()))
        });
        Writer { stop, addrs, thread }
    }

    fn ask(&self, addrs: Vec<SocketAddr>) {
        *self.addrs.lock().unwrap() = addrs;
    }

    fn end(self) -> (usize, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

const PATIENT: [(&str, &str); 1] = [("x-raft-timeout-ms", "50000")];

fn post(node: &Node, target: &str, body: &serde_json::Value) -> Response {
    request(node.http, "POST", target, &PATIENT, body.to_string().as_bytes()).unwrap()
}

fn add(by: &Node, new: &Node, role: &str) {
    let body = serde_json::json!({ "id": new.id, "raft_addr": new.raft.to_string(), "role": role });
    let answer = post(by, "/members", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn remove(by: &Node, id: u64) {
    let answer = request(by.http, "DELETE", &format!("/members/{id}"), &PATIENT, b"").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The voters and learners, once this node has applied that.
fn wait_members(node: &Node, voters: &[u64], learners: &[u64]) {
    let expected = (serde_json::json!(voters), serde_json::json!(learners));
    wait_until("the members are these", || {
        node.status().is_some_and(|status| {
            let conf = &status["conf_state"];
            (&conf["voters"], &conf["learners"]) == (&expected.0, &expected.1)
        })
    });
}

#[test]
fn a_cluster_grows_and_shrinks_under_writes() {
    let mut cluster = Cluster::start(3, &["--snapshot-every", "300"]);
    let addrs = |cluster: &Cluster, ids: &[u64]| -> Vec<SocketAddr> {
        cluster.nodes.iter().filter(|node| ids.contains(&node.id)).map(|node| node.http).collect()
    };
    let term = cluster.nodes[0].status().unwrap()["term"].as_u64().unwrap();
    let writers: Vec<Writer> =
        (0..2).map(|number| Writer::start(number, addrs(&cluster, &[1, 2, 3]))).collect();
    for id in [4, 5] {
        let place = cluster.join(id);
        let (by, new) = (&cluster.nodes[(id % 3) as usize], &cluster.nodes[place]);
        if id == 4 {
            add(by, new, "learner");
        }
        add(by, new, "voter");
    }
    for node in &cluster.nodes {
        wait_members(node, &[1, 2, 3, 4, 5], &[]);
    }
    // They are members in earnest: two of the old ones, with the leader, aren't missed.
    let answer = post(&cluster.nodes[2], "/transfer", &serde_json::json!({ "to": 1 }));
    assert!(answer.status == 200 || answer.json()["error"] == "the node leads already", "{answer:?}");
    writers.iter().for_each(|writer| writer.ask(addrs(&cluster, &[3, 4, 5])));
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    let leader = cluster.leader();
    assert_eq!(cluster.nodes[leader].put("/kv/without-1-and-2", "v").unwrap().status, 204);
    // One of them comes back with what it knew, a restarted new one with what it was told.
    cluster.nodes[0].start();
    cluster.nodes[4].stop();
    cluster.nodes[4].start();
    wait_members(&cluster.nodes[4], &[1, 2, 3, 4, 5], &[]);
    remove(&cluster.nodes[3], 2);
    remove(&cluster.nodes[2], 1);
    for place in [2, 3, 4] {
        wait_members(&cluster.nodes[place], &[3, 4, 5], &[]);
    }
    let counts: Vec<(usize, Duration)> = writers.into_iter().map(Writer::end).collect();
    let node = &cluster.nodes[3];
    let elections = node.status().unwrap()["term"].as_u64().unwrap() - term;
    for (number, (count, longest)) in counts.into_iter().enumerate() {
        assert!(count > 0 && elections > 0);
        eprintln!("writer {number}: {count} writes, none for {longest:?}; {elections} elections");
        // One election takes up to two time-outs until somebody campaigns, and a client two more until it asks another node.
        // A busy machine needs several of them, and time for each.
        assert!(longest < STALL, "no write for {longest:?}, {elections} elections");
        for n in 0..count {
            let read = node.get(&format!("/kv/writer-{number}/{n}?consistency=lease")).unwrap();
            assert_eq!(read.status, 200, "write {n} of writer {number} is lost");
        }
    }
}

#[test]
fn leadership_is_handed_over_and_what_cannot_be_is_refused() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let target = cluster.followers()[0];
    let to = cluster.nodes[target].id;
    let other = &cluster.nodes[cluster.nodes.len() - 1];
    let own = cluster.nodes[leader].id;
    for (body, reason) in [
        (serde_json::json!({ "to": 9 }), "node 9 is not in the configuration"),
        (serde_json::json!({ "to": own }), "the node leads already"),
    ] {
        let refused = post(other, "/transfer", &body);
        assert_eq!(refused.status, 409, "{refused:?}");
        assert_eq!(refused.json()["error"], reason);
    }
    let body = serde_json::json!({ "to": to });
    let answer = post(other, "/transfer", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    // Who was asked has heard it.
    assert_eq!(cluster.nodes[leader].status().unwrap()["leader"], to);
    assert_eq!(cluster.leader(), target);

    let node = &cluster.nodes[0];
    for (body, reason) in [
        ("{", "EOF"),
        ("{\"id\":0,\"role\":\"voter\"}", "at least 1"),
        ("{\"id\":4,\"role\":\"king\"}", "king"),
    ] {
        let refused = request(node.http, "POST", "/members", &[], body.as_bytes()).unwrap();
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.text().contains(reason), "{refused:?}");
    }
    let refused = post(node, "/members", &serde_json::json!({ "id": 4, "role": "voter" }));
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(node.delete("/members/9").unwrap().status, 409);
}

#[test]
fn the_leader_is_removed() {
    let mut cluster = Cluster::start(3, &[]);
    let old = cluster.leader();
    let write = cluster.nodes[old].put("/kv/k", "v").unwrap();
    assert_eq!(write.status, 204);
    let id = cluster.nodes[old].id;
    let by = cluster.followers()[0];
    remove(&cluster.nodes[by], id);
    let left: Vec<u64> = (1..=3).filter(|other| *other != id).collect();
    wait_until("another leads", || {
        cluster.nodes[by]
            .status()
            .is_some_and(|status| status["leader"].as_u64().is_some_and(|leader| leader != id))
    });
    wait_members(&cluster.nodes[by], &left, &[]);
    assert_eq!(cluster.nodes[by].get("/kv/k").unwrap().text(), "v");
    // The last voter can't be removed.
    let other = left.iter().copied().find(|other| *other != cluster.nodes[by].id).unwrap();
    remove(&cluster.nodes[by], other);
    let last = cluster.nodes[by].id;
    let refused = wait_for("it is refused", || {
        let answer =
            request(cluster.nodes[by].http, "DELETE", &format!("/members/{last}"), &PATIENT, b"").ok()?;
        (answer.status == 409).then_some(answer)
    });
    assert_eq!(refused.json()["error"], "no voter would be left");
    assert_eq!(cluster.nodes[by].put("/kv/alone", "v").unwrap().status, 204);
}

#[test]
fn a_wiped_node_is_noticed_and_admitted_again() {
    let mut cluster = Cluster::start(3, &[]);
    let victim = cluster.followers()[0];
    wipe_and_admit(&mut cluster, victim);
}

#[test]
fn so_is_a_wiped_node_that_had_joined() {
    let mut cluster = Cluster::start(2, &[]);
    let victim = cluster.join(3);
    add(&cluster.nodes[0], &cluster.nodes[victim], "voter");
    wipe_and_admit(&mut cluster, victim);
}

fn wipe_and_admit(cluster: &mut Cluster, victim: usize) {
    let leader = cluster.leader();
    let last = (0..20)
        .map(|n| cluster.nodes[leader].put(&format!("/kv/{n}"), "v").unwrap().number("x-raft-index"))
        .max()
        .unwrap();
    cluster.wait_applied(last);
    cluster.nodes[victim].kill();
    std::fs::remove_dir_all(&cluster.nodes[victim].dir).unwrap();
    cluster.nodes[victim].start();
    let lost = wait_for("the loss is noticed", || {
        cluster.nodes[victim].status().map(|status| status["lost"].clone()).filter(|lost| !lost.is_null())
    });
    assert!(lost["acknowledged"].as_u64() >= Some(last), "{lost}");

    // No leader reminds it: it knows after a restart what it has lost, and elects nobody.
    let leader = cluster.leader();
    cluster.nodes.iter_mut().for_each(Node::kill);
    cluster.nodes[victim].start();
    let after = wait_for("it serves", || cluster.nodes[victim].status());
    assert_eq!(after["lost"], lost);
    let campaigns = |node: &Node| node.log().iter().filter(|line| line["role"] == "pre-candidate").count();
    let before = campaigns(&cluster.nodes[leader]);
    cluster.nodes[leader].start();
    wait_until("the other campaigns in vain", || campaigns(&cluster.nodes[leader]) >= before + 3);
    assert!(cluster.nodes[leader].status().is_some_and(|status| status["leader"].is_null()));
    let other = (0..3).find(|place| *place != victim && *place != leader).unwrap();
    cluster.nodes[other].start();

    let id = cluster.nodes[victim].id;
    let leader = cluster.leader();
    remove(&cluster.nodes[leader], id);
    add(&cluster.nodes[leader], &cluster.nodes[victim], "learner");
    add(&cluster.nodes[leader], &cluster.nodes[victim], "voter");
    wait_members(&cluster.nodes[victim], &[1, 2, 3], &[]);
    wait_until("nothing is lost any more", || {
        cluster.nodes[victim].status().is_some_and(|status| status["lost"].is_null())
    });
    // It counts: with it, the third isn't needed.
    let other = (0..3).find(|place| *place != victim && *place != leader).unwrap();
    cluster.nodes[other].kill();
    let write = wait_for("a write", || {
        cluster.nodes[victim].put("/kv/after", "v").ok().filter(|response| response.status == 204)
    });
    assert!(write.number("x-raft-index") > last);
    assert_eq!(cluster.nodes[victim].get("/kv/19").unwrap().text(), "v");
}

/// What the command prints, and whether it succeeded.
fn told(arguments: &[&str]) -> (bool, String) {
    let output = program().args(arguments).stdin(std::process::Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_command_line_does_it_all_through_one_node() {
    let mut cluster = Cluster::start(3, &[]);
    let place = cluster.join(4);
    let follower = cluster.followers()[0];
    let url = format!("http://{}", cluster.nodes[follower].http);
    let raft = cluster.nodes[place].raft.to_string();
    let (well, text) = told(&["member", "add", "--url", &url, "--id", "4", "--raft-addr", &raft]);
    assert!(well && text == "node 4 is a voter now; voters [1,2,3,4], learners []\n", "{text}");
    wait_members(&cluster.nodes[follower], &[1, 2, 3, 4], &[]);
    let (well, text) = told(&["member", "list", "--url", &url]);
    assert!(well && text.lines().count() == 4, "{text}");
    assert!(text.contains(&format!("raft {raft}")) && text.contains("leader"), "{text}");

    let own = cluster.nodes[follower].id.to_string();
    let (well, text) = told(&["transfer", "--url", &url, "--to", &own]);
    assert!(well && text == format!("leadership is handed over to node {own}\n"), "{text}");
    assert_eq!(cluster.leader(), follower);
    let (well, text) = told(&["transfer", "--url", &url, "--to", "7"]);
    assert!(!well && text == "raft-kv: node 7 is not in the configuration\n", "{text}");

    let (well, text) = told(&["member", "remove", "--url", &url, "--id", "4"]);
    assert!(well && text == "node 4 is removed; voters [1,2,3], learners []\n", "{text}");
    let (well, text) = told(&["status", "--url", &url]);
    assert!(well && text.lines().count() >= 3 && text.contains("leader"), "{text}");
    assert!(!told(&["status", "--url", "http://127.0.0.1:1"]).0);

    let mut watch = program()
        .args(["status", "--watch", "--every-ms", "20", "--url", &url])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    for _ in 0..20 {
        assert!(lines.next().unwrap().unwrap().starts_with("node "));
    }
    signal("INT", watch.id());
    while lines.next().is_some() {}
    assert!(watch.wait().unwrap().success());
}

#[test]
fn a_dead_node_is_replaced_in_one_joint_change() {
    let mut cluster = Cluster::start(3, &[]);
    let dead = cluster.followers()[0];
    cluster.nodes[dead].kill();
    let place = cluster.join(4);
    let (leader, old) = (cluster.leader(), cluster.nodes[dead].id);
    let raft = cluster.nodes[place].raft.to_string();
    let body = serde_json::json!({ "id": 4, "raft_addr": raft, "role": "voter", "replaces": old });
    let answer = post(&cluster.nodes[leader], "/members", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let left: Vec<u64> = (1..=4).filter(|id| *id != old).collect();
    assert_eq!(answer.json()["voters"], serde_json::json!(left));
    wait_members(&cluster.nodes[place], &left, &[]);
    // The leader can be replaced too.
    let (leader, fifth) = (cluster.leader(), cluster.join(5));
    let old = cluster.nodes[leader].id;
    let raft = cluster.nodes[fifth].raft.to_string();
    let body = serde_json::json!({ "id": 5, "raft_addr": raft, "role": "voter", "replaces": old });
    let answer = post(&cluster.nodes[leader], "/members", &body);
    assert!(answer.status == 200 || answer.status == 504, "{answer:?}");
    let left: Vec<u64> = left.into_iter().filter(|id| *id != old).chain([5]).collect();
    wait_members(&cluster.nodes[fifth], &left, &[]);
    assert_eq!(request(cluster.nodes[fifth].http, "PUT", "/kv/k", &PATIENT, b"v").unwrap().status, 204);
}

/// Is a write acknowledged within two election time-outs?
fn takes_writes(node: &Node) -> bool {
    let timeout = (2 * ELECTION).as_millis().to_string();
    request(node.http, "PUT", "/kv/k", &[("x-raft-timeout-ms", &timeout)], b"v")
        .is_ok_and(|response| response.status == 204)
}

#[test]
fn a_voter_is_demoted_and_votes_no_more_until_it_is_promoted() {
    let mut cluster = Cluster::start(3, &[]);
    let (leader, demoted) = (cluster.leader(), cluster.followers()[0]);
    let other = (0..3).find(|place| *place != leader && *place != demoted).unwrap();
    let [id, other_id, leader_id] = [demoted, other, leader].map(|place| cluster.nodes[place].id);
    let learner = serde_json::json!({ "id": id, "role": "learner" });
    let answer = post(&cluster.nodes[other], "/members", &learner);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["happened"], format!("node {id} is a learner now, and votes no more"));
    let mut left = [leader_id, other_id];
    left.sort();
    assert_eq!(
        (&answer.json()["voters"], &answer.json()["learners"]),
        (&serde_json::json!(left), &serde_json::json!([id]))
    );
    for node in &cluster.nodes {
        wait_members(node, &left, &[id]);
    }

    // Its acknowledgement doesn't count: without the other voter nothing is committed.
    cluster.nodes[other].kill();
    assert!(!takes_writes(&cluster.nodes[leader]));
    cluster.nodes[other].start();
    wait_until("both voters are there", || takes_writes(&cluster.nodes[other]));

    let leader = cluster.leader();
    let voter = serde_json::json!({ "id": id, "role": "voter" });
    assert_eq!(post(&cluster.nodes[demoted], "/members", &voter).status, 200);
    for node in &cluster.nodes {
        wait_members(node, &[1, 2, 3], &[]);
    }
    // A leader that is demoted hands on: it steps down, and another leads.
    let leader_id = cluster.nodes[leader].id;
    let answer =
        post(&cluster.nodes[demoted], "/members", &serde_json::json!({ "id": leader_id, "role": "learner" }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let now = cluster.leader();
    assert_ne!(now, leader);
    assert!(
        cluster.nodes[leader].status().unwrap()["conf_state"]["learners"]
            .as_array()
            .unwrap()
            .contains(&leader_id.into())
    );
    wait_until("it passes on what it is asked", || takes_writes(&cluster.nodes[leader]));
}

/// A majority of the old voters is there, and none of the new: a replacement begins and can't end.
#[test]
fn all_nodes_restart_in_the_middle_of_a_joint_change() {
    let mut cluster = Cluster::start(3, &["--election-ticks", "30"]);
    let leader = cluster.leader();
    let [gone, replaced] = cluster.followers()[..] else { panic!("two followers") };
    let write = cluster.nodes[leader].put("/kv/before", "v").unwrap();
    assert_eq!(write.status, 204);
    let new = cluster.join(4);
    add(&cluster.nodes[leader], &cluster.nodes[new], "learner");
    cluster.nodes[gone].kill();
    wait_until("the learner has caught up", || {
        cluster.nodes[leader].status().is_some_and(|status| {
            let peers = status["progress"].as_array().unwrap();
            peers.iter().any(|peer| peer["id"] == 4 && peer["match"] == status["last"])
        })
    });
    cluster.nodes[new].pause();
    let body = serde_json::json!({ "id": 4, "role": "voter", "replaces": cluster.nodes[replaced].id });
    let addr = cluster.nodes[leader].http;
    let asked = std::thread::spawn(move || {
        request(addr, "POST", "/members", &[("x-raft-timeout-ms", "3000")], body.to_string().as_bytes())
            .unwrap()
    });
    for place in [leader, replaced] {
        wait_until("the change has begun", || {
            cluster.nodes[place].status().is_some_and(|status| is_joint(&status))
        });
    }
    let answer = asked.join().unwrap();
    assert_eq!(answer.status, 504, "{answer:?}");
    for place in [leader, replaced, new] {
        cluster.nodes[place].kill();
    }

    for place in [leader, replaced] {
        cluster.nodes[place].start();
    }
    wait_until("both know that they are in the middle of it", || {
        [leader, replaced]
            .iter()
            .all(|place| cluster.nodes[*place].status().is_some_and(|status| is_joint(&status)))
    });
    cluster.nodes[gone].start();
    cluster.nodes[new].start();
    let mut voters: Vec<u64> = [leader, gone, new].map(|place| cluster.nodes[place].id).to_vec();
    voters.sort();
    for place in [leader, gone, new] {
        wait_members(&cluster.nodes[place], &voters, &[]);
        wait_until("the change has ended", || {
            cluster.nodes[place].status().is_some_and(|status| !is_joint(&status))
        });
    }
    // Who was replaced isn't needed.
    cluster.nodes[replaced].kill();
    wait_until("the others go on", || takes_writes(&cluster.nodes[new]));
    assert_eq!(cluster.nodes[new].get("/kv/before").unwrap().text(), "v");
}

fn is_joint(status: &serde_json::Value) -> bool {
    status["conf_state"]["voters_outgoing"].as_array().is_some_and(|voters| !voters.is_empty())
}

/// A client that was told of one node, and learns of others from whichever it reaches.
struct Client {
    known: Vec<SocketAddr>,
}

impl Client {
    /// Asks one node after the other, the one that answered last first, until one does it.
    fn ask(&mut self, method: &str, target: &str, body: &[u8]) -> Response {
        let timeout = (4 * ELECTION).as_millis().to_string();
        wait_for("a node that does it", || {
            let addr = self.known[0];
            match request(addr, method, target, &[("x-raft-timeout-ms", &timeout)], body) {
                Ok(response) if response.status < 500 => {
                    self.learn(addr);
                    Some(response)
                }
                Ok(_) | Err(_) => {
                    self.known.rotate_left(1);
                    None
                }
            }
        })
    }

    /// Who else is a member now, and where.
    fn learn(&mut self, from: SocketAddr) {
        let Ok(answer) = request(from, "GET", "/members", &[], b"") else { return };
        let members = answer.json()["members"].clone();
        let members = members.as_array().unwrap().iter();
        let addrs = members.filter_map(|member| member["http_addr"].as_str()?.parse().ok());
        self.known = addrs.collect();
        // A node that isn't a member any more still answers.
        let first = self.known.iter().position(|addr| *addr == from).unwrap_or(0);
        self.known.rotate_left(first);
    }

    fn knows(&self, addr: SocketAddr) -> bool {
        self.known.contains(&addr)
    }
}

#[test]
fn a_client_that_was_told_of_one_node_follows_the_cluster_wherever_it_goes() {
    let mut cluster = Cluster::start(3, &[]);
    let first = cluster.followers()[0];
    let mut client = Client { known: vec![cluster.nodes[first].http] };
    let mut written = 0;
    let mut write = |client: &mut Client| {
        let answer = client.ask("PUT", &format!("/kv/{written}"), b"v");
        assert_eq!(answer.status, 204, "{answer:?}");
        written += 1;
    };
    write(&mut client);
    // All of the first nodes leave, the one that it was told of before the others, and die.
    let mut old = vec![first];
    old.extend((0..3).filter(|place| *place != first));
    for (place, id) in old.into_iter().zip(4..) {
        let new = cluster.join(id);
        let body = serde_json::json!({
            "id": id, "raft_addr": cluster.nodes[new].raft.to_string(), "role": "voter", "replaces": cluster.nodes[place].id
        });
        // The operator is such a client too. What it is told of a change that ends its leader is that nobody knows.
        wait_until("it is replaced", || {
            client.ask("POST", "/members", body.to_string().as_bytes());
            client.knows(cluster.nodes[new].http) && !client.knows(cluster.nodes[place].http)
        });
        write(&mut client);
        cluster.nodes[place].kill();
        write(&mut client);
    }
    for key in 0..written {
        assert_eq!(client.ask("GET", &format!("/kv/{key}"), b"").text(), "v");
    }
    assert!(cluster.nodes[3..].iter().all(|node| client.knows(node.http)));
}

#[test]
fn a_node_that_was_away_follows_a_leader_that_it_never_heard_of() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.nodes[0].kill();
    let place = cluster.join(4);
    let by = cluster.leader();
    add(&cluster.nodes[by], &cluster.nodes[place], "voter");
    // Who hasn't applied its promotion doesn't campaign.
    wait_members(&cluster.nodes[place], &[1, 2, 3, 4], &[]);
    assert_eq!(post(&cluster.nodes[by], "/transfer", &serde_json::json!({ "to": 4 })).status, 200);
    assert_eq!(cluster.leader(), place);
    remove(&cluster.nodes[place], 2);
    // The only node that can tell node 1 anything is now one that it doesn't know, and it's needed.
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    cluster.nodes[0].start();
    let write = wait_for("a write", || {
        cluster.nodes[0].put("/kv/k", "v").ok().filter(|response| response.status == 204)
    });
    cluster.nodes[2].start();
    cluster.wait_applied(write.number("x-raft-index"));
    wait_members(&cluster.nodes[0], &[1, 3, 4], &[]);
}
