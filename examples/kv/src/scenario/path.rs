//! The path of one write through the logs of all nodes.

use super::logs::{Event, Logs, Mark};
use super::story::{Failure, claim, phrase};

/// How the entry came to one follower.
#[derive(Clone, Debug)]
struct Copied {
    sent: Event,
    received: Event,
    durable: Event,
    acknowledged: Event,
    told: Event,
    heard: Event,
    committed: Event,
    applied: Event,
}

/// Everything that was logged of one write.
#[derive(Clone, Debug)]
pub(super) struct WritePath {
    received: Event,
    appended: Event,
    durable: Event,
    committed: Event,
    applied: Event,
    answered: Event,
    replied: Event,
    copies: Vec<Copied>,
}

impl WritePath {
    /// The path of the entry of this term and index; none as long as a part is missing.
    pub(super) fn find(
        logs: &Logs,
        since: &Mark,
        leader: u64,
        followers: &[u64],
        (term, index): (u64, u64),
    ) -> Option<WritePath> {
        let find = |node: u64, msg: &str, so: &dyn Fn(&Event) -> bool| {
            logs.of(node, since).iter().find(|event| event.msg == msg && so(event)).cloned()
        };
        let entry = |event: &Event| event.has("index", index) && event.has("term", term);
        let holds = |event: &Event| event.covers(index);
        let committed = |event: &Event| event.number("commit") >= Some(index);
        let appended = find(leader, "write appended", &entry)?;
        let number = appended.number("write")?;
        let same = |event: &Event| event.has("write", number);
        let copy = |peer: u64| {
            let with = |so: &dyn Fn(&Event) -> bool, event: &Event| event.has("peer", peer) && so(event);
            let matched = |event: &Event| event.number("match") >= Some(index);
            Some(Copied {
                sent: find(leader, "entries sent", &|event| with(&holds, event))?,
                received: find(peer, "entries received", &holds)?,
                durable: find(peer, "entries are durable here", &holds)?,
                acknowledged: find(leader, "peer acknowledged", &|event| with(&matched, event))?,
                told: find(leader, "commit index told", &|event| with(&committed, event))?,
                heard: find(peer, "commit index heard", &committed)?,
                committed: find(peer, "commit index advanced", &committed)?,
                applied: find(peer, "entry applied", &entry)?,
            })
        };
        Some(WritePath {
            received: find(leader, "write received", &same)?,
            durable: find(leader, "entries are durable here", &holds)?,
            committed: find(leader, "commit index advanced", &committed)?,
            applied: find(leader, "entry applied", &entry)?,
            answered: find(leader, "write answered", &same)?,
            replied: find(leader, "reply sent", &same)?,
            copies: followers.iter().map(|peer| copy(*peer)).collect::<Option<Vec<Copied>>>()?,
            appended,
        })
    }

    /// All of it, in the order of time.
    pub(super) fn events(&self) -> Vec<&Event> {
        let mut events = vec![&self.received, &self.appended, &self.durable, &self.committed, &self.applied];
        events.extend([&self.answered, &self.replied]);
        for copy in &self.copies {
            events.extend([&copy.sent, &copy.received, &copy.durable, &copy.acknowledged]);
            events.extend([&copy.told, &copy.heard, &copy.committed, &copy.applied]);
        }
        events.sort_by(|a, b| a.ts.total_cmp(&b.ts));
        events
    }

    /// Does each step come after what it depends on?
    ///
    /// # Errors
    /// One doesn't.
    pub(super) fn check(&self, quorum: usize) -> Result<(), Failure> {
        in_order(&[&self.received, &self.appended])?;
        for copy in &self.copies {
            in_order(&[&self.appended, &copy.sent, &copy.received, &copy.durable, &copy.acknowledged])?;
            in_order(&[&self.committed, &copy.told, &copy.heard, &copy.committed, &copy.applied])?;
            // In parallel: to all before anybody has answered, this node's own disk included.
            in_order(&[&copy.sent, &self.durable])?;
            for other in &self.copies {
                in_order(&[&copy.sent, &other.acknowledged])?;
            }
        }
        let had = |event: &&Event| event.ts <= self.committed.ts;
        let copies =
            self.copies.iter().map(|copy| &copy.acknowledged).chain([&self.durable]).filter(had).count();
        claim(
            copies >= quorum,
            format!("{quorum} durable copies before the entry is committed"),
            format!("{copies}"),
        )?;
        in_order(&[&self.committed, &self.applied, &self.answered])?;
        in_order(&[&self.applied, &self.replied])
    }

    /// The first acknowledgement of a follower, and how long before or after the commit it came.
    pub(super) fn first_acknowledgement(&self) -> Option<&Event> {
        self.copies.iter().map(|copy| &copy.acknowledged).min_by(|a, b| a.ts.total_cmp(&b.ts))
    }
}

fn in_order(events: &[&Event]) -> Result<(), Failure> {
    for (first, then) in events.iter().zip(events.iter().skip(1)) {
        claim(
            first.ts <= then.ts,
            format!("`node {} {}` before `node {} {}`", first.node, phrase(first), then.node, phrase(then)),
            format!("it {:.3} ms after", first.ts - then.ts),
        )?;
    }
    Ok(())
}
