//! A kernel: the sum of the rows, weighted. It has no settings and keeps no state.

use exports::truststram::policy::kernel::{Guest, KernelError, Tile};

wit_bindgen::generate!({ path: "wit", world: "kernel-plugin" });

struct Plugin;

impl Guest for Plugin {
    fn reduce_chunk(
        _tile: Tile,
        weights: Vec<f32>,
        rows: Vec<Vec<f32>>,
    ) -> Result<Vec<f32>, KernelError> {
        let unsupported = |reason: &str| Err(KernelError::Unsupported(reason.to_owned()));
        let Some(first) = rows.first() else {
            return unsupported("there are no rows");
        };
        if rows.len() != weights.len() || rows.iter().any(|row| row.len() != first.len()) {
            return unsupported("the rows differ in length, or in number from the weights");
        }
        let mut sums = vec![0.0; first.len()];
        // A row of weight 0 is left out, whatever it holds.
        for (row, weight) in rows.iter().zip(&weights).filter(|(_, weight)| **weight != 0.0) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += weight * value;
            }
        }
        if sums.iter().all(|sum| sum.is_finite()) {
            Ok(sums)
        } else {
            unsupported("the sum is not finite")
        }
    }
}

export!(Plugin);
