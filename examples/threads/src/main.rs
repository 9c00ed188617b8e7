//! Three nodes, each on a thread of its own, with channels for a network: no async runtime, no lock, no file.
//!
//! ```text
//! cargo run -p raft-example-threads
//! ```
//!
//! A client's command is answered when it is committed *and* applied, by the term and index that it was proposed at. The
//! leader is stopped half-way; the other two elect another, and nothing that was answered is lost.

mod client;
mod server;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use raft_core::NodeId;

use client::Client;
use server::{Event, Input, Mailbox, Server};

const COMMANDS: u32 = 100;

/// Servers that run on their threads.
struct Cluster {
    mailboxes: Vec<Mailbox>,
    threads: Vec<(NodeId, JoinHandle<Vec<Bytes>>)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (cluster, events) = Cluster::start(3)?;
    let (applied, stopped) = run(cluster, events)?;
    for (id, applied) in &applied {
        let note = if *id == stopped { ", stopped half-way" } else { "" };
        println!("node {id} applied {} commands{note}", applied.len());
    }
    Ok(())
}

type Applied = Vec<(NodeId, Vec<Bytes>)>;

/// Has the commands replicated; returns what each server applied, and which one was stopped half-way.
fn run(mut cluster: Cluster, events: Receiver<Event>) -> Result<(Applied, NodeId), Box<dyn Error>> {
    let mut client = Client::new(cluster.mailboxes.clone(), events);
    let mut applied = Vec::new();
    let mut leader = None;
    for number in 0..COMMANDS {
        if number == COMMANDS / 2 {
            leader = client.leader;
            applied.extend(leader.and_then(|leader| cluster.stop(leader)));
        }
        let index = client.propose(&format!("command {number}").into())?;
        println!("command {number} is applied at index {index}");
    }
    let stopped = leader.ok_or("half of the commands were answered, and nobody led")?;
    client.wait_until_applied_by_all_but(stopped)?;
    let rest: Vec<NodeId> = cluster.threads.iter().map(|(id, _)| *id).collect();
    applied.extend(rest.into_iter().filter_map(|id| cluster.stop(id)));
    Ok((applied, stopped))
}

impl Cluster {
    fn start(size: u64) -> Result<(Cluster, Receiver<Event>), Box<dyn Error>> {
        let ids: Vec<NodeId> = (1..=size).filter_map(NodeId::new).collect();
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) = ids.iter().map(|id| Mailbox::new(*id)).unzip();
        let (events, told) = mpsc::channel();
        let mut threads = Vec::new();
        for inbox in inboxes {
            let server = Server::new(inbox.id, &ids, mailboxes.clone(), events.clone())?;
            let name = format!("node {}", inbox.id);
            threads.push((
                inbox.id,
                thread::Builder::new().name(name).spawn(move || server.run(&inbox.inputs))?,
            ));
        }
        Ok((Cluster { mailboxes, threads }, told))
    }

    /// Stops a server, and waits until it has; returns what it applied.
    fn stop(&mut self, id: NodeId) -> Option<(NodeId, Vec<Bytes>)> {
        let mailbox = self.mailboxes.iter().find(|mailbox| mailbox.id == id)?;
        // A server that is gone already has nothing against being stopped.
        let _ = mailbox.inputs.send(Input::Stop);
        let at = self.threads.iter().position(|(thread, _)| *thread == id)?;
        let (id, thread) = self.threads.remove(at);
        match thread.join() {
            Ok(applied) => Some((id, applied)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
