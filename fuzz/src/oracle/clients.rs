//! What the clients did and were told: reads and writes are linearizable (20), and each accepted read is answered once.

use bytes::Bytes;
use raft_core::Index;

use super::{Check, broken};
use crate::machine::{CLIENTS, Command, Machine};

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// That these commands take effect.
    Write {
        /// The number of the first.
        first: u32,
        /// How many there are.
        count: u32,
    },
    /// That the read of this number is answered.
    Read(u64),
}

/// A request that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    request: Request,
    /// At which node.
    at: usize,
    called: u64,
    /// What was told to any client before.
    least: Index,
    /// Where the newest write took effect of which any client knew before.
    written: Index,
}

/// A read that a node has accepted.
#[derive(Clone, Copy, Debug)]
struct Read {
    at: usize,
    number: u64,
    client: usize,
    /// What was committed before.
    least: Index,
    /// It may be served from this index on.
    confirmed: Option<Index>,
}

/// What a client did, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The client.
    pub client: usize,
    /// What it wrote, if it did.
    pub written: Option<u64>,
    /// What it read, if it did.
    pub read: Option<u64>,
    /// When it asked.
    pub called: u64,
    /// When it was told; nothing if it never was.
    pub returned: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Clients {
    waiting: [Option<Waiting>; CLIENTS],
    sequences: [u32; CLIENTS],
    reads: Vec<Read>,
    next_read: u64,
    /// What was told to any client so far.
    told: Index,
    /// Where the newest write took effect of which any client knows.
    written: Index,
    operations: Vec<Operation>,
    clock: u64,
}

impl Clients {
    /// What a client waits for, and at which node.
    pub fn request(&self, client: usize) -> Option<(Request, usize)> {
        self.waiting[client].map(|waiting| (waiting.request, waiting.at))
    }

    /// The number of the next command of a client.
    pub fn next_command(&self, client: usize) -> u32 {
        self.sequences[client] + 1
    }

    /// What was done.
    pub fn into_operations(self) -> Vec<Operation> {
        self.operations
    }

