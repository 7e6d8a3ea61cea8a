//! Linear layers and products against their definitions, with all tails and on every set.

use super::*;
use crate::kernels::tests::{bits, numbers, same_on_all, sets};
use crate::kernels::{Activation, Alone, Gemm, Isa, Team, gemm_f32};
use crate::testing::Backwards;

/// Rows, inputs and outputs: every remainder of tiles, panels and lanes.
const SHAPES: [(usize, usize, usize); 15] = [
    (100, 20, 60),
    (1, 1, 1),
    (9, 0, 3),
    (17, 64, 10),
    (8, 33, 16),
    (9, 5, 17),
    (3, 64, 128),
    (12, 100, 200),
    (16, 31, 48),
    (5, 7, 47),
    (2, 50, 49),
    (23, 20, 97),
    (7, 19, 145),
    (4, 3, 193),
    (1, 130, 400),
];

/// `rows`, `inputs`, `outputs`: the result in double precision, and how large its terms are.
fn exact(x: &[f32], w: &[f32], bias: &[f32], inputs: usize) -> Vec<(f64, f64)> {
    let outputs = bias.len();
    let rows = x.len().checked_div(inputs).unwrap_or(9);
    let mut out = Vec::new();
    for row in 0..rows {
        for output in 0..outputs {
            let products = (0..inputs).map(|input| {
                f64::from(x[row * inputs + input]) * f64::from(w[output * inputs + input])
            });
            let size: f64 = products.clone().map(f64::abs).sum();
            out.push((products.sum::<f64>() + f64::from(bias[output]), size + 1.0));
        }
    }
    out
}

fn transposed(w: &[f32], outputs: usize, inputs: usize) -> Vec<f32> {
    let at = |index: usize| w[index % outputs * inputs + index / outputs];
    (0..w.len()).map(at).collect()
}

#[test]
fn f32_layers_are_right_and_the_same_everywhere() {
    for (rows, inputs, outputs) in SHAPES {
        let x = numbers(1, rows * inputs, 1.0);
        let w = numbers(2, outputs * inputs, 1.0);
        let bias = numbers(3, outputs, 1.0);
        let turned = transposed(&w, outputs, inputs);
        let weights = Weights::new(&turned, outputs, inputs, true).unwrap();
        let other = PackedF32::new(weights, None).unwrap();
        let weights = Weights::new(&w, outputs, inputs, false).unwrap();
        let weights = PackedF32::new(weights, None).unwrap();
        let run = |isa, x: &[f32], rows, weights, activation, team: &dyn Team| {
            let mut out = vec![9.0; rows * outputs];
            let layer = Layer { weights, bias: Some(&bias), activation };
            linear_f32(isa, team, x, rows, layer, &mut out);
            out
        };
        let found = same_on_all(|isa| run(isa, &x, rows, &weights, Activation::None, &Alone));
        for (found, (exact, size)) in found.iter().zip(exact(&x, &w, &bias, inputs)) {
            assert!((f64::from(*found) - exact).abs() < 1e-6 * size, "{found} {exact}");
        }
        assert_eq!(found, run(Isa::detect(), &x, rows, &other, Activation::None, &Alone));
        for row in 0..rows {
            let x = &x[row * inputs..][..inputs];
            let alone = run(Isa::detect(), x, 1, &weights, Activation::None, &Alone);
            assert_eq!(alone, found[row * outputs..][..outputs], "row {row}");
        }
        for activation in [Activation::Relu, Activation::Gelu, Activation::LeakyRelu(0.1)] {
            let mut expected = found.clone();
            crate::kernels::activate(Isa::Portable, activation, &mut expected);
            let run = same_on_all(|isa| run(isa, &x, rows, &weights, activation, &Alone));
            assert_eq!(bits(&run), bits(&expected), "{activation:?}");
        }
    }
}

