//! Things that are kept once, and known by a number.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{OnceLock, RwLock};

/// Chunk `k` of an arena holds `FIRST << k` things, so that none is ever moved and 24 chunks are enough.
const FIRST: u32 = 256;
const CHUNKS: usize = 24;

type Chunk<T> = Box<[OnceLock<T>]>;

/// A growing list whose members can be looked at while another thread adds to it.
#[derive(Debug)]
struct Arena<T> {
    chunks: [OnceLock<Chunk<T>>; CHUNKS],
}

/// The chunk that holds `id`, and where in it.
fn place(id: u32) -> (usize, usize) {
    let chunk = (id / FIRST + 1).ilog2();
    (chunk as usize, (id - FIRST * ((1 << chunk) - 1)) as usize)
}

impl<T> Arena<T> {
    fn new() -> Arena<T> {
        Arena { chunks: [const { OnceLock::new() }; CHUNKS] }
    }

    fn get(&self, id: u32) -> Option<&T> {
        let (chunk, at) = place(id);
        self.chunks[chunk].get()?[at].get()
    }

    fn set(&self, id: u32, value: T) {
        let (chunk, at) = place(id);
        let size = (FIRST as usize) << chunk;
        let chunk = self.chunks[chunk].get_or_init(|| (0..size).map(|_| OnceLock::new()).collect());
        assert!(chunk[at].set(value).is_ok(), "a number is given once");
    }
}

/// Gives each thing a number, the same to equal ones. What is equal is told by a key.
#[derive(Debug)]
pub(super) struct Interner<K, T> {
    ids: RwLock<HashMap<K, u32>>,
    things: Arena<T>,
}

impl<K: Hash + Eq, T> Interner<K, T> {
    pub(super) fn new() -> Interner<K, T> {
        Interner { ids: RwLock::new(HashMap::new()), things: Arena::new() }
    }

    /// The number of the thing with this key, which is made if it is new.
    pub(super) fn intern(&self, key: K, make: impl FnOnce() -> T) -> u32 {
        const POISONED: &str = "no thread panics while it holds the lock";
        if let Some(id) = self.ids.read().expect(POISONED).get(&key) {
            return *id;
        }
        let mut ids = self.ids.write().expect(POISONED);
        let next = u32::try_from(ids.len()).expect("there are fewer than 2^32");
        *ids.entry(key).or_insert_with(|| {
            self.things.set(next, make());
            next
        })
    }

    /// The thing of this number.
    pub(super) fn get(&self, id: u32) -> &T {
        self.things.get(id).expect("numbers come from here")
    }

    pub(super) fn len(&self) -> usize {
        self.ids.read().map_or(0, |ids| ids.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_things_have_one_number_and_none_is_lost() {
        let interner = Interner::new();
        let ids: Vec<u32> = (0..10_000_u32).map(|n| interner.intern(n, || n * 2)).collect();
        assert_eq!(ids, (0..10_000).collect::<Vec<_>>());
        assert_eq!(interner.intern(77, || unreachable!("it is there")), 77);
        assert!(ids.iter().all(|id| *interner.get(*id) == id * 2));
        assert_eq!(interner.len(), 10_000);
    }
}