    /// Reads that were accepted and not answered.
    pub fn pending_reads(&self) -> usize {
        self.reads.iter().filter(|read| read.confirmed.is_none()).count()
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A client sends commands to a node, again if it sent them before.
    pub fn write(&mut self, client: usize, at: usize, first: u32, count: u32) {
        let called = self.tick();
        let request = Request::Write { first, count };
        match &mut self.waiting[client] {
            Some(waiting) if waiting.request == request => waiting.at = at,
            slot => *slot = Some(Waiting { request, at, called, least: self.told, written: self.written }),
        }
        self.sequences[client] = self.sequences[client].max(first + count - 1);
    }

    /// A node has accepted a read. Returns the number that goes with it.
    pub fn next_read(&mut self) -> (u64, Bytes) {
        self.next_read += 1;
        (self.next_read, Bytes::copy_from_slice(&self.next_read.to_be_bytes()))
    }

    /// A node has accepted the read of that number, when this much was committed.
    pub fn read(&mut self, client: usize, at: usize, number: u64, least: Index) {
        let called = self.tick();
        let request = Request::Read(number);
        self.waiting[client] = Some(Waiting { request, at, called, least: self.told, written: self.written });
        self.reads.push(Read { at, number, client, least, confirmed: None });
    }

    /// A client no longer waits. What it wrote may take effect or not.
    pub fn give_up(&mut self, client: usize) {
        let Some(Waiting { request, called, .. }) = self.waiting[client].take() else { return };
        if let Request::Write { first, count } = request {
            self.log_writes(client, first, count, called, None);
        }
    }

    /// Nobody waits any more.
    pub fn give_up_all(&mut self) {
        (0..CLIENTS).for_each(|client| self.give_up(client));
    }

    fn log_writes(&mut self, client: usize, first: u32, count: u32, called: u64, returned: Option<u64>) {
        for sequence in first..first + count {
            let command = Command { client: client as u8, sequence };
            let written = Some(command.value());
            self.operations.push(Operation { client, written, read: None, called, returned });
        }
    }

    /// A node has applied a command, which took effect at this index: its client may be told (20).
    ///
    /// # Errors
    /// It took effect before something that was told before it was sent.
    pub fn on_applied(&mut self, at: usize, command: Command, index: Index) -> Check {
        let client = usize::from(command.client);
        let Some(waiting) = self.waiting[client].filter(|waiting| waiting.at == at) else { return Ok(()) };
        let Request::Write { first, count } = waiting.request else { return Ok(()) };
        if command.sequence != first + count - 1 {
            return Ok(());
        }
        if index <= waiting.least {
            return broken(
                "20",
                format!("a write takes effect at {index}, and {} was told before", waiting.least),
            );
        }
        self.waiting[client] = None;
        self.told = self.told.max(index);
        self.written = self.written.max(index);
        let now = self.tick();
        self.log_writes(client, first, count, waiting.called, Some(now));
        Ok(())
    }

    /// A read may be served from this index on (20).
    ///
    /// # Errors
    /// It was answered before, or the index is too low.
    pub fn on_confirmed(&mut self, at: usize, context: &[u8], index: Index) -> Check {
        let read = self.find(at, context)?;
        if index < read.least {
            let (number, least) = (read.number, read.least);
            return broken(
                "20",
                format!("read {number} may be served at {index}, committed before it was {least}"),
            );
        }
        read.confirmed = Some(index);
        Ok(())
    }

    /// A read was dropped.
    ///
    /// # Errors
    /// It was answered before.
    pub fn on_dropped(&mut self, at: usize, context: &[u8]) -> Check {
        let number = self.find(at, context)?.number;
        self.reads.retain(|read| read.number != number);
        for slot in &mut self.waiting {
            slot.take_if(|waiting| waiting.request == Request::Read(number));
        }
        Ok(())
    }

    fn find(&mut self, at: usize, context: &[u8]) -> Check<&mut Read> {
        let number = context.try_into().map_or(0, u64::from_be_bytes);
        let waits = |read: &&mut Read| read.number == number && read.at == at && read.confirmed.is_none();
        match self.reads.iter_mut().find(waits) {
            Some(read) => Ok(read),
            None => broken("20", format!("read {number} is answered without being asked, or twice")),
        }
    }

    /// The state machine of a node is said to be at `index`: the reads that waited for that are served from it. Returns whether
    /// any still waits.
    ///
    /// # Errors
    /// What a client is told is older than what any was told before it asked (20).
    pub fn serve(&mut self, at: usize, index: Index, machine: &Machine) -> Check<bool> {
        let mut waits = false;
        let mut k = 0;
        while let Some(read) = self.reads.get(k).copied() {
            match read.confirmed {
                Some(confirmed) if read.at == at && confirmed <= index => {
                    self.reads.swap_remove(k);
                    self.finish_read(read, index, machine)?;
                }
                Some(_) if read.at == at => {
                    (waits, k) = (true, k + 1);
                }
                _ => k += 1,
            }
        }
        Ok(waits)
    }

    fn finish_read(&mut self, read: Read, index: Index, machine: &Machine) -> Check {
        let waits = |waiting: &mut Waiting| waiting.request == Request::Read(read.number);
        let Some(waiting) = self.waiting[read.client].take_if(waits) else { return Ok(()) };
        let written = machine.written_at();
        if written < waiting.written {
            let (number, known) = (read.number, waiting.written);
            return broken(
                "20",
                format!(
                    "read {number} gives what was written at {written}, and what was at {known} was known before"
                ),
            );
        }
        self.told = self.told.max(index);
        self.written = self.written.max(written);
        let returned = Some(self.tick());
        let (client, called) = (read.client, waiting.called);
        let value = Some(machine.register);
        self.operations.push(Operation { client, written: None, read: value, called, returned });
        Ok(())
    }

    /// A node went down with all that was asked of it.
    pub fn on_crash(&mut self, at: usize) {
        self.reads.retain(|read| read.at != at);
    }
}