#[test]
fn a_team_changes_nothing() {
    for (rows, inputs, outputs) in
        [(3, 700, 1001), (200, 150, 100), (33, 256, 600), (9, 784, 200), (1, 30, 200)]
    {
        let x = numbers(1, rows * inputs, 1.0);
        let w = numbers(2, outputs * inputs, 1.0);
        let weights = Weights::new(&w, outputs, inputs, false).unwrap();
        let weights = PackedF32::new(weights, None).unwrap();
        let run = |team: &dyn Team| {
            let mut out = vec![9.0; rows * outputs];
            let layer = Layer { weights: &weights, bias: None, activation: Activation::None };
            linear_f32(Isa::detect(), team, &x, rows, layer, &mut out);
            out
        };
        let alone = run(&Alone);
        for size in [2, 3, 7] {
            assert_eq!(alone, run(&Backwards(size)), "{size}");
        }
    }
}

#[test]
fn bf16_layers_are_near() {
    for (rows, inputs, outputs) in SHAPES {
        let mut x = numbers(1, rows * inputs, 1.0);
        let w = numbers(2, outputs * inputs, 1.0);
        let bias = numbers(3, outputs, 1.0);
        let weights = Weights::new(&w, outputs, inputs, false).unwrap();
        let weights = PackedBf16::new(weights, None).unwrap();
        let round = |values: &[f32]| -> Vec<f32> {
            values.iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect()
        };
        let expected = exact(&round(&x), &round(&w), &bias, inputs);
        let mut scratch = Vec::new();
        let mut run = |isa, x: &[f32]| {
            let mut out = vec![9.0; rows * outputs];
            let layer =
                Layer { weights: &weights, bias: Some(&bias), activation: Activation::None };
            linear_bf16(isa, &Alone, x, rows, layer, &mut scratch, &mut out);
            out
        };
        for isa in sets() {
            for (found, (exact, size)) in run(isa, &x).iter().zip(&expected) {
                assert!((f64::from(*found) - exact).abs() < 1e-6 * size, "{isa:?} {found} {exact}");
            }
        }
        if inputs > 0 {
            x[0] = f32::from_bits(0x7f80_0001);
            for isa in sets() {
                let out = run(isa, &x);
                assert!(out[..outputs].iter().all(|x| x.is_nan()), "{isa:?}");
                assert!(out[outputs..].iter().all(|x| x.is_finite()), "{isa:?}");
            }
        }
    }
}

#[test]
fn int8_layers_are_near_and_the_same_everywhere() {
    for (rows, inputs, outputs) in SHAPES {
        let mut x = numbers(1, rows * inputs, 1.0);
        let w = numbers(2, outputs * inputs, 1.0);
        let bias = numbers(3, outputs, 1.0);
        let weights = Weights::new(&w, outputs, inputs, false).unwrap();
        let pack = |input| PackedI8::quantise(weights, None).unwrap().reading(input);
        let expected = exact(&x, &w, &bias, inputs);
        let run_by = |isa, team: &dyn Team, x: &[f32], input| {
            let (mut bytes, mut scales, mut zeros) = (vec![7], vec![], vec![]);
            let scratch = Int8Scratch { rows: &mut bytes, scales: &mut scales, zeros: &mut zeros };
            let mut out = vec![9.0; rows * outputs];
            let layer =
                Layer { weights: &pack(input), bias: Some(&bias), activation: Activation::None };
            linear_i8(isa, team, x, rows, layer, scratch, &mut out);
            out
        };
        let run = |isa, x: &[f32], input| run_by(isa, &Alone, x, input);
        for size in [2, 3, 7] {
            let alone = run(Isa::detect(), &x, Input::Dynamic);
            assert_eq!(alone, run_by(Isa::detect(), &Backwards(size), &x, Input::Dynamic));
        }
        for input in [Input::Dynamic, Input::Static { scale: 2.0 / 255.0, zero_point: 128 }] {
            let found = same_on_all(|isa| run(isa, &x, input));
            for (found, (exact, size)) in found.iter().zip(&expected) {
                assert!((f64::from(*found) - exact).abs() < 1e-2 * size, "{found} {exact}");
            }
        }
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            if inputs > 0 {
                x[inputs - 1] = broken;
                let out = same_on_all(|isa| run(isa, &x, Input::Dynamic));
                assert!(out[..outputs].iter().all(|x| x.is_nan()));
                assert!(out[outputs..].iter().all(|x| x.is_finite()));
            }
        }
    }
}

