//! The map, in two layers: a base that snapshots share, and what was written since it was last shared.
//!
//! Freezing hands out a reference to the base: that costs nothing, whatever the size. While the reference
//! lives, writes go to the overlay and a read looks there first. When it is dropped, the overlay moves back
//! into the base, a few keys with every command applied, so that no command waits for it. The cost of a
//! snapshot is thus a second lookup for reads while it is written, and one more insertion for each key written
//! meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Versioned;

/// How many keys move back into the base with each command.
const SETTLED_AT_ONCE: usize = 32;

type Map = BTreeMap<Bytes, Versioned>;

/// The map. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Store {
    base: Arc<Map>,
    /// None: removed since.
    overlay: BTreeMap<Bytes, Option<Versioned>>,
    len: usize,
}

impl Store {
    /// A store that holds this map.
    pub(super) fn of(map: Map) -> Store {
        Store { len: map.len(), base: Arc::new(map), overlay: BTreeMap::new() }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Versioned> {
        if self.overlay.is_empty() {
            return self.base.get(key);
        }
        match self.overlay.get(key) {
            Some(newer) => newer.as_ref(),
            None => self.base.get(key),
        }
    }

    /// Sets the value of a key.
    pub(super) fn put(&mut self, key: Bytes, value: Versioned) {
        if self.get(&key).is_none() {
            self.len = self.len.saturating_add(1);
        }
        self.write(key, Some(value));
    }

    /// Removes a key; was it there?
    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let existed = self.get(key).is_some();
        if existed {
            self.len = self.len.saturating_sub(1);
            self.write(Bytes::copy_from_slice(key), None);
        }
        existed
    }

    fn write(&mut self, key: Bytes, value: Option<Versioned>) {
        match Arc::get_mut(&mut self.base) {
            // A key that still waits in the overlay would hide what the base says.
            Some(base) if self.overlay.is_empty() || !self.overlay.contains_key(&key) => {
                move_into(base, key, value);
            }
            _ => drop(self.overlay.insert(key, value)),
        }
    }

    /// Moves a part of the overlay into the base, if no snapshot shares it any more.
    pub(super) fn settle(&mut self) {
        if self.overlay.is_empty() {
            return;
        }
        if let Some(base) = Arc::get_mut(&mut self.base) {
            for _ in 0..SETTLED_AT_ONCE {
                let Some((key, value)) = self.overlay.pop_first() else { break };
                move_into(base, key, value);
            }
        }
    }

    /// The map as it is now, to be read elsewhere. Costs nothing, unless an earlier one was dropped a moment
    /// ago and what was written during its life still has to move; or is alive: then the map is copied (its
    /// keys and values are shared all the same).
    pub(super) fn freeze(&mut self) -> Arc<Map> {
        if !self.overlay.is_empty() {
            let base = Arc::make_mut(&mut self.base);
            while let Some((key, value)) = self.overlay.pop_first() {
                move_into(base, key, value);
            }
        }
        Arc::clone(&self.base)
    }
}

fn move_into(base: &mut Map, key: Bytes, value: Option<Versioned>) {
    match value {
        Some(value) => drop(base.insert(key, value)),
        None => drop(base.remove(&key)),
    }
}
