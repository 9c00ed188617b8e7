//! Who leads (§5.2).

use super::Play;
use super::checks;
use super::client::{Answer, Ask};
use super::logs::{Event, Mark};
use super::stage::{NODES, Setup, Stage};
use super::story::{Failure, claim, phrase};

/// What is told of an election.
pub(super) const ELECTION: [&str; 7] =
    ["started", "election time-out", "role", "vote received", "vote granted", "leader heard", "quorum lost"];

/// How often a node must campaign in vain until that counts as a pattern.
const TRIES: usize = 3;

/// A write that there is no leader for.
async fn refused(stage: &Stage, id: u64) -> Result<Answer, Failure> {
    let answer = stage.ask(id, Ask::put("color", "blue").within(300)).await?;
    claim(
        answer.status == 503 && answer.outcome() == "none" && answer.error().contains("no leader is known"),
        "HTTP 503 with outcome none, since no leader is known",
        answer.describe(),
    )?;
    stage.story.ok("the write is refused, with the reason, and has no effect");
    Ok(answer)
}

/// Waits until a node has campaigned in vain several times since then. Gives the terms.
async fn campaigns(stage: &mut Stage, id: u64, since: &Mark, role: &str) -> Result<Vec<u64>, Failure> {
    let what = format!("that node {id} becomes {role} {TRIES} times");
    stage
        .until(&what, |logs| {
            let events = logs.of(id, since);
            let tries = events.iter().filter(|event| event.is("role", [("role", role)])).count();
            // Its own vote counts once it is on its disk; the last try is told with it.
            let own = events.iter().filter(|event| event.msg == "vote received").count();
            (tries >= TRIES && own >= TRIES).then_some(())
        })
        .await?;
    stage.tell(since, &ELECTION);
    let events = stage.logs.of(id, since);
    let terms = checks::lost_campaigns(events, role)?;
    let ticks = checks::timeouts(events, stage.setup.election_ticks)?;
    claim(terms.len() >= TRIES, format!("{TRIES} campaigns"), format!("{terms:?}"))?;
    stage.story.ok(format_args!("it hears no leader and campaigns again and again, after {ticks:?} ticks"));
    stage.story.ok("it never has more votes than its own, and never leads");
    Ok(terms)
}

/// `election-1`
pub(super) async fn one_alone(play: &Play) -> Result<(), Failure> {
    let setup = Setup { tick_ms: 30, election_ticks: 10, pre_vote: false };
    let mut stage = play.stage("one node of three can't win an election", setup)?;

    stage.story.step("Node 1 is alone, and doesn't ask before it campaigns (--pre-vote false).");
    let mark = stage.logs.mark();
    stage.start(&[1]).await?;
    let terms = campaigns(&mut stage, 1, &mark, "candidate").await?;
    stage.story.ok(format_args!("its term grows at each try: {terms:?}"));
    stage.story.rule(
        "§5.2",
        "a candidate leads only with the votes of a majority, here 2 of 3, and campaigns again,",
    );
    stage.story.rule("", "in a higher term, if the election brings no leader within its time-out");

    stage.story.step("A client writes.");
    refused(&stage, 1).await?;

    stage.story.step("Node 1 again, with the same data and with PreVote.");
    stage.kill(&[1]);
    stage.refresh()?;
    let voted = |event: &&Event| event.msg == "vote received";
    let voted = stage.logs.of(1, &mark).iter().rev().find(voted).and_then(|event| event.number("term"));
    stage.setup.pre_vote = true;
    let mark = stage.logs.mark();
    stage.start(&[1]).await?;
    let terms = campaigns(&mut stage, 1, &mark, "pre-candidate").await?;
    let (from, now) =
        (stage.logs.of(1, &mark).iter().find(|event| event.msg == "started"), terms.first().copied());
    let from = from.and_then(|event| event.number("term"));
    claim(
        from == now && from >= voted,
        format!("the term that was on disk, no less than that of its last vote ({voted:?})"),
        format!("{from:?} at the start, then {now:?}"),
    )?;
    stage.story.ok(format_args!("its term was on its disk, and stays the same at each try: {terms:?}"));
    stage.story.rule(
        "§9.6*",
        "a node that could not win only asks for pre-votes: when it comes back to the others, its term",
    );
    stage.story.rule("", "does not disturb the leader they have (* of Ongaro's thesis)");
    let status = stage.status(1).await?;
    claim(Some(status.term) == now, format!("term {now:?} in its status"), format!("{status:?}"))?;

    stage.story.step("A client writes.");
    refused(&stage, 1).await?;
    Ok(())
}

