//! A network that breaks: nothing is served that isn't so, and everything goes on when it's mended.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Cluster, random, request, wait_until};
use crate::history::{Ask, Call, Told, is_linearizable};

#[test]
fn a_leader_cut_off_steps_down_and_promises_nothing() {
    let mut cluster = Cluster::start_proxied(3, &[]);
    let old = cluster.leader();
    let (old_id, old_addr) = (cluster.nodes[old].id, cluster.nodes[old].http);
    assert_eq!(cluster.nodes[old].put("/kv/k", "before").unwrap().status, 204);
    cluster.network.isolate(old_id);
    let lost = std::thread::spawn(move || {
        request(old_addr, "PUT", "/kv/k", &[("x-raft-timeout-ms", "1000")], b"lost").unwrap()
    });
    wait_until("the others elect a leader", || {
        (0..3).any(|place| place != old && cluster.nodes[place].role().as_deref() == Some("leader"))
    });
    let new = cluster.leader();
    assert_ne!(new, old);
    assert_eq!(cluster.nodes[new].put("/kv/k", "after").unwrap().status, 204);
    // The old one has appended it, perhaps, and can't say what becomes of it; it never says that it's done.
    let lost = lost.join().unwrap();
    assert!(matches!(lost.status, 503 | 504), "{lost:?}");
    let timeout = [("x-raft-timeout-ms", "500")];
    for consistency in ["linearizable", "lease"] {
        let target = format!("/kv/k?consistency={consistency}");
        let read = request(old_addr, "GET", &target, &timeout, b"").unwrap();
        assert!(read.status == 503 || read.text() == "after", "{consistency}: {read:?}");
    }
    let stale = cluster.nodes[old].get("/kv/k?consistency=stale").unwrap();
    assert_eq!(stale.text(), "before", "which is what the word says");

    cluster.network.mend();
    let last = cluster.nodes[new].put("/kv/last", "v").unwrap().number("x-raft-index");
    cluster.wait_applied(last);
    for node in &cluster.nodes {
        assert_eq!(node.get("/kv/k?consistency=stale").unwrap().text(), "after");
    }
}

#[test]
fn a_follower_cut_off_does_not_unseat_the_leader() {
    let mut cluster = Cluster::start_proxied(3, &[]);
    let leader = cluster.leader();
    let follower = cluster.followers()[0];
    let term =
        |cluster: &Cluster, place: usize| cluster.nodes[place].status().unwrap()["term"].as_u64().unwrap();
    let before = term(&cluster, leader);
    cluster.network.isolate(cluster.nodes[follower].id);
    wait_until("it campaigns", || {
        let campaigns = cluster.nodes[follower].log();
        campaigns.iter().filter(|line| line["role"] == "pre-candidate").count() >= 3
    });
    assert_eq!(cluster.nodes[leader].put("/kv/k", "v").unwrap().status, 204);
    assert_eq!(term(&cluster, follower), before, "with PreVote its term doesn't grow");
    cluster.network.mend();
    let last = cluster.nodes[leader].put("/kv/last", "v").unwrap().number("x-raft-index");
    cluster.wait_applied(last);
    assert_eq!(cluster.nodes[leader].role().unwrap(), "leader");
    assert_eq!(term(&cluster, leader), before);
}

/// The keys under test.
const KEYS: u64 = 6;

/// Xorshift.
struct Random(u64);

impl Random {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Sends requests of all kinds to all nodes and notes what it's told.
struct Client {
    number: u64,
    addrs: Vec<SocketAddr>,
    clock: Instant,
    /// Values are unique.
    values: Arc<AtomicU64>,
    /// How many requests of all clients were answered.
    answered: Arc<AtomicU64>,
    /// The client's own random numbers.
    random: Random,
    serial: u64,
    calls: BTreeMap<u64, Vec<Call>>,
}

impl Client {
    fn now(&self) -> u64 {
        self.clock.elapsed().as_micros() as u64
    }

