//! Owns a table of keys that forgets the key used the longest ago when its bytes are full.
//!
//! Refuses to know what is kept for a key. Bound: the bytes that it is made with, counted as
//! [`Table::bytes_of`] says.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// No node.
const NONE: u32 = u32::MAX;
/// A slot of the index and its control byte, at the index's usual load.
const SLOT_BYTES: usize = 8;

#[derive(Debug)]
struct Node<V> {
    key: Box<[u8]>,
    value: V,
    newer: u32,
    older: u32,
}

/// Keys with a value each, in the order of their last use.
#[derive(Debug)]
pub(crate) struct Table<V> {
    index: HashTable<u32>,
    nodes: Vec<Node<V>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    bytes: usize,
    bytes_max: usize,
    hasher: RandomState,
}

impl<V: Copy> Table<V> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            index: HashTable::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            bytes: 0,
            bytes_max,
            hasher: RandomState::new(),
        }
    }

    /// What a key costs, in bytes.
    pub(crate) fn bytes_of(key: &[u8]) -> usize {
        size_of::<Node<V>>() + SLOT_BYTES + key.len().next_multiple_of(16)
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The value of `key`, which becomes the newest.
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<&mut V> {
        let found = self.find(key)?;
        if self.newest != found {
            self.unlink(found);
            self.link_newest(found);
        }
        Some(&mut self.nodes[found as usize].value)
    }

    /// The value of `key`, which stays as old as it is.
    pub(crate) fn peek(&self, key: &[u8]) -> Option<V> {
        self.find(key).map(|place| self.nodes[place as usize].value)
    }

    /// Calls `see` with keys and values from the newest on, as long as it says so.
    pub(crate) fn newest_while(&mut self, mut see: impl FnMut(&[u8], &mut V) -> bool) {
        let mut place = self.newest;
        while let Some(node) = self.nodes.get_mut(place as usize) {
            if !see(&node.key, &mut node.value) {
                return;
            }
            place = node.older;
        }
    }

    /// The key used the longest ago.
    pub(crate) fn oldest(&self) -> Option<V> {
        self.nodes.get(self.oldest as usize).map(|node| node.value)
    }

    /// Whether `key` fits without forgetting another.
    pub(crate) fn has_room(&self, key: &[u8]) -> bool {
        self.bytes + Self::bytes_of(key) <= self.bytes_max
    }

    /// Adds a key that is not there, as the newest.
    pub(crate) fn insert(&mut self, key: &[u8], value: V) {
        let node = Node { key: key.into(), value, newer: NONE, older: NONE };
        let place = match self.free.pop() {
            Some(place) => {
                self.nodes[place as usize] = node;
                place
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        self.link_newest(place);
        self.bytes += Self::bytes_of(key);
        let (hasher, nodes) = (&self.hasher, &self.nodes);
        let hash_of = |&place: &u32| hasher.hash_one(&nodes[place as usize].key[..]);
        self.index.insert_unique(hasher.hash_one(key), place, hash_of);
    }

    /// Forgets the key used the longest ago.
    pub(crate) fn remove_oldest(&mut self) {
        if self.oldest != NONE {
            self.remove_at(self.oldest);
        }
    }

    /// Forgets `key`.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(place) = self.find(key) {
            self.remove_at(place);
        }
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        let is_same = |&place: &u32| *self.nodes[place as usize].key == *key;
        self.index.find(self.hasher.hash_one(key), is_same).copied()
    }

    fn remove_at(&mut self, place: u32) {
        self.unlink(place);
        let key = std::mem::take(&mut self.nodes[place as usize].key);
        self.bytes -= Self::bytes_of(&key);
        let hash = self.hasher.hash_one(&key[..]);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == place) {
            entry.remove();
        }
        self.free.push(place);
    }

    fn link_newest(&mut self, place: u32) {
        let before = self.newest;
        let node = &mut self.nodes[place as usize];
        (node.newer, node.older) = (NONE, before);
        match self.nodes.get_mut(before as usize) {
            Some(node) => node.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: u32) {
        let Node { newer, older, .. } = self.nodes[place as usize];
        match self.nodes.get_mut(newer as usize) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same as a list that is searched: slow and plainly right.
    #[test]
    fn it_is_a_list_in_the_order_of_use() {
        let bytes_max = Table::<u64>::bytes_of(b"0123") * 10;
        let mut table = Table::new(bytes_max);
        let mut list: Vec<(String, u64)> = Vec::new();
        let mut state = 7u64;
        for step in 0..20_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = format!("{:04}", (state >> 33) % 30);
            let known = list.iter().position(|(other, _)| *other == key);
            assert_eq!(table.find(key.as_bytes()).is_some(), known.is_some());
            match (known, (state >> 20) % 8) {
                (Some(place), 0) => {
                    list.remove(place);
                    table.remove(key.as_bytes());
                }
                (Some(place), _) => {
                    let (key, value) = list.remove(place);
                    let got = table.get(key.as_bytes()).unwrap();
                    assert_eq!(*got, value);
                    *got = step;
                    list.push((key, step));
                }
                (None, _) => {
                    if !table.has_room(key.as_bytes()) {
                        assert_eq!(list.len(), 10);
                        assert_eq!(table.oldest(), Some(list.remove(0).1));
                        table.remove_oldest();
                    }
                    table.insert(key.as_bytes(), step);
                    list.push((key, step));
                }
            }
            assert_eq!((table.len(), table.bytes <= bytes_max), (list.len(), true));
            assert_eq!(table.oldest(), list.first().map(|(_, value)| *value));
            let mut seen = Vec::new();
            table.newest_while(|key, value| {
                seen.push((String::from_utf8(key.to_vec()).unwrap(), *value));
                seen.len() < 3
            });
            assert!(seen.iter().eq(list.iter().rev().take(3)));
        }
        assert!(table.nodes.len() <= 10);
    }
}
