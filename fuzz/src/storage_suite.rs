//! A conformance suite for anyone's [`Storage`]: does it answer as the trait's documentation says, and is there after a crash what
//! has to be?
//!
//! Implement [`Subject`] for what the suite is to handle (the storage, with what its caller does to it), and call [`check`]. It goes
//! through stories and through random walks; after each step everything that can be asked is asked and compared with a
//! plain list. A [`Failure`] names the [`Rule`], what was expected, what was found, and the steps.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use raft_core::{ConfState, Index, MemoryStorage, Ready, Snapshot};
//! use raft_fuzz::storage_suite::{Subject, check};
//!
//! /// What is in memory, and what would survive.
//! struct InMemory {
//!     now: MemoryStorage,
//!     durable: MemoryStorage,
//! }
//!
//! impl Subject for InMemory {
//!     type Storage = MemoryStorage;
//!     type Error = raft_core::StorageError;
//!
//!     fn storage(&self) -> &MemoryStorage {
//!         &self.now
//!     }
//!     fn write(&mut self, ready: &Ready) -> Result<(), Self::Error> {
//!         self.now.persist(ready)
//!     }
//!     fn sync(&mut self) -> Result<(), Self::Error> {
//!         self.durable = self.now.clone();
//!         Ok(())
//!     }
//!     fn crash(&mut self) -> Result<(), Self::Error> {
//!         self.now = self.durable.clone();
//!         Ok(())
//!     }
//!     fn save_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Self::Error> {
//!         self.now.set_snapshot(snapshot.clone());
//!         self.now.set_conf_state(snapshot.metadata.conf_state.clone());
//!         Ok(())
//!     }
//!     fn compact(&mut self, index: Index) -> Result<(), Self::Error> {
//!         self.now.compact(index)
//!     }
//! }
//!
//! let create = |conf_state: &ConfState| {
//!     let storage = MemoryStorage::with_conf_state(conf_state.clone());
//!     Ok(InMemory { now: storage.clone(), durable: storage })
//! };
//! check(create).unwrap_or_else(|failure| panic!("{failure}"));
//! ```

mod failure;
mod look;
mod story;
mod twin;

use std::fmt;

use bytes::Bytes;
use raft_core::{
    ConfState, HardState, Index, MemoryStorage, NodeId, Ready, Snapshot, SnapshotMetadata, Storage,
};

use crate::disk::Expected;

use failure::Broken;
pub use failure::{Failure, Rule};
use story::{Step, Write, random_story, stories};
use twin::{State, Twin};

/// A storage under test, with what its caller does to it.
pub trait Subject {
    /// What the core reads.
    type Storage: Storage;
    /// Why something can't be done.
    type Error: fmt::Display;

    /// What the core reads.
    fn storage(&self) -> &Self::Storage;

    /// Writes what a `Ready` asks for: `snapshot`, then `entries`, then `hard_state` and
    /// `data_loss`. It can be read at once. It is durable after
    /// [`sync`](Subject::sync) at the latest.
    ///
    /// # Errors
    /// It can't. The suite writes only what a node asks for, so this is a failure.
    fn write(&mut self, ready: &Ready) -> Result<(), Self::Error>;

    /// Makes durable whatever was written, saved and compacted.
    ///
    /// # Errors
    /// It can't, which is a failure.
    fn sync(&mut self) -> Result<(), Self::Error>;

    /// The process is killed, or power is lost; then the storage is opened again. Lose what wasn't synced, or some of it, as it
    /// could be lost.
    ///
    /// # Errors
    /// It can't be opened, which is a failure.
    fn crash(&mut self) -> Result<(), Self::Error>;

    /// As [`crash`](Subject::crash), but in the midst of writing and syncing this: some of the write is on the disk. When the
    /// storage is opened again it has all of the write or nothing. What is left to chance here must be the same each time:
    /// the number of the `Ready` can serve for a seed.
    ///
    /// Override it if a write can be left half done. By default it is done, and isn't synced.
    ///
    /// # Errors
    /// It can't be opened, which is a failure.
    fn crash_while_writing(&mut self, ready: &Ready) -> Result<(), Self::Error> {
        self.write(ready)?;
        self.crash()
    }

