//! The checks against logs that are as they should be, and against doctored ones.

use super::checks;
use super::logs::{Logs, Mark};
use super::path::WritePath;
use super::story::Failure;

/// Logs of lines `node ts msg key=value …`; a message's spaces are underscores.
fn logs(lines: &[&str]) -> Logs {
    let mut logs = Logs::default();
    for line in lines {
        let mut words = line.split_whitespace();
        let node: u64 = words.next().unwrap().parse().unwrap();
        let mut event = serde_json::Map::new();
        event.insert("ts".into(), words.next().unwrap().parse::<f64>().unwrap().into());
        event.insert("msg".into(), words.next().unwrap().replace('_', " ").into());
        for pair in words {
            let (key, value) = pair.split_once('=').unwrap();
            event.insert(key.into(), value.into());
        }
        // Not by way of its `Display`, which has the keys in order: `ts` comes first in a log.
        let ts = event.remove("ts").unwrap();
        let rest = serde_json::to_string(&event).unwrap();
        logs.add(node, &format!("{{\"ts\":{ts},{}", &rest[1..])).unwrap();
    }
    logs
}

/// The same lines with one of them changed.
fn doctored<'a>(lines: &[&'a str], from: &str, to: &'a str) -> Vec<&'a str> {
    assert_eq!(lines.iter().filter(|line| **line == from).count(), 1, "{from}");
    lines.iter().map(|line| if *line == from { to } else { *line }).collect()
}

fn said(failure: Failure) -> String {
    failure.to_string()
}

const WRITE: &[&str] = &[
    "1 10 write_received write=7 op=put key=color bytes=4",
    "1 11 write_appended write=7 term=3 index=5",
    "1 12 entries_sent peer=2 term=3 first=5 last=5 commit=4",
    "1 12.1 entries_sent peer=3 term=3 first=5 last=5 commit=4",
    "2 13 entries_received peer=1 term=3 first=5 last=5 commit=4",
    "3 13.1 entries_received peer=1 term=3 first=5 last=5 commit=4",
    "1 14 entries_are_durable_here first=5 last=5 term=3",
    "2 15 entries_are_durable_here first=5 last=5 term=3",
    "1 16 peer_acknowledged peer=2 match=5",
    "1 17 commit_index_advanced commit=5 term=3",
    "1 18 commit_index_told peer=2 commit=5",
    "1 18.1 commit_index_told peer=3 commit=5",
    "1 19 entry_applied term=3 index=5 bytes=9",
    "1 20 write_answered write=7 index=5 result=applied",
    "1 21 reply_sent write=7 status=204",
    "3 22 entries_are_durable_here first=5 last=5 term=3",
    "1 23 peer_acknowledged peer=3 match=5",
    "2 24 commit_index_heard peer=1 commit=5",
    "2 25 commit_index_advanced commit=5 term=3",
    "2 26 entry_applied term=3 index=5 bytes=9",
    "3 27 commit_index_heard peer=1 commit=5",
    "3 28 commit_index_advanced commit=5 term=3",
    "3 29 entry_applied term=3 index=5 bytes=9",
];

fn path(lines: &[&str]) -> Option<Result<(), Failure>> {
    let path = WritePath::find(&logs(lines), &Mark::default(), 1, &[2, 3], (3, 5))?;
    Some(path.check(2))
}

#[test]
fn the_path_of_a_write_is_recognised() {
    assert_eq!(path(WRITE), Some(Ok(())));
    for (missing, line) in WRITE.iter().enumerate() {
        let mut lines = WRITE.to_vec();
        lines.remove(missing);
        assert_eq!(path(&lines), None, "without {line}");
    }
}

