//! The random numbers of a node: splitmix64, whose whole state is one number.

#[cfg(test)]
mod tests;

use raft_proto::NodeId;

/// A deterministic generator. The node's id is mixed into the seed: nodes that were given the same one would draw
/// the same time-outs and split their votes for ever.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    pub(crate) fn new(seed: u64, id: NodeId) -> Rng {
        let mut by_id = Rng { state: id.get() };
        Rng { state: seed ^ by_id.next() }
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; zero if there is none.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        // The upper half of a 32 x 32 bit product; its bias is at most `bound` in 2^32.
        let wide = (self.next() >> 32).wrapping_mul(u64::from(bound)) >> 32;
        u32::try_from(wide).unwrap_or(0)
    }
}