    /// A snapshot, made here or received from a leader, whose data is the state as a whole. Returns the one that
    /// [`write`](Subject::write) or [`save_snapshot`](Subject::save_snapshot) will get: override it if the data of a
    /// snapshot isn't the state itself, but names a file for instance, that must be there.
    ///
    /// # Errors
    /// It can't be made, which is a failure.
    fn receive_snapshot(&mut self, snapshot: Snapshot) -> Result<Snapshot, Self::Error> {
        Ok(snapshot)
    }

    /// The state as a whole, of a snapshot that [`receive_snapshot`](Subject::receive_snapshot) returned: to be sent, or to start from.
    ///
    /// # Errors
    /// It can't be read, which is a failure.
    fn snapshot_state(&self, snapshot: &Snapshot) -> Result<Bytes, Self::Error> {
        Ok(snapshot.data.clone())
    }

    /// Keeps a snapshot that the application made of its own state, at an index of the log that is committed. The log may be
    /// compacted up to there, and its configuration is the one to start from.
    ///
    /// # Errors
    /// It can't, which is a failure.
    fn save_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Self::Error>;

    /// Entries up to and including this index may be dropped; a snapshot of that index or above was saved. A storage that has a
    /// policy of its own may keep them.
    ///
    /// # Errors
    /// It can't, which is a failure.
    fn compact(&mut self, index: Index) -> Result<(), Self::Error>;

    /// The core was told [`Fetching`](raft_core::StorageError::Fetching) and would ask again later: wait until that is answered.
    fn wait_until_fetched(&mut self) {}
}

/// Random walks, after the stories.
const WALKS: u64 = 25;

/// Checks storages that `create` makes: each a new one, empty, of a node that starts with this configuration.
///
/// # Errors
/// The first rule that is broken.
pub fn check<T: Subject>(
    mut create: impl FnMut(&ConfState) -> Result<T, T::Error>,
) -> Result<(), Box<Failure>> {
    for (name, steps) in stories() {
        run(&mut create, name, &steps)?;
    }
    for seed in 1..=WALKS {
        run(&mut create, &format!("random walk {seed}"), &random_story(seed))?;
    }
    Ok(())
}

fn run<T: Subject>(
    create: &mut impl FnMut(&ConfState) -> Result<T, T::Error>,
    story: &str,
    steps: &[Step],
) -> Result<(), Box<Failure>> {
    let failure = |broken: Broken, taken: usize| {
        let steps = steps[..taken].iter().map(|step| format!("{step:?}")).collect();
        Box::new(Failure { story: story.to_owned(), steps, broken })
    };
    let conf_state = ConfState::of_voters((1..=3).filter_map(NodeId::new));
    let mut subject = create(&conf_state).map_err(|error| failure(Broken::refused("create", error), 0))?;
    let mut twin = Twin::new(conf_state);
    look::compare(&mut subject, twin.now()).map_err(|broken| failure(broken, 0))?;
    for (at, step) in steps.iter().enumerate() {
        take(&mut subject, &mut twin, step).map_err(|broken| failure(broken, at + 1))?;
    }
    Ok(())
}

