//! Owns consistent hashing: a ring of points, 160 for each unit of weight (ketama, as nginx's
//! `hash ... consistent` has it), so that a server that goes moves its own keys alone.
//!
//! Refuses to know who may be asked. Bound: [`POINTS_MAX`] points.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::rotation::Servers;

const POINTS_PER_WEIGHT: u64 = 160;

/// Most points of a ring; larger weights are scaled down together.
const POINTS_MAX: u64 = 1 << 17;

/// The ring.
#[derive(Debug)]
pub(crate) struct Ring(Vec<(u64, u32)>);

/// The hash of a key.
pub(crate) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

impl Ring {
    /// A ring of servers by name and weight.
    pub(crate) fn new<'a>(servers: impl Iterator<Item = (&'a str, u32)> + Clone) -> Self {
        let total: u64 = servers.clone().map(|(_, weight)| u64::from(weight)).sum();
        let most = POINTS_MAX.min(total.saturating_mul(POINTS_PER_WEIGHT));
        let mut points = Vec::new();
        for (place, (name, weight)) in (0..).zip(servers) {
            let count = (u64::from(weight) * most / total.max(1)).max(1);
            points.extend((0..count).map(|seed| (xxh3_64_with_seed(name.as_bytes(), seed), place)));
        }
        points.sort_unstable();
        Self(points)
    }

    /// The first of `candidates` from the key's point on.
    pub(crate) fn find(&self, key: u64, candidates: Servers) -> Option<usize> {
        let start = self.0.partition_point(|&(point, _)| point < key);
        let (before, after) = self.0.split_at(start);
        let mut on = after.iter().chain(before).map(|&(_, place)| place as usize);
        on.find(|place| candidates >> place & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_goes_moves_its_own_keys_alone() {
        let ring = Ring::new([("a:1", 1), ("b:1", 1), ("c:1", 2)].into_iter());
        let mut counts = [0; 3];
        for key in 0..4_000_u32 {
            let key = hash(&key.to_le_bytes());
            let before = ring.find(key, 0b111).unwrap();
            counts[before] += 1;
            let after = ring.find(key, 0b101).unwrap();
            assert!(after == before || before == 1);
        }
        for (count, expected) in counts.into_iter().zip([1_000_i32, 1_000, 2_000]) {
            assert!((count - expected).abs() < 350, "{counts:?}");
        }
        assert_eq!(ring.find(0, 0), None);
    }

    #[test]
    fn large_weights_keep_their_ratio() {
        let ring = Ring::new([("a:1", 65_535), ("b:1", 65_535), ("c:1", 13_107)].into_iter());
        assert!(ring.0.len() <= POINTS_MAX as usize);
        let of = |wanted| ring.0.iter().filter(|(_, place)| *place == wanted).count();
        assert!(of(0) > 10_000 && of(0) == of(1));
        assert!(of(0).abs_diff(5 * of(2)) < 10, "{} {}", of(0), of(2));
    }
}
