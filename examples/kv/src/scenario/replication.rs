//! How writes come about (§5.3, §5.4), and what becomes of one that can't be committed.

use super::Play;
use super::checks;
use super::client::{Answer, Ask};
use super::election::ELECTION;
use super::logs::{Event, Mark};
use super::path::WritePath;
use super::stage::{NODES, Setup, Stage};
use super::story::{Failure, claim, phrase};

/// Starts all nodes. Gives the leader, and the followers.
async fn start_all(stage: &mut Stage) -> Result<(u64, Vec<u64>), Failure> {
    let start = stage.logs.mark();
    stage.start(&NODES).await?;
    let (leader, term) = stage.leader(&NODES, &start).await?;
    stage.tell(&start, &["role", "leader heard"]);
    stage.story.ok(format_args!("node {leader} leads term {term}, and the others follow"));
    Ok((leader, NODES.into_iter().filter(|id| *id != leader).collect()))
}

/// The place of a write in the log, by its answer.
fn place(answer: &Answer) -> Result<(u64, u64), Failure> {
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
    let setup = Setup { tick_ms: 40, election_ticks: 20, pre_vote: true };
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
    let setup = Setup { tick_ms: 40, election_ticks: 20, pre_vote: true };
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

/// `replicate-log-3`
pub(super) async fn both_down(play: &Play) -> Result<(), Failure> {
    // A long lease: the write must reach the leader before it gives up, however busy the machine is.
    let setup = Setup { tick_ms: 60, election_ticks: 30, pre_vote: true };
    let mut stage = play.stage("a write while both followers are down: its outcome is unknown", setup)?;

    stage.story.step("Three nodes start, and a client writes.");
    let (leader, followers) = start_all(&mut stage).await?;
    let start = stage.logs.mark();
    let before = stage.ask(leader, Ask::put("color", "blue").serial(1)).await?;
    let first = place(&before)?;
    stage
        .until("that all nodes apply it", |logs| WritePath::find(logs, &start, leader, &followers, first))
        .await?;

    stage.story.step("Both followers die, and the client writes again.");
    let mark = stage.logs.mark();
    stage.kill(&followers);
    let write = stage.ask(leader, Ask::put("color", "red").within(500).serial(2)).await?;
    stage
        .until("that the leader takes the write and answers it", |logs| {
            let replied = |event: &Event| event.msg == "reply sent";
            logs.of(leader, &mark).iter().any(replied).then_some(())
        })
        .await?;
    stage.tell(
        &mark,
        &["write received", "write appended", "entries sent", "entries are durable here", "reply sent"],
    );
    claim(
        write.status == 504 && write.outcome() == "unknown",
        "HTTP 504 with outcome unknown",
        write.describe(),
    )?;
    let appended = stage.logs.of(leader, &mark).iter().find(|event| event.msg == "write appended").cloned();
    let appended = appended
        .ok_or_else(|| Failure::new("that the leader appends the write", "nothing of it in its log"))?;
    let (term, index) = (appended.number("term").unwrap_or(0), appended.number("index").unwrap_or(0));
    let commits =
        |event: &Event| event.msg == "commit index advanced" && event.number("commit") >= Some(index);
    let early = stage.logs.of(leader, &Mark::default()).iter().find(|event| commits(event));
    claim(
        early.is_none(),
        format!("that entry {index} is not committed"),
        early.map_or(String::new(), phrase),
    )?;
    let stale = stage.ask(leader, Ask::get("/kv/color?consistency=stale")).await?;
    claim(stale.body == "blue", "`blue` still", stale.describe())?;
    stage.story.ok(format_args!(
        "entry {index} of term {term} is on the leader's disk and nowhere else: not committed, not applied"
    ));
    stage.story.ok("the client is told that the outcome is unknown, not that the write failed");
    stage.story.rule(
        "§5.4",
        "nobody can know yet: the entry may still be committed, or be overwritten if others win an election",
    );
    stage.story.rule("", "without it. Whoever answers \"failed\" lies in one of the two cases");

    stage.story.step("The leader gives up.");
    stage
        .until("that the leader loses its quorum", |logs| {
            logs.of(leader, &mark).iter().any(|event| event.msg == "quorum lost").then_some(())
        })
        .await?;
    stage.tell(&mark, &["quorum lost", "role"]);

    let Some(&back) = followers.first() else { return Err(Failure::trouble("a follower is needed")) };
    stage.story.step(format_args!("Node {back} comes back, without entry {index}."));
    let return_mark = stage.logs.mark();
    stage.start(&[back]).await?;
    let (next, later) = stage.leader(&[leader, back], &return_mark).await?;
    stage.tell(&return_mark, &[&ELECTION[..], &["vote refused"]].concat());
    let restarted = stage.logs.of(back, &return_mark).iter().find(|event| event.msg == "started");
    let had = restarted.and_then(|event| event.text("last").split_once('/')?.1.parse::<u64>().ok());
    claim(
        had.is_some_and(|had| had < index),
        format!("that node {back} comes back without entry {index}"),
        restarted.map_or("nothing of its start".to_string(), phrase),
    )?;
    claim(
        next == leader && later > term,
        format!("that node {leader}, whose log is longer, leads a later term"),
        format!("node {next} in term {later}"),
    )?;
    checks::won(&stage.logs, next, later)?;
    checks::leaders(&stage.logs)?;
    stage.story.ok(format_args!("node {leader} wins term {later}: of the two only it can"));
    stage.story.rule(
        "§5.4.1",
        "a node gives no vote to one whose log ends before its own; so nothing that may have been",
    );
    stage.story.rule("", "committed is lost");

    stage.story.step("What became of the write.");
    stage
        .tell(&return_mark, &["entries sent", "peer acknowledged", "commit index advanced", "entry applied"]);
    let own = stage.logs.of(leader, &return_mark);
    let committed = own.iter().find(|event| commits(event));
    let committed =
        committed.ok_or_else(|| Failure::new(format!("that entry {index} is committed"), "nothing of it"))?;
    claim(
        committed.number("commit") > Some(index) && committed.has("term", later),
        format!("that entry {index} is committed only together with one of term {later} behind it"),
        phrase(committed),
    )?;
    let applied = |event: &&Event| event.msg == "entry applied" && event.has("index", index);
    let applied = own.iter().find(applied);
    claim(
        applied.is_some_and(|event| event.has("term", term)),
        format!("that entry {index} of term {term} is applied as it was"),
        applied.map_or("nothing of it".to_string(), phrase),
    )?;
    stage.story.ok(format_args!(
        "entry {index} of term {term} is committed after all, by the first entry of term {later}, and applied"
    ));
    stage.story.rule(
        "§5.4.2",
        "an entry of an earlier term is committed by one of the leader's own term behind it, never alone",
    );
    let read = stage.ask(leader, Ask::get("/kv/color")).await?;
    claim(
        read.body == "red" && read.number("x-raft-modified") == Some(index),
        format!("`red`, written at index {index}"),
        read.describe(),
    )?;

    stage.story.step("The client doesn't know that, and sends the write again, with the same serial.");
    let retry_mark = stage.logs.mark();
    let retry = stage.ask(leader, Ask::put("color", "red").serial(2)).await?;
    let (_, again) = place(&retry)?;
    stage
        .until(&format!("that the leader applies entry {again}"), |logs| {
            let ended = |event: &Event| event.msg == "write answered" && event.has("index", again);
            logs.of(leader, &retry_mark).iter().any(ended).then_some(())
        })
        .await?;
    let kinds =
        ["write received", "write appended", "commit index advanced", "entry applied", "write answered"];
    stage.tell(&retry_mark, &kinds);
    let read = stage.ask(leader, Ask::get("/kv/color")).await?;
    claim(
        again > index && read.body == "red" && read.number("x-raft-modified") == Some(index),
        format!("that the retry, entry {again}, leaves `red` as it was written at index {index}"),
        read.describe(),
    )?;
    stage.story.ok(format_args!(
        "the retry is entry {again} of the log and changes nothing: the key was last written at index {index}"
    ));
    let fresh = stage.ask(leader, Ask::put("color", "red").serial(3)).await?;
    let (_, third) = place(&fresh)?;
    let read = stage.ask(leader, Ask::get("/kv/color")).await?;
    claim(
        read.number("x-raft-modified") == Some(third),
        format!("that the same with a new serial is written, at index {third}"),
        read.describe(),
    )?;
    stage.story.ok(format_args!(
        "the same with a new serial counts as another write: now the key was last written at index {third}"
    ));
    stage.story.rule(
        "§8",
        "clients number their requests, and the state machine remembers the last of each with its outcome",
    );
    Ok(())
}
