//! Owns the choice who is answered by a canary: an exact share of questions, and the same users.
//!
//! Refuses to know which versions there are. Bound: one count per canary.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::loaded::LoadedModel;

/// A version that answers a share of the questions that name no version.
#[derive(Debug)]
pub struct Canary {
    pub model: Arc<LoadedModel>,
    pub percent: u8,
    turn: AtomicU64,
}

impl Canary {
    pub fn new(model: Arc<LoadedModel>, percent: u8) -> Self {
        Self { model, percent, turn: AtomicU64::new(0) }
    }

    /// Whether it answers the next question: of 100 in a row without a user exactly its percent,
    /// spread evenly; a user always gets the same answer.
    pub fn answers(&self, user: Option<&str>) -> bool {
        let percent = u64::from(self.percent);
        match user {
            Some(user) => hash(user) % 100 < percent,
            None => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % 100;
                (turn + 1) * percent / 100 > turn * percent / 100
            }
        }
    }
}

/// FNV-1a, 64 bits, with its halves folded, so that the low bits depend on every byte.
fn hash(text: &str) -> u64 {
    let mixed = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn users_are_spread_evenly() {
        let of_100 = (0..10_000).map(|user| hash(&format!("user-{user}")) % 100);
        let share = of_100.filter(|hash| *hash < 5).count();
        assert!((400..600).contains(&share), "{share}");
    }
}