#[test]
fn a_path_out_of_order_is_refused() {
    for (from, to, expected) in [
        (
            "1 17 commit_index_advanced commit=5 term=3",
            "1 15.5 commit_index_advanced commit=5 term=3",
            "expected 2 durable copies before the entry is committed, saw 1",
        ),
        (
            "2 15 entries_are_durable_here first=5 last=5 term=3",
            "2 16.5 entries_are_durable_here first=5 last=5 term=3",
            "saw it 0.500 ms after",
        ),
        (
            "1 12.1 entries_sent peer=3 term=3 first=5 last=5 commit=4",
            "1 13.1 entries_sent peer=3 term=3 first=5 last=5 commit=4",
            "",
        ),
        (
            "1 21 reply_sent write=7 status=204",
            "1 18.5 reply_sent write=7 status=204",
            "expected `node 1 applies entry 5 of term 3 (9 bytes)` before `node 1 answers write 7 with HTTP 204`",
        ),
        (
            "2 24 commit_index_heard peer=1 commit=5",
            "2 16.9 commit_index_heard peer=1 commit=5",
            "saw it 1.100 ms after",
        ),
    ] {
        let result = path(&doctored(WRITE, from, to)).unwrap();
        if expected.is_empty() {
            // As late as the other follower receives it, and yet before anybody answers: still in parallel.
            assert_eq!(result, Ok(()));
        } else {
            let failure = said(result.unwrap_err());
            assert!(failure.contains(expected), "{failure}");
        }
    }
}

const ALONE: &[&str] = &[
    "1 10 election_time-out ticks=12 term=0",
    "1 10 role role=candidate term=1",
    "1 11 vote_received from=1 granted=true pre_vote=false have=1 needed=2 term=1",
    "1 20 election_time-out ticks=19 term=1",
    "1 20 role role=candidate term=2",
    "1 21 vote_received from=1 granted=true pre_vote=false have=1 needed=2 term=2",
];

#[test]
fn lost_campaigns_are_recognised() {
    let check = |lines: &[&str], role| {
        let logs = logs(lines);
        checks::lost_campaigns(logs.of(1, &Mark::default()), role)
    };
    assert_eq!(check(ALONE, "candidate"), Ok(vec![1, 2]));
    let same = doctored(ALONE, "1 20 role role=candidate term=2", "1 20 role role=candidate term=1");
    assert_eq!(
        said(check(&same, "candidate").unwrap_err()),
        "expected a term one higher at each try, saw term 1 after Some(1)"
    );
    let leads = doctored(ALONE, "1 20 role role=candidate term=2", "1 20 role role=leader term=2");
    assert!(said(check(&leads, "candidate").unwrap_err()).contains("saw becomes leader of term 2"));
    assert!(said(check(ALONE, "pre-candidate").unwrap_err()).contains("saw becomes candidate of term 1"));
    let votes = doctored(
        ALONE,
        "1 11 vote_received from=1 granted=true pre_vote=false have=1 needed=2 term=1",
        "1 11 vote_received from=1 granted=true pre_vote=false have=2 needed=2 term=1",
    );
    assert!(
        said(check(&votes, "candidate").unwrap_err()).starts_with("expected fewer votes than are needed")
    );

    let asking = ["1 10 role role=pre-candidate term=4", "1 20 role role=pre-candidate term=4"];
    assert_eq!(check(&asking, "pre-candidate"), Ok(vec![4, 4]));
    let grows = doctored(&asking, asking[1], "1 20 role role=pre-candidate term=5");
    assert!(said(check(&grows, "pre-candidate").unwrap_err()).contains("saw term 5 after Some(4)"));

    let logs = logs(ALONE);
    let events = logs.of(1, &Mark::default());
    assert_eq!(checks::timeouts(events, 10), Ok(vec![12, 19]));
    assert!(said(checks::timeouts(events, 9).unwrap_err()).contains("saw hears no leader for 19 ticks"));
}

const ELECTED: &[&str] = &[
    "2 10 role role=candidate term=3 last=0/0",
    "2 11 vote_received from=2 granted=true pre_vote=false have=1 needed=2 term=3",
    "1 12 role role=follower term=3 leader=none",
    "1 12 vote_granted to=2 term=3",
    "2 13 vote_received from=1 granted=true pre_vote=false have=2 needed=2 term=3",
    "2 13 role role=leader term=3 leader=2 last=3/1",
    "1 14 leader_heard leader=2 term=3",
    "2 15 peer_acknowledged peer=1 match=1",
    "1 16 entry_applied term=3 index=1",
];