/// `election-2`
pub(super) async fn two_of_three(play: &Play) -> Result<(), Failure> {
    let setup = Setup { tick_ms: 40, election_ticks: 10, pre_vote: true };
    let mut stage = play.stage("two nodes of three elect a leader", setup)?;

    stage.story.step("Node 1 is alone, and can't win.");
    let start = stage.logs.mark();
    stage.start(&[1]).await?;
    stage
        .until("that node 1 asks for votes", |logs| {
            let own = |event: &Event| event.msg == "vote received";
            logs.of(1, &start).iter().any(own).then_some(())
        })
        .await?;
    stage.tell(&start, &ELECTION);
    checks::lost_campaigns(stage.logs.of(1, &start), "pre-candidate")?;
    stage.story.ok("it has one vote, its own, and needs two");

    stage.story.step("Node 2 starts.");
    let mark = stage.logs.mark();
    stage.start(&[2]).await?;
    let (leader, term) = stage.leader(&[1, 2], &start).await?;
    stage.tell(&mark, &ELECTION);
    let voters = checks::won(&stage.logs, leader, term)?;
    stage.story.ok(format_args!(
        "node {leader} leads term {term} with the votes of nodes {voters:?}, each given in its voter's own log"
    ));
    checks::leaders(&stage.logs)?;
    stage.story.ok("no term has two leaders");
    stage.story.rule(
        "§5.2",
        "each node gives one vote in a term, and keeps it on disk before it says so: two majorities of",
    );
    stage.story.rule("", "the same term would share a node, so a term has one leader at most");

    stage.story.step("A client writes, then reads at the other node.");
    let write = stage.ask(leader, Ask::put("color", "blue")).await?;
    claim(write.status == 204, "HTTP 204", write.describe())?;
    stage.refresh()?;
    let leaders = checks::leaders(&stage.logs)?;
    let (by, of) = (write.number("x-raft-node"), write.number("x-raft-term"));
    claim(
        of.and_then(|of| leaders.get(&of).copied()) == by && by.is_some(),
        format!("an entry of the term of the node that answered; terms and leaders: {leaders:?}"),
        format!("node {by:?}, term {of:?}"),
    )?;
    let read = stage.ask(3 - leader, Ask::get("/kv/color")).await?;
    claim(read.status == 200 && read.body == "blue", "HTTP 200 with `blue`", read.describe())?;
    stage
        .story
        .ok("a leader serves: the write is committed on both nodes that are up, and read at the other");
    Ok(())
}

/// `election-3`
pub(super) async fn heartbeats(play: &Play) -> Result<(), Failure> {
    // Long time-outs: that nobody campaigns must be due to the heartbeats, not to the scheduler's mercy.
    let setup = Setup { tick_ms: 30, election_ticks: 40, pre_vote: true };
    let mut stage = play.stage("heartbeats keep followers from campaigning", setup)?;

    stage.story.step("Three nodes start.");
    let start = stage.logs.mark();
    stage.start(&NODES).await?;
    let (leader, term) = stage.leader(&NODES, &start).await?;
    stage.tell(&start, &ELECTION);
    stage.story.ok(format_args!("node {leader} leads term {term}, and the others follow"));

    // Three times the longest time-out.
    let wanted = usize::try_from(6 * setup.election_ticks).unwrap_or(usize::MAX);
    stage.story.step(format_args!(
        "Nothing happens, until each follower has received {wanted} heartbeats: a tick each, three times the longest time-out."
    ));
    let followers: Vec<u64> = NODES.into_iter().filter(|id| *id != leader).collect();
    let mark = stage.logs.mark();
    let outcome = stage
        .until(&format!("{wanted} heartbeats at each follower"), |logs| {
            match checks::quiet(logs, &mark, &NODES, (leader, term)) {
                Ok(heard) if heard.len() == followers.len() => {
                    heard.iter().all(|heard| heard.heartbeats >= wanted).then_some(Ok(heard))
                }
                Ok(_) => None,
                Err(failure) => Some(Err(failure)),
            }
        })
        .await?;
    for heard in outcome? {
        stage.story.event(&heard.first);
        stage.story.event(&heard.last);
        let drawn = |event: &&Event| event.msg == "role";
        let drawn = stage.logs.of(heard.node, &start).iter().rev().find(drawn);
        let ticks = drawn.and_then(|event| event.number("timeout")).unwrap_or(0);
        stage.story.ok(format_args!(
            "node {}: {} heartbeats, never more than {:.0} ms apart; it would campaign after {ticks} ticks ({} ms) without any",
            heard.node,
            heard.heartbeats,
            heard.pause,
            ticks * stage.setup.tick_ms,
        ));
    }
    for id in NODES {
        let status = stage.status(id).await?;
        let role = if id == leader { "leader" } else { "follower" };
        claim(
            status.role == role && status.term == term,
            format!("that node {id} is a {role} in term {term} as before"),
            format!("{status:?}"),
        )?;
    }
    stage.refresh()?;
    checks::quiet(&stage.logs, &mark, &NODES, (leader, term))?;
    stage.story.ok(format_args!("no node campaigned, voted or changed its role; the term is still {term}"));
    stage.story.rule(
        "§5.2",
        "a follower waits anew at each word from the leader, and campaigns when none comes in time",
    );

    leader_dies(&mut stage, &followers, (leader, term)).await
}

