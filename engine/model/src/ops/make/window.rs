//! Owns the windows and the filter bank that signals are weighed with.
//!
//! Refuses types of whole numbers, and a window of one value that is not periodic: its formula
//! divides by 0. Bound: one pass over the result; computed in binary64 and rounded once.

use std::f64::consts::PI;

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Number, dtype_setting, number_at, one_int};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[
    ("", "HannWindow", hann),
    ("", "HammingWindow", hamming),
    ("", "BlackmanWindow", blackman),
    ("", "MelWeightMatrix", mel_weight_matrix),
];

/// A window by its weights for cos(2 pi n / N) of the frequencies 0, 1 and 2.
#[derive(Debug)]
struct Window {
    weights: [f64; 3],
    periodic: bool,
    dtype: DType,
}

impl Operator for Window {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let wanted = one_int(inputs, 0)?.unwrap_or(0);
        let size = usize::try_from(wanted).ok().filter(|size| self.periodic || *size != 1);
        let size = size.ok_or_else(|| RunError::input(format_args!("size {wanted}"), "larger"))?;
        context.shape(&mut outputs[0], self.dtype, &[size])?;
        let period = if self.periodic { size as f64 } else { size as f64 - 1.0 };
        let [constant, first, second] = self.weights;
        with_values!([F32, F64, F16, Bf16] outputs[0].data_mut(), out => {
            for (index, out) in out.iter_mut().enumerate() {
                let angle = 2.0 * PI * index as f64 / period;
                let value = constant + first * angle.cos() + second * (2.0 * angle).cos();
                *out = Number::from_f64(value);
            }
            Ok(())
        }, else Err(RunError::input(self.dtype, "floating-point numbers")))
    }
}

fn float_setting(view: &NodeView<'_>) -> Result<DType, ModelError> {
    let dtype = dtype_setting(view, "output_datatype")?.unwrap_or(DType::F32);
    match dtype.is_float() {
        true => Ok(dtype),
        false => Err(view.refuse(format_args!("type {dtype} is not computed"))),
    }
}

fn window(view: &NodeView<'_>, weights: [f64; 3]) -> Result<Built, ModelError> {
    view.only_attributes(&["output_datatype", "periodic"])?;
    view.dtype_among(0, &[DType::I32, DType::I64])?;
    let dtype = float_setting(view)?;
    let periodic = view.int_or("periodic", 1)? != 0;
    Ok(Built::one(Window { weights, periodic, dtype }, dtype))
}

fn hann(view: &NodeView<'_>) -> Result<Built, ModelError> {
    window(view, [0.5, -0.5, 0.0])
}

fn hamming(view: &NodeView<'_>) -> Result<Built, ModelError> {
    window(view, [25.0 / 46.0, -21.0 / 46.0, 0.0])
}

fn blackman(view: &NodeView<'_>) -> Result<Built, ModelError> {
    window(view, [0.42, -0.5, 0.08])
}

/// Triangles over frequencies, evenly spaced on the mel scale: 2595 log10(1 + hertz / 700).
#[derive(Debug)]
struct MelWeightMatrix {
    dtype: DType,
}

/// What the inputs say.
struct Mel {
    bands: usize,
    dft_length: usize,
    sample_rate: i64,
    edges: [f64; 2],
}

impl Mel {
    fn read(inputs: &Inputs<'_>) -> Result<Self, RunError> {
        let count = |index: usize| {
            let value = one_int(inputs, index)?.unwrap_or(-1);
            let count = usize::try_from(value).ok().filter(|count| *count < 1 << 32);
            count.ok_or_else(|| RunError::input(format_args!("input {index} of {value}"), "more"))
        };
        let hertz = |index: usize| {
            let tensor = inputs.need(index)?;
            let value = number_at(tensor.data(), 0).filter(|_| tensor.count() == 1);
            let value = value.filter(|value| value.is_finite() && *value >= 0.0);
            value.ok_or_else(|| RunError::input(format!("{tensor:?}"), "a frequency"))
        };
        let sample_rate = count(2)?.max(1) as i64;
        let edges = [hertz(3)?, hertz(4)?];
        if edges[0] > edges[1] {
            return Err(RunError::input(format!("edges {edges:?}"), "the lower one first"));
        }
        Ok(Self { bands: count(0)?, dft_length: count(1)?, sample_rate, edges })
    }

    /// The bin of the spectrum where a band begins; the next one is its middle.
    fn bin(&self, band: usize) -> usize {
        let mel = |hertz: f64| 2595.0 * (hertz / 700.0).ln_1p() / std::f64::consts::LN_10;
        let [low, high] = self.edges.map(mel);
        let step = (high - low) / (self.bands + 2) as f64;
        let mel = band as f64 * step + low;
        let hertz = 700.0 * (mel / 2595.0 * std::f64::consts::LN_10).exp_m1();
        ((self.dft_length + 1) as f64 * hertz / self.sample_rate as f64).floor() as usize
    }
}

impl Operator for MelWeightMatrix {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let mel = Mel::read(inputs)?;
        let (bins, bands) = (mel.dft_length / 2 + 1, mel.bands);
        context.shape(&mut outputs[0], self.dtype, &[bins, bands])?;
        if mel.bin(bands + 1) > bins || (bands > 0 && mel.bin(bands) >= bins) {
            return Err(RunError::input("frequencies beyond the spectrum", "those within"));
        }
        with_values!([F32, F64, F16, Bf16] outputs[0].data_mut(), out => {
            out.fill(Default::default());
            for band in 0..bands {
                let (left, middle, right) = (mel.bin(band), mel.bin(band + 1), mel.bin(band + 2));
                let (rise, fall) = (middle - left, right - middle);
                if rise == 0 {
                    out[middle * bands + band] = Number::from_f64(1.0);
                }
                for bin in left..=middle {
                    if rise > 0 {
                        let value = (bin - left) as f64 / rise as f64;
                        out[bin * bands + band] = Number::from_f64(value);
                    }
                }
                for bin in middle..right {
                    out[bin * bands + band] = Number::from_f64((right - bin) as f64 / fall as f64);
                }
            }
            Ok(())
        }, else Err(RunError::input(self.dtype, "floating-point numbers")))
    }
}

fn mel_weight_matrix(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["output_datatype"])?;
    for index in 0..3 {
        view.dtype_among(index, &[DType::I32, DType::I64])?;
    }
    for index in 3..5 {
        view.dtype_among(index, &[DType::F32, DType::F64, DType::F16, DType::Bf16])?;
    }
    let dtype = float_setting(view)?;
    Ok(Built::one(MelWeightMatrix { dtype }, dtype))
}
