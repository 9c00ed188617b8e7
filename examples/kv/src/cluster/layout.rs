//! What a cluster's folder says of it: its name, and where its nodes listen.

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Exit;
use crate::options::ClusterOptions;

/// A cluster on this machine.
pub(super) struct Layout {
    pub(super) dir: PathBuf,
    pub(super) cluster_id: String,
    pub(super) nodes: Vec<NodeLayout>,
    /// Held for as long as the cluster runs.
    _lock: File,
}

/// A node, and where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeLayout {
    pub(super) id: u64,
    pub(super) http: SocketAddr,
    pub(super) raft: SocketAddr,
}

/// `cluster.json`.
#[derive(Serialize, Deserialize)]
struct OnDisk {
    cluster_id: String,
    nodes: Vec<NodeLayout>,
}

impl Layout {
    /// Reads the folder, or makes it. Ports that are taken by now are replaced; the data doesn't depend on them.
    ///
    /// # Errors
    /// The folder is in use, is another cluster's, or can't be read or written.
    pub(super) fn open(options: &ClusterOptions) -> Result<Layout, Exit> {
        let dir = options.data_dir.clone();
        let shown = dir.display().to_string();
        let failed = |error: io::Error| Exit::failed(format!("the data folder {shown}: {error}"));
        fs::create_dir_all(&dir).map_err(failed)?;
        let lock = lock(&dir).map_err(failed)?.ok_or_else(|| {
            Exit::usage(format!(
                "a cluster runs on the data folder {shown} already; choose another (--data-dir)"
            ))
        })?;
        let path = dir.join("cluster.json");
        let known = match fs::read(&path) {
            Ok(bytes) => Some(
                serde_json::from_slice::<OnDisk>(&bytes)
                    .map_err(|error| Exit::failed(format!("{} can't be read: {error}", path.display())))?,
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let count = known.as_ref().map_or(3, |known| known.nodes.len() as u64);
        if let (Some(wanted), Some(_)) = (options.nodes, &known)
            && wanted != count
        {
            return Err(Exit::usage(format!(
                "the data folder {shown} is of a cluster of {count} nodes, not {wanted}; choose another (--data-dir)"
            )));
        }
        let count = options.nodes.unwrap_or(count);
        let mut ports = Ports::default();
        let mut nodes = Vec::new();
        for id in 1..=count {
            let before = known.as_ref().and_then(|known| known.nodes.iter().find(|node| node.id == id));
            let preferred = match before {
                Some(node) => (node.http.port(), node.raft.port()),
                None => wished(options.base_port, id),
            };
            let http = ports.take(preferred.0).map_err(failed)?;
            let raft = ports.take(preferred.1).map_err(failed)?;
            nodes.push(NodeLayout { id, http, raft });
        }
        let cluster_id = known.map_or_else(new_name, |known| known.cluster_id);
        let on_disk = OnDisk { cluster_id, nodes };
        let text = serde_json::to_vec_pretty(&on_disk).map_err(Exit::failed)?;
        replace(&path, &text).map_err(failed)?;
        Ok(Layout { dir, cluster_id: on_disk.cluster_id, nodes: on_disk.nodes, _lock: lock })
    }
}

/// None if another process holds it.
fn lock(dir: &Path) -> io::Result<Option<File>> {
    let file = File::create(dir.join("cluster.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Writes a file so that it's never there in part.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("tmp");
    let mut file = File::create(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(draft, path)
}

fn new_name() -> String {
    format!("local-{:016x}", random())
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The ports that a new node should have; zero for any.
fn wished(base: u16, id: u64) -> (u16, u16) {
    let port = |above: u64| u16::try_from(u64::from(base) + above + id - 1).unwrap_or(0);
    if base == 0 { (0, 0) } else { (port(0), port(100)) }
}

/// Ports that are free, held until all are chosen, so that none is chosen twice.
#[derive(Default)]
struct Ports(Vec<TcpListener>);

impl Ports {
    fn take(&mut self, preferred: u16) -> io::Result<SocketAddr> {
        let listener = if preferred == 0 { any_free()? } else { bind(preferred).or_else(|_| any_free())? };
        let addr = listener.local_addr()?;
        self.0.push(listener);
        Ok(addr)
    }
}

fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

/// A port below those from which systems take the near end of outgoing connections: one of those could be taken while
/// its node is down.
fn any_free() -> io::Result<TcpListener> {
    for _ in 0..200 {
        let port = 10_000 + u16::try_from(random() % 20_000).unwrap_or(0);
        if let Ok(listener) = bind(port) {
            return Ok(listener);
        }
    }
    bind(0)
}
