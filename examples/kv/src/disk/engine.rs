//! The storage engine: two tables in one redb file.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::BytesMut;
use raft_proto::{Entry, Index};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::record::{self, State};
use super::{Corruption, DiskError};

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const STATE: TableDefinition<u8, &[u8]> = TableDefinition::new("state");
/// The one row of the state's table.
const ROW: u8 = 0;
/// The engine's own cache of pages. The latest entries are in ours.
const PAGE_CACHE: usize = 32 << 20;

/// A failure of the engine.
#[derive(Debug)]
pub(super) enum EngineError {
    Corrupt(Corruption),
    Redb(Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for EngineError {
    fn from(error: E) -> EngineError {
        match error.into() {
            redb::Error::Corrupted(why) => EngineError::Corrupt(Corruption::Engine(why)),
            redb::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                EngineError::Corrupt(Corruption::Engine("its file is cut short".to_owned()))
            }
            error => EngineError::Redb(Box::new(error)),
        }
    }
}

impl EngineError {
    pub(super) fn at(self, dir: &Path) -> DiskError {
        match self {
            EngineError::Corrupt(what) => DiskError::Corrupt { dir: dir.to_path_buf(), what },
            EngineError::Redb(error) => DiskError::Engine(error),
        }
    }
}

type Result<T> = std::result::Result<T, EngineError>;

#[derive(Debug)]
pub(super) struct Engine {
    database: Database,
}

/// A change of the log, as the tables see it.
#[derive(Debug)]
pub(super) enum Change<'a> {
    /// Removes all entries.
    Clear,
    /// Removes the entries of this range.
    Remove(Range<Index>),
    /// Puts these in.
    Put(&'a [Entry]),
}

impl Engine {
    /// Makes the file, with this state and no entries, closed and durable when this returns.
    pub(super) fn make(path: &Path, state: &State) -> Result<()> {
        let database = Database::builder().set_cache_size(PAGE_CACHE).create(path)?;
        let engine = Engine { database };
        engine.commit(&[], state)?;
        Ok(engine.database.close()?)
    }

    /// Opens the file. The engine verifies all of it: without that, it may trust a damaged page, and panic over
    /// it.
    pub(super) fn open(path: &Path) -> Result<Engine> {
        guarded(|| {
            let database = verifying().open(path).map_err(|error| match error {
                // What isn't recognised as a database of its own, in a place where there was one.
                redb::DatabaseError::Storage(redb::StorageError::Io(error))
                    if error.kind() == std::io::ErrorKind::InvalidData =>
                {
                    EngineError::Corrupt(Corruption::Engine(error.to_string()))
                }
                redb::DatabaseError::UpgradeRequired(version) => {
                    EngineError::Corrupt(Corruption::Engine(format!("file version {version}")))
                }
                error => error.into(),
            })?;
            Ok(Engine { database })
        })
    }

    /// Opens what a test's backend holds, or makes it. Every read goes to the backend.
    #[cfg(test)]
    pub(super) fn over(backend: impl redb::StorageBackend) -> Result<Engine> {
        guarded(|| Ok(Engine { database: verifying().set_cache_size(0).create_with_backend(backend)? }))
    }

    pub(super) fn state(&self) -> Result<State> {
        guarded(|| {
            let table = self.database.begin_read()?.open_table(STATE).map_err(missing_table)?;
            let row = table.get(ROW)?;
            let state = row.and_then(|row| State::decode(row.value()));
            state.ok_or(EngineError::Corrupt(Corruption::State))
        })
    }

    /// Gives all entries from this index on, in order.
    pub(super) fn scan(
        &self,
        from: Index,
        mut take: impl FnMut(Entry) -> std::result::Result<(), Corruption>,
    ) -> Result<()> {
        guarded(|| {
            let table = self.database.begin_read()?.open_table(LOG).map_err(missing_table)?;
            for row in table.range(from.get()..)? {
                let (key, value) = row?;
                let index = Index::new(key.value());
                let damaged = || EngineError::Corrupt(Corruption::Entry(index));
                let entry = record::decode_entry(index, value.value()).ok_or_else(damaged)?;
                take(entry).map_err(EngineError::Corrupt)?;
            }
            Ok(())
        })
    }

    /// The lowest index that has an entry, wanted or not.
    pub(super) fn lowest(&self) -> Result<Option<Index>> {
        guarded(|| {
            let table = self.database.begin_read()?.open_table(LOG).map_err(missing_table)?;
            Ok(table.first()?.map(|(key, _)| Index::new(key.value())))
        })
    }

    /// What is committed now, to be read from.
    pub(super) fn view(&self) -> Result<View> {
        Ok(View { transaction: self.database.begin_read()? })
    }

    /// Makes the changes, and the state, durable: one transaction, one flush.
    pub(super) fn commit(&self, changes: &[Change<'_>], state: &State) -> Result<()> {
        guarded(|| {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
            let mut record = BytesMut::new();
            for change in changes {
                match change {
                    Change::Clear => {
                        transaction.delete_table(LOG)?;
                    }
                    Change::Remove(range) => {
                        let mut table = transaction.open_table(LOG)?;
                        table.retain_in(range.start.get()..range.end.get(), |_, _| false)?;
                    }
                    Change::Put(entries) => {
                        let mut table = transaction.open_table(LOG)?;
                        for entry in *entries {
                            record::encode_entry(entry, &mut record);
                            table.insert(entry.index.get(), &record[..])?;
                        }
                    }
                }
            }
            transaction.open_table(LOG)?;
            transaction.open_table(STATE)?.insert(ROW, &state.encode()[..])?;
            Ok(transaction.commit()?)
        })
    }
}

fn verifying() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(PAGE_CACHE).set_check_integrity_on_open(true);
    builder
}

/// One state of the engine, whatever is written meanwhile.
pub(super) struct View {
    transaction: redb::ReadTransaction,
}

impl View {
    /// Appends the entries of the range to `into`: all, or those up to `max_bytes`, and at least one if `into` has
    /// none yet. Gives the bytes that are left, or none if the limit was met.
    pub(super) fn entries(
        &self,
        range: Range<Index>,
        max_bytes: u64,
        into: &mut Vec<Entry>,
    ) -> Result<Option<u64>> {
        guarded(|| {
            let table = self.transaction.open_table(LOG).map_err(missing_table)?;
            let mut left = max_bytes;
            let mut next = range.start;
            let mut is_first = true;
            for row in table.range(range.start.get()..range.end.get())? {
                let (key, value) = row?;
                if key.value() != next.get() {
                    break;
                }
                let damaged = || EngineError::Corrupt(Corruption::Entry(next));
                let entry = record::decode_entry(next, value.value()).ok_or_else(damaged)?;
                match left.checked_sub(entry.encoded_len()) {
                    Some(rest) => left = rest,
                    None if is_first => left = 0,
                    None => return Ok(None),
                }
                is_first = false;
                next = next.next();
                into.push(entry);
            }
            if next < range.end {
                Err(EngineError::Corrupt(Corruption::MissingEntry(next)))
            } else {
                Ok(Some(left))
            }
        })
    }
}

/// A table that every file of ours has isn't there.
fn missing_table(error: redb::TableError) -> EngineError {
    match error {
        redb::TableError::Storage(error) => error.into(),
        error => EngineError::Corrupt(Corruption::Engine(error.to_string())),
    }
}

/// The engine's authors say that it may panic over a damaged file. That must end in an error here, like any
/// other damage.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().map(String::as_str);
        let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(EngineError::Corrupt(Corruption::Engine(format!("it gave up: {why}"))))
    })
}
