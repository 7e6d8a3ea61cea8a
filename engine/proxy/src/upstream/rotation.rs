//! Owns the turn of servers on one network thread: nginx's smooth weighted round robin, and random
//! numbers.
//!
//! Refuses to know why a server is not a candidate. Bound: three numbers per server.

/// A set of servers, one bit each.
pub(crate) type Servers = u128;

/// The places in `servers`, ascending.
pub(crate) fn each(mut servers: Servers) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = servers.trailing_zeros() as usize;
        (servers != 0).then(|| {
            servers &= servers - 1;
            place
        })
    })
}

/// Whose turn it is.
#[derive(Debug)]
pub(crate) struct Rotation {
    turns: Vec<Turn>,
    random: u64,
}

#[derive(Clone, Debug, Default)]
struct Turn {
    current: i64,
    /// What failures took off the weight; it comes back step by step.
    missing: i64,
}

impl Rotation {
    pub(crate) fn new(servers: usize, seed: u64) -> Self {
        Self { turns: vec![Turn::default(); servers], random: seed }
    }

    /// The next of `candidates`, whose weights are given in hundredths.
    pub(crate) fn next(
        &mut self,
        candidates: Servers,
        weight: impl Fn(usize) -> i64,
    ) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for place in each(candidates) {
            let turn = self.turns.get_mut(place)?;
            let full = weight(place);
            let effective = (full - turn.missing).max(0);
            turn.missing = (turn.missing - 100).max(0);
            turn.current += effective;
            total += effective;
            if best.is_none_or(|(_, current)| turn.current > current) {
                best = Some((place, turn.current));
            }
        }
        let (place, _) = best?;
        self.turns[place].current -= total;
        Some(place)
    }

    /// Takes a share of its weight off a server that failed.
    pub(crate) fn failed(&mut self, place: usize, weight: u32, max_fails: u32) {
        let Some(turn) = self.turns.get_mut(place).filter(|_| max_fails > 0) else { return };
        let full = i64::from(weight) * 100;
        turn.missing = (turn.missing + full / i64::from(max_fails)).min(full);
    }

    /// A random number below `end` (splitmix64).
    pub(crate) fn random(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The high half of a product with a random number is below the other factor.
        ((u128::from(mixed) * u128::from(end)) >> 64) as u64
    }

    /// One of `candidates` by chance and weight.
    pub(crate) fn by_chance(
        &mut self,
        candidates: Servers,
        weight: impl Fn(usize) -> i64,
    ) -> Option<usize> {
        let total: i64 = each(candidates).map(&weight).sum();
        let mut left = self.random(u64::try_from(total).unwrap_or(0)) as i64;
        for place in each(candidates) {
            left -= weight(place);
            if left < 0 {
                return Some(place);
            }
        }
        each(candidates).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_as_even_as_weights_allow() {
        let mut rotation = Rotation::new(3, 0);
        let weights = [500, 100, 100];
        let turns: Vec<usize> =
            (0..7).filter_map(|_| rotation.next(0b111, |place| weights[place])).collect();
        // The example of nginx's change of 2012: a a b a c a a.
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(rotation.next(0b100, |place| weights[place]), Some(2));
        assert_eq!(rotation.next(0, |place| weights[place]), None);
    }

    #[test]
    fn a_server_that_failed_comes_back_step_by_step() {
        let mut rotation = Rotation::new(2, 0);
        let count = |rotation: &mut Rotation, turns: usize| {
            (0..turns).filter(|_| rotation.next(0b11, |_| 400) == Some(0)).count()
        };
        assert_eq!(count(&mut rotation, 8), 4);
        rotation.failed(0, 4, 1);
        assert!(count(&mut rotation, 8) < 4);
        assert_eq!(count(&mut rotation, 8), 4);
    }

    #[test]
    fn chance_follows_weights() {
        let mut rotation = Rotation::new(3, 42);
        let mut counts = [0; 3];
        for _ in 0..6_000 {
            let weights = [100, 200, 300];
            counts[rotation.by_chance(0b111, |place| weights[place]).unwrap()] += 1;
        }
        for (count, expected) in counts.into_iter().zip([1_000_i32, 2_000, 3_000]) {
            assert!((count - expected).abs() < 200, "{counts:?}");
        }
        assert!((0..100).all(|_| rotation.random(7) < 7));
    }
}
