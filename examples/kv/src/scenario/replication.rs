//! How writes come about (§5.3, §5.4).

use super::Play;
use super::client::{Answer, Ask};
use super::logs::{Event, Mark};
use super::path::WritePath;
use super::stage::{NODES, Setup, Stage};
use super::story::{Failure, claim, phrase};

/// Starts all nodes. Gives the leader, and the followers.
pub(super) async fn start_all(stage: &mut Stage) -> Result<(u64, Vec<u64>), Failure> {
    let start = stage.logs.mark();
    stage.start(&NODES).await?;
    let (leader, term) = stage.leader(&NODES, &start).await?;
    stage.tell(&start, &["role", "leader heard"]);
    stage.story.ok(format_args!("node {leader} leads term {term}, and the others follow"));
    Ok((leader, NODES.into_iter().filter(|id| *id != leader).collect()))
}

/// The place of a write in the log, by its answer.
pub(super) fn place(answer: &Answer) -> Result<(u64, u64), Failure> {
    let place = answer.number("x-raft-term").zip(answer.number("x-raft-index"));
    match place {
        Some(place) if answer.status == 204 => Ok(place),
        Some(_) | None => Err(Failure::new("HTTP 204 with the entry's term and index", answer.describe())),
    }
}

/// Waits until the logs show the whole path of a write, tells and checks it.
async fn follow(
    stage: &mut Stage,
    since: &Mark,
    leader: u64,
    followers: &[u64],
    place: (u64, u64),
) -> Result<WritePath, Failure> {
    let (term, index) = place;
    let what =
        format!("every step of entry {index} of term {term} in the logs of node {leader} and {followers:?}");
    let path = stage.until(&what, |logs| WritePath::find(logs, since, leader, followers, place)).await?;
    path.events().into_iter().for_each(|event| stage.story.event(event));
    path.check(NODES.len() / 2 + 1)?;
    Ok(path)
}

/// `replicate-log-1`
pub(super) async fn path_of_a_write(play: &Play) -> Result<(), Failure> {
    let setup = Setup { tick_ms: 40, election_ticks: 30, pre_vote: true };
    let mut stage = play.stage("the path of a write", setup)?;

    stage.story.step("Three nodes start.");
    let (leader, followers) = start_all(&mut stage).await?;

    stage.story.step("A client writes.");
    let mark = stage.logs.mark();
    let write = stage.ask(leader, Ask::put("color", "blue")).await?;
    let place = place(&write)?;

    stage.story.step(format_args!("What the nodes say of entry {} of term {}.", place.1, place.0));
    let path = follow(&mut stage, &mark, leader, &followers, place).await?;
    stage.story.ok(
        "received, appended, sent to both followers before any answer, also before the leader's own disk",
    );
    stage.story.rule(
        "§5.3",
        "the leader sends entries in parallel; it needn't wait for its own disk first, which counts as",
    );
    stage.story.rule("", "one answer among the others (§10.2.1 of the thesis)");
    stage.story.ok("each follower has it on its disk before it acknowledges it");
    if let Some(first) = path.first_acknowledgement() {
        stage.story.ok(format_args!(
            "committed with two durable copies of three, then applied, then answered; the first acknowledgement was that of node {}",
            first.text("peer")
        ));
    }
    stage
        .story
        .rule("§5.3", "an entry is committed once a majority has it: the slower follower is not waited for");
    stage.story.ok("the followers are told the commit index afterwards, and apply the entry then");
    for id in NODES {
        let read = stage.ask(id, Ask::get("/kv/color?consistency=stale")).await?;
        claim(
            read.body == "blue" && read.number("x-raft-modified") == Some(place.1),
            format!("`blue`, written at index {}", place.1),
            read.describe(),
        )?;
    }
    stage.story.ok("all three state machines hold the value, and agree on the index at which it was written");
    Ok(())
}

