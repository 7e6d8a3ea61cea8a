//! The functions on slices and rows: their accuracy, and the same bits on every set.

use super::*;

/// The sets that this host has.
pub fn sets() -> Vec<Isa> {
    let mut sets = vec![Isa::Portable, Isa::Avx2, Isa::Avx512 { vnni: false, bf16: false }];
    sets.push(Isa::detect());
    sets.retain(|isa| isa.or_portable() == *isa);
    sets
}

/// Numbers that look random and are the same every time, within ±`size`.
pub fn numbers(seed: u64, count: usize, size: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next() * size).collect()
}

/// The bits, with one NaN for all.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

/// Runs on each set, wants the same bits, and gives them.
pub fn same_on_all(mut run: impl FnMut(Isa) -> Vec<f32>) -> Vec<f32> {
    let expected = run(Isa::Portable);
    for isa in sets() {
        assert_eq!(bits(&run(isa)), bits(&expected), "{isa:?}");
    }
    expected
}

const SPECIAL: [f32; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    1e-40,
    -1e-40,
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    88.722,
    -103.9,
];

#[test]
fn functions_are_accurate_and_the_same_everywhere() {
    type Slice = fn(Isa, &[f32], &mut [f32]);
    /// `error` is relative to the larger of the exact value and `floor`.
    fn check(function: Slice, exact: fn(f64) -> f64, size: f32, error: f64, floor: f64) {
        let mut x = numbers(7, 40_003, size);
        x.extend(numbers(8, 2_000, 1e-3));
        x.extend(SPECIAL);
        let found = same_on_all(|isa| {
            let mut out = vec![0.0; x.len()];
            function(isa, &x, &mut out);
            out
        });
        let mut worst = (0.0, 0.0);
        for (x, found) in x.iter().zip(found) {
            let exact = exact(f64::from(*x));
            if exact.is_nan() || (exact as f32).is_infinite() {
                assert_eq!(bits(&[found]), bits(&[exact as f32]), "{x}");
                continue;
            }
            let off = (f64::from(found) - exact).abs() / exact.abs().max(floor);
            if off > worst.0 || off.is_nan() {
                worst = (off, *x);
            }
        }
        assert!(worst.0 <= error, "{worst:?}");
    }
    // Two units in the last place are 2.4e-7 at most; below the normal numbers they do not shrink.
    let normal = f64::from(f32::MIN_POSITIVE);
    check(exp, f64::exp, 110.0, 2.4e-7, normal);
    check(log, f64::ln, 1e4, 2.4e-7, normal);
    check(log, f64::ln, 2.0, 2.4e-7, normal);
    check(tanh, f64::tanh, 12.0, 5e-7, normal);
    check(erf, exact_erf, 5.0, 6e-7, normal);
    check(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 80.0, 5e-7, normal);
    check(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 120.0, 5e-7, 1e-30);
}

/// By its series, and by its continued fraction where that would cancel.
fn exact_erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    if x.abs() < 3.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let z = x.abs();
    let fraction = (1..60).rev().fold(z, |below, n| z + f64::from(n) / 2.0 / below);
    let complement = (-z * z).exp() / fraction / std::f64::consts::PI.sqrt();
    x.signum() * (1.0 - complement)
}

#[test]
fn activations_are_accurate_and_the_same_everywhere() {
    fn check(activation: Activation, exact: fn(f64) -> f64) {
        for count in [0, 1, 15, 16, 17, 4_000] {
            let mut x = numbers(3, count, 12.0);
            x.push(f32::NAN);
            let found = same_on_all(|isa| {
                let mut values = x.clone();
                activate(isa, activation, &mut values);
                values
            });
            for (x, found) in x.iter().zip(found) {
                let exact = exact(f64::from(*x));
                let off = (f64::from(found) - exact).abs()
                    / f64::from(x.abs()).max(exact.abs()).max(1e-3);
                assert!(
                    off <= 3e-7 || exact.is_nan() && found.is_nan(),
                    "{activation:?} {x} {off}"
                );
            }
        }
    }
    let root = std::f64::consts::FRAC_2_PI.sqrt();
    assert!((root - 0.797_884_560_8).abs() < 1e-9);
    check(Activation::None, |x| x);
    check(Activation::Relu, |x| if x < 0.0 { 0.0 } else { x });
    check(Activation::LeakyRelu(0.25), |x| if x < 0.0 { 0.25 * x } else { x });
    check(Activation::Gelu, |x| 0.5 * x * (1.0 + exact_erf(x / std::f64::consts::SQRT_2)));
    check(Activation::GeluTanh, |x| {
        0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)).tanh())
    });
    check(Activation::Tanh, f64::tanh);
    check(Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
    check(Activation::Silu, |x| x / (1.0 + (-x).exp()));
}

#[test]
fn far_below_0_gelu_is_0() {
    for activation in [Activation::Gelu, Activation::GeluTanh] {
        let found = same_on_all(|isa| {
            let mut values = vec![-6.0, -60_000.0, -1e20, f32::MIN];
            activate(isa, activation, &mut values);
            values
        });
        assert_eq!(bits(&found), bits(&[-0.0; 4]), "{activation:?}");
    }
}

