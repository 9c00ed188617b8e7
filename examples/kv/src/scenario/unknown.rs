//! A write that can't be committed now: nobody knows what becomes of it (§5.4, §8).

use super::Play;
use super::checks;
use super::client::{Answer, Ask};
use super::election::ELECTION;
use super::logs::{Event, Mark};
use super::path::WritePath;
use super::replication::{place, start_all};
use super::stage::{Setup, Stage};
use super::story::{Failure, claim, phrase};

/// A write whose outcome is unknown: who has it, and where.
#[derive(Clone, Copy)]
struct Doubt {
    leader: u64,
    term: u64,
    index: u64,
}

/// `replicate-log-3`
pub(super) async fn both_down(play: &Play) -> Result<(), Failure> {
    // A long lease: the write must reach the leader before it gives up, however busy the machine is.
    let setup = Setup { tick_ms: 60, election_ticks: 25, pre_vote: true };
    let mut stage = play.stage("a write while both followers are down: its outcome is unknown", setup)?;

    stage.story.step("Three nodes start, and a client writes.");
    let (leader, followers) = start_all(&mut stage).await?;
    let [first, second] = followers[..] else { return Err(Failure::trouble("two followers are needed")) };
    let start = stage.logs.mark();
    let before = place(&stage.ask(leader, Ask::put("color", "blue").serial(1)).await?)?;
    stage
        .until("that all nodes apply it", |logs| WritePath::find(logs, &start, leader, &followers, before))
        .await?;

    stage.story.step("Both followers die, and the client writes again.");
    let mark = stage.logs.mark();
    stage.kill(&followers);
    let doubt = in_doubt(&mut stage, leader, Ask::put("color", "red").serial(2), "blue").await?;
    stage.story.rule(
        "§5.4",
        "the entry may yet be committed, or overwritten if others win an election without it: a client that",
    );
    stage.story.rule(
        "",
        "is told \"failed\" is deceived in the first case; both are shown here, one after the other",
    );

    stage.story.step("The leader gives up.");
    stage
        .until("that the leader loses its quorum", |logs| {
            logs.of(leader, &mark).iter().any(|event| event.msg == "quorum lost").then_some(())
        })
        .await?;
    stage.tell(&mark, &["quorum lost", "role"]);

    committed_after_all(&mut stage, doubt, first).await?;
    retried_once(&mut stage, doubt).await?;
    overwritten(&mut stage, doubt.leader, first, second).await
}

/// The leader has no follower: a write is appended, and neither committed nor applied. `before` is the value until then.
async fn in_doubt(stage: &mut Stage, leader: u64, ask: Ask, before: &str) -> Result<Doubt, Failure> {
    let serial = ask.serial.unwrap_or(0);
    stage.refresh()?;
    let mark = stage.logs.mark();
    let write = stage.ask(leader, ask.within(500)).await?;
    let (number, appended) = stage
        .until("that the leader takes the write, appends and answers it", |logs| {
            let own = logs.of(leader, &mark);
            let of_serial = |event: &&Event| event.msg == "write received" && event.has("serial", serial);
            let number = own.iter().find(of_serial)?.number("write")?;
            own.iter().find(|event| event.msg == "reply sent" && event.has("write", number))?;
            let appended = |event: &&Event| event.msg == "write appended" && event.has("write", number);
            Some((number, own.iter().find(appended).cloned()))
        })
        .await?;
    let appended =
        appended.ok_or_else(|| Failure::new("that the leader appends the write", write.describe()))?;
    let (term, index) = (appended.number("term").unwrap_or(0), appended.number("index").unwrap_or(0));
    for event in stage.logs.of(leader, &mark) {
        let told = match event.msg.as_str() {
            "write received" | "write appended" | "reply sent" => event.has("write", number),
            "entries sent" | "entries are durable here" => event.covers(index),
            _ => false,
        };
        if told {
            stage.story.event(event);
        }
    }
    claim(
        write.status == 504 && write.outcome() == "unknown",
        "HTTP 504 with outcome unknown",
        write.describe(),
    )?;
    let commits = |event: &&Event| commits(event, index);
    let early = stage.logs.of(leader, &mark).iter().find(commits);
    claim(
        early.is_none(),
        format!("that entry {index} is not committed"),
        early.map_or(String::new(), phrase),
    )?;
    let stale = stage.ask(leader, Ask::get("/kv/color?consistency=stale")).await?;
    claim(stale.body == before, format!("`{before}` still"), stale.describe())?;
    stage.story.ok(format_args!(
        "entry {index} of term {term} is in the log of node {leader} alone: not committed, not applied"
    ));
    stage.story.ok("the client is told that the outcome is unknown, not that the write failed");
    Ok(Doubt { leader, term, index })
}

fn commits(event: &Event, index: u64) -> bool {
    event.msg == "commit index advanced" && event.number("commit") >= Some(index)
}

/// The index of the last entry that a node had on its disk when it started.
fn last_at_start(stage: &Stage, node: u64, since: &Mark) -> Result<u64, Failure> {
    let started = stage.logs.of(node, since).iter().find(|event| event.msg == "started");
    let last = started.and_then(|event| event.text("last").split_once('/')?.1.parse().ok());
    last.ok_or_else(|| Failure::new(format!("that node {node} says what it has"), "nothing of its start"))
}

