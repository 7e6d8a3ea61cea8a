//! Owns the operators that change features one by one: `Binarizer`, `Imputer`, `Normalizer` and
//! `Scaler`.
//!
//! Refuses lists that fit no number of features. Bound: one pass.

use super::rows::{Rows, row_sizes, with_rows};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};

/// This family.
pub const OPERATORS: Family = &[
    ("ai.onnx.ml", "Binarizer", binarizer),
    ("ai.onnx.ml", "Imputer", imputer),
    ("ai.onnx.ml", "Normalizer", normalizer),
    ("ai.onnx.ml", "Scaler", scaler),
];

const NUMBERS: [DType; 4] = [DType::F32, DType::F64, DType::I64, DType::I32];

/// The value that a list has for a feature: its own, or the only one.
fn of_feature<T: Copy>(list: &[T], feature: usize) -> T {
    if list.len() == 1 { list[0] } else { list[feature] }
}

/// Refuses rows for which a list has no values.
fn check_list(length: usize, width: usize) -> Result<(), RunError> {
    match length == 1 || length == width {
        true => Ok(()),
        false => Err(RunError::input(format_args!("{width} features"), length)),
    }
}

#[derive(Debug)]
struct Scaler {
    /// Subtracted first.
    offset: Vec<f32>,
    /// Multiplied then.
    scale: Vec<f32>,
    /// Whether the input is of binary64, and computed so.
    is_wide: bool,
}

fn scaler(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["offset", "scale"])?;
    let is_wide = view.dtype_among(0, &NUMBERS)? == DType::F64;
    let offset = view.floats("offset")?.unwrap_or_default().to_vec();
    let scale = view.floats("scale")?.unwrap_or_default().to_vec();
    if scale.is_empty() || scale.len() != offset.len() {
        return Err(view.refuse("`scale` and `offset` do not fit"));
    }
    Ok(Built::one(Scaler { offset, scale, is_wide }, DType::F32))
}

impl Operator for Scaler {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let shape = *inputs.need(0)?.shape();
        let (_, width) = row_sizes(&shape)?;
        check_list(self.scale.len(), width)?;
        let out = context.shape_as::<f32>(&mut outputs[0], &shape)?;
        if self.is_wide {
            let (_, values) = inputs.values::<f64>(0)?;
            for (index, (out, value)) in out.iter_mut().zip(values).enumerate() {
                let (offset, scale) = (&self.offset, &self.scale);
                let feature = index % width;
                let offset = f64::from(of_feature(offset, feature));
                *out = ((value - offset) * f64::from(of_feature(scale, feature))) as f32;
            }
            return Ok(());
        }
        with_rows(inputs, 0, context, |rows, _| {
            if rows.width == 0 {
                return Ok(());
            }
            let lines = out.chunks_exact_mut(width).zip(rows.values.chunks_exact(width));
            for (out, row) in lines {
                if let ([offset], [scale]) = (&self.offset[..], &self.scale[..]) {
                    for (out, value) in out.iter_mut().zip(row) {
                        *out = (value - offset) * scale;
                    }
                    continue;
                }
                let list = self.offset.iter().zip(&self.scale);
                for ((out, value), (offset, scale)) in out.iter_mut().zip(row).zip(list) {
                    *out = (value - offset) * scale;
                }
            }
            Ok(())
        })
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(size_of_val(&self.offset[..]) + size_of_val(&self.scale[..]));
    }
}

#[derive(Clone, Copy, Debug)]
enum Norm {
    Most,
    Sum,
    Root,
}

fn normalizer(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["norm"])?;
    view.dtype_among(0, &NUMBERS)?;
    let norm = match view.string("norm")?.unwrap_or("MAX") {
        "MAX" => Norm::Most,
        "L1" => Norm::Sum,
        "L2" => Norm::Root,
        other => return Err(view.refuse(format_args!("`norm` {other} is none"))),
    };
    Ok(Built::one(norm, DType::F32))
}

impl Norm {
    fn row(self, row: &[f32], out: &mut [f32]) {
        let size = match self {
            // The largest, not the farthest from 0.
            Self::Most => row.iter().fold(f32::MIN, |most, x| if *x > most { *x } else { most }),
            Self::Sum => row.iter().map(|value| value.abs()).sum(),
            Self::Root => row.iter().map(|value| value * value).sum(),
        };
        if size == 0.0 {
            return out.copy_from_slice(row);
        }
        for (out, value) in out.iter_mut().zip(row) {
            *out = match self {
                Self::Root => {
                    let root = (value * value / size).sqrt();
                    if *value < 0.0 { -root } else { root }
                }
                _ => value / size,
            };
        }
    }
}

