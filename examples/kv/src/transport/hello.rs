//! The first frame each way on every connection: who speaks, to whom, and whether the two fit together.
//!
//! The dialler says [`Hello`], the other side answers [`Welcome`], which carries the reason where it refuses. Both sides
//! check: a node that listens on an address that once was another's, or that belongs to another cluster, is told
//! so instead of being fed messages that aren't for it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft_proto::NodeId;

const MAGIC: &[u8; 8] = b"raft-kv\n";
/// Of the whole protocol between nodes.
const VERSION: u16 = 1;
/// The largest hello or welcome.
pub(crate) const MAX_HELLO: usize = 1024;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Messages of the core.
    Messages,
    /// One snapshot.
    Snapshot,
}

/// A node, as it introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Of the cluster.
    pub(crate) fingerprint: u64,
    /// Its number.
    pub(crate) id: NodeId,
    /// Where it serves clients.
    pub(crate) http_addr: String,
    /// Where other nodes reach it. Missing where an earlier version speaks.
    pub(crate) raft_addr: Option<SocketAddr>,
}

/// What a dialler says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) purpose: Purpose,
    pub(crate) from: Identity,
    pub(crate) to: NodeId,
}

/// What it is answered.
pub(crate) type Welcome = Result<Identity, Refusal>;

/// Why two nodes don't talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It doesn't speak this protocol.
    NotThisProtocol,
    /// It speaks another version.
    Version(u16),
    /// It belongs to another cluster.
    OtherCluster,
    /// It took this node for another, or is another than it was taken for.
    WrongNode { wanted: NodeId, found: NodeId },
    /// It isn't among the nodes of the cluster.
    NotAMember(NodeId),
    /// The other side refused, and said this.
    Told(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotThisProtocol => f.write_str("this is not raft-kv's protocol"),
            Refusal::Version(version) => {
                write!(f, "the protocol's version is {version} on one side and {VERSION} on the other")
            }
            Refusal::OtherCluster => {
                f.write_str("the nodes belong to different clusters (--cluster, --cluster-id)")
            }
            Refusal::WrongNode { wanted, found } => {
                write!(f, "wanted node {wanted}, and this is node {found}")
            }
            Refusal::NotAMember(id) => write!(f, "node {id} is not among the nodes of this cluster"),
            Refusal::Told(reason) => write!(f, "the peer refused: {reason}"),
        }
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, refusal.to_string())
    }
}

fn put_text(buffer: &mut BytesMut, text: &str) {
    // Long texts are cut; addresses and reasons are short.
    let bytes = text.as_bytes();
    let length = bytes.len().min(255);
    buffer.put_u8(length as u8);
    buffer.put_slice(&bytes[..length]);
}

fn get_text(frame: &mut Bytes) -> Result<String, Refusal> {
    let length = frame.try_get_u8().map_err(|_| Refusal::NotThisProtocol)?;
    if frame.len() < usize::from(length) {
        return Err(Refusal::NotThisProtocol);
    }
    Ok(String::from_utf8_lossy(&frame.split_to(usize::from(length))).into_owned())
}

fn put_start(buffer: &mut BytesMut, kind: u8) {
    buffer.put_slice(MAGIC);
    buffer.put_u16(VERSION);
    buffer.put_u8(kind);
}

fn get_start(frame: &mut Bytes) -> Result<u8, Refusal> {
    if frame.len() < MAGIC.len() || frame.split_to(MAGIC.len()) != MAGIC[..] {
        return Err(Refusal::NotThisProtocol);
    }
    let version = frame.try_get_u16().map_err(|_| Refusal::NotThisProtocol)?;
    if version != VERSION {
        return Err(Refusal::Version(version));
    }
    frame.try_get_u8().map_err(|_| Refusal::NotThisProtocol)
}

fn put_identity(buffer: &mut BytesMut, identity: &Identity) {
    buffer.put_u64(identity.fingerprint);
    buffer.put_u64(identity.id.get());
    put_text(buffer, &identity.http_addr);
}

fn get_id(frame: &mut Bytes) -> Result<NodeId, Refusal> {
    frame.try_get_u64().ok().and_then(NodeId::new).ok_or(Refusal::NotThisProtocol)
}

fn get_identity(frame: &mut Bytes) -> Result<Identity, Refusal> {
    let fingerprint = frame.try_get_u64().map_err(|_| Refusal::NotThisProtocol)?;
    Ok(Identity { fingerprint, id: get_id(frame)?, http_addr: get_text(frame)?, raft_addr: None })
}

impl Hello {
    pub(crate) fn encode(&self, buffer: &mut BytesMut) {
        put_start(
            buffer,
            match self.purpose {
                Purpose::Messages => 1,
                Purpose::Snapshot => 2,
            },
        );
        put_identity(buffer, &self.from);
        buffer.put_u64(self.to.get());
        if let Some(addr) = self.from.raft_addr {
            put_text(buffer, &addr.to_string());
        }
    }

    /// # Errors
    /// It isn't a hello of this protocol and version. Bytes behind its end are ignored: a later version may have more.
    pub(crate) fn decode(mut frame: Bytes) -> Result<Hello, Refusal> {
        let purpose = match get_start(&mut frame)? {
            1 => Purpose::Messages,
            2 => Purpose::Snapshot,
            _ => return Err(Refusal::NotThisProtocol),
        };
        let (mut from, to) = (get_identity(&mut frame)?, get_id(&mut frame)?);
        if frame.has_remaining() {
            let addr = get_text(&mut frame)?;
            from.raft_addr = Some(addr.parse().map_err(|_| Refusal::NotThisProtocol)?);
        }
        Ok(Hello { purpose, from, to })
    }

