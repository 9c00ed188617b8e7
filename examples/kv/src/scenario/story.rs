//! What is told: titles, steps, what nodes say, what is checked.
//!
//! A line about a node is made from an [`Event`] of its log or from its answer to a request, and from nothing else.

use std::fmt;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::logs::Event;

/// A claim that doesn't hold, or a scenario that can't be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    expected: String,
    saw: String,
}

impl Failure {
    pub(super) fn new(expected: impl fmt::Display, saw: impl fmt::Display) -> Failure {
        Failure { expected: expected.to_string(), saw: saw.to_string() }
    }

    /// Something that has nothing to do with the claims.
    pub(super) fn trouble(what: impl fmt::Display) -> Failure {
        Failure::new("that the scenario can be played", what)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, saw {}", self.expected, self.saw)
    }
}

/// # Errors
/// It isn't so.
pub(super) fn claim(so: bool, expected: impl fmt::Display, saw: impl fmt::Display) -> Result<(), Failure> {
    if so { Ok(()) } else { Err(Failure::new(expected, saw)) }
}

/// Milliseconds since 1970, as in the logs.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

/// Writes a line. Where nobody reads any more, the scenario still goes on to its end.
pub(super) fn say(line: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The teller of one scenario.
pub(super) struct Story {
    began: f64,
    steps: u32,
}

impl Story {
    pub(super) fn begin(name: &str, title: &str) -> Story {
        say(format_args!("\n=== {name}: {title}"));
        Story { began: now(), steps: 0 }
    }

    pub(super) fn step(&mut self, text: impl fmt::Display) {
        self.steps += 1;
        say(format_args!("\n{}. {text}", self.steps));
    }

    /// What a node said.
    pub(super) fn event(&self, event: &Event) {
        self.line(&format!("node {}", event.node), event.ts, &phrase(event));
    }

    /// A line of somebody else, with the time of now.
    pub(super) fn aside(&self, who: &str, text: impl fmt::Display) {
        self.line(who, now(), &text.to_string());
    }

    fn line(&self, who: &str, ts: f64, text: &str) {
        say(format_args!("   {who:<8} | {} | {text}", seconds(ts - self.began)));
    }

    /// Why it is so.
    pub(super) fn rule(&self, paragraph: &str, text: &str) {
        say(format_args!("   {paragraph:<8} : {text}"));
    }

    /// A claim that was checked, and holds.
    pub(super) fn ok(&self, text: impl fmt::Display) {
        say(format_args!("   OK       : {text}"));
    }
}

/// Milliseconds as `00.412s`.
fn seconds(millis: f64) -> String {
    format!("{:06.3}s", millis / 1e3)
}

/// What an event of the log says, in words.
pub(super) fn phrase(event: &Event) -> String {
    let at = |key: &str| event.text(key);
    match event.msg.as_str() {
        "the server starts" => format!("starts as process {}, clients at http://{}", at("pid"), at("http")),
        "started" => format!(
            "has its log from disk: term {}, last entry {}, commit {}",
            at("term"),
            at("last"),
            at("commit")
        ),
        "election time-out" => format!("hears no leader for {} ticks in term {}", at("ticks"), at("term")),
        "role" => role(event),
        "vote received" => format!(
            "{} of node {} {}: has {}, needs {} (term {})",
            if at("pre_vote") == "true" { "pre-vote" } else { "vote" },
            at("from"),
            if at("granted") == "true" { "granted" } else { "refused" },
            at("have"),
            at("needed"),
            at("term")
        ),
        "vote granted" => format!("votes for node {} in term {}", at("to"), at("term")),
        "vote refused" => format!(
            "refuses its vote to node {} for term {}: their log ends at {}, its own at {} (term/index)",
            at("to"),
            at("term"),
            at("their_last"),
            at("our_last")
        ),
        "leader heard" => format!("follows node {} in term {}", at("leader"), at("term")),
        "quorum lost" => {
            format!("has heard nothing of nodes {} and gives up leading term {}", at("silent"), at("term"))
        }
        "receive" => format!("receives {} of term {} from node {}", at("message"), at("term"), at("from")),
        "write received" => format!(
            "receives from a client: {} of key `{}`, {} bytes (write {})",
            at("op"),
            at("key"),
            at("bytes"),
            at("write")
        ),
        "write appended" => format!(
            "appends write {} to its own log: term {}, index {}",
            at("write"),
            at("term"),
            at("index")
        ),
        "entries sent" => format!(
            "sends {} to node {} (term {}, commit {})",
            entries(event),
            at("peer"),
            at("term"),
            at("commit")
        ),
        "entries received" => format!(
            "receives {} from node {} (term {}, commit {})",
            entries(event),
            at("peer"),
            at("term"),
            at("commit")
        ),
        "entries are durable here" => format!("has {} on its disk", entries(event)),
        "peer acknowledged" => {
            format!("is told by node {} that it has everything up to {}", at("peer"), at("match"))
        }
        "peer rejected" => {
            format!("is told by node {} that its log lacks {} (it has {})", at("peer"), at("at"), at("hint"))
        }
        "commit index advanced" => format!("knows that everything up to {} is committed", at("commit")),
        "entry applied" => {
            format!("applies entry {} of term {} ({} bytes)", at("index"), at("term"), at("bytes"))
        }
        "write answered" => format!("ends write {}: {} at index {}", at("write"), at("result"), at("index")),
        "reply sent" => format!("answers write {} with HTTP {}", at("write"), at("status")),
        "commit index told" => format!("tells node {} the commit index {}", at("peer"), at("commit")),
        "commit index heard" => format!("hears from node {} the commit index {}", at("peer"), at("commit")),
        other => format!("{other}: {}", event.values()),
    }
}

fn role(event: &Event) -> String {
    let (role, term) = (event.text("role"), event.text("term"));
    match role.as_str() {
        "pre-candidate" => {
            format!("becomes pre-candidate and stays in term {term}: it only asks who would vote for it")
        }
        "candidate" => format!("becomes candidate of term {term}"),
        "leader" => format!("becomes leader of term {term}"),
        _ => match event.text("leader").as_str() {
            "none" => format!("becomes follower in term {term}, knows no leader"),
            leader => format!("becomes follower of node {leader} in term {term}"),
        },
    }
}

fn entries(event: &Event) -> String {
    let (first, last) = (event.text("first"), event.text("last"));
    if first == last { format!("entry {first}") } else { format!("entries {first} to {last}") }
}
