//! Measures the kernels on one core.
//!
//! Owns the shapes and the table. Refuses to know models. Bound: a fraction of a second per line.
//!
//! By hand: `taskset -c 1 cargo run --release --example kernels -- 117`, with
//! the peak of one core in f32 GFLOP/s. bf16 has twice and 8-bit numbers four times that.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use truststram_model::kernels::{
    Activation, Alone, Gemm, Int8Scratch, Isa, Layer, PackedBf16, PackedF32, PackedI8, Weights,
    gemm_f32, layer_norm_rows, linear_bf16, linear_f32, linear_i8, softmax_rows,
};

/// Seconds of one call, the best of several stretches.
fn seconds(mut call: impl FnMut()) -> f64 {
    call();
    let mut best = f64::INFINITY;
    let mut count = 1;
    let until = Instant::now() + Duration::from_millis(150);
    while Instant::now() < until {
        let start = Instant::now();
        (0..count).for_each(|_| call());
        let spent = start.elapsed().as_secs_f64();
        best = best.min(spent / f64::from(count));
        if spent < 2e-3 {
            count *= 2;
        }
    }
    best
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7919) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// One layer in all three numbers; GFLOP/s and shares of the peak.
fn layer(peak: f64, rows: usize, inputs: usize, outputs: usize) -> Result<(), Failure> {
    let isa = Isa::detect();
    let (x, w, bias) = (numbers(rows * inputs), numbers(inputs * outputs), numbers(outputs));
    let weights = Weights::new(&w, outputs, inputs, false)?;
    let full = PackedF32::new(weights, None)?;
    let half = PackedBf16::new(weights, None)?;
    let int8 = PackedI8::quantise(weights, None)?;
    let mut out = vec![0.0; rows * outputs];
    let (bias, activation) = (Some(bias.as_slice()), Activation::Relu);
    let f32s = seconds(|| {
        let layer = Layer { weights: &full, bias, activation };
        linear_f32(isa, &Alone, &x, rows, layer, &mut out);
    });
    let mut bytes = Vec::new();
    let bf16s = seconds(|| {
        let layer = Layer { weights: &half, bias, activation };
        linear_bf16(isa, &Alone, &x, rows, layer, &mut bytes, &mut out);
    });
    let (mut scales, mut zeros) = (Vec::new(), Vec::new());
    let int8s = seconds(|| {
        let layer = Layer { weights: &int8, bias, activation };
        let scratch = Int8Scratch { rows: &mut bytes, scales: &mut scales, zeros: &mut zeros };
        linear_i8(isa, &Alone, &x, rows, layer, scratch, &mut out);
    });
    let work = 2e-9 * (rows * inputs * outputs) as f64;
    let mut line = format!("{rows:4} x {inputs:4} x {outputs:4}");
    for (seconds, peak) in [(f32s, peak), (bf16s, 2.0 * peak), (int8s, 4.0 * peak)] {
        let rate = work / seconds;
        let share = 100.0 * rate / peak;
        line += &format!(" | {:8.2} us {rate:6.1} {share:3.0} %", seconds * 1e6);
    }
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// A product of two matrices that change, as attention has them.
fn product(
    peak: f64,
    rows: usize,
    depth: usize,
    columns: usize,
    turned: bool,
) -> Result<(), Failure> {
    let (a, b) = (numbers(rows * 1152), numbers(depth.max(columns) * 1152 + 1152));
    let mut out = vec![0.0; rows * columns];
    let mut scratch = Vec::new();
    let spent = seconds(|| {
        let product = Gemm {
            rows,
            columns,
            depth,
            a: &a,
            a_stride: 1152,
            a_transposed: false,
            b: &b,
            b_stride: 1152,
            b_transposed: turned,
            scale: 0.5,
            out: &mut out,
            out_stride: columns,
        };
        gemm_f32(Isa::detect(), &Alone, product, &mut scratch);
    });
    let rate = 2e-9 * (rows * depth * columns) as f64 / spent;
    let share = 100.0 * rate / peak;
    let (spent, turned) = (spent * 1e6, if turned { "transposed" } else { "" });
    let line =
        format!("{rows:4} x {depth:4} x {columns:4} | {spent:8.2} us {rate:6.1} {share:3.0} %");
    Ok(writeln!(io::stdout(), "{line} {turned}")?)
}

/// A dense network of several layers.
fn network(rows: usize, sizes: &[usize]) -> Result<(), Failure> {
    let isa = Isa::detect();
    let mut layers = Vec::new();
    for pair in sizes.windows(2) {
        let w = numbers(pair[0] * pair[1]);
        let packed = PackedF32::new(Weights::new(&w, pair[1], pair[0], false)?, None)?;
        layers.push((packed, numbers(pair[1])));
    }
    let widest = sizes.iter().max().copied().unwrap_or(0);
    let (mut from, mut to) = (numbers(rows * widest), numbers(rows * widest));
    let first = from.clone();
    let classes = sizes.last().copied().unwrap_or(0);
    let spent = seconds(|| {
        from.copy_from_slice(&first);
        for (index, (weights, bias)) in layers.iter().enumerate() {
            let is_last = index + 1 == layers.len();
            let activation = if is_last { Activation::None } else { Activation::Relu };
            let layer = Layer { weights, bias: Some(bias), activation };
            linear_f32(isa, &Alone, &from, rows, layer, &mut to);
            std::mem::swap(&mut from, &mut to);
        }
        softmax_rows(isa, &mut from[..rows * classes], classes);
    });
    Ok(writeln!(io::stdout(), "{sizes:?} x {rows} | {:8.2} us", spent * 1e6)?)
}

/// Functions by value and by row.
fn functions() -> Result<(), Failure> {
    let isa = Isa::detect();
    let x = numbers(128 * 1536);
    let mut out = x.clone();
    for activation in [
        Activation::Relu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Tanh,
        Activation::Silu,
    ] {
        let spent = seconds(|| {
            out[..12_288].copy_from_slice(&x[..12_288]);
            truststram_model::kernels::activate(isa, activation, &mut out[..12_288]);
        });
        writeln!(io::stdout(), "{activation:?}: {:.3} ns per value", spent * 1e9 / 12_288.0)?;
    }
    let spent = seconds(|| {
        out.copy_from_slice(&x);
        softmax_rows(isa, &mut out[..128 * 128], 128);
    });
    let copy = seconds(|| out.copy_from_slice(&x));
    let each = (spent - copy) * 1e9 / f64::from(128 * 128);
    writeln!(io::stdout(), "softmax of 128: {each:.3} ns per value")?;
    let (gamma, beta) = (numbers(384), numbers(384));
    let spent = seconds(|| {
        let (x, other) = (&x[..12_288], &x[20_000..32_288]);
        let out = &mut out[..12_288];
        layer_norm_rows(isa, x, Some(other), &gamma, Some(&beta), 1e-5, out);
    });
    let each = spent * 1e9 / 12_288.0;
    Ok(writeln!(io::stdout(), "layer norm of 384 with residual: {each:.3} ns per value")?)
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let peak: f64 = std::env::args().nth(1).and_then(|peak| peak.parse().ok()).unwrap_or(117.0);
    writeln!(io::stdout(), "rows x inputs x outputs | f32 | bf16 | int8")?;
    for (inputs, outputs) in [
        (384, 384),
        (384, 1536),
        (1536, 384),
        (768, 768),
        (784, 200),
        (200, 200),
        (64, 128),
        (200, 10),
        (200, 16),
        (200, 32),
        (32, 16),
        (32, 32),
        (32, 64),
        (64, 32),
    ] {
        for rows in [1, 4, 8, 16, 32, 128] {
            layer(peak, rows, inputs, outputs)?;
        }
    }
    for (rows, depth, columns, turned) in [
        (16, 32, 16, true),
        (16, 16, 32, false),
        (128, 32, 128, true),
        (128, 128, 32, false),
        (512, 64, 512, true),
        (512, 512, 64, false),
        (1, 384, 384, false),
        (8, 384, 384, false),
        (32, 384, 384, false),
        (33, 384, 384, false),
        (32, 1024, 1024, false),
        (33, 1024, 1024, false),
    ] {
        product(peak, rows, depth, columns, turned)?;
    }
    for rows in [1, 8, 32] {
        network(rows, &[64, 128, 64, 10])?;
        network(rows, &[784, 200, 200, 10])?;
    }
    functions()
}