    fn call(&mut self) {
        let key = self.random.draw(KEYS);
        let new = self.values.fetch_add(1, Ordering::Relaxed) + 1;
        let known = self.calls.get(&key).and_then(|calls| {
            calls.iter().rev().find_map(|call| match call.told {
                Told::Value(value) | Told::Found(value) => Some(value),
                Told::Done | Told::Unknown => None,
            })
        });
        let ask = match self.random.draw(10) {
            0..=3 => Ask::Get,
            4..=6 => Ask::Put(new),
            7 => Ask::Delete,
            _ => Ask::Swap(known.flatten(), new),
        };
        let from = self.now();
        let told = self.ask(key, ask);
        let to = self.now();
        if told == Told::Unknown {
            // Most likely nobody listens there: no reason to hurry.
            std::thread::sleep(Duration::from_millis(10));
        } else {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        self.calls.entry(key).or_default().push(Call { ask, told, from, to });
    }

    fn ask(&mut self, key: u64, ask: Ask) -> Told {
        let consistency = if self.random.draw(2) == 0 { "lease" } else { "linearizable" };
        let (method, target, body) = match ask {
            Ask::Get => ("GET", format!("/kv/{key}?consistency={consistency}"), String::new()),
            Ask::Put(value) => ("PUT", format!("/kv/{key}"), value.to_string()),
            Ask::Delete => ("DELETE", format!("/kv/{key}"), String::new()),
            Ask::Swap(None, value) => ("PUT", format!("/kv/{key}?expect-absent"), value.to_string()),
            Ask::Swap(Some(old), value) => ("PUT", format!("/kv/{key}?expect={old}"), value.to_string()),
        };
        self.serial += 1;
        let (client, serial) = (format!("client-{}", self.number), self.serial.to_string());
        // Half of the requests have a session, and one more attempt, which is safe.
        let with_session = self.random.draw(2) == 0;
        let mut headers = vec![("x-raft-timeout-ms", "700")];
        if with_session {
            headers.extend([("x-client-id", client.as_str()), ("x-serial", serial.as_str())]);
        }
        let mut told = Told::Unknown;
        for _ in 0..if with_session { 2 } else { 1 } {
            let node = self.random.draw(self.addrs.len() as u64) as usize;
            let addr = self.addrs[node];
            let Ok(response) = request(addr, method, &target, &headers, body.as_bytes()) else { continue };
            let value = || std::str::from_utf8(&response.body).ok().and_then(|text| text.parse().ok());
            told = match (response.status, ask) {
                (200, _) => Told::Value(Some(value().expect("a value that was put"))),
                (404, Ask::Get) => Told::Value(None),
                // The key wasn't there: it isn't now either.
                (204, _) | (404, _) => Told::Done,
                (412, _) => Told::Found(value()),
                // Refused, or unknown: either way it explains nothing.
                (503 | 504, _) => continue,
                other => panic!("{other:?}: {response:?}"),
            };
            break;
        }
        told
    }
}

/// Everything at once: nodes that are killed, paused and cut off while clients of all kinds go on; afterwards the
/// history of each key must be one that a single map could have given.
#[test]
fn what_clients_see_is_linearizable_whatever_happens() {
    let seed = random() | 1;
    eprintln!("the seed of the clients and of the faults: {seed}");
    let mut cluster = Cluster::start_proxied(3, &["--tick-ms", "25", "--snapshot-every", "100"]);
    let addrs: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.http).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let (values, answered, clock) =
        (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Instant::now());
    let clients: Vec<_> = (0..5)
        .map(|number| {
            let mut client = Client {
                number,
                addrs: addrs.clone(),
                clock,
                values: values.clone(),
                answered: answered.clone(),
                random: Random(seed.wrapping_mul(2 * number + 3) | 1),
                serial: 0,
                calls: BTreeMap::new(),
            };
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    client.call();
                }
                client.calls
            })
        })
        .collect();

    let mut faults = Random(seed);
    for _ in 0..12 {
        // Some answered requests between the faults, so that there is something to lose.
        let before = answered.load(Ordering::Relaxed);
        wait_until("requests go on", || answered.load(Ordering::Relaxed) > before + 60);
        let place = if faults.draw(2) == 0 { cluster.leader() } else { faults.draw(3) as usize };
        let id = cluster.nodes[place].id;
        let hold = Duration::from_millis(300 + faults.draw(900));
        match faults.draw(5) {
            0 => {
                cluster.nodes[place].kill();
                std::thread::sleep(hold);
                cluster.nodes[place].start();
            }
            1 => {
                cluster.nodes[place].pause();
                std::thread::sleep(hold);
                cluster.nodes[place].resume();
            }
            2 => {
                cluster.network.cut(id, id % 3 + 1);
                std::thread::sleep(hold);
                cluster.network.mend();
            }
            3 => {
                cluster.nodes.iter_mut().for_each(|node| node.kill());
                cluster.start_all();
            }
            _ => {
                cluster.network.isolate(id);
                std::thread::sleep(hold);
                cluster.network.mend();
            }
        }
    }
    cluster.leader();
    stop.store(true, Ordering::Relaxed);
    let mut histories: BTreeMap<u64, Vec<Call>> = BTreeMap::new();
    for client in clients {
        for (key, calls) in client.join().unwrap() {
            histories.entry(key).or_default().extend(calls);
        }
    }
    // What the map holds in the end is part of each history.
    for (key, calls) in &mut histories {
        let from = clock.elapsed().as_micros() as u64;
        let last = cluster.nodes[0].get(&format!("/kv/{key}")).unwrap();
        let value = (last.status == 200).then(|| last.text().parse().unwrap());
        calls.push(Call { ask: Ask::Get, told: Told::Value(value), from, to: from + 1 });
    }
    let told = histories.values().flatten().filter(|call| call.told != Told::Unknown).count();
    let all: usize = histories.values().map(Vec::len).sum();
    eprintln!("{all} requests, {told} of them answered");
    assert!(told > 400, "too few of the {all} requests were answered");
    let started = Instant::now();
    for (key, calls) in &histories {
        if !is_linearizable(calls) {
            let mut calls = calls.clone();
            calls.sort_by_key(|call| call.from);
            calls.iter().for_each(|call| eprintln!("{call:?}"));
            panic!("the history of key {key} is not linearizable (seed {seed})");
        }
    }
    eprintln!("checked in {:?}", started.elapsed());
}
