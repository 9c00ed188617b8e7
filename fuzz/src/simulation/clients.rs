//! What the clients do, and who runs the cluster.

use bytes::Bytes;
use raft_core::{ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, ReadMode};

use super::{Kind, World};

impl World {
    /// The clients do something.
    pub(super) fn client(&mut self) -> Result<(), String> {
        if self.chaos {
            let after = self.rng.u64(500..30_000);
            self.schedule(after, Kind::Client, self.nodes[0].id);
        }
        let at = self.rng.usize(0..self.nodes.len());
        let id = self.nodes[at].id;
        let what = self.rng.u32(0..103);
        let count = self.rng.usize(1..=5);
        let large = self.rng.u32(0..50) == 0;
        let quorum = !self.lease || self.rng.bool();
        self.next_value += 1;
        let number = self.next_value;
        let committed = self.oracle.committed();
        let other = self.nodes[self.rng.usize(0..self.nodes.len())].id;
        let change = self.any_change();
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        match what {
            0..60 => {
                let size = if large { 3_000 } else { 20 };
                let value = |k: usize| {
                    let mut data = vec![0; size];
                    data[..8].copy_from_slice(&(number * 8 + k as u64).to_be_bytes());
                    Bytes::from(data)
                };
                self.next_value += 1;
                let _ = raw.propose_batch((0..count).map(value));
            }
            60..95 => {
                let mode = if quorum { ReadMode::Quorum } else { ReadMode::Lease };
                let context = Bytes::copy_from_slice(&number.to_be_bytes());
                if raw.read_index(context, mode).is_ok() {
                    self.reads.insert((id, number), committed);
                }
            }
            95..97 => {
                let _ = raw.campaign();
            }
            // What is refused is refused; what is taken on is watched by the oracle.
            97 => {
                let _ = raw.forget_leader();
            }
            98 if self.changes => {
                let _ = raw.transfer_leader(other);
            }
            _ if self.changes => {
                let _ = raw.propose_conf_change(change);
            }
            _ => {}
        }
        self.drain(id)
    }

    /// Any change: of one node or several, joint or not, sensible or not. One without voters is refused when it is applied.
    fn any_change(&mut self) -> ConfChangeV2 {
        if self.rng.u32(0..4) == 0 {
            return ConfChangeV2::default();
        }
        let count = if self.rng.bool() { 1 } else { self.rng.usize(0..5) };
        let transition = match self.rng.u32(0..6) {
            0..4 => ConfChangeTransition::Auto,
            4 => ConfChangeTransition::JointImplicit,
            _ => ConfChangeTransition::JointExplicit,
        };
        let mut changes = Vec::new();
        for _ in 0..count {
            let node = Some(self.nodes[self.rng.usize(0..self.nodes.len())].id);
            let kind = match self.rng.u32(0..10) {
                0..4 => ConfChangeKind::AddVoter,
                4..7 => ConfChangeKind::Remove,
                7..9 => ConfChangeKind::AddLearner,
                _ => ConfChangeKind::Update,
            };
            changes.push(ConfChangeSingle { kind, node });
        }
        ConfChangeV2 { transition, changes, ..ConfChangeV2::default() }
    }
}
