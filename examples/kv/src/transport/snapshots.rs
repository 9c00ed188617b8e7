//! Snapshots, on connections of their own, so that a large one doesn't hold up heartbeats.
//!
//! ```text
//! sender                          receiver
//! hello (snapshot)           →
//!                            ←    welcome
//! InstallSnapshot            →
//!                            ←    go on | have it already | no, because …
//! chunk, chunk, …, empty     →    into a file
//!                            ←    complete and verified | no, because …
//! ```
//! The message goes to the receiver's core only after the file is complete, verified and flushed. A few chunks are
//! in memory at a time, on either side, however large the file is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use raft_kv::disk::SnapshotStore;
use raft_kv::disk::snapshot::{SnapshotDescriptor, SnapshotError, SnapshotReceiver};
use raft_proto::{Body, Message, NodeId, wire};
use slog::{Logger, info, warn};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::frame::{put_frame, read_frame};
use super::hello::{Identity, Purpose};
use super::incoming::invalid;
use super::outgoing::dial;
use super::{Peer, Transport};
use crate::node::Inbox;

/// How much of the file one frame holds.
const CHUNK: usize = 256 << 10;
/// How many chunks wait between the network and the disk.
const CHUNKS_WAITING: usize = 4;
/// The largest message with a descriptor, and the largest answer.
const MAX_HEAD: usize = 64 << 10;
/// How long one chunk, or one answer but the last, may take.
const STEP: Duration = Duration::from_secs(10);
/// How long the receiver may take to verify and flush the file.
const VERIFY: Duration = Duration::from_secs(300);
/// The pause after a failure, so that one that lasts isn't met with attempt upon attempt.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

const GO_ON: u8 = 0;
const HAVE_IT: u8 = 1;
const REFUSED: u8 = 2;

