//! What the scenarios claim, as questions to the logs alone.

use std::collections::BTreeMap;

use super::logs::{Event, Logs, Mark};
use super::story::{Failure, claim, phrase};

/// The node that leads its highest term, with the term, if the other nodes follow it there and have said that they have
/// all of its log, and nobody has said anything else since.
pub(super) fn settled(logs: &Logs, since: &Mark, among: &[u64]) -> Option<(u64, u64)> {
    let role = |id: u64| logs.of(id, since).iter().rev().find(|event| event.msg == "role");
    let led = |id: u64| role(id).filter(|event| event.is("role", [("role", "leader")]))?.number("term");
    let (leader, term) =
        among.iter().filter_map(|id| Some((*id, led(*id)?))).max_by_key(|(_, term)| *term)?;
    let own = logs.of(leader, since);
    let start = own.iter().rposition(|event| event.msg == "role")?;
    let own = own.get(start..)?;
    // The leader's role line tells the entry with which it begins its term.
    let first = own.first()?.text("last").split_once('/')?.1.parse::<u64>().ok()?;
    let followed = among.iter().filter(|id| **id != leader).all(|id| {
        let said = logs.of(*id, since);
        let follows = said.iter().rev().find(|event| event.msg == "leader heard" || event.msg == "role");
        let follows = follows.is_some_and(|event| event.has("leader", leader) && event.has("term", term));
        let acked = own.iter().any(|event| {
            event.msg == "peer acknowledged" && event.has("peer", *id) && event.number("match") >= Some(first)
        });
        let applied = said.iter().any(|event| event.msg == "entry applied" && event.has("index", first));
        follows && acked && applied
    });
    followed.then_some((leader, term))
}

/// Each campaign of a node, as its log tells it. Where it asks before (`pre-candidate`), its term must stay the same,
/// where it doesn't (`candidate`) it must grow with each; and no campaign may be won.
///
/// # Errors
/// It isn't so.
pub(super) fn lost_campaigns(events: &[Event], role: &str) -> Result<Vec<u64>, Failure> {
    let mut terms: Vec<u64> = Vec::new();
    for event in events.iter().filter(|event| event.msg == "role") {
        let (became, term) = (event.text("role"), event.number("term").unwrap_or(0));
        claim(became != "leader", "that no campaign is won", phrase(event))?;
        if became != role {
            claim(became == "follower", format!("that it becomes {role} at each try"), phrase(event))?;
            continue;
        }
        let last = terms.last().copied();
        if role == "candidate" {
            let grows = last.is_none_or(|last| term == last + 1);
            claim(grows, "a term one higher at each try", format!("term {term} after {last:?}"))?;
        } else {
            let stays = last.is_none_or(|last| term == last);
            claim(stays, "the same term at each try", format!("term {term} after {last:?}"))?;
        }
        terms.push(term);
    }
    for event in events.iter().filter(|event| event.msg == "vote received") {
        claim(event.number("have") < event.number("needed"), "fewer votes than are needed", phrase(event))?;
    }
    Ok(terms)
}

/// Every election time-out must have been drawn from once to twice the configured ticks.
///
/// # Errors
/// One wasn't.
pub(super) fn timeouts(events: &[Event], election_ticks: u64) -> Result<Vec<u64>, Failure> {
    let timeouts = events.iter().filter(|event| event.msg == "election time-out");
    timeouts
        .map(|event| {
            let ticks = event.number("ticks").unwrap_or(0);
            claim(
                (election_ticks..2 * election_ticks).contains(&ticks),
                format!("a time-out of {election_ticks} to {} ticks", 2 * election_ticks - 1),
                phrase(event),
            )?;
            Ok(ticks)
        })
        .collect()
}

/// Who led each term. There must be one at most (§5.2).
///
/// # Errors
/// There were two.
pub(super) fn leaders(logs: &Logs) -> Result<BTreeMap<u64, u64>, Failure> {
    let mut leaders = BTreeMap::new();
    for event in logs.all(&Mark::default()) {
        if !event.is("role", [("role", "leader")]) {
            continue;
        }
        let term = event.number("term").unwrap_or(0);
        let before = leaders.insert(term, event.node);
        claim(
            before.is_none_or(|before| before == event.node),
            format!("one leader of term {term}"),
            format!("two: node {} and node {}", before.unwrap_or(0), event.node),
        )?;
    }
    Ok(leaders)
}

