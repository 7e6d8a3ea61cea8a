//! Owns the division of labelled rows among clients.
//!
//! Refuses to copy rows: it gives their numbers. Bound: one number per row.

use crate::random::Random;

/// How rows are divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Split {
    /// At random, the same number for each.
    Iid,
    /// Sorted by class and cut, so that each client has so many pieces (McMahan et al., 2017).
    Shards(usize),
    /// Of each class shares that are drawn from a Dirichlet distribution of this concentration
    /// (Hsu et al., 2019).
    Dirichlet(f64),
}

/// The rows of each of `clients`. Every row is somebody's; some clients may have none.
pub fn partition(labels: &[u32], clients: usize, split: Split, seed: u64) -> Vec<Vec<usize>> {
    let mut random = Random::new(seed, 1);
    let mut parts = vec![Vec::new(); clients];
    let mut order: Vec<usize> = (0..labels.len()).collect();
    random.shuffle(&mut order);
    match split {
        _ if clients == 0 => {}
        Split::Iid => {
            for (index, row) in order.into_iter().enumerate() {
                parts[index % clients].push(row);
            }
        }
        Split::Shards(each) => {
            order.sort_by_key(|&row| labels[row]);
            let count = clients * each.max(1);
            let mut shards: Vec<usize> = (0..count).collect();
            random.shuffle(&mut shards);
            for (index, shard) in shards.into_iter().enumerate() {
                let (first, last) =
                    (shard * labels.len() / count, (shard + 1) * labels.len() / count);
                parts[index % clients].extend(&order[first..last]);
            }
        }
        Split::Dirichlet(concentration) => {
            for class in 0..labels.iter().map(|&label| label + 1).max().unwrap_or(0) {
                let rows: Vec<usize> =
                    order.iter().copied().filter(|&row| labels[row] == class).collect();
                let shares: Vec<f64> = (0..clients).map(|_| random.gamma(concentration)).collect();
                let sum = shares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
                let (mut first, mut share) = (0, 0.0);
                for (part, own) in parts.iter_mut().zip(&shares) {
                    share += own / sum;
                    let last = ((share * rows.len() as f64).round() as usize).min(rows.len());
                    part.extend(&rows[first..last.max(first)]);
                    first = last.max(first);
                }
                parts[clients - 1].extend(&rows[first..]);
            }
        }
    }
    parts
}
