//! Listening, reading.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use raft_proto::{Body, NodeId, wire};
use slog::{debug, info, o, warn};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::frame::{MAX_FRAME, put_frame, read_frame};
use super::hello::{Hello, MAX_HELLO, Purpose, Refusal, encode_welcome};
use super::{Transport, snapshots};

/// How many connections may be open at once. Each peer has one, the latest, and one more for a snapshot.
const CONNECTIONS: usize = 64;
/// How long a connection may take to introduce itself.
const HELLO: Duration = Duration::from_secs(5);

/// Accepts connections for as long as the runtime lives.
pub(super) async fn run(transport: Arc<Transport>, listener: TcpListener) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let snapshots = Arc::new(Semaphore::new(1));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, addr)) => {
                let (transport, snapshots) = (transport.clone(), snapshots.clone());
                tokio::spawn(async move {
                    serve(&transport, stream, addr, &snapshots).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Too many open files, most likely: others may close.
                warn!(transport.log, "can't accept a connection"; "reason" => %error);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(transport: &Arc<Transport>, mut stream: TcpStream, addr: SocketAddr, snapshots: &Semaphore) {
    let (hello, replaced) = match timeout(HELLO, greet(transport, &mut stream)).await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => {
            warn!(transport.log, "refused a connection"; "addr" => %addr, "reason" => %error);
            return;
        }
        Err(_) => {
            warn!(transport.log, "refused a connection"; "addr" => %addr, "reason" => "it said nothing");
            return;
        }
    };
    let log = transport.log.new(o!("peer" => hello.from.id.get()));
    let ended = match hello.purpose {
        Purpose::Messages => {
            debug!(log, "a peer connected"; "addr" => %addr);
            tokio::select! {
                ended = read_messages(transport, stream, hello.from.id) => ended,
                () = replaced => Err(io::Error::other("the peer has connected anew")),
            }
        }
        Purpose::Snapshot => snapshots::receive(transport, stream, hello.from.id, snapshots, &log).await,
    };
    match ended {
        Ok(()) => debug!(log, "a peer's connection ended"),
        Err(error) => info!(log, "a peer's connection broke"; "reason" => %error),
    }
}

/// Reads the hello, takes note of who it is, and answers. The future that is given ends when a later connection takes the
/// place of this one, if it is for messages.
async fn greet(
    transport: &Transport,
    stream: &mut TcpStream,
) -> io::Result<(Hello, impl Future<Output = ()> + use<>)> {
    stream.set_nodelay(true)?;
    let frame = read_frame(stream, MAX_HELLO).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let checked = Hello::decode(frame).and_then(|hello| {
        hello.check(&transport.own, |id| transport.knows(id))?;
        Ok(hello)
    });
    // Before the answer: a connection that the peer makes when it has this one's must count as the later of the two.
    let arrived = checked.as_ref().ok().and_then(|hello| arrive(transport, hello));
    // What speaks another protocol isn't answered in ours.
    if checked != Err(Refusal::NotThisProtocol) {
        let welcome = checked.as_ref().map(|_| transport.own.clone()).map_err(Refusal::clone);
        let mut buffer = BytesMut::new();
        put_frame(&mut buffer, |buffer| encode_welcome(&welcome, buffer))
            .map_err(|_| io::ErrorKind::InvalidData)?;
        stream.write_all(&buffer).await?;
    }
    let replaced = async move {
        match arrived {
            Some(arrived) => arrived.await,
            None => std::future::pending().await,
        }
    };
    Ok((checked?, replaced))
}

/// Takes note of a peer, and of its connection if that is for messages.
fn arrive(transport: &Transport, hello: &Hello) -> Option<impl Future<Output = ()> + use<>> {
    let peer = transport.meet(&hello.from)?;
    peer.learn(&hello.from);
    peer.wake.notify_one();
    // The future holds no peer: one whose address changes gives way to another.
    (hello.purpose == Purpose::Messages).then(|| peer.arrived())
}

async fn read_messages(transport: &Transport, stream: TcpStream, from: NodeId) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    while let Some(frame) = read_frame(&mut stream, MAX_FRAME).await? {
        let message = wire::decode_message(frame).map_err(invalid)?;
        match message.body {
            Body::InstallSnapshot(_) => return Err(invalid("a snapshot among the messages")),
            // On the wire its sender is the node that is to lead.
            Body::TransferLeader(_) => {}
            _ if message.from != from => {
                return Err(invalid(format!("a message of node {}", message.from)));
            }
            _ => {}
        }
        // A full inbox holds the peer up, and nothing else.
        if transport.inbox.message(message).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// What makes no sense ends the connection.
pub(super) fn invalid(reason: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_string())
}