    /// Is it for this node, and from a node that may talk to it? Membership changes: a node of this cluster that isn't known
    /// here may be a member, and even the leader, so it may talk if it says where it can be answered.
    ///
    /// # Errors
    /// The reason against it.
    pub(crate) fn check(&self, own: &Identity, is_peer: impl Fn(NodeId) -> bool) -> Result<(), Refusal> {
        if self.from.fingerprint != own.fingerprint {
            Err(Refusal::OtherCluster)
        } else if self.to != own.id {
            Err(Refusal::WrongNode { wanted: self.to, found: own.id })
        } else if self.from.id == own.id || !(is_peer(self.from.id) || self.from.raft_addr.is_some()) {
            Err(Refusal::NotAMember(self.from.id))
        } else {
            Ok(())
        }
    }
}

pub(crate) fn encode_welcome(welcome: &Welcome, buffer: &mut BytesMut) {
    match welcome {
        Ok(identity) => {
            put_start(buffer, 0);
            put_identity(buffer, identity);
        }
        Err(refusal) => {
            put_start(buffer, 1);
            put_text(buffer, &refusal.to_string());
        }
    }
}

/// Reads a welcome and checks that it comes from the node that was dialled.
///
/// # Errors
/// The other side's reason, or this side's.
pub(crate) fn decode_welcome(mut frame: Bytes, own: &Identity, dialled: NodeId) -> Welcome {
    if get_start(&mut frame)? != 0 {
        return Err(Refusal::Told(get_text(&mut frame)?));
    }
    let identity = get_identity(&mut frame)?;
    if identity.fingerprint != own.fingerprint {
        Err(Refusal::OtherCluster)
    } else if identity.id != dialled {
        Err(Refusal::WrongNode { wanted: dialled, found: identity.id })
    } else {
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn identity(id: u64) -> Identity {
        Identity { fingerprint: 77, id: node(id), http_addr: format!("127.0.0.1:{id}"), raft_addr: None }
    }

    fn encoded(hello: &Hello) -> Bytes {
        let mut buffer = BytesMut::new();
        hello.encode(&mut buffer);
        buffer.freeze()
    }

    #[test]
    fn hello_and_welcome_survive_the_way() {
        let hello = Hello { purpose: Purpose::Snapshot, from: identity(1), to: node(2) };
        assert_eq!(Hello::decode(encoded(&hello)), Ok(hello));
        let from = Identity { raft_addr: Some("127.0.0.1:77".parse().unwrap()), ..identity(1) };
        let hello = Hello { purpose: Purpose::Messages, from, to: node(2) };
        assert_eq!(Hello::decode(encoded(&hello)), Ok(hello));
        let mut buffer = BytesMut::new();
        encode_welcome(&Ok(identity(2)), &mut buffer);
        assert_eq!(decode_welcome(buffer.freeze(), &identity(1), node(2)), Ok(identity(2)));
    }

    #[test]
    fn every_prefix_is_refused() {
        let whole = encoded(&Hello { purpose: Purpose::Messages, from: identity(1), to: node(2) });
        for length in 0..whole.len() {
            assert_eq!(Hello::decode(whole.slice(..length)), Err(Refusal::NotThisProtocol), "{length}");
        }
    }

    #[test]
    fn a_hello_is_checked() {
        let is_peer = |id| id == node(1) || id == node(3);
        let hello = |from, to| Hello { purpose: Purpose::Messages, from: identity(from), to: node(to) };
        assert_eq!(hello(1, 2).check(&identity(2), is_peer), Ok(()));
        assert_eq!(hello(4, 2).check(&identity(2), is_peer), Err(Refusal::NotAMember(node(4))));
        let mut new = hello(4, 2);
        new.from.raft_addr = Some("127.0.0.1:77".parse().unwrap());
        assert_eq!(new.check(&identity(2), is_peer), Ok(()));
        let wrong = Refusal::WrongNode { wanted: node(3), found: node(2) };
        assert_eq!(hello(1, 3).check(&identity(2), is_peer), Err(wrong));
        let other = Identity { fingerprint: 78, ..identity(2) };
        assert_eq!(hello(1, 2).check(&other, is_peer), Err(Refusal::OtherCluster));
    }

    #[test]
    fn a_welcome_is_checked() {
        let decode = |welcome: &Welcome, own: &Identity, dialled| {
            let mut buffer = BytesMut::new();
            encode_welcome(welcome, &mut buffer);
            decode_welcome(buffer.freeze(), own, node(dialled))
        };
        let wrong = Refusal::WrongNode { wanted: node(3), found: node(2) };
        assert_eq!(decode(&Ok(identity(2)), &identity(1), 3), Err(wrong));
        let other = Identity { fingerprint: 78, ..identity(1) };
        assert_eq!(decode(&Ok(identity(2)), &other, 2), Err(Refusal::OtherCluster));
        let told = Refusal::Told(Refusal::OtherCluster.to_string());
        assert_eq!(decode(&Err(Refusal::OtherCluster), &identity(1), 2), Err(told));
        let mut version = BytesMut::from(&MAGIC[..]);
        version.put_u16(9);
        assert_eq!(decode_welcome(version.freeze(), &identity(1), node(2)), Err(Refusal::Version(9)));
    }
}
