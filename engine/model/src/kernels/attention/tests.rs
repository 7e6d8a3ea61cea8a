//! Attention against its definition, with all tails, on every set, in any batch and team.

use super::*;
use crate::kernels::tests::{bits, numbers, same_on_all};
use crate::testing::Backwards;

fn run(isa: Isa, team: &dyn Team, qkv: &[f32], offsets: &[u32], heads: usize) -> Vec<f32> {
    let tokens = offsets[offsets.len() - 1] as usize;
    let width = qkv.len() / tokens / 3;
    let mut out = vec![9.0; tokens * width];
    let size = width / heads;
    let scale = 1.0 / (size as f32).sqrt();
    let attention = Attention { qkv, offsets, heads, size, scale, out: &mut out };
    attention_f32(isa, team, attention, &mut Vec::new());
    out
}

/// One number of the result in double precision.
fn exact(qkv: &[f32], length: usize, width: usize, size: usize, row: usize, at: usize) -> f64 {
    let head = at / size * size;
    let number = |token: usize, part: usize, index: usize| {
        f64::from(qkv[token * 3 * width + part * width + index])
    };
    let scores: Vec<f64> = (0..length)
        .map(|other| {
            let products =
                (head..head + size).map(|index| number(row, 0, index) * number(other, 1, index));
            products.sum::<f64>() / (size as f64).sqrt()
        })
        .collect();
    let largest = scores.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    let weights = scores.iter().map(|score| (score - largest).exp());
    let total: f64 = weights.clone().sum();
    weights.enumerate().map(|(other, weight)| weight * number(other, 2, at)).sum::<f64>() / total
}

#[test]
fn texts_attend_to_themselves() {
    for (heads, size, lengths) in [
        (1, 1, vec![1, 2]),
        (3, 5, vec![7, 1, 17]),
        (2, 32, vec![16, 33, 9]),
        (2, 64, vec![50]),
        (1, 100, vec![20, 97]),
        (4, 32, vec![128]),
        (1, 16, vec![1_100]),
    ] {
        let mut offsets = vec![0u32];
        for length in &lengths {
            offsets.push(offsets[offsets.len() - 1] + length);
        }
        let tokens = offsets[lengths.len()] as usize;
        let width = heads * size;
        let qkv = numbers(5, tokens * 3 * width, 2.0);
        let found = same_on_all(|isa| run(isa, &Alone, &qkv, &offsets, heads));
        assert_eq!(bits(&run(Isa::detect(), &Backwards(5), &qkv, &offsets, heads)), bits(&found));
        for pair in offsets.windows(2) {
            let (start, end) = (pair[0] as usize, pair[1] as usize);
            let text = &qkv[start * 3 * width..end * 3 * width];
            let alone = run(Isa::detect(), &Alone, text, &[0, pair[1] - pair[0]], heads);
            let together = &found[start * width..end * width];
            assert_eq!(bits(&alone), bits(together), "{heads} x {size}, {pair:?}");
            for index in (0..alone.len()).step_by(alone.len().div_ceil(300)) {
                let exact = exact(text, end - start, width, size, index / width, index % width);
                let off = (f64::from(alone[index]) - exact).abs();
                assert!(off < 4e-6, "{heads} x {size}, {pair:?}, {index}: {off}");
            }
        }
    }
}
