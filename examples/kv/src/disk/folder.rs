//! The folder itself: whose it is, who runs on it, and writing small files so that they are whole or absent.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use raft_proto::NodeId;
use xxhash_rust::xxh3::xxh3_64;

use super::{Corruption, DiskError, Identity};

/// The format of folders that this program writes.
const FORMAT: u32 = 1;

pub(super) const IDENTITY: &str = "IDENTITY";
pub(super) const LOCK: &str = "LOCK";
pub(super) const LOG: &str = "log.redb";
pub(super) const ACKNOWLEDGED: &str = "ACKNOWLEDGED";
pub(super) const SNAPSHOT_PREFIX: &str = "snapshot-";
pub(super) const TEMPORARY: &str = ".tmp";

/// An open folder. It is locked for as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    _lock: File,
}

/// Is there a node in the folder already?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    New,
    Existing,
}

impl Folder {
    /// Locks the folder, which is made if it isn't there, and compares its identity.
    pub(super) fn open(dir: &Path, identity: &Identity) -> Result<(Folder, Age), DiskError> {
        let at = |doing| move |source| DiskError::Io { doing, path: dir.to_path_buf(), source };
        if !dir.is_dir() {
            fs::create_dir_all(dir).map_err(at("making the data folder"))?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_dir(parent).map_err(at("flushing the folder above"))?;
            }
        }
        refuse_strangers(dir)?;
        let folder = Folder { dir: dir.to_path_buf(), _lock: lock(dir)? };
        let age = folder.identify(identity)?;
        Ok((folder, age))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn corrupt(&self, what: Corruption) -> DiskError {
        DiskError::Corrupt { dir: self.dir.clone(), what }
    }

    pub(super) fn failed(&self, doing: &'static str, name: &str, source: io::Error) -> DiskError {
        DiskError::Io { doing, path: self.path(name), source }
    }

    /// Makes the names in the folder durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_dir(&self.dir)
    }

    /// The names of the files in the folder.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        names(&self.dir)
    }

    fn identify(&self, expected: &Identity) -> Result<Age, DiskError> {
        let text = match fs::read(self.path(IDENTITY)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Age::New),
            Err(error) => return Err(self.failed("reading", IDENTITY, error)),
        };
        let found = parse(&text).ok_or_else(|| self.corrupt(Corruption::Identity))?;
        let (node, cluster) = match found {
            Parsed::Known { node, cluster } => (node, cluster),
            Parsed::OtherFormat(found) => {
                return Err(DiskError::UnknownFormat { dir: self.dir.clone(), found, supported: FORMAT });
            }
        };
        if cluster != escaped(&expected.cluster) {
            let expected = escaped(&expected.cluster);
            return Err(DiskError::WrongCluster { dir: self.dir.clone(), found: cluster, expected });
        }
        if node != expected.node {
            return Err(DiskError::WrongNode { dir: self.dir.clone(), found: node, expected: expected.node });
        }
        Ok(Age::Existing)
    }

    /// Says whose folder it is: the last step in making one.
    pub(super) fn claim(&self, identity: &Identity) -> Result<(), DiskError> {
        self.write_whole(IDENTITY, &render(identity))
    }

    /// Writes a small file so that it is there as a whole or not at all, and durably.
    pub(super) fn write_whole(&self, name: &str, content: &[u8]) -> Result<(), DiskError> {
        let write = || -> io::Result<()> {
            let temporary = self.path(&format!("{name}{TEMPORARY}"));
            let mut file = File::create(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, self.path(name))?;
            self.sync()
        };
        write().map_err(|source| self.failed("writing", name, source))
    }
}

fn lock(dir: &Path) -> Result<File, DiskError> {
    let path = dir.join(LOCK);
    let failed = |source| DiskError::Io { doing: "locking", path: path.clone(), source };
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = options.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message.
            let _ = (&file).take(20).read_to_string(&mut holder);
            return Err(DiskError::Locked { dir: dir.to_path_buf(), holder: holder.trim().parse().ok() });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}

/// A folder without an identity is new, or one that wasn't finished, unless something else is in it.
fn refuse_strangers(dir: &Path) -> Result<(), DiskError> {
    let names =
        names(dir).map_err(|source| DiskError::Io { doing: "listing", path: dir.to_path_buf(), source })?;
    if names.iter().any(|name| name == IDENTITY) {
        return Ok(());
    }
    let ours = |name: &String| {
        [LOCK, LOG, ACKNOWLEDGED].contains(&name.as_str())
            || name.starts_with(SNAPSHOT_PREFIX)
            || name.ends_with(TEMPORARY)
    };
    match names.into_iter().find(|name| !ours(name)) {
        Some(stranger) => Err(DiskError::NotADataFolder { dir: dir.to_path_buf(), stranger }),
        None => Ok(()),
    }
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Elsewhere a folder can't be opened as a file; names are durable when the call returns, or there is no way.
#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

const TITLE: &str = "raft-kv data folder";

enum Parsed {
    Known { node: NodeId, cluster: String },
    OtherFormat(u32),
}

fn render(identity: &Identity) -> Vec<u8> {
    let body =
        format!("{TITLE}\nformat {FORMAT}\nnode {}\ncluster {}\n", identity.node, escaped(&identity.cluster));
    format!("{body}checksum {:016x}\n", xxh3_64(body.as_bytes())).into_bytes()
}

/// The format is looked at before the checksum: a later one may have another.
fn parse(text: &[u8]) -> Option<Parsed> {
    let text = str::from_utf8(text).ok()?;
    let rest = text.strip_prefix(TITLE)?.strip_prefix("\nformat ")?;
    let (format, rest) = rest.split_once('\n')?;
    let format: u32 = format.parse().ok()?;
    if format != FORMAT {
        return Some(Parsed::OtherFormat(format));
    }
    let (fields, checksum) = rest.rsplit_once("checksum ")?;
    let body = text.get(..text.len().checked_sub(checksum.len() + "checksum ".len())?)?;
    if checksum != format!("{:016x}\n", xxh3_64(body.as_bytes())) {
        return None;
    }
    let (node, cluster) = fields.strip_prefix("node ")?.split_once("\ncluster ")?;
    let node = NodeId::new(node.parse().ok()?)?;
    Some(Parsed::Known { node, cluster: cluster.strip_suffix('\n')?.to_owned() })
}

/// The name in one line of ASCII.
fn escaped(cluster: &str) -> String {
    cluster.escape_default().to_string()
}