/// The votes with which a node won a term, each confirmed by the log of the node that gave it.
///
/// # Errors
/// They are no majority, or a voter says nothing of it.
pub(super) fn won(logs: &Logs, leader: u64, term: u64) -> Result<Vec<u64>, Failure> {
    let since = Mark::default();
    let own = logs.of(leader, &since);
    let won = own.iter().position(|event| event.is("role", [("role", "leader")]) && event.has("term", term));
    let before = own.get(..won.unwrap_or(0)).unwrap_or_default();
    let votes: Vec<&Event> = before
        .iter()
        .filter(|event| event.is("vote received", [("pre_vote", "false"), ("granted", "true")]))
        .filter(|event| event.has("term", term))
        .collect();
    let needed = votes.last().and_then(|event| event.number("needed")).unwrap_or(u64::MAX);
    let voters: Vec<u64> = votes.iter().filter_map(|event| event.number("from")).collect();
    claim(
        voters.len() as u64 >= needed,
        format!("a majority of votes for node {leader} in term {term} before it leads"),
        format!("those of nodes {voters:?}, {needed} are needed"),
    )?;
    for voter in voters.iter().filter(|voter| **voter != leader) {
        let gave = |event: &&Event| event.msg == "vote granted" && event.has("term", term);
        let given = logs.of(*voter, &since).iter().find(gave);
        claim(
            given.is_some_and(|event| event.has("to", leader)),
            format!("that node {voter} gave its vote of term {term} to node {leader}"),
            given.map_or("nothing of it in its log".to_string(), phrase),
        )?;
    }
    Ok(voters)
}

/// What followers heard of their leader.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) node: u64,
    pub(super) heartbeats: usize,
    /// The longest pause between two, in milliseconds.
    pub(super) pause: f64,
    pub(super) first: Event,
    pub(super) last: Event,
}

/// While heartbeats of the leader of `term` arrive, nobody may campaign, vote or change role.
///
/// # Errors
/// Somebody did.
pub(super) fn quiet(
    logs: &Logs,
    since: &Mark,
    nodes: &[u64],
    (leader, term): (u64, u64),
) -> Result<Vec<Heard>, Failure> {
    let mut all = Vec::new();
    for node in nodes {
        let mut heard: Option<Heard> = None;
        for event in logs.of(*node, since) {
            let campaign = ["election time-out", "role", "vote granted", "vote received", "quorum lost"];
            claim(
                !campaign.contains(&event.msg.as_str()),
                "no campaign and no change of role while heartbeats arrive",
                format!("node {node}: {}", phrase(event)),
            )?;
            if !event.is("receive", [("message", "Heartbeat")]) {
                continue;
            }
            claim(
                event.has("from", leader) && event.has("term", term),
                format!("heartbeats of node {leader} in term {term} only"),
                format!("node {node}: {}", phrase(event)),
            )?;
            heard = Some(match heard {
                None => Heard {
                    node: *node,
                    heartbeats: 1,
                    pause: 0.0,
                    first: event.clone(),
                    last: event.clone(),
                },
                Some(heard) => Heard {
                    heartbeats: heard.heartbeats + 1,
                    pause: heard.pause.max(event.ts - heard.last.ts),
                    last: event.clone(),
                    ..heard
                },
            });
        }
        all.extend(heard);
    }
    Ok(all)
}

/// How many ticks passed on a leader from the last answer of a follower until it gave up. It sends one round of heartbeats
/// a tick, so its own log counts them; at the tick at which it gives up it sends none.
///
/// # Errors
/// It gave up too early or too late: an election time-out without an answer may begin up to one after the last.
pub(super) fn lease(events: &[Event], election_ticks: u64) -> Result<(Event, Event, u64), Failure> {
    let missing = |what: &str| Failure::new(what, "nothing of it in the log");
    let lost = events.iter().rposition(|event| event.msg == "quorum lost");
    let lost = lost.ok_or_else(|| missing("that the leader loses its quorum"))?;
    let (before, lost) = events.split_at(lost);
    let lost = lost.first().ok_or_else(|| missing("that the leader loses its quorum"))?;
    let answers = ["HeartbeatReply", "AppendEntriesReply"];
    let answer = |event: &Event| event.msg == "receive" && answers.contains(&event.text("message").as_str());
    let last = before.iter().rposition(answer).ok_or_else(|| missing("an answer of a follower before"))?;
    let (answer, rest) = before
        .get(last..)
        .and_then(<[Event]>::split_first)
        .ok_or_else(|| missing("an answer of a follower"))?;
    let peer = answer.text("from");
    let rounds =
        rest.iter().filter(|event| event.is("send", [("message", "Heartbeat"), ("to", &peer)])).count();
    let ticks = rounds as u64 + 1;
    claim(
        (election_ticks.saturating_sub(1)..=election_ticks + 1).contains(&ticks),
        format!("that it gives up {election_ticks} ticks after the last answer, give or take one"),
        format!("{ticks} ticks"),
    )?;
    Ok((answer.clone(), lost.clone(), ticks))
}
