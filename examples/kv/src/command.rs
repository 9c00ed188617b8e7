//! What clients ask of the replicated map, and its bytes in the log.
//!
//! The encoding is this example's own: a version, a tag, then the fields, lengths as little-endian `u32`. It is
//! bounded ([`MAX_KEY`], [`MAX_VALUE`]), and decoding slices the received buffer instead of copying it.

#[cfg(test)]
mod tests;

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 16 << 10;
/// The longest value, in bytes.
pub const MAX_VALUE: usize = 8 << 20;
/// The longest [`ClientId`], in bytes.
pub const MAX_CLIENT_ID: usize = 64;

const VERSION: u8 = 1;
const PUT: u8 = 1;
const DELETE: u8 = 2;
const COMPARE_AND_SET: u8 = 3;
/// Set in the tag if a session follows.
const WITH_SESSION: u8 = 0x80;

/// Who a client says that it is: 1 to [`MAX_CLIENT_ID`] bytes of its own choice, which no other client may use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Bytes);

impl ClientId {
    /// This id.
    ///
    /// # Errors
    /// It is empty or too long.
    pub fn new(id: impl Into<Bytes>) -> Result<ClientId, CommandError> {
        let id = id.into();
        match id.len() {
            1..=MAX_CLIENT_ID => Ok(ClientId(id)),
            len => Err(CommandError::ClientIdLength(len)),
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same id in memory of its own.
    pub(crate) fn detached(&self) -> ClientId {
        ClientId(Bytes::copy_from_slice(&self.0))
    }
}

/// Lets a client repeat a request safely: the machine applies each serial of a client once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The client.
    pub client: ClientId,
    /// Its number for the request: above all that it used before. A client has one request under way at a time.
    pub serial: u64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Set the key to the value.
    Put {
        /// The key: any bytes, at most [`MAX_KEY`].
        key: Bytes,
        /// The value: any bytes, at most [`MAX_VALUE`].
        value: Bytes,
    },
    /// Remove the key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Set the key to `new` if it is `expected` now. None is "absent" in both.
    CompareAndSet {
        /// The key.
        key: Bytes,
        /// What it must be now.
        expected: Option<Bytes>,
        /// What it becomes.
        new: Option<Bytes>,
    },
}

/// A command as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// By whom, if the client wants its retries to be recognised.
    pub session: Option<Session>,
    /// What.
    pub operation: Operation,
}

/// Why bytes are no command, or a command has no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// The bytes end too early.
    Truncated,
    /// There are bytes behind the end.
    TrailingBytes(usize),
    /// Written by a version of this program that this one doesn't know.
    UnknownVersion(u8),
    /// No operation has this tag.
    UnknownTag(u8),
    /// A byte that must be 0 or 1 is something else.
    BadFlag(u8),
    /// The key is longer than [`MAX_KEY`].
    KeyTooLong(usize),
    /// The value is longer than [`MAX_VALUE`].
    ValueTooLong(usize),
    /// The client id is empty or longer than [`MAX_CLIENT_ID`].
    ClientIdLength(usize),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Truncated => f.write_str("the command is cut short"),
            CommandError::TrailingBytes(n) => write!(f, "{n} bytes follow the command"),
            CommandError::UnknownVersion(v) => {
                write!(f, "the command's version is {v}, this program knows {VERSION}")
            }
            CommandError::UnknownTag(tag) => write!(f, "{tag} is no operation"),
            CommandError::BadFlag(flag) => write!(f, "{flag} is neither present nor absent"),
            CommandError::KeyTooLong(len) => write!(f, "a key of {len} bytes; at most {MAX_KEY} are allowed"),
            CommandError::ValueTooLong(len) => {
                write!(f, "a value of {len} bytes; at most {MAX_VALUE} are allowed")
            }
            CommandError::ClientIdLength(len) => {
                write!(f, "a client id of {len} bytes; 1 to {MAX_CLIENT_ID} are allowed")
            }
        }
    }
}

impl std::error::Error for CommandError {}

impl Operation {
    /// The key that it is about.
    pub fn key(&self) -> &Bytes {
        match self {
            Operation::Put { key, .. } | Operation::Delete { key } | Operation::CompareAndSet { key, .. } => {
                key
            }
        }
    }

    fn values(&self) -> [Option<&Bytes>; 2] {
        match self {
            Operation::Put { value, .. } => [Some(value), None],
            Operation::Delete { .. } => [None, None],
            Operation::CompareAndSet { expected, new, .. } => [expected.as_ref(), new.as_ref()],
        }
    }
}