impl Operator for Norm {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let shape = *inputs.need(0)?.shape();
        let out = context.shape_as::<f32>(&mut outputs[0], &shape)?;
        with_rows(inputs, 0, context, |rows: Rows<'_, f32>, _| {
            for (index, out) in out.chunks_exact_mut(rows.width.max(1)).enumerate() {
                self.row(rows.row(index), out);
            }
            Ok(())
        })
    }
}

/// Values of one type that stand for missing ones.
#[derive(Debug)]
struct Imputer<T> {
    missing: T,
    values: Vec<T>,
}

fn imputer(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[
        "imputed_value_floats",
        "imputed_value_int64s",
        "replaced_value_float",
        "replaced_value_int64",
    ])?;
    let floats = view.floats("imputed_value_floats")?.unwrap_or_default().to_vec();
    let ints = view.ints("imputed_value_int64s")?.unwrap_or_default().to_vec();
    let dtype = view.dtype_among(0, &[DType::F32, DType::F64, DType::I64])?;
    let (used, other) = match dtype {
        DType::I64 => (ints.len(), floats.len()),
        _ => (floats.len(), ints.len()),
    };
    if used == 0 || other != 0 {
        return Err(view.refuse("the values to put in are not of the type of the input"));
    }
    let missing = view.float_or("replaced_value_float", 0.0)?;
    Ok(match dtype {
        DType::F64 => {
            let values = floats.iter().map(|value| f64::from(*value)).collect();
            Built::one(Imputer { missing: f64::from(missing), values }, dtype)
        }
        DType::I64 => {
            let missing = view.int_or("replaced_value_int64", 0)?;
            Built::one(Imputer { missing, values: ints }, dtype)
        }
        _ => Built::one(Imputer { missing, values: floats }, dtype),
    })
}

#[allow(clippy::eq_op, reason = "only what is not a number differs from itself")]
impl<T: Element + Copy> Operator for Imputer<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let (_, width) = row_sizes(shape)?;
        check_list(self.values.len(), width)?;
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        let is_nan = self.missing != self.missing;
        for (index, (out, value)) in out.iter_mut().zip(values).enumerate() {
            let is_missing = *value == self.missing || (is_nan && *value != *value);
            *out = if is_missing { of_feature(&self.values, index % width) } else { *value };
        }
        Ok(())
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(size_of_val(&self.values[..]));
    }
}

/// 1 for numbers above the threshold, 0 for others.
#[derive(Debug)]
struct Binarizer<T: Element> {
    is_above: fn(&T, f32) -> bool,
    threshold: f32,
    /// 0 and 1.
    values: [T; 2],
}

fn binarizer(view: &NodeView<'_>) -> Result<Built, ModelError> {
    /// Whether a whole number is above a number, which may have a fraction.
    fn is_above(value: i64, threshold: f32) -> bool {
        !threshold.is_nan() && i128::from(value) > f64::from(threshold).floor() as i128
    }
    view.only_attributes(&["threshold"])?;
    let threshold = view.float_or("threshold", 0.0)?;
    let dtype = view.dtype_among(0, &NUMBERS)?;
    Ok(match dtype {
        DType::F64 => {
            let is_above = |value: &f64, threshold| *value > f64::from(threshold);
            Built::one(Binarizer { is_above, threshold, values: [0.0, 1.0] }, dtype)
        }
        DType::I64 => {
            let is_above = |value: &i64, threshold| is_above(*value, threshold);
            Built::one(Binarizer { is_above, threshold, values: [0, 1] }, dtype)
        }
        DType::I32 => {
            let is_above = |value: &i32, threshold| is_above(i64::from(*value), threshold);
            Built::one(Binarizer { is_above, threshold, values: [0, 1] }, dtype)
        }
        _ => {
            let is_above = |value: &f32, threshold| *value > threshold;
            Built::one(Binarizer { is_above, threshold, values: [0.0, 1.0] }, dtype)
        }
    })
}

impl<T: Element + Copy> Operator for Binarizer<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        for (out, value) in out.iter_mut().zip(values) {
            *out = self.values[usize::from((self.is_above)(value, self.threshold))];
        }
        Ok(())
    }
}
