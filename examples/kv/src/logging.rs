//! The structured log: one JSON object a line, written by a thread of its own.
//!
//! Every line has `ts` (milliseconds since 1970, with a fraction), `level`, `msg`, which is a fixed string, and the data
//! as further keys; `node` is bound to all lines of a server. Logging never blocks a server: where the disk
//! can't keep up, lines are dropped, and a line says how many.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use slog::{Drain, KV, Key, Level, Logger, Never, OwnedKVList, Record, Serializer};

/// How many lines may wait for the disk.
const QUEUE: usize = 16_384;

/// Keeps the writing thread. [`LogWriter::finish`] waits until all is written.
pub(crate) struct LogWriter {
    queue: Option<SyncSender<Line>>,
    thread: Option<JoinHandle<()>>,
}

enum Line {
    Text(Vec<u8>),
    Finish,
}

/// When a log's file has so many bytes, another is begun.
const FILE_BYTES: u64 = 64 << 20;

/// A log that is appended to a file, and to another when that is full. The one before is kept, as `NAME.1`.
///
/// # Errors
/// The file can't be opened, or no thread be started.
pub(crate) fn to_file(path: &Path, level: Level) -> io::Result<(Logger, LogWriter)> {
    start(LogFile::open(path, FILE_BYTES)?, level)
}

/// A file that makes room for another when it's full.
struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    limit: u64,
}

impl LogFile {
    fn open(path: &Path, limit: u64) -> io::Result<LogFile> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(LogFile { path: path.to_path_buf(), file, bytes, limit })
    }
}

impl Write for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let written = self.file.write(lines)?;
        self.bytes = self.bytes.saturating_add(written as u64);
        Ok(written)
    }

    /// The moment between two lines.
    fn flush(&mut self) -> io::Result<()> {
        if self.bytes >= self.limit {
            let mut before = self.path.clone().into_os_string();
            before.push(".1");
            std::fs::rename(&self.path, before)?;
            *self = LogFile::open(&self.path, self.limit)?;
        }
        Ok(())
    }
}

/// A log on the standard error.
///
/// # Errors
/// No thread can be started.
pub(crate) fn to_stderr(level: Level) -> io::Result<(Logger, LogWriter)> {
    start(io::stderr(), level)
}

fn start(sink: impl Write + Send + 'static, level: Level) -> io::Result<(Logger, LogWriter)> {
    let (queue, lines) = sync_channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let drain = JsonLines { queue: queue.clone(), dropped: dropped.clone(), level };
    let thread =
        std::thread::Builder::new().name("log".into()).spawn(move || write_lines(sink, &lines, &dropped))?;
    let writer = LogWriter { queue: Some(queue), thread: Some(thread) };
    Ok((Logger::root(drain, slog::o!()), writer))
}

fn write_lines(mut sink: impl Write, lines: &Receiver<Line>, dropped: &AtomicU64) {
    let mut buffer = Vec::new();
    while let Ok(line) = lines.recv() {
        let mut next = Some(line);
        let mut finish = false;
        while let Some(line) = next {
            match line {
                Line::Text(text) => buffer.extend_from_slice(&text),
                Line::Finish => finish = true,
            }
            next = if buffer.len() < 1 << 18 { lines.try_recv().ok() } else { None };
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(
                buffer,
                "{{\"ts\":{},\"level\":\"WARNING\",\"msg\":\"log lines were dropped\",\"lines\":{lost}}}",
                Millis::now()
            );
        }
        // A log that can't be written must not stop the server.
        let _ = sink.write_all(&buffer);
        let _ = sink.flush();
        buffer.clear();
        if finish {
            return;
        }
    }
}

