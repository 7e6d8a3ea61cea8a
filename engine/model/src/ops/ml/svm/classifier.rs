//! Owns `SVMClassifier`: every pair of classes votes, the class with most votes is chosen.
//!
//! Without probabilities the scores are those of the pairs; of two classes they are both signs of
//! one. Without support vectors it is a linear classifier.
//! Refuses two classes without support vectors, among which ONNX Runtime chooses by the wrong rule.
//! Bound: rows by support vectors by classes.

use super::machine::Vectors;
use super::probability;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::ml::labels::Labels;
use crate::ops::ml::linear::{Linear, check_width};
use crate::ops::ml::rows::{Rows, with_rows};
use crate::ops::ml::scores::{PostTransform, logistic};
use crate::ops::registry::Entry;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError, Scratch};
use crate::tensor::{DType, Tensor};

/// Its entry in the table.
pub const OPERATOR: Entry = ("ai.onnx.ml", "SVMClassifier", build);

const SETTINGS: [&str; 11] = [
    "classlabels_ints",
    "classlabels_strings",
    "coefficients",
    "kernel_params",
    "kernel_type",
    "post_transform",
    "prob_a",
    "prob_b",
    "rho",
    "support_vectors",
    "vectors_per_class",
];

#[derive(Debug)]
struct Classifier {
    machine: Machine,
    labels: Labels,
    post: PostTransform,
}

#[derive(Debug)]
enum Machine {
    Linear(Linear),
    Pairs(Pairs),
}

/// Support vectors, class after class, and how each pair of classes weighs them.
#[derive(Debug)]
struct Pairs {
    vectors: Vectors,
    /// Where the vectors of each class begin, and where the last end.
    starts: Vec<usize>,
    /// Row `k` has the weight of each vector against the other classes, its own left out.
    coefficients: Vec<f32>,
    rho: Vec<f32>,
    /// `a` and `b` of Platt's probability, by pair; empty without.
    platt: Vec<(f32, f32)>,
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&SETTINGS)?;
    view.dtype_among(0, &[DType::F32, DType::F64, DType::I64, DType::I32])?;
    let labels = Labels::of(view, "classlabels_ints", "classlabels_strings")?;
    let post = PostTransform::of(view)?;
    let classes = labels.len();
    if !(2..65_536).contains(&classes) {
        return Err(view.refuse(format_args!("{classes} classes")));
    }
    let machine = match view.ints("vectors_per_class")?.unwrap_or_default() {
        [] => linear(view, classes)?,
        counts => Machine::Pairs(pairs(view, counts, classes)?),
    };
    if classes == 2 && matches!(&machine, Machine::Pairs(pairs) if pairs.platt.is_empty()) {
        let is_known = matches!(post, PostTransform::None | PostTransform::Logistic);
        if !is_known {
            return Err(view.refuse("runtimes differ on this transform of a single score"));
        }
    }
    let outputs = vec![labels.dtype(), DType::F32];
    Ok(Built::many(Classifier { machine, labels, post }, outputs))
}

fn linear(view: &NodeView<'_>, classes: usize) -> Result<Machine, ModelError> {
    if classes == 2 {
        return Err(view.refuse("two classes without support vectors"));
    }
    if view.string("kernel_type")?.is_some_and(|name| name != "LINEAR") {
        return Err(view.refuse("a kernel without support vectors"));
    }
    let [rho] = view.floats("rho")?.unwrap_or_default() else {
        return Err(view.refuse("without support vectors `rho` is one number"));
    };
    let coefficients = view.floats("coefficients")?.unwrap_or_default();
    let linear = Linear::new(coefficients, vec![*rho; classes]);
    linear
        .map(Machine::Linear)
        .ok_or_else(|| view.refuse("the coefficients do not fit the classes"))
}

fn pairs(view: &NodeView<'_>, counts: &[i64], classes: usize) -> Result<Pairs, ModelError> {
    let mut starts = vec![0usize];
    for count in counts {
        let count = usize::try_from(*count).ok();
        let end = count.and_then(|count| starts[starts.len() - 1].checked_add(count));
        starts.push(end.ok_or_else(|| view.refuse("a class has no number of vectors"))?);
    }
    let vector_count = starts[starts.len() - 1];
    if counts.len() != classes || vector_count == 0 {
        return Err(view.refuse("the vectors do not fit the classes"));
    }
    let vectors = Vectors::of(view, vector_count)?;
    let list = |name, count: usize| match view.floats(name)?.unwrap_or_default() {
        list if list.len() == count => Ok(list),
        list => {
            let found = list.len();
            Err(view.refuse(format_args!("`{name}` has {found} values, it needs {count}")))
        }
    };
    let pair_count = classes * (classes - 1) / 2;
    // As many as the support vectors that were read, times at most 2^16.
    let coefficients = list("coefficients", (classes - 1) * vector_count)?.to_vec();
    let rho = list("rho", pair_count)?.to_vec();
    let has_platt = view.floats("prob_a")?.is_some_and(|list| !list.is_empty());
    let platt_count = if has_platt { pair_count } else { 0 };
    let platt = list("prob_a", platt_count)?.iter().zip(list("prob_b", platt_count)?);
    let platt = platt.map(|(a, b)| (*a, *b)).collect();
    Ok(Pairs { vectors, starts, coefficients, rho, platt })
}