#[test]
fn softmax_gives_probabilities() {
    fn check(row: &[f32]) {
        let found = same_on_all(|isa| {
            let mut values = [row, row].concat();
            softmax_rows(isa, &mut values, row.len());
            values
        });
        assert_eq!(bits(&found[..row.len()]), bits(&found[row.len()..]));
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exact: Vec<f64> = row.iter().map(|x| f64::from(x - largest).exp()).collect();
        let total: f64 = exact.iter().sum();
        let broken = row.iter().any(|x| x.is_nan()) || largest.is_infinite();
        for (found, exact) in found.iter().zip(exact) {
            let off = (f64::from(*found) - exact / total).abs();
            assert!(if broken { found.is_nan() } else { off < 1e-6 }, "{row:?} {found}");
        }
    }
    for count in [1, 2, 10, 15, 16, 17, 31, 32, 33, 48, 128, 500] {
        check(&numbers(count as u64, count, 20.0));
        check(&numbers(count as u64, count, 1e38));
        let mut row = numbers(5, count, 3.0);
        row[count / 2] = f32::NAN;
        check(&row);
        row[count / 2] = f32::NEG_INFINITY;
        check(&row);
        row.fill(f32::NEG_INFINITY);
        check(&row);
    }
    softmax_rows(Isa::detect(), &mut [1.0], 0);
}

#[test]
fn layer_norm_keeps_its_digits() {
    for (columns, offset, with_residual) in
        [(1, 0.0, false), (7, 3.0, true), (64, 0.0, true), (100, 1e4, false), (384, 2.0, true)]
    {
        let x: Vec<f32> = numbers(1, columns * 3, 2.0).iter().map(|x| x + offset).collect();
        let other = numbers(2, columns * 3, 1.0);
        let (gamma, beta) = (numbers(3, columns, 2.0), numbers(4, columns, 1.0));
        let residual = with_residual.then_some(other.as_slice());
        let found = same_on_all(|isa| {
            let mut out = vec![0.0; x.len()];
            layer_norm_rows(isa, &x, residual, &gamma, Some(&beta), 1e-5, &mut out);
            out
        });
        for row in 0..3 {
            let at = |column: usize| {
                let index = row * columns + column;
                x[index] + residual.map_or(0.0, |other| other[index])
            };
            let count = columns as f64;
            let mean = (0..columns).map(|column| f64::from(at(column))).sum::<f64>() / count;
            let square = |column| (f64::from(at(column)) - mean).powi(2);
            let variance = (0..columns).map(square).sum::<f64>() / count;
            for column in 0..columns {
                let scaled = (f64::from(at(column)) - mean) / (variance + 1e-5).sqrt();
                let exact = scaled * f64::from(gamma[column]) + f64::from(beta[column]);
                let off = (f64::from(found[row * columns + column]) - exact).abs();
                assert!(off < 1e-5 * (1.0 + f64::from(offset) / 10.0), "{columns} {off}");
            }
        }
    }
}

#[test]
fn features_are_scaled_by_column() {
    let (mean, scale) = (numbers(1, 21, 3.0), numbers(2, 21, 2.0));
    let x = numbers(3, 42, 1.0);
    let found = same_on_all(|isa| {
        let mut out = vec![0.0; 42];
        scale_shift(isa, &x, &mean, &scale, &mut out);
        out
    });
    for (index, found) in found.iter().enumerate() {
        assert_eq!(*found, (x[index] - mean[index % 21]) * scale[index % 21]);
    }
}

#[test]
fn transposed_twice_is_the_same_and_padding_is_zero() {
    for (rows, columns, padded_rows) in [(1, 1, 1), (16, 16, 16), (48, 33, 48), (5, 70, 16)] {
        let from = numbers(11, rows * (columns + 3), 1.0);
        let to_stride = padded_rows + 2;
        let found = same_on_all(|isa| {
            let mut to = vec![7.0; columns * to_stride];
            let from_stride = columns + 3;
            let from = &from;
            transpose(
                isa,
                Transpose { rows, columns, from, from_stride, to_stride, padded_rows },
                &mut to,
            );
            to
        });
        for (index, value) in found.iter().enumerate() {
            let (column, row) = (index / to_stride, index % to_stride);
            let expected = match row {
                row if row < rows => from[row * (columns + 3) + column],
                row if row < padded_rows => 0.0,
                _ => 7.0,
            };
            assert_eq!(*value, expected, "{rows} x {columns}: {column}, {row}");
        }
    }
}

#[test]
fn steps_of_optimisers_are_the_same_everywhere() {
    let step = AdamW {
        factor: 0.5,
        decay: 0.99,
        first_share: 0.1,
        second_kept: 0.999,
        second_share: 0.001,
        step: 0.02,
        correction: 1.5,
        epsilon: 1e-8,
    };
    let plain = Momentum { factor: 2.0, decay: 0.1, kept: 0.9, rate: 0.1, is_nesterov: true };
    let gradients = numbers(21, 1_003, 1.0);
    same_on_all(|isa| {
        let mut weights = numbers(22, 1_003, 1.0);
        let (mut first, mut second) = (numbers(23, 1_003, 1.0), vec![0.5; 1_003]);
        let (mut top, mut speed) = (vec![0.4; 1_003], numbers(24, 1_003, 1.0));
        for largest in [None, Some(&mut top[..])] {
            let moments = Moments { first: &mut first, second: &mut second, largest };
            adamw(isa, step, &mut weights, &gradients, moments);
        }
        momentum(isa, plain, &mut weights, &gradients, &mut speed);
        add_weighted_rows(isa, &[&gradients], &[1.0], &mut weights);
        [weights, first, second, top, speed].concat()
    });
}
