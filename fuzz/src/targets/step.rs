//! Messages of any kind, at a node in any state that a cluster can bring about.

use super::any::{self, Near};
use super::cluster::{Cluster, Member};
use super::dice::Dice;
use super::watched::Watched;

/// A cluster runs for a while; then one of its nodes gets whatever messages a peer could make up, with a tick, a proposal, a
/// `Ready` or an acknowledgement in between.
pub fn step_any(data: &[u8]) {
    let mut dice = Dice::new(data);
    let mut cluster = Cluster::any(&mut dice);
    for _ in 0..dice.below(64) {
        cluster.act(&mut dice);
    }
    let Member { raw, out, .. } = cluster.into_member(dice.below(5) as usize);
    let Some(raw) = raw else { return };
    let mut node = Watched::new(raw, out);
    while !dice.is_spent() {
        act(&mut node, &mut dice);
    }
}

fn act(node: &mut Watched<raft_core::MemoryStorage>, dice: &mut Dice) {
    match dice.below(16) {
        0 => node.tell(|node| node.tick()),
        1 => {
            let data = dice.bytes(20);
            let _ = node.call(|node| node.propose(data));
        }
        2 | 3 => drop(node.take()),
        4 | 5 => {
            let Some(ready) = node.out.pop_front() else { return };
            // What was written before doesn't fit any longer if this write was cut by a snapshot.
            let _ = node.storage_mut().persist(&ready);
            let _ = node.call(|node| node.advance(ready));
        }
        _ => {
            let message = any::message(dice, Near::of(node.node()), node.node().id());
            let _ = node.call(|node| node.step(message));
        }
    }
}