/// `replicate-log-2`
pub(super) async fn one_down(play: &Play) -> Result<(), Failure> {
    let setup = Setup { tick_ms: 40, election_ticks: 30, pre_vote: true };
    let mut stage = play.stage("a write while a follower is down", setup)?;

    stage.story.step("Three nodes start.");
    let (leader, followers) = start_all(&mut stage).await?;
    let [up, down] = followers[..] else { return Err(Failure::trouble("two followers are needed")) };

    stage.story.step("One follower dies.");
    stage.kill(&[down]);
    stage.refresh()?;
    let mark = stage.logs.mark();

    stage.story.step("A client writes.");
    let first = place(&stage.ask(leader, Ask::put("color", "blue")).await?)?;
    place(&stage.ask(leader, Ask::put("color", "green")).await?)?;
    let place = place(&stage.ask(leader, Ask::put("color", "red")).await?)?;
    stage.story.step(format_args!(
        "What the nodes say of the last of these, entry {} of term {}.",
        place.1, place.0
    ));
    follow(&mut stage, &mark, leader, &[up], place).await?;
    let said = stage.logs.of(down, &mark).first();
    claim(
        said.is_none(),
        format!("nothing of node {down}, which is dead"),
        said.map_or(String::new(), phrase),
    )?;
    let acked = |event: &&Event| {
        event.msg == "peer acknowledged" && event.has("peer", down) && event.number("match") >= Some(first.1)
    };
    let acked = stage.logs.of(leader, &mark).iter().find(acked);
    claim(
        acked.is_none(),
        format!("no acknowledgement of node {down}"),
        acked.map_or(String::new(), phrase),
    )?;
    stage.story.ok(format_args!(
        "committed and answered with the copies of nodes {leader} and {up}; node {down} gave none"
    ));
    stage.story.rule("§5.3", "a majority is enough: a minority that is down or slow doesn't hold up a write");

    stage.story.step(format_args!("Node {down} starts again."));
    let back = stage.logs.mark();
    stage.start(&[down]).await?;
    let applied = |event: &Event| {
        event.msg == "entry applied" && event.has("term", place.0) && event.has("index", place.1)
    };
    stage
        .until(&format!("that node {down} applies entry {}", place.1), |logs| {
            logs.of(down, &back).iter().any(applied).then_some(())
        })
        .await?;
    let telling =
        ["started", "leader heard", "peer rejected", "entries received", "entries are durable here"];
    stage.tell(
        &back,
        &[&telling[..], &["commit index heard", "commit index advanced", "entry applied"]].concat(),
    );
    let (ahead, behind) = (stage.status(leader).await?, stage.status(down).await?);
    claim(
        (behind.last, behind.applied) == (ahead.last, ahead.applied) && ahead.applied >= place.1,
        format!("the leader's last and applied index on node {down}: {}, {}", ahead.last, ahead.applied),
        format!("{}, {}", behind.last, behind.applied),
    )?;
    let pairs = |node: u64, since: &Mark| -> Vec<(Option<u64>, Option<u64>)> {
        let applied = stage.logs.of(node, since).iter().filter(|event| event.msg == "entry applied");
        let pairs = applied.map(|event| (event.number("term"), event.number("index")));
        pairs.filter(|(_, index)| *index <= Some(place.1)).collect()
    };
    let (led, caught_up) = (pairs(leader, &Mark::default()), pairs(down, &back));
    claim(
        caught_up == led,
        format!("the same entries on node {down} as on the leader (term, index): {led:?}"),
        format!("{caught_up:?}"),
    )?;
    stage.story.ok(format_args!(
        "node {down} has the leader's log to its end, and applied the same entries in the same order"
    ));
    let read = stage.ask(down, Ask::get("/kv/color?consistency=stale")).await?;
    claim(
        read.body == "red" && read.number("x-raft-modified") == Some(place.1),
        format!("`red`, written at index {}", place.1),
        read.describe(),
    )?;
    stage.story.ok("its own state machine has the value `red`");
    stage.story.rule(
        "§5.3",
        "the leader sends a follower that comes back everything behind the point where their logs agree",
    );
    Ok(())
}