impl Command {
    /// A command without a session.
    pub fn new(operation: Operation) -> Command {
        Command { session: None, operation }
    }

    /// Is it within the limits?
    ///
    /// # Errors
    /// The first limit that it breaks.
    pub fn validate(&self) -> Result<(), CommandError> {
        let key = self.operation.key().len();
        if key > MAX_KEY {
            return Err(CommandError::KeyTooLong(key));
        }
        match self.operation.values().into_iter().flatten().find(|value| value.len() > MAX_VALUE) {
            Some(value) => Err(CommandError::ValueTooLong(value.len())),
            None => Ok(()),
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// It isn't within the limits.
    pub fn encode(&self) -> Result<Bytes, CommandError> {
        self.validate()?;
        let values: usize = self.operation.values().into_iter().flatten().map(Bytes::len).sum();
        let mut out = BytesMut::with_capacity(values + self.operation.key().len() + MAX_CLIENT_ID + 32);
        out.put_u8(VERSION);
        let tag = match self.operation {
            Operation::Put { .. } => PUT,
            Operation::Delete { .. } => DELETE,
            Operation::CompareAndSet { .. } => COMPARE_AND_SET,
        };
        out.put_u8(if self.session.is_some() { tag | WITH_SESSION } else { tag });
        if let Some(session) = &self.session {
            put_bytes(&mut out, session.client.as_bytes());
            out.put_u64_le(session.serial);
        }
        put_bytes(&mut out, self.operation.key());
        match &self.operation {
            Operation::Put { value, .. } => put_bytes(&mut out, value),
            Operation::Delete { .. } => {}
            Operation::CompareAndSet { expected, new, .. } => {
                put_option(&mut out, expected.as_deref());
                put_option(&mut out, new.as_deref());
            }
        }
        Ok(out.freeze())
    }

    /// The command with these bytes. Its parts are slices of them.
    ///
    /// # Errors
    /// The bytes aren't those of a command.
    pub fn decode(mut bytes: Bytes) -> Result<Command, CommandError> {
        let from = &mut bytes;
        let version = get_u8(from)?;
        if version != VERSION {
            return Err(CommandError::UnknownVersion(version));
        }
        let tag = get_u8(from)?;
        let session = if tag & WITH_SESSION == 0 { None } else { Some(get_session(from)?) };
        let key = |from: &mut Bytes| get_bytes(from, MAX_KEY, CommandError::KeyTooLong);
        let operation = match tag & !WITH_SESSION {
            PUT => Operation::Put { key: key(from)?, value: get_value(from)? },
            DELETE => Operation::Delete { key: key(from)? },
            COMPARE_AND_SET => Operation::CompareAndSet {
                key: key(from)?,
                expected: get_option(from)?,
                new: get_option(from)?,
            },
            _ => return Err(CommandError::UnknownTag(tag)),
        };
        if from.is_empty() {
            Ok(Command { session, operation })
        } else {
            Err(CommandError::TrailingBytes(from.len()))
        }
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    // Everything that is put was measured against limits far below 4 GiB.
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn put_option(out: &mut BytesMut, bytes: Option<&[u8]>) {
    out.put_u8(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(out, bytes);
    }
}

fn get_u8(from: &mut Bytes) -> Result<u8, CommandError> {
    from.try_get_u8().map_err(|_| CommandError::Truncated)
}

fn get_bytes(
    from: &mut Bytes,
    limit: usize,
    too_long: fn(usize) -> CommandError,
) -> Result<Bytes, CommandError> {
    let len = from.try_get_u32_le().map_err(|_| CommandError::Truncated)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > limit {
        return Err(too_long(len));
    }
    if len > from.len() {
        return Err(CommandError::Truncated);
    }
    Ok(from.split_to(len))
}

fn get_value(from: &mut Bytes) -> Result<Bytes, CommandError> {
    get_bytes(from, MAX_VALUE, CommandError::ValueTooLong)
}

fn get_option(from: &mut Bytes) -> Result<Option<Bytes>, CommandError> {
    match get_u8(from)? {
        0 => Ok(None),
        1 => get_value(from).map(Some),
        flag => Err(CommandError::BadFlag(flag)),
    }
}

fn get_session(from: &mut Bytes) -> Result<Session, CommandError> {
    let client = get_bytes(from, MAX_CLIENT_ID, CommandError::ClientIdLength)?;
    let client = ClientId::new(client)?;
    let serial = from.try_get_u64_le().map_err(|_| CommandError::Truncated)?;
    Ok(Session { client, serial })
}