/// The end of `election-3`: without heartbeats they do campaign.
async fn leader_dies(
    stage: &mut Stage,
    followers: &[u64],
    (leader, term): (u64, u64),
) -> Result<(), Failure> {
    stage.story.step("The counter-proof: the leader dies, and with it its heartbeats.");
    let mark = stage.logs.mark();
    stage.kill(&[leader]);
    let (next, later) = stage.leader(followers, &mark).await?;
    stage.tell(&mark, &ELECTION);
    let ticks: Vec<u64> = followers
        .iter()
        .map(|id| checks::timeouts(stage.logs.of(*id, &mark), stage.setup.election_ticks))
        .collect::<Result<Vec<_>, Failure>>()?
        .concat();
    claim(!ticks.is_empty(), "that a follower's time-out ends", "none")?;
    claim(later > term, format!("a term after {term}"), later)?;
    checks::won(&stage.logs, next, later)?;
    checks::leaders(&stage.logs)?;
    stage.story.ok(format_args!(
        "without heartbeats a follower campaigns (after {ticks:?} ticks): node {next} leads term {later}"
    ));
    Ok(())
}

/// `election-4`
pub(super) async fn quorum_lost(play: &Play) -> Result<(), Failure> {
    let setup = Setup { tick_ms: 40, election_ticks: 15, pre_vote: false };
    let mut stage = play.stage("a leader that loses its followers steps down", setup)?;

    stage.story.step("Three nodes start, and a leader serves.");
    let start = stage.logs.mark();
    stage.start(&NODES).await?;
    let (leader, term) = stage.leader(&NODES, &start).await?;
    stage.tell(&start, &ELECTION);
    let write = stage.ask(leader, Ask::put("color", "blue")).await?;
    claim(write.status == 204, "HTTP 204", write.describe())?;

    stage.story.step("Both followers die.");
    let followers: Vec<u64> = NODES.into_iter().filter(|id| *id != leader).collect();
    let mark = stage.logs.mark();
    stage.kill(&followers);
    stage
        .until("that the leader loses its quorum", |logs| {
            logs.of(leader, &mark).iter().any(|event| event.msg == "quorum lost").then_some(())
        })
        .await?;
    let (answer, lost, ticks) = checks::lease(stage.logs.of(leader, &start), stage.setup.election_ticks)?;
    claim(lost.has("term", term), format!("that it gives up term {term}"), phrase(&lost))?;
    stage.story.event(&answer);
    stage.story.event(&lost);
    stage.story.ok(format_args!(
        "it gives up {ticks} ticks ({:.0} ms) after the last answer: an election time-out",
        lost.ts - answer.ts
    ));
    stage.story.rule(
        "§6.2*",
        "a leader that has heard no majority for an election time-out steps down (* of the thesis): it",
    );
    stage.story.rule("", "couldn't commit anything, and elsewhere another may lead by now");

    stage.story.step("It campaigns, in vain.");
    let mark = stage.logs.mark();
    let terms = campaigns(&mut stage, leader, &mark, "candidate").await?;
    claim(terms.iter().all(|later| *later > term), format!("terms after {term}"), format!("{terms:?}"))?;
    stage.story.ok(format_args!("without PreVote its term grows at each try: {term}, then {terms:?}"));

    stage.story.step("A client writes, and reads.");
    refused(&stage, leader).await?;
    let read = stage.ask(leader, Ask::get("/kv/color").within(300)).await?;
    claim(read.status == 503, "HTTP 503: it can't know whether its state is the latest", read.describe())?;
    let stale = stage.ask(leader, Ask::get("/kv/color?consistency=stale")).await?;
    claim(stale.status == 200 && stale.body == "blue", "HTTP 200 with `blue`", stale.describe())?;
    stage.story.ok(
        "a linearizable read is refused too; what was committed is still there for one that may be stale",
    );
    Ok(())
}