/// A follower comes back, and elects the old leader, which has the longer log.
async fn committed_after_all(stage: &mut Stage, doubt: Doubt, back: u64) -> Result<(), Failure> {
    let Doubt { leader, term, index } = doubt;
    stage.story.step(format_args!("Node {back} comes back, without entry {index}."));
    let mark = stage.logs.mark();
    stage.start(&[back]).await?;
    let (next, later) = stage.leader(&[leader, back], &mark).await?;
    stage.tell(&mark, &[&ELECTION[..], &["vote refused"]].concat());
    let had = last_at_start(stage, back, &mark)?;
    claim(had < index, format!("that node {back} comes back without entry {index}"), had)?;
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
    stage.tell(&mark, &["entries sent", "peer acknowledged", "commit index advanced", "entry applied"]);
    let own = stage.logs.of(leader, &mark);
    let committed = own.iter().find(|event| commits(event, index));
    let committed =
        committed.ok_or_else(|| Failure::new(format!("that entry {index} is committed"), "nothing of it"))?;
    claim(
        committed.number("commit") > Some(index) && committed.has("term", later),
        format!("that entry {index} is committed only together with one of term {later} behind it"),
        phrase(committed),
    )?;
    let applied = own.iter().find(|event| event.msg == "entry applied" && event.has("index", index));
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
    written_at(stage, leader, "red", index).await?;
    Ok(())
}

/// The value of the key, and the index at which it was written.
async fn written_at(stage: &Stage, node: u64, value: &str, index: u64) -> Result<Answer, Failure> {
    let read = stage.ask(node, Ask::get("/kv/color")).await?;
    claim(
        read.body == value && read.number("x-raft-modified") == Some(index),
        format!("`{value}`, written at index {index}"),
        read.describe(),
    )?;
    Ok(read)
}

/// A retry of what was done changes nothing.
async fn retried_once(stage: &mut Stage, doubt: Doubt) -> Result<(), Failure> {
    let Doubt { leader, index, .. } = doubt;
    stage.story.step("The client doesn't know that, and sends the write again, with the same serial.");
    let mark = stage.logs.mark();
    let retry = stage.ask(leader, Ask::put("color", "red").serial(2)).await?;
    let (_, again) = place(&retry)?;
    stage
        .until(&format!("that the leader applies entry {again}"), |logs| {
            let ended = |event: &Event| event.msg == "write answered" && event.has("index", again);
            logs.of(leader, &mark).iter().any(ended).then_some(())
        })
        .await?;
    stage.tell(
        &mark,
        &["write received", "write appended", "commit index advanced", "entry applied", "write answered"],
    );
    claim(again > index, format!("a new entry behind {index} for the retry"), again)?;
    written_at(stage, leader, "red", index).await?;
    stage.story.ok(format_args!(
        "the retry is entry {again} of the log and changes nothing: the key was last written at index {index}"
    ));
    let (_, third) = place(&stage.ask(leader, Ask::put("color", "red").serial(3)).await?)?;
    written_at(stage, leader, "red", third).await?;
    stage.story.ok(format_args!(
        "the same with a new serial counts as another write: now the key was last written at index {third}"
    ));
    stage.story.rule(
        "§8",
        "clients number their requests, and the state machine remembers the last of each with its outcome",
    );
    Ok(())
}

/// The other possibility: a majority without the entry elects a leader, which overwrites it.
async fn overwritten(stage: &mut Stage, leader: u64, first: u64, second: u64) -> Result<(), Failure> {
    stage.story.step("The other case. Again no follower is up when the client writes.");
    stage.kill(&[first]);
    let Doubt { term, index, .. } =
        in_doubt(stage, leader, Ask::put("color", "violet").serial(4), "red").await?;

    stage.story.step(format_args!(
        "Now node {leader}, which alone has entry {index}, dies, and the two others come back and take a write."
    ));
    stage.kill(&[leader]);
    stage.refresh()?;
    let mark = stage.logs.mark();
    stage.start(&[first, second]).await?;
    let (next, later) = stage.leader(&[first, second], &mark).await?;
    stage.tell(&mark, &["started", "role", "leader heard"]);
    let (_, other) = place(&stage.ask(next, Ask::put("color", "green")).await?)?;

    stage
        .story
        .step(format_args!("Node {leader} comes back, with entry {index} of term {term} on its disk."));
    let back = stage.logs.mark();
    stage.start(&[leader]).await?;
    stage
        .until(&format!("that node {leader} applies entry {other}"), |logs| {
            let applied = |event: &Event| event.msg == "entry applied" && event.has("index", other);
            logs.of(leader, &back).iter().any(applied).then_some(())
        })
        .await?;
    stage.tell_of(&[leader], &back, &["started", "leader heard", "append rejected", "entries received"]);
    let own = stage.logs.of(leader, &back);
    let applied = own.iter().find(|event| event.msg == "entry applied" && event.has("index", index));
    if let Some(event) = applied {
        stage.story.event(event);
    }
    let had = last_at_start(stage, leader, &back)?;
    claim(had == index, format!("that node {leader} comes back with entry {index}"), had)?;
    claim(
        applied.is_some_and(|event| event.has("term", later)),
        format!("that node {leader} applies an entry of term {later} at index {index}"),
        applied.map_or("nothing of it".to_string(), phrase),
    )?;
    let stale = stage.ask(leader, Ask::get("/kv/color?consistency=stale")).await?;
    claim(stale.body == "green", "`green`", stale.describe())?;
    stage.story.ok(format_args!("an entry of term {later} has taken the place of entry {index} of term {term}: the write never happened"));
    stage.story.rule(
        "§5.3",
        "a follower's entries that conflict with the leader's are overwritten; none of them was committed",
    );

    stage.story.step("The client sends the write again, with the same serial.");
    let (_, retried) = place(&stage.ask(next, Ask::put("color", "violet").serial(4)).await?)?;
    written_at(stage, next, "violet", retried).await?;
    place(&stage.ask(next, Ask::put("color", "violet").serial(4)).await?)?;
    written_at(stage, next, "violet", retried).await?;
    stage.story.ok(format_args!(
        "this time the retry does the write, at index {retried}, and once: a further one changes nothing"
    ));
    Ok(())
}
