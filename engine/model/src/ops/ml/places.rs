//! Owns the operators that move features: `ArrayFeatureExtractor` and `FeatureVectorizer`.
//!
//! Refuses places outside of the features, at run. Bound: a copy.

use super::rows::{row_sizes, with_rows};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, shape_like, values_like};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[
    ("ai.onnx.ml", "ArrayFeatureExtractor", extractor),
    ("ai.onnx.ml", "FeatureVectorizer", vectorizer),
];

#[derive(Debug)]
struct Extractor;

fn extractor(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    let known = [DType::F32, DType::F64, DType::I64, DType::I32, DType::String];
    let dtype = view.dtype_among(0, &known)?;
    view.dtype_among(1, &[DType::I64])?;
    Ok(Built::one(Extractor, dtype))
}

impl Operator for Extractor {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (_, places) = inputs.values::<i64>(1)?;
        let tensor = inputs.need(0)?;
        let shape = tensor.shape();
        let Some(width) = shape.last().copied() else {
            return Err(RunError::input("one value", "at least one dimension"));
        };
        let is_inside = |place: &&i64| usize::try_from(**place).is_ok_and(|place| place < width);
        if places.is_empty() {
            return Err(RunError::input("no places", "at least one"));
        }
        if let Some(place) = places.iter().find(|place| !is_inside(place)) {
            return Err(RunError::input(format_args!("place {place} of {width}"), "one of them"));
        }
        let mut dims = Few::new();
        // One row stays one, with two dimensions.
        if shape.len() == 1 {
            dims.push(1)?;
        }
        for dim in &shape[..shape.len() - 1] {
            dims.push(*dim)?;
        }
        dims.push(places.len())?;
        with_values!(tensor.data(), like => {
            let (_, values) = values_like(inputs, 0, like)?;
            let out = shape_like(context, &mut outputs[0], &dims, like)?;
            let rows = out.chunks_exact_mut(places.len()).zip(values.chunks_exact(width));
            for (out, row) in rows {
                for (out, place) in out.iter_mut().zip(places) {
                    out.clone_from(&row[*place as usize]);
                }
            }
        });
        Ok(())
    }
}

#[derive(Debug)]
struct Vectorizer {
    /// Features that each input gives.
    widths: Vec<usize>,
    width: usize,
}

fn vectorizer(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["inputdimensions"])?;
    let dims = view.ints("inputdimensions")?.unwrap_or_default();
    if dims.is_empty() || dims.len() != view.input_count() {
        return Err(view.refuse("`inputdimensions` says nothing of some inputs"));
    }
    for index in 0..view.input_count() {
        view.dtype_among(index, &[DType::F32, DType::F64, DType::I64, DType::I32])?;
    }
    let widths = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<Vec<_>>>();
    let sum = |widths: &Vec<usize>| widths.iter().try_fold(0, |sum: usize, w| sum.checked_add(*w));
    match widths.and_then(|widths| sum(&widths).map(|width| (widths, width))) {
        Some((widths, width)) => Ok(Built::one(Vectorizer { widths, width }, DType::F32)),
        None => Err(view.refuse("`inputdimensions` has a number of features that is none")),
    }
}

impl Operator for Vectorizer {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (count, _) = row_sizes(inputs.need(0)?.shape())?;
        let out = context.shape_as::<f32>(&mut outputs[0], &[count, self.width])?;
        // What an input is short of stays 0, what it has beyond is left out.
        out.fill(0.0);
        let mut start = 0;
        for (index, width) in self.widths.iter().enumerate() {
            with_rows(inputs, index, context, |rows, _| {
                if rows.count != count {
                    let found = format_args!("{} rows of input {index}", rows.count);
                    return Err(RunError::input(found, count));
                }
                let taken = rows.width.min(*width);
                for row in 0..count {
                    let out = &mut out[row * self.width + start..][..taken];
                    out.copy_from_slice(&rows.row(row)[..taken]);
                }
                Ok(())
            })?;
            start += width;
        }
        Ok(())
    }
}
