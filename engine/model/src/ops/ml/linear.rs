//! Owns `LinearClassifier` and `LinearRegressor`.
//!
//! The class is chosen by the scores before their transform, as ONNX Runtime does it.
//! Refuses numbers of coefficients that do not fit. Bound: one product.

use super::labels::Labels;
use super::rows::{Rows, with_rows};
use super::scores::{PostTransform, logistic};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family =
    &[("ai.onnx.ml", "LinearClassifier", classifier), ("ai.onnx.ml", "LinearRegressor", regressor)];

/// `row · coefficients + intercept` for each of some targets.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Target after target, the coefficients of its features.
    coefficients: Vec<f32>,
    intercepts: Vec<f32>,
    width: usize,
}

impl Linear {
    /// Joins coefficients and as many intercepts as there are targets; none if they do not fit.
    pub fn new(coefficients: &[f32], intercepts: Vec<f32>) -> Option<Self> {
        let targets = intercepts.len();
        if targets == 0 || coefficients.is_empty() || !coefficients.len().is_multiple_of(targets) {
            return None;
        }
        let width = coefficients.len() / targets;
        Some(Self { coefficients: coefficients.to_vec(), intercepts, width })
    }

    /// How many targets there are.
    pub fn targets(&self) -> usize {
        self.intercepts.len()
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.coefficients[..]) + size_of_val(&self.intercepts[..])
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Writes all targets of a row that has as many features.
    pub fn row(&self, row: &[f32], out: &mut [f32]) {
        let targets = self.coefficients.chunks_exact(self.width).zip(&self.intercepts);
        for (out, (coefficients, intercept)) in out.iter_mut().zip(targets) {
            *out = dot(row, coefficients) + intercept;
        }
    }
}

/// The sum of products, in 16 parts that do not wait for each other.
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left, left_rest) = left.as_chunks::<16>();
    let (right, right_rest) = right.as_chunks::<16>();
    let mut sums = [0.0f32; 16];
    for (left, right) in left.iter().zip(right) {
        for lane in 0..16 {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    sums.iter().sum::<f32>() + rest
}

/// Refuses rows of another width.
///
/// # Errors
/// [`RunError::Input`].
pub fn check_width(rows: Rows<'_, f32>, width: usize) -> Result<(), RunError> {
    match rows.width == width {
        true => Ok(()),
        false => Err(RunError::input(format_args!("{} features", rows.width), width)),
    }
}

#[derive(Debug)]
struct Classifier {
    linear: Linear,
    labels: Labels,
    post: PostTransform,
}

fn classifier(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[
        "post_transform",
        "multi_class",
        "classlabels_ints",
        "classlabels_strings",
        "coefficients",
        "intercepts",
    ])?;
    view.dtype_among(0, &[DType::F32, DType::F64, DType::I64, DType::I32])?;
    let labels = Labels::of(view, "classlabels_ints", "classlabels_strings")?;
    let post = PostTransform::of(view)?;
    let coefficients = view.floats("coefficients")?.unwrap_or_default();
    let intercepts = view.floats("intercepts")?.unwrap_or_default();
    let linear = Linear::new(coefficients, intercepts.to_vec())
        .ok_or_else(|| view.refuse("the coefficients do not fit the intercepts"))?;
    let is_binary = linear.targets() == 1 && labels.len() == 2;
    if !is_binary && (linear.targets() != labels.len() || labels.len() < 2) {
        let (found, count) = (linear.targets(), labels.len());
        return Err(view.refuse(format_args!("{found} scores for {count} classes")));
    }
    if is_binary && !matches!(post, PostTransform::None | PostTransform::Logistic) {
        return Err(view.refuse("runtimes differ on this transform of a single score"));
    }
    let outputs = vec![labels.dtype(), DType::F32];
    Ok(Built::many(Classifier { linear, labels, post }, outputs))
}

impl Classifier {
    fn scores(&self, row: &[f32], scores: &mut [f32]) -> usize {
        if self.linear.targets() == 1 {
            self.linear.row(row, &mut scores[1..]);
            let score = scores[1];
            (scores[0], scores[1]) = match self.post {
                PostTransform::Logistic => (logistic(-score), logistic(score)),
                _ => (1.0 - score, score),
            };
            return usize::from(score > 0.0);
        }
        self.linear.row(row, scores);
        let mut best = 0;
        for class in 1..scores.len() {
            if scores[class] > scores[best] {
                best = class;
            }
        }
        self.post.apply(scores);
        best
    }
}

impl Operator for Classifier {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let [labels, scores] = outputs else {
            return Err(RunError::input("another number of outputs", 2));
        };
        with_rows(inputs, 0, context, |rows, context| {
            check_width(rows, self.linear.width())?;
            let classes = self.labels.len();
            let scores = context.shape_as::<f32>(scores, &[rows.count, classes])?;
            self.labels.write(labels, context, rows.count, |row| {
                self.scores(rows.row(row), &mut scores[row * classes..][..classes])
            })
        })
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(self.linear.bytes());
    }
}

#[derive(Debug)]
struct Regressor {
    linear: Linear,
    post: PostTransform,
}

fn regressor(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["post_transform", "targets", "coefficients", "intercepts"])?;
    view.dtype_among(0, &[DType::F32, DType::F64, DType::I64, DType::I32])?;
    let coefficients = view.floats("coefficients")?.unwrap_or_default();
    let targets = view.int_or("targets", 1)?;
    let targets = usize::try_from(targets).ok().filter(|count| *count <= coefficients.len());
    let targets = targets.ok_or_else(|| view.refuse("more targets than coefficients"))?;
    let intercepts = match view.floats("intercepts")? {
        Some(intercepts) if intercepts.len() == targets => intercepts.to_vec(),
        None | Some([]) => vec![0.0; targets],
        Some(_) => return Err(view.refuse("the intercepts do not fit the targets")),
    };
    let post = PostTransform::of(view)?;
    if targets == 1 && !matches!(post, PostTransform::None | PostTransform::Probit) {
        return Err(view.refuse("runtimes differ on this transform of a single target"));
    }
    let linear = Linear::new(coefficients, intercepts)
        .ok_or_else(|| view.refuse("the coefficients do not fit the targets"))?;
    Ok(Built::one(Regressor { linear, post }, DType::F32))
}

impl Operator for Regressor {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        with_rows(inputs, 0, context, |rows, context| {
            check_width(rows, self.linear.width())?;
            let targets = self.linear.targets();
            let out = context.shape_as::<f32>(&mut outputs[0], &[rows.count, targets])?;
            for (index, out) in out.chunks_exact_mut(targets).enumerate() {
                self.linear.row(rows.row(index), out);
                self.post.apply(out);
            }
            Ok(())
        })
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(self.linear.bytes());
    }
}