impl LogWriter {
    /// Writes what is waiting, and stops. Lines that are logged later go nowhere.
    pub(crate) fn finish(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(queue) = self.queue.take() {
            let _ = queue.send(Line::Finish);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Milliseconds since 1970, to the microsecond.
struct Millis(u128);

impl Millis {
    fn now() -> Millis {
        Millis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros()))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

struct JsonLines {
    queue: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
    level: Level,
}

impl Drain for JsonLines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        if !record.level().is_at_least(self.level) {
            return Ok(());
        }
        if self.queue.try_send(Line::Text(line(record, values))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        level.is_at_least(self.level)
    }
}

fn line(record: &Record<'_>, values: &OwnedKVList) -> Vec<u8> {
    // What a line says itself comes first; of two values for one key the first counts. Neither can fail.
    let mut fields = Fields(Vec::new());
    let _ = record.kv().serialize(record, &mut fields);
    // slog gives them last to first.
    fields.0.reverse();
    let _ = values.serialize(record, &mut fields);
    let level = Quoted(record.level().as_str());
    let mut text =
        format!("{{\"ts\":{},\"level\":{level},\"msg\":{}", Millis::now(), Quoted(&record.msg().to_string()));
    for (key, value) in fields.0 {
        text.push_str(&format!(",{}:{value}", Quoted(key)));
    }
    text.push_str("}\n");
    text.into_bytes()
}

/// A string as JSON writes it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).unwrap_or_default())
    }
}

/// Keys, and values as JSON writes them.
struct Fields(Vec<(Key, String)>);

impl Fields {
    fn emit(&mut self, key: Key, value: &dyn fmt::Display) -> slog::Result {
        if !self.0.iter().any(|(known, _)| *known == key) {
            self.0.push((key, value.to_string()));
        }
        Ok(())
    }
}

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.emit(key, &Quoted(&value.to_string()))
    }

    fn emit_str(&mut self, key: Key, value: &str) -> slog::Result {
        self.emit(key, &Quoted(value))
    }

    fn emit_bool(&mut self, key: Key, value: bool) -> slog::Result {
        self.emit(key, &value)
    }

    fn emit_none(&mut self, key: Key) -> slog::Result {
        self.emit(key, &"null")
    }

    fn emit_unit(&mut self, key: Key) -> slog::Result {
        self.emit(key, &"null")
    }

    fn emit_u8(&mut self, key: Key, value: u8) -> slog::Result {
        self.emit(key, &value)
    }

    fn emit_u16(&mut self, key: Key, value: u16) -> slog::Result {
        self.emit(key, &value)
    }

    fn emit_u32(&mut self, key: Key, value: u32) -> slog::Result {
        self.emit(key, &value)
    }

    fn emit_u64(&mut self, key: Key, value: u64) -> slog::Result {
        self.emit(key, &value)
    }

    fn emit_usize(&mut self, key: Key, value: usize) -> slog::Result {
        self.emit(key, &value)
    }

    fn emit_i32(&mut self, key: Key, value: i32) -> slog::Result {
        self.emit(key, &value)
    }

    fn emit_i64(&mut self, key: Key, value: i64) -> slog::Result {
        self.emit(key, &value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_makes_room_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        std::fs::write(&path, "0123456\n").unwrap();
        let mut log = LogFile::open(&path, 16).unwrap();
        for line in ["a23456\n", "b23456\n", "c23456\n", "d2345678901234567\n", "e\n"] {
            log.write_all(line.as_bytes()).unwrap();
            log.flush().unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "e\n");
        let before = std::fs::read_to_string(dir.path().join("log.jsonl.1")).unwrap();
        assert_eq!(before, "c23456\nd2345678901234567\n");
    }

    #[test]
    fn lines_are_json_and_all_of_them_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let (logger, writer) = to_file(&path, Level::Info).unwrap();
        let node = logger.new(slog::o!("node" => 1_u64, "term" => 9_u64));
        slog::info!(node, "a \"quoted\" line"; "term" => 2_u64, "path" => "a\nb", "up" => true);
        slog::debug!(node, "not this one");
        slog::warn!(node, "another");
        writer.finish();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["msg"], "a \"quoted\" line");
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["node"], 1);
        assert_eq!(lines[0]["term"], 2, "what the line says itself counts");
        assert_eq!(lines[0]["path"], "a\nb");
        assert_eq!(lines[0]["up"], true);
        assert!(lines[0]["ts"].as_f64().unwrap() > 1.6e12);
        assert_eq!(lines[1]["level"], "WARNING");
    }
}
