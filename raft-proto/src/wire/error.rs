use core::fmt;

/// Why bytes aren't protobuf of the kind that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flaw {
    /// They end in the middle of a field, or a length goes beyond their end.
    Truncated,
    /// A number has more than 64 bits.
    VarintTooLong,
    /// A field has the number zero, or one of more than 29 bits.
    FieldNumber,
    /// A field's wire type is one of the two that don't exist.
    UnknownWireType,
    /// A field that we know has another wire type than it should.
    WrongWireType,
    /// A group ends that isn't the innermost one.
    GroupEnd,
    /// Groups nest deeper than a hundred levels.
    TooDeep,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flaw::Truncated => "it ends in the middle of a field",
            Flaw::VarintTooLong => "a number of more than 64 bits",
            Flaw::FieldNumber => "an impossible field number",
            Flaw::UnknownWireType => "an unknown wire type",
            Flaw::WrongWireType => "a field of another wire type than it should have",
            Flaw::GroupEnd => "the end of a group that hasn't begun",
            Flaw::TooDeep => "groups that nest too deep",
        })
    }
}

/// Why bytes were refused: one variant for each way to misbehave.
///
/// The numbers are those that stood on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeError {
    /// It isn't protobuf, or a field has another type than it should.
    Malformed(Flaw),
    /// The type of the message is none that we know.
    UnknownMessageType(i32),
    /// The type of the message is one of the events that etcd keeps inside a node. No node may send them: a
    /// peer that could would tick our clock, acknowledge our writes and start our campaigns.
    LocalMessage(i32),
    /// The message has no sender.
    NoSender,
    /// The message has no receiver.
    NoReceiver,
    /// The message has no term, which is how etcd marks an event of its own node.
    NoTerm,
    /// A proposal or a request for a read index has a term, though they are valid in any.
    UnexpectedTerm,
    /// The message carries others, as only local ones do.
    Responses,
    /// A term is larger than [`Term::LIMIT`](crate::Term::LIMIT): a node that adopted it would soon have no
    /// next one.
    TermPastLimit(u64),
    /// An index is larger than [`Index::LIMIT`](crate::Index::LIMIT).
    IndexPastLimit(u64),
    /// A request to transfer leadership doesn't say to whom.
    NoTransferee,
    /// InstallSnapshot without a snapshot, or with one that covers nothing.
    NoSnapshot,
    /// A read index, or the request for one, has no entry or several where it should have one, which holds
    /// the context. (How many it has.)
    NotOneContext(usize),
    /// The type of an entry is none that we know.
    UnknownEntryType(i32),
    /// The data of a membership change isn't protobuf, or a field has another type than it should.
    MalformedConfChange(Flaw),
    /// A membership change does something to a node that we don't know.
    UnknownConfChangeType(i32),
    /// A membership change passes through the joint configuration in a way that we don't know.
    UnknownTransition(i32),
    /// A configuration lists the node zero, which is none.
    ZeroInConfState,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            DecodeError::Malformed(flaw) => write!(f, "malformed protobuf: {flaw}"),
            DecodeError::UnknownMessageType(kind) => write!(f, "unknown message type {kind}"),
            DecodeError::LocalMessage(kind) => {
                write!(f, "message type {kind} is local to a node and mustn't be sent")
            }
            DecodeError::NoSender => f.write_str("message without a sender"),
            DecodeError::NoReceiver => f.write_str("message without a receiver"),
            DecodeError::NoTerm => f.write_str("message without a term"),
            DecodeError::UnexpectedTerm => f.write_str("proposal or read request with a term"),
            DecodeError::Responses => f.write_str("message with local responses"),
            DecodeError::TermPastLimit(term) => write!(f, "term {term} is past the limit"),
            DecodeError::IndexPastLimit(index) => write!(f, "index {index} is past the limit"),
            DecodeError::NoTransferee => f.write_str("leadership transfer to nobody"),
            DecodeError::NoSnapshot => f.write_str("snapshot message without a snapshot"),
            DecodeError::NotOneContext(count) => {
                write!(f, "read index message with {count} entries instead of one")
            }
            DecodeError::UnknownEntryType(kind) => write!(f, "unknown entry type {kind}"),
            DecodeError::MalformedConfChange(flaw) => write!(f, "malformed membership change: {flaw}"),
            DecodeError::UnknownConfChangeType(kind) => write!(f, "unknown type {kind} of membership change"),
            DecodeError::UnknownTransition(kind) => {
                write!(f, "unknown transition {kind} in a membership change")
            }
            DecodeError::ZeroInConfState => f.write_str("configuration with a node zero"),
        }
    }
}

impl core::error::Error for DecodeError {}

impl From<Flaw> for DecodeError {
    fn from(flaw: Flaw) -> DecodeError {
        DecodeError::Malformed(flaw)
    }
}
