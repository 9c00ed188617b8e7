//! A cluster of one node. The numbers in the comments are those of the seven steps in raft-core's documentation.
//!
//! ```text
//! cargo run -p raft-example-the-loop --bin one
//! ```

use std::error::Error;

use raft_core::{Config, MemoryStorage, NodeId, RawNode, ReadMode};

fn main() -> Result<(), Box<dyn Error>> {
    run().map(drop)
}

/// Runs until a read is answered, and returns the commands that were applied by then.
fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let id = NodeId::new(1).ok_or("zero is no node")?;
    let mut node = RawNode::new(Config::new(id, 0), MemoryStorage::with_voters([id]))?;
    let mut commands = ["set x = 1", "set y = 2", "set x = 3"].into_iter();
    let mut applied = Vec::new();
    let mut reads = Vec::new();

    loop {
        // 1. Inputs. Nobody is there to send messages, so time and the client are all there is. A real program ticks
        //    by its clock, every 100 ms perhaps; nothing here needs to wait for that.
        node.tick();
        if node.leader() == Some(id) {
            match commands.next() {
                Some(command) => println!("propose \"{command}\": {:?}", node.propose(command.into())?),
                None => node.read_index("all".into(), ReadMode::Quorum)?,
            }
        }
        // 2. Outputs, as long as there are any.
        while node.has_ready() {
            let mut ready = node.ready();
            if let Some(now) = ready.soft_state {
                println!("this node is a {} in term {}", now.role, node.term());
            }
            // 3. Send what may leave at once: here it goes nowhere.
            assert!(ready.messages.is_empty());
            // 4. Make it durable. A real storage syncs its disk here, if `must_sync`.
            node.storage_mut().persist(&ready)?;
            // 5. Send what had to wait for that.
            assert!(ready.persisted_messages.is_empty());
            // 6. Apply what is committed. Not every entry is a client's: a leader begins its term with one of its own.
            //    Then serve the reads whose index is applied.
            for entry in &ready.committed_entries {
                if let Some(data) = entry.data() {
                    println!("apply {data:?} at index {} of term {}", entry.index, entry.term);
                    applied.push(String::from_utf8_lossy(data).into_owned());
                }
            }
            let applied_index =
                ready.committed_entries.last().map_or(node.applied_index(), |last| last.index);
            reads.append(&mut ready.read_states);
            if let Some(read) = reads.iter().find(|read| read.index <= applied_index) {
                println!("read {:?} as of index {}: {applied:?}", read.context, read.index);
                return Ok(applied);
            }
            // 7. Done: what step 4 made durable and step 6 applied is acknowledged.
            node.advance(ready)?;
        }
    }
}

#[test]
fn the_read_sees_every_command_in_order() {
    assert_eq!(run().unwrap(), ["set x = 1", "set y = 2", "set x = 3"]);
}
