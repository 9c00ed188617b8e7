//! What the engine's two tables hold, as bytes: an entry, and the state beside the log.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft_core::DataLoss;
use raft_proto::{ConfState, Entry, HardState, Index, LogPosition, NodeId, Snapshot, Term, wire};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const DIGEST: usize = 8;
const STATE_VERSION: u8 = 2;
/// It ended before what was lost.
const STATE_BEFORE_LOSS: u8 = 1;

/// The digest of the bytes, with the index as its seed (so that an entry in another's place is found out), then
/// the entry in its protobuf encoding.
pub(super) fn encode_entry(entry: &Entry, out: &mut BytesMut) {
    out.clear();
    out.put_u64_le(0);
    wire::encode_entry(entry, out);
    let digest = entry_digest(entry.index, out.get(DIGEST..).unwrap_or_default());
    if let Some(place) = out.get_mut(..DIGEST) {
        place.copy_from_slice(&digest.to_le_bytes());
    }
}

/// The entry, or none if the bytes aren't those that were written for this index. The payload is copied once,
/// out of the engine's page.
pub(super) fn decode_entry(index: Index, record: &[u8]) -> Option<Entry> {
    let (digest, encoded) = record.split_first_chunk::<DIGEST>()?;
    if u64::from_le_bytes(*digest) != entry_digest(index, encoded) {
        return None;
    }
    let entry = wire::decode_entry(Bytes::copy_from_slice(encoded)).ok()?;
    (entry.index == index).then_some(entry)
}

fn entry_digest(index: Index, encoded: &[u8]) -> u64 {
    xxh3_64_with_seed(encoded, index.get())
}

/// Everything beside the entries. One record, written anew with each commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The number of the write.
    pub(super) number: u64,
    pub(super) hard_state: HardState,
    /// The position before the first entry.
    pub(super) base: LogPosition,
    /// The last entry, `base` if there is none.
    pub(super) last: Index,
    /// The latest snapshot.
    pub(super) snapshot: Option<Snapshot>,
    /// The configuration that the cluster started with, which is that of the log's beginning.
    pub(super) bootstrap: ConfState,
    /// What the node has lost of what it had acknowledged.
    pub(super) lost: Option<DataLoss>,
}

impl State {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        out.put_u8(STATE_VERSION);
        let vote = self.hard_state.vote.map_or(0, NodeId::get);
        for number in [
            self.number,
            self.hard_state.term.get(),
            vote,
            self.hard_state.commit.get(),
            self.base.term.get(),
            self.base.index.get(),
            self.last.get(),
        ] {
            out.put_u64_le(number);
        }
        put(&mut out, |out| wire::encode_conf_state(&self.bootstrap, out));
        out.put_u8(u8::from(self.snapshot.is_some()));
        if let Some(snapshot) = &self.snapshot {
            put(&mut out, |out| wire::encode_snapshot(snapshot, out));
        }
        out.put_u8(u8::from(self.lost.is_some()));
        if let Some(lost) = self.lost {
            out.put_u64_le(lost.acknowledged.get());
            out.put_u64_le(lost.last.get());
        }
        let digest = xxh3_64(&out);
        out.put_u64_le(digest);
        out.freeze()
    }

    /// The state, or none if the bytes aren't those that were written.
    pub(super) fn decode(record: &[u8]) -> Option<State> {
        let (body, digest) = record.split_last_chunk::<DIGEST>()?;
        if u64::from_le_bytes(*digest) != xxh3_64(body) {
            return None;
        }
        let mut from = Bytes::copy_from_slice(body);
        let version = from.try_get_u8().ok()?;
        if version != STATE_VERSION && version != STATE_BEFORE_LOSS {
            return None;
        }
        let mut number = || from.try_get_u64_le().ok();
        let (write, term, vote, commit) = (number()?, number()?, number()?, number()?);
        let (base_term, base_index, last) = (number()?, number()?, number()?);
        let bootstrap = wire::decode_conf_state(get(&mut from)?).ok()?;
        let snapshot = match from.try_get_u8().ok()? {
            0 => None,
            _ => Some(wire::decode_snapshot(get(&mut from)?).ok()?),
        };
        let lost = if version == STATE_BEFORE_LOSS || from.try_get_u8().ok()? == 0 {
            None
        } else {
            let mut index = || from.try_get_u64_le().ok().map(Index::new);
            Some(DataLoss { acknowledged: index()?, last: index()? })
        };
        from.is_empty().then_some(State {
            number: write,
            hard_state: HardState {
                term: Term::new(term),
                vote: NodeId::new(vote),
                commit: Index::new(commit),
            },
            base: LogPosition { term: Term::new(base_term), index: Index::new(base_index) },
            last: Index::new(last),
            snapshot,
            bootstrap,
            lost,
        })
    }

    /// The configuration to start from.
    pub(super) fn conf_state(&self) -> &ConfState {
        self.snapshot.as_ref().map_or(&self.bootstrap, |snapshot| &snapshot.metadata.conf_state)
    }
}

/// With its length before it.
fn put(out: &mut BytesMut, encode: impl FnOnce(&mut BytesMut)) {
    let mut part = BytesMut::new();
    encode(&mut part);
    out.put_u32_le(u32::try_from(part.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(&part);
}

fn get(from: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(from.try_get_u32_le().ok()?).ok()?;
    (len <= from.len()).then(|| from.split_to(len))
}
