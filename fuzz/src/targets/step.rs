//! Messages of any kind, at a node in any state that a cluster can bring about.

use super::any::{self, Near};
use super::calls::any_call;
use super::cluster::{Cluster, Member};
use super::dice::Dice;
use super::watched::Watched;

/// A cluster runs for a while; then one of its nodes gets whatever messages a peer could make up, with other calls in between.
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
        let (near, id) = (Near::of(node.node()), node.node().id());
        if dice.one_in(3) {
            any_call(&mut dice, near, id)(&mut node);
        } else {
            let message = any::message(&mut dice, near, id);
            node.call(|node| node.step(message));
        }
    }
}