/// Streams the snapshot of this message to the peer and reports to the core how that went.
pub(super) async fn send(
    own: Identity,
    peer: Arc<Peer>,
    message: Message,
    store: SnapshotStore,
    inbox: Inbox,
    log: Logger,
) {
    let start = Instant::now();
    let sent = stream(&own, &peer, &message, store).await;
    match &sent {
        Ok(bytes) => {
            peer.counters.snapshots_sent.fetch_add(1, Ordering::Relaxed);
            let millis = start.elapsed().as_millis();
            info!(log, "sent a snapshot"; "bytes" => bytes, "ms" => %millis, "index" => snapshot_index(&message));
        }
        Err(error) => {
            peer.counters.snapshots_failed.fetch_add(1, Ordering::Relaxed);
            warn!(log, "can't send a snapshot"; "reason" => %error, "index" => snapshot_index(&message));
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
    peer.streaming.store(false, Ordering::Release);
    // The inbox is closed only when the node stops.
    let _ = inbox.snapshot_sent(peer.id, sent.is_ok()).await;
}

fn snapshot_index(message: &Message) -> u64 {
    match &message.body {
        Body::InstallSnapshot(install) => install.snapshot.metadata.index.get(),
        _ => 0,
    }
}

fn descriptor(message: &Message) -> io::Result<SnapshotDescriptor> {
    match &message.body {
        Body::InstallSnapshot(install) => SnapshotDescriptor::of(&install.snapshot).map_err(io::Error::other),
        _ => Err(invalid("not a snapshot")),
    }
}

async fn stream(own: &Identity, peer: &Peer, message: &Message, store: SnapshotStore) -> io::Result<u64> {
    let descriptor = descriptor(message)?;
    let (chunks, mut from_disk) = mpsc::channel(CHUNKS_WAITING);
    // Opened first: a file that is open can be sent to its end, even if a later snapshot takes its place.
    let mut file = store.send(&descriptor).map_err(io::Error::other)?;
    let mut stream = dial(own, peer, Purpose::Snapshot).await?;
    let mut buffer = BytesMut::new();
    put_frame(&mut buffer, |buffer| wire::encode_message(message, buffer)).map_err(too_long)?;
    write(&mut stream, &mut buffer).await?;
    if answer(&mut stream, STEP).await? == HAVE_IT {
        answer(&mut stream, STEP).await?;
        return Ok(0);
    }
    tokio::task::spawn_blocking(move || {
        loop {
            let chunk = file.next_chunk(CHUNK).transpose();
            let last = !matches!(chunk, Some(Ok(_)));
            let Some(chunk) = chunk else { return };
            if chunks.blocking_send(chunk).is_err() || last {
                return;
            }
        }
    });
    let mut sent = 0;
    while let Some(chunk) = from_disk.recv().await {
        let chunk: Bytes = chunk.map_err(io::Error::other)?;
        sent += chunk.len() as u64;
        put_frame(&mut buffer, |buffer| buffer.extend_from_slice(&chunk)).map_err(too_long)?;
        write(&mut stream, &mut buffer).await?;
    }
    put_frame(&mut buffer, |_| ()).map_err(too_long)?;
    write(&mut stream, &mut buffer).await?;
    answer(&mut stream, VERIFY).await?;
    Ok(sent)
}

fn too_long(length: usize) -> io::Error {
    invalid(format!("a frame of {length} bytes"))
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer took too long")
}

async fn write(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<()> {
    timeout(STEP, stream.write_all(buffer)).await.map_err(|_| late())??;
    buffer.clear();
    Ok(())
}

/// The other side's answer, unless that is a refusal.
async fn answer(stream: &mut TcpStream, limit: Duration) -> io::Result<u8> {
    let frame = timeout(limit, read_frame(stream, MAX_HEAD)).await.map_err(|_| late())??;
    match frame.ok_or(io::ErrorKind::UnexpectedEof)?.split_first() {
        Some((&code @ (GO_ON | HAVE_IT), _)) => Ok(code),
        Some((&REFUSED, reason)) => {
            Err(io::Error::other(format!("the peer refused it: {}", String::from_utf8_lossy(reason))))
        }
        _ => Err(invalid("an answer that makes no sense")),
    }
}

async fn reply(stream: &mut TcpStream, answer: Result<u8, &str>) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    put_frame(&mut buffer, |buffer| match answer {
        Ok(code) => buffer.extend_from_slice(&[code]),
        Err(reason) => {
            buffer.extend_from_slice(&[REFUSED]);
            buffer.extend_from_slice(reason.as_bytes());
        }
    })
    .map_err(too_long)?;
    write(stream, &mut buffer).await
}

/// Receives one snapshot and hands it to the core. One at a time.
pub(super) async fn receive(
    transport: &Transport,
    mut stream: TcpStream,
    from: NodeId,
    one: &Semaphore,
    log: &Logger,
) -> io::Result<()> {
    let head = timeout(STEP, read_frame(&mut stream, MAX_HEAD)).await.map_err(|_| late())??;
    let message = wire::decode_message(head.ok_or(io::ErrorKind::UnexpectedEof)?).map_err(invalid)?;
    if message.from != from || message.to != transport.own.id {
        return Err(invalid("a snapshot from another node, or for another"));
    }
    let descriptor = descriptor(&message)?;
    let Ok(_permit) = one.try_acquire() else {
        return reply(&mut stream, Err("another snapshot is being received")).await;
    };
    let index = descriptor.index.get();
    if transport.store.has(&descriptor) {
        reply(&mut stream, Ok(HAVE_IT)).await?;
    } else {
        let file = match transport.store.receive(descriptor) {
            Ok(file) => file,
            Err(error) => return reply(&mut stream, Err(&error.to_string())).await,
        };
        info!(log, "receiving a snapshot"; "index" => index, "bytes" => descriptor.size);
        reply(&mut stream, Ok(GO_ON)).await?;
        let stored = store_chunks(&mut stream, file).await?;
        if let Err(error) = stored {
            warn!(log, "refused a snapshot"; "index" => index, "reason" => %error);
            return reply(&mut stream, Err(&error.to_string())).await;
        }
        info!(log, "received a snapshot"; "index" => index, "bytes" => descriptor.size);
    }
    if transport.inbox.message(message).await.is_err() {
        return Ok(());
    }
    reply(&mut stream, Ok(GO_ON)).await
}

/// Moves the chunks into the file. The outer error is the connection's, the inner one the file's.
async fn store_chunks(
    stream: &mut TcpStream,
    mut file: SnapshotReceiver,
) -> io::Result<Result<(), SnapshotError>> {
    let (chunks, mut to_disk) = mpsc::channel::<Bytes>(CHUNKS_WAITING);
    let storing = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = to_disk.blocking_recv() {
            // An empty one says that the stream ended as it should; without it the file is given up.
            if chunk.is_empty() {
                return file.finish().map(|_| ());
            }
            file.push(&chunk)?;
        }
        Err(SnapshotError::Io(io::ErrorKind::UnexpectedEof.into()))
    });
    loop {
        let frame = timeout(STEP, read_frame(stream, CHUNK)).await.map_err(|_| late())??;
        let chunk = frame.ok_or(io::ErrorKind::UnexpectedEof)?;
        let last = chunk.is_empty();
        if chunks.send(chunk).await.is_err() || last {
            break;
        }
    }
    drop(chunks);
    storing.await.map_err(io::Error::other)
}
