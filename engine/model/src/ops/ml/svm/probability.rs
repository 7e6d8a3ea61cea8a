//! Owns the probabilities of classes from those of their pairs.
//!
//! The method is the second of Wu, Lin and Weng, "Probability Estimates for Multi-class
//! Classification by Pairwise Coupling", 2004, as libsvm and ONNX Runtime have it.
//! Refuses to know scores. Bound: 100 rounds.

use crate::ops::ml::scores::logistic;

const ROUNDS_MAX: usize = 100;

/// Platt's probability of the first class of a pair from its score, kept off 0 and 1.
pub fn of_pair(score: f32, a: f32, b: f32) -> f32 {
    (1.0 - logistic(score * a + b)).clamp(1e-7, 1.0 - 1e-7)
}

/// Numbers that [`of_classes`] needs for so many classes.
pub fn buffer_count(classes: usize) -> usize {
    2 * classes * classes + classes
}

/// Fills `out` with the probability of each class. `buffer` has as many numbers as
/// [`buffer_count`] says and begins with those of the pairs: at `[i, j]` that of class `i` against
/// `j`.
pub fn of_classes(buffer: &mut [f32], out: &mut [f32]) {
    let count = out.len();
    let (pairs, rest) = buffer.split_at_mut(count * count);
    let (matrix, slopes) = rest.split_at_mut(count * count);
    matrix.fill(0.0);
    for i in 0..count {
        for j in (0..count).filter(|j| *j != i) {
            let against = pairs[j * count + i];
            matrix[i * count + i] += against * against;
            matrix[i * count + j] = -against * pairs[i * count + j];
        }
    }
    out.fill(1.0 / count as f32);
    let enough = 0.005 / count as f32;
    for _ in 0..ROUNDS_MAX {
        let mut total = 0.0;
        for (row, (slope, own)) in matrix.chunks_exact(count).zip(slopes.iter_mut().zip(&*out)) {
            *slope = row.iter().zip(&*out).map(|(value, other)| value * other).sum();
            total += own * *slope;
        }
        if slopes.iter().all(|slope| (slope - total).abs() < enough) {
            break;
        }
        for i in 0..count {
            let own = matrix[i * count + i];
            let change = (total - slopes[i]) / own;
            out[i] += change;
            let scale = 1.0 + change;
            total = (total + change * (change * own + 2.0 * slopes[i])) / scale / scale;
            for j in 0..count {
                slopes[j] = (slopes[j] + change * matrix[i * count + j]) / scale;
                out[j] /= scale;
            }
        }
    }
}
