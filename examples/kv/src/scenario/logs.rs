//! What the nodes have logged, as it grows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use serde_json::{Map, Value};

/// A line of a node's log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) node: u64,
    /// Milliseconds since 1970, with a fraction.
    pub(super) ts: f64,
    pub(super) msg: String,
    fields: Map<String, Value>,
}

impl Event {
    fn parse(node: u64, line: &str) -> Option<Event> {
        let Value::Object(fields) = serde_json::from_str(line).ok()? else { return None };
        let ts = fields.get("ts")?.as_f64()?;
        let msg = fields.get("msg")?.as_str()?.to_string();
        Some(Event { node, ts, msg, fields })
    }

    /// A value, as text; empty if there is none.
    pub(super) fn text(&self, key: &str) -> String {
        match self.fields.get(key) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// A value that is a number. The core gives its own as text.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.text(key).parse().ok()
    }

    /// Is it this event, with these values?
    pub(super) fn is<const N: usize>(&self, msg: &str, values: [(&str, &str); N]) -> bool {
        self.msg == msg && values.iter().all(|(key, value)| self.text(key) == *value)
    }

    /// Is it an event of this number, such as a term or a peer?
    pub(super) fn has(&self, key: &str, number: u64) -> bool {
        self.number(key) == Some(number)
    }

    /// Are these entries, this one among them?
    pub(super) fn covers(&self, index: u64) -> bool {
        let (first, last) = (self.number("first"), self.number("last"));
        first.is_some_and(|first| first <= index) && last.is_some_and(|last| last >= index)
    }

    /// Its values, as they stand in the log.
    pub(super) fn values(&self) -> String {
        let shown = |key: &&String| !["ts", "level", "msg", "node", "module"].contains(&key.as_str());
        let values = self.fields.keys().filter(shown).map(|key| format!("{key} {}", self.text(key)));
        values.collect::<Vec<_>>().join(", ")
    }
}

/// How far the logs went at some time.
#[derive(Clone, Debug, Default)]
pub(super) struct Mark(BTreeMap<u64, usize>);

/// All events of all nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Logs(BTreeMap<u64, Vec<Event>>);

impl Logs {
    /// Adds a line of a node's log.
    ///
    /// # Errors
    /// It can't be read, or says that lines are missing.
    pub(super) fn add(&mut self, node: u64, line: &str) -> Result<(), String> {
        // A process that was killed may have left half a line, which the next one's first line follows.
        let whole = line.rfind("{\"ts\":").and_then(|start| Event::parse(node, line.get(start..)?));
        let Some(event) = whole else { return Err(format!("node {node} logged what can't be read: {line}")) };
        if event.msg == "log lines were dropped" {
            return Err(format!("the log of node {node} is not complete: it says `{}`", event.msg));
        }
        self.0.entry(node).or_default().push(event);
        Ok(())
    }

    /// Where they end now.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.0.iter().map(|(node, events)| (*node, events.len())).collect())
    }

    /// What a node logged since then.
    pub(super) fn of(&self, node: u64, since: &Mark) -> &[Event] {
        let events = self.0.get(&node).map_or(&[][..], Vec::as_slice);
        events.get(since.0.get(&node).copied().unwrap_or(0)..).unwrap_or_default()
    }

    /// What all of them logged since then, in the order of time.
    pub(super) fn all(&self, since: &Mark) -> Vec<&Event> {
        let mut events: Vec<&Event> = self.0.keys().flat_map(|node| self.of(*node, since)).collect();
        // It keeps the order of lines of the same time.
        events.sort_by(|a, b| a.ts.total_cmp(&b.ts));
        events
    }
}

/// A log file, read as it grows.
pub(super) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    /// The part of a line that was there when the file was last read.
    rest: Vec<u8>,
}

impl LogFile {
    pub(super) fn new(path: PathBuf) -> LogFile {
        LogFile { path, file: None, rest: Vec::new() }
    }

    /// The lines that have come since the last time.
    ///
    /// # Errors
    /// It can't be read. That it isn't there yet is no error.
    pub(super) fn read(&mut self) -> io::Result<Vec<String>> {
        let file = match &mut self.file {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(file) => self.file.insert(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            },
        };
        file.read_to_end(&mut self.rest)?;
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_string).collect())
    }
}