impl Pairs {
    fn classes(&self) -> usize {
        self.starts.len() - 1
    }

    /// Writes the score of each pair of classes and gives the class with most votes.
    fn vote(&self, likeness: &[f32], votes: &mut Vec<usize>, scores: &mut [f32]) -> usize {
        let classes = self.classes();
        votes.clear();
        votes.resize(classes, 0);
        let vector_count = likeness.len();
        // What the vectors of a class say against another.
        let part = |own: usize, row: usize| {
            let own = self.starts[own]..self.starts[own + 1];
            let row = &self.coefficients[row * vector_count..][..vector_count];
            let products = row[own.clone()].iter().zip(&likeness[own]);
            products.map(|(weight, value)| f64::from(weight * value)).sum::<f64>()
        };
        let mut pair = 0;
        for i in 0..classes - 1 {
            for j in i + 1..classes {
                let sum = part(i, j - 1) + part(j, i) + f64::from(self.rho[pair]);
                scores[pair] = sum as f32;
                votes[if sum > 0.0 { i } else { j }] += 1;
                pair += 1;
            }
        }
        let most = votes.iter().copied().max().unwrap_or(0);
        votes.iter().position(|count| *count == most).unwrap_or(0)
    }

    /// Writes the probability of each class from the scores of the pairs.
    fn probabilities(&self, scores: &[f32], buffer: &mut Vec<f32>, out: &mut [f32]) {
        let classes = self.classes();
        buffer.resize(probability::buffer_count(classes), 0.0);
        let square = &mut buffer[..classes * classes];
        let mut pair = 0;
        for i in 0..classes - 1 {
            for j in i + 1..classes {
                let (a, b) = self.platt[pair];
                let first = probability::of_pair(scores[pair], a, b);
                square[i * classes + j] = first;
                square[j * classes + i] = 1.0 - first;
                pair += 1;
            }
        }
        probability::of_classes(buffer, out);
    }
}

impl Classifier {
    /// Scores of a row.
    fn width(&self) -> usize {
        match &self.machine {
            Machine::Pairs(pairs) if pairs.platt.is_empty() => pairs.rho.len().max(2),
            _ => self.labels.len(),
        }
    }

    /// Writes the scores of a row and gives its class.
    fn row(&self, row: &[f32], scratch: &mut Scratch, out: &mut [f32]) -> usize {
        match &self.machine {
            Machine::Linear(linear) => {
                linear.row(row, out);
                let mut best = 0;
                for class in 1..out.len() {
                    if out[class] > out[best] {
                        best = class;
                    }
                }
                self.post.apply(out);
                best
            }
            Machine::Pairs(pairs) => self.pairs(pairs, row, scratch, out),
        }
    }

    fn pairs(&self, pairs: &Pairs, row: &[f32], scratch: &mut Scratch, out: &mut [f32]) -> usize {
        // The last buffer of numbers holds the rows.
        let Scratch { f32s: [likeness, scores, buffers, _], usizes: votes, .. } = scratch;
        pairs.vectors.compare(row, likeness);
        scores.resize(pairs.rho.len(), 0.0);
        let class = pairs.vote(likeness, votes, scores);
        if !pairs.platt.is_empty() {
            pairs.probabilities(scores, buffers, out);
            self.post.apply(out);
            return class;
        }
        match (pairs.rho.len(), self.post) {
            (1, PostTransform::Logistic) => {
                (out[0], out[1]) = (logistic(-scores[0]), logistic(scores[0]));
            }
            (1, _) => (out[0], out[1]) = (-scores[0], scores[0]),
            _ => {
                out.copy_from_slice(scores);
                self.post.apply(out);
            }
        }
        class
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
        let features = match &self.machine {
            Machine::Linear(linear) => linear.width(),
            Machine::Pairs(pairs) => pairs.vectors.width(),
        };
        with_rows(inputs, 0, context, |rows: Rows<'_, f32>, context| {
            check_width(rows, features)?;
            let width = self.width();
            let scores = context.shape_as::<f32>(scores, &[rows.count, width])?;
            // The scratch is out of the context while labels are written through it.
            let mut scratch = std::mem::take(context.scratch);
            let written = self.labels.write(labels, context, rows.count, |row| {
                self.row(rows.row(row), &mut scratch, &mut scores[row * width..][..width])
            });
            *context.scratch = scratch;
            written
        })
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(match &self.machine {
            Machine::Linear(linear) => linear.bytes(),
            Machine::Pairs(pairs) => {
                pairs.vectors.bytes()
                    + size_of_val(&pairs.coefficients[..])
                    + size_of_val(&pairs.rho[..])
                    + size_of_val(&pairs.platt[..])
            }
        });
    }
}
