//! Three nodes in one process; the network is a `Vec`. The numbers in the comments are those of the seven steps in
//! raft-core's documentation.
//!
//! ```text
//! cargo run -p raft-example-the-loop --bin three
//! ```

use std::error::Error;

use raft_core::{Config, MemoryStorage, Message, NodeId, RawNode, RoleKind};

/// A node, and the state machine that it replicates: a list of commands.
struct Server {
    node: RawNode<MemoryStorage>,
    applied: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    run().map(drop)
}

/// Runs until both commands are applied on all servers, and returns those.
fn run() -> Result<Vec<Server>, Box<dyn Error>> {
    let ids: Vec<NodeId> = (1..=3).filter_map(NodeId::new).collect();
    let mut servers = Vec::new();
    for id in &ids {
        let node = RawNode::new(Config::new(*id, 0), MemoryStorage::with_voters(ids.clone()))?;
        servers.push(Server { node, applied: Vec::new() });
    }
    let mut network: Vec<Message> = Vec::new();
    let mut commands = ["set x = 1", "set y = 2"].into_iter();

    while servers.iter().any(|server| server.applied.len() < 2) {
        // 1. Inputs: time, the messages that are on their way, and a client's commands, which go to the leader.
        for server in &mut servers {
            server.node.tick();
        }
        for message in std::mem::take(&mut network) {
            if let Some(server) = servers.iter_mut().find(|server| server.node.id() == message.to) {
                server.node.step(message)?;
            }
        }
        if let Some(leader) = servers.iter_mut().find(|server| server.node.role() == RoleKind::Leader)
            && let Some(command) = commands.next()
        {
            let proposal = leader.node.propose(command.into())?;
            println!("node {}: propose \"{command}\": {proposal:?}", leader.node.id());
        }
        for server in &mut servers {
            server.work(&mut network)?;
        }
    }
    Ok(servers)
}

impl Server {
    fn work(&mut self, network: &mut Vec<Message>) -> Result<(), Box<dyn Error>> {
        let id = self.node.id();
        // 2. Outputs, as long as there are any.
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            if let Some(now) = ready.soft_state {
                println!("node {id}: {} in term {}", now.role, self.node.term());
            }
            // 3. Send what may leave at once.
            network.append(&mut ready.messages);
            // 4. Make it durable. A real storage syncs its disk here, if `must_sync`.
            self.node.storage_mut().persist(&ready)?;
            // 5. Send what had to wait for that: votes, and acknowledgements of entries.
            network.append(&mut ready.persisted_messages);
            // 6. Apply what is committed. Not every entry is a client's: a leader begins its term with one of its own.
            for entry in &ready.committed_entries {
                if let Some(data) = entry.data() {
                    println!("node {id}: apply {data:?} at index {} of term {}", entry.index, entry.term);
                    self.applied.push(String::from_utf8_lossy(data).into_owned());
                }
            }
            // 7. Done: what step 4 made durable and step 6 applied is acknowledged.
            self.node.advance(ready)?;
        }
        Ok(())
    }
}

#[test]
fn one_leads_and_all_apply() {
    let servers = run().unwrap();
    assert_eq!(servers.iter().filter(|server| server.node.role() == RoleKind::Leader).count(), 1);
    for server in &servers {
        assert_eq!(server.applied, ["set x = 1", "set y = 2"]);
    }
}