#[test]
fn an_election_is_recognised() {
    let won = |lines: &[&str]| checks::won(&logs(lines), 2, 3);
    assert_eq!(won(ELECTED), Ok(vec![2, 1]));
    let another = doctored(ELECTED, "1 12 vote_granted to=2 term=3", "1 12 vote_granted to=3 term=3");
    assert_eq!(
        said(won(&another).unwrap_err()),
        "expected that node 1 gave its vote of term 3 to node 2, saw votes for node 3 in term 3"
    );
    let late = doctored(
        ELECTED,
        "2 13 vote_received from=1 granted=true pre_vote=false have=2 needed=2 term=3",
        "2 13 vote_received from=1 granted=false pre_vote=false have=1 needed=2 term=3",
    );
    assert!(said(won(&late).unwrap_err()).ends_with("saw those of nodes [2], 2 are needed"));

    let settled = |lines: &[&str]| checks::settled(&logs(lines), &Mark::default(), &[1, 2]);
    assert_eq!(settled(ELECTED), Some((2, 3)));
    for length in 0..ELECTED.len() {
        assert_eq!(settled(&ELECTED[..length]), None, "{length}");
    }
    let mut deposed = ELECTED.to_vec();
    deposed.push("2 20 role role=follower term=4 leader=none");
    assert_eq!(settled(&deposed), None);

    assert_eq!(checks::leaders(&logs(ELECTED)), Ok([(3, 2)].into()));
    let mut two = ELECTED.to_vec();
    two.push("1 20 role role=leader term=3 leader=1 last=3/1");
    let failure = said(checks::leaders(&logs(&two)).unwrap_err());
    assert_eq!(failure, "expected one leader of term 3, saw two: node 2 and node 1");
}

#[test]
fn a_campaign_among_heartbeats_is_noticed() {
    let lines = [
        "2 10 receive message=Heartbeat from=1 term=3",
        "2 40 receive message=Heartbeat from=1 term=3",
        "2 90 receive message=Heartbeat from=1 term=3",
    ];
    let quiet = |lines: &[&str]| checks::quiet(&logs(lines), &Mark::default(), &[2], (1, 3));
    let heard = quiet(&lines).unwrap();
    assert_eq!((heard.len(), heard[0].heartbeats, heard[0].pause), (1, 3, 50.0));
    let campaign = doctored(&lines, lines[1], "2 40 election_time-out ticks=11 term=3");
    assert_eq!(
        said(quiet(&campaign).unwrap_err()),
        "expected no campaign and no change of role while heartbeats arrive, saw node 2: hears no leader for 11 ticks in term 3"
    );
    let term = doctored(&lines, lines[1], "2 40 receive message=Heartbeat from=1 term=4");
    assert!(said(quiet(&term).unwrap_err()).contains("saw node 2: receives Heartbeat of term 4"));
}

#[test]
fn a_leader_that_holds_on_too_long_is_noticed() {
    let held = |ticks: usize| {
        let mut lines = vec!["1 1 send message=Heartbeat to=2", "1 2 receive message=HeartbeatReply from=2"];
        for _ in 1..ticks {
            lines.extend(["1 3 send message=Heartbeat to=2", "1 3 send message=Heartbeat to=3"]);
        }
        lines.push("1 4 quorum_lost silent=[2,3]");
        let logs = logs(&lines);
        checks::lease(logs.of(1, &Mark::default()), 5).map(|(_, _, ticks)| ticks)
    };
    assert_eq!(held(5), Ok(5));
    assert_eq!(held(6), Ok(6));
    for ticks in [3, 7, 10] {
        let failure = said(held(ticks).unwrap_err());
        assert_eq!(
            failure,
            format!(
                "expected that it gives up 5 ticks after the last answer, give or take one, saw {ticks} ticks"
            )
        );
    }
    let logs = logs(&["1 2 receive message=HeartbeatReply from=2"]);
    assert!(checks::lease(logs.of(1, &Mark::default()), 5).is_err());
}

#[test]
fn logs_that_are_not_complete_are_refused() {
    let mut logs = Logs::default();
    assert!(logs.add(1, "{\"ts\":1.5,\"msg\":\"role\",\"te").is_err());
    assert!(logs.add(1, "{\"ts\":1.5,\"msg\":\"log lines were dropped\",\"lines\":3}").is_err());
    // Half a line of a process that was killed, then the first one of its successor.
    logs.add(1, "{\"ts\":1.5,\"msg\":\"ro{\"ts\":2.5,\"msg\":\"started\",\"term\":\"3\"}").unwrap();
    assert!(logs.of(1, &Mark::default())[0].has("term", 3));
}
