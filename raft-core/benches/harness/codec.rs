//! W11: an append message, to bytes and back.

use std::hint::black_box;

use bytes::Bytes;

use super::cluster::Payloads;
use super::{Meter, Spec, Workload};

/// How many entries the message has.
pub(crate) const ENTRIES: usize = 64;
const MESSAGES: u64 = 100;

/// An encoding, and a message to be encoded.
pub(crate) trait Codec {
    /// With an append message of entries that hold these.
    fn new(payloads: impl Iterator<Item = Vec<u8>>) -> Self;
    /// The message, in a buffer of its own.
    fn encode(&mut self) -> Bytes;
    /// The message, in a buffer that is there. Returns its length.
    fn encode_again(&mut self) -> usize;
    /// A message with payloads of its own. Returns whether it has all entries.
    fn decode(&self, bytes: &[u8]) -> bool;
    /// A message whose payloads are parts of `bytes`. Returns whether it has all entries.
    fn decode_shared(&self, bytes: &Bytes) -> bool;
    /// Is what was decoded from what was encoded the message?
    fn decodes_itself(&mut self) -> bool;
}

struct Coding<C> {
    codec: C,
    encoded: Bytes,
    what: fn(&mut C, &Bytes) -> bool,
}

impl<C: Codec> Workload for Coding<C> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        let Coding { codec, encoded, what } = self;
        meter.measure(&mut || {
            for _ in 0..MESSAGES {
                assert!(black_box(what(black_box(codec), black_box(encoded))), "nothing is missing");
            }
        });
        MESSAGES
    }

    fn check(&mut self) {
        assert!(self.codec.decodes_itself());
    }
}

fn boxed<C: Codec + 'static>(what: fn(&mut C, &Bytes) -> bool) -> Box<dyn Workload> {
    let mut codec = C::new(Payloads::new(256).batch(ENTRIES));
    let encoded = codec.encode();
    Box::new(Coding { codec, encoded, what })
}

/// The four directions.
pub(crate) fn all<C: Codec + 'static>() -> Vec<Spec> {
    Vec::from([
        Spec::new("W11a", "message encoded, fresh", |_| {
            boxed::<C>(|codec, bytes| codec.encode().len() == bytes.len())
        }),
        Spec::new("W11b", "message encoded, reused", |_| {
            boxed::<C>(|codec, bytes| codec.encode_again() == bytes.len())
        }),
        Spec::new("W11c", "message decoded, copied", |_| boxed::<C>(|codec, bytes| codec.decode(bytes))),
        Spec::new("W11d", "message decoded, shared", |_| {
            boxed::<C>(|codec, bytes| codec.decode_shared(bytes))
        }),
    ])
}