#[test]
fn quantised_weights_are_used_as_they_are() {
    // Two inputs, three outputs; the step of the rows is 0.5 and 0 is 10.
    let weights = Weights::new(&[1_i8, -2, 127, -128, 3, 0], 3, 2, false).unwrap();
    let packed = PackedI8::new(weights, &[1.0, 0.5, 2.0], None).unwrap();
    let packed = packed.reading(Input::Static { scale: 0.5, zero_point: 10 });
    let x = [1.0, -3.0, 1e9, -1e9];
    // As steps from 0: 2, -6; then held within 0 and 255: 245, -10.
    let expected = [
        0.5 * (2.0 + 12.0),
        0.25 * (254.0 + 768.0),
        1.0 * 6.0,
        0.5 * (245.0 + 20.0),
        0.25 * (245.0 * 127.0 + 1280.0),
        1.0 * 3.0 * 245.0,
    ];
    let found = same_on_all(|isa| {
        let (mut bytes, mut scales, mut zeros) = (vec![], vec![], vec![]);
        let scratch = Int8Scratch { rows: &mut bytes, scales: &mut scales, zeros: &mut zeros };
        let layer = Layer { weights: &packed, bias: None, activation: Activation::None };
        let mut out = vec![0.0; 6];
        linear_i8(isa, &Alone, &x, 2, layer, scratch, &mut out);
        out
    });
    assert_eq!(found, expected);
    assert!(PackedI8::new(weights, &[1.0, 2.0], None).is_err());
    assert!(PackedI8::new(weights, &[], None).is_err());
    assert!(Weights::new(&[1_i8], 2, 1, false).is_err());
}

#[test]
fn products_of_two_matrices_are_right() {
    for (rows, depth, columns) in SHAPES {
        let a = numbers(1, rows * depth, 1.0);
        let b = numbers(2, columns * depth, 1.0);
        let expected = exact(&a, &b, &vec![0.0; columns], depth);
        let turned_a = transposed(&a, rows, depth);
        let turned_b = transposed(&b, columns, depth);
        let mut scratch = Vec::new();
        for (a_transposed, b_transposed) in [(false, true), (true, true), (false, false)] {
            let found = same_on_all(|isa| {
                let mut out = vec![9.0; rows * (columns + 3)];
                let product = Gemm {
                    rows,
                    columns,
                    depth,
                    a: if a_transposed { &turned_a } else { &a },
                    a_stride: if a_transposed { rows } else { depth },
                    a_transposed,
                    b: if b_transposed { &b } else { &turned_b },
                    b_stride: if b_transposed { depth } else { columns },
                    b_transposed,
                    scale: 0.5,
                    out: &mut out,
                    out_stride: columns + 3,
                };
                gemm_f32(isa, &Alone, product, &mut scratch);
                out
            });
            for (index, (exact, size)) in expected.iter().enumerate() {
                let found = found[index / columns * (columns + 3) + index % columns];
                assert!((f64::from(found) - exact * 0.5).abs() < 1e-6 * size, "{found} {exact}");
            }
            let row = rows / 2;
            let mut alone = vec![0.0; columns];
            let product = Gemm {
                rows: 1,
                columns,
                depth,
                a: &a[row * depth..][..depth],
                a_stride: depth,
                a_transposed: false,
                b: if b_transposed { &b } else { &turned_b },
                b_stride: if b_transposed { depth } else { columns },
                b_transposed,
                scale: 0.5,
                out: &mut alone,
                out_stride: columns,
            };
            gemm_f32(Isa::detect(), &Alone, product, &mut scratch);
            assert_eq!(alone, found[row * (columns + 3)..][..columns]);
            let gaps = found.chunks(columns + 3).flat_map(|row| &row[columns..]);
            assert!(gaps.into_iter().all(|gap| *gap == 9.0));
        }
    }
}