/// Takes a step, and looks at what came of it.
fn take<T: Subject>(subject: &mut T, twin: &mut Twin, step: &Step) -> Result<(), Broken> {
    match *step {
        Step::Write(ref what) => {
            let ready = ready(subject, twin, what)?;
            subject.write(&ready).map_err(|error| Broken::refused("write", error))?;
            twin.write(&ready);
        }
        Step::SaveSnapshot { behind } => {
            let Some(metadata) = twin.metadata_to_save(behind) else { return Ok(()) };
            let snapshot = receive(subject, metadata)?;
            subject.save_snapshot(&snapshot).map_err(|error| Broken::refused("save_snapshot", error))?;
            twin.save_snapshot(snapshot);
        }
        Step::Compact { keep } => {
            let Some(index) = twin.to_compact(keep) else { return Ok(()) };
            subject.compact(index).map_err(|error| Broken::refused("compact", error))?;
            twin.compact(index);
        }
        Step::Sync => {
            subject.sync().map_err(|error| Broken::refused("sync", error))?;
            twin.sync();
        }
        Step::Crash => {
            subject.crash().map_err(|error| Broken::refused("crash", error))?;
            return survive(subject, twin);
        }
        Step::CrashWhileWriting(ref what) => {
            let ready = ready(subject, twin, what)?;
            subject
                .crash_while_writing(&ready)
                .map_err(|error| Broken::refused("crash_while_writing", error))?;
            twin.write(&ready);
            return survive(subject, twin);
        }
    }
    look::compare(subject, twin.now())?;
    twin.note_first(look::first(subject)?)
}

/// What is to be written.
fn ready<T: Subject>(subject: &mut T, twin: &mut Twin, what: &Write) -> Result<Ready, Broken> {
    let mut ready = twin.ready(what);
    if let Some(metadata) = twin.metadata_to_receive(what) {
        ready.snapshot = Some(receive(subject, metadata)?);
    }
    Ok(ready)
}

/// A snapshot of a state. It is to be given back as it was.
fn receive<T: Subject>(subject: &mut T, metadata: SnapshotMetadata) -> Result<Snapshot, Broken> {
    let state = Bytes::from_static(b"a state");
    let received = subject.receive_snapshot(Snapshot { metadata, data: state.clone() });
    let snapshot = received.map_err(|error| Broken::refused("receive_snapshot", error))?;
    match subject.snapshot_state(&snapshot) {
        Ok(found) if found == state => Ok(snapshot),
        Ok(found) => {
            Err(Broken::new(Rule::State, format!("snapshot_state is {state:?}"), format!("{found:?}")))
        }
        Err(error) => Err(Broken::refused("snapshot_state", error)),
    }
}

/// After a crash the storage is in one of the states since the last sync.
fn survive<T: Subject>(subject: &mut T, twin: &mut Twin) -> Result<(), Broken> {
    let possible = twin.possible();
    let mut newest = None;
    for (at, state) in possible.iter().enumerate().rev() {
        match look::compare(subject, state) {
            Ok(()) => {
                twin.restart_at(at);
                return twin.note_first(look::first(subject)?);
            }
            Err(broken) => newest = newest.or(Some(broken)),
        }
    }
    let only_synced = possible.len() == 1;
    let older = |state: &State| look::compare(subject, state).is_ok();
    let rule = if only_synced || twin.older().iter().any(older) { Rule::Durable } else { Rule::Whole };
    Err(newest.map_or_else(|| Broken::new(rule, "a state", "none"), |broken| broken.after_a_crash(rule)))
}

/// Holds a storage in a simulated cluster what it should, after a crash? What was written and not synced can only be a commit index; of that
/// anything may be left. Returns the hard state that is there.
pub(crate) fn compare_after_crash<T: Subject>(
    subject: &mut T,
    expected: &Expected,
) -> Result<HardState, String> {
    let found = subject.storage().initial_state().map_err(|error| format!("initial_state: {error}"))?;
    let state = State::of(expected, found.hard_state.commit);
    look::compare_once(subject, &state).map_err(|broken| broken.to_string())?;
    Ok(state.hard_state)
}

/// Does the log of a storage end as that of another?
pub(crate) fn compare_end(storage: &impl Storage, own: &MemoryStorage) -> Result<(), String> {
    let (Ok(last), Ok(found)) = (own.last_index(), storage.last_index()) else {
        return Err("last_index is refused".to_owned());
    };
    if found != last {
        return Err(format!("last_index is {found}, not {last}"));
    }
    match (own.term(last), storage.term(last)) {
        (Ok(term), Ok(found)) if term == found => Ok(()),
        (term, found) => Err(format!("the term of {last} is {found:?}, not {term:?}")),
    }
}
