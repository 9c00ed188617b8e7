//! The adversary: a cluster whose world is a seed.
//!
//! Real [`RawNode`](raft_core::RawNode)s run over a simulated [`network`], [`disk`]s, clocks and clients, all decided by one
//! `u64`: the same seed gives the same run, byte for byte. After every event the [`oracle`] checks what must hold
//! (`../shared/invariants.md` has the statements); after the chaos everything is healed, and progress is demanded.
//!
//! # Test your own state machine and storage
//!
//! [`run_with`] puts them under the nodes: [`Parts`](parts::Parts) says how they are made. A state machine implements
//! [`StateMachine`](parts::StateMachine); a storage implements [`Subject`](storage_suite::Subject), with which
//! [`storage_suite::check`] tests it alone too. Either can be `()`, for what the simulator has itself. `examples/kv/tests/simulated` does
//! both for a server that writes files. Here is a state machine that keeps one number:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use bytes::{Buf, BufMut, Bytes};
//! use raft_core::{ConfState, Index, NodeId};
//! use raft_fuzz::machine::Command;
//! use raft_fuzz::parts::{Parts, StateMachine};
//! use raft_fuzz::{Options, run_with};
//!
//! #[derive(Default)]
//! struct Register {
//!     number: u64,
//!     /// The last request of each client, so that one that is sent again isn't done again.
//!     sessions: BTreeMap<u8, u32>,
//! }
//!
//! impl StateMachine for Register {
//!     type Error = bytes::TryGetError;
//!
//!     fn write(command: Command, padding: usize) -> Bytes {
//!         let mut data = vec![command.client];
//!         data.put_u32(command.sequence);
//!         data.put_u64(command.value());
//!         data.put_bytes(0, padding);
//!         data.into()
//!     }
//!     fn apply(&mut self, _: Index, mut command: Bytes) -> Bytes {
//!         let (client, sequence, number) = (command.get_u8(), command.get_u32(), command.get_u64());
//!         let last = self.sessions.entry(client).or_default();
//!         if sequence > *last {
//!             (*last, self.number) = (sequence, number);
//!         }
//!         Bytes::from_static(b"done")
//!     }
//!     fn read(&self) -> Option<u64> {
//!         Some(self.number)
//!     }
//!     fn snapshot(&mut self) -> Bytes {
//!         let mut data = self.number.to_be_bytes().to_vec();
//!         for (client, sequence) in &self.sessions {
//!             data.put_u8(*client);
//!             data.put_u32(*sequence);
//!         }
//!         data.into()
//!     }
//!     fn restore(&mut self, mut state: &[u8]) -> Result<(), Self::Error> {
//!         self.number = state.try_get_u64()?;
//!         self.sessions.clear();
//!         while !state.is_empty() {
//!             self.sessions.insert(state.try_get_u8()?, state.try_get_u32()?);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! #[derive(Clone)]
//! struct Mine;
//!
//! impl Parts for Mine {
//!     type Machine = Register;
//!     type Storage = ();
//!
//!     fn machine(&self, _: NodeId) -> Register {
//!         Register::default()
//!     }
//!     fn storage(&self, _: NodeId, _: &ConfState) -> Result<(), String> {
//!         Ok(())
//!     }
//! }
//!
//! for seed in 1..=3 {
//!     let options = Options { seconds: 20, ..Options::default() };
//!     run_with(seed, &options, &Mine).unwrap_or_else(|failure| panic!("{failure}"));
//! }
//! ```
//!
//! A failure tells its seed, the statement that doesn't hold, and the last events; [`Failure::shrink_with`] finds a short schedule that
//! shows it.

pub mod cluster;
pub mod disk;
pub mod explore;
pub mod machine;
pub mod members;
pub mod mutants;
pub mod network;
pub mod oracle;
pub mod parts;
pub mod reached;
pub mod scenario;
pub mod simulation;
pub mod storage_suite;
pub mod targets;

pub use simulation::{Failure, Fault, Options, Report, run, run_with};
