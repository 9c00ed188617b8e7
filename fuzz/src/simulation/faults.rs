//! What breaks, and how it is mended.

use raft_core::{NodeId, SnapshotStatus};

use super::{Kind, World};
use crate::network::Weather;

impl World {
    /// Something breaks, or is mended.
    pub(super) fn fault(&mut self) -> Result<(), String> {
        if !self.chaos {
            return Ok(());
        }
        let after = self.rng.u64(10_000..800_000);
        self.schedule(after, Kind::Fault, self.nodes[0].id);
        let at = self.rng.usize(0..self.nodes.len());
        let id = self.nodes[at].id;
        match self.rng.u32(0..10) {
            0..3 => {
                self.crash(at)?;
                let after = self.rng.u64(1_000..2_000_000);
                self.schedule(after, Kind::Restart, id);
            }
            3 => {
                for at in 0..self.nodes.len() {
                    if self.rng.bool() {
                        self.crash(at)?;
                        let (id, after) = (self.nodes[at].id, self.rng.u64(1_000..1_000_000));
                        self.schedule(after, Kind::Restart, id);
                    }
                }
            }
            4 => self.network.mend(),
            5 => {
                let others: Vec<NodeId> =
                    self.nodes.iter().map(|node| node.id).filter(|other| *other != id).collect();
                let (inward, outward) = match self.rng.u32(0..3) {
                    0 => (true, true),
                    1 => (true, false),
                    _ => (false, true),
                };
                for other in others {
                    if inward {
                        self.network.cut(other, id);
                    }
                    if outward {
                        self.network.cut(id, other);
                    }
                }
                self.note(|| format!("{id} is cut off"));
            }
            6 => {
                let pairs: Vec<(NodeId, NodeId)> =
                    self.nodes.iter().flat_map(|a| self.nodes.iter().map(|b| (a.id, b.id))).collect();
                for (a, b) in pairs {
                    if self.rng.u32(0..4) == 0 {
                        self.network.cut(a, b);
                    }
                }
            }
            7 => self.network.weather = Weather::any(&mut self.rng),
            8 => {
                let count = self.rng.u32(1..5);
                self.nodes[at].disk.fail_reads(count);
            }
            _ => {
                let peers: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
                let peer = peers[self.rng.usize(0..peers.len())];
                let finished = self.rng.bool();
                if let Some(raw) = &mut self.nodes[at].raw {
                    if self.rng.bool() {
                        raw.report_unreachable(peer);
                    } else if !finished {
                        raw.report_snapshot(peer, SnapshotStatus::Failed);
                    }
                }
                return self.drain(id);
            }
        }
        Ok(())
    }

    pub(super) fn crash(&mut self, at: usize) -> Result<(), String> {
        let node = &mut self.nodes[at];
        if node.raw.is_none() {
            return Ok(());
        }
        let id = node.id;
        let survive = self.rng.usize(0..=node.disk.queued());
        // What had reached the disk by then was never acknowledged; its messages die with the node.
        node.crash(survive).map_err(|error| format!("a write doesn't fit the disk: {error}"))?;
        node.disk.fail_reads(0);
        self.due.retain(|(_, _, kind, due)| {
            *due != id || matches!(kind, Kind::Restart | Kind::Client | Kind::Fault)
        });
        self.reads.retain(|(node, _), _| *node != id);
        self.oracle.on_crash(id);
        self.report.crashes += 1;
        self.note(|| format!("{id} crashes, {survive} writes survive"));
        Ok(())
    }

    /// Everything works from here on.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.chaos = false;
        self.network.mend();
        self.network.weather = Weather::fair();
        self.note(|| "everything is healed".to_owned());
        for at in 0..self.nodes.len() {
            self.nodes[at].disk.fail_reads(0);
            let id = self.nodes[at].id;
            self.start(id)?;
        }
        Ok(())
    }
}
