//! Owns the comparison of a version with its shadow: the same batch again, after the answer.
//!
//! Refuses to know who reads the counts. Bound: only while no request waits; neither a slow nor a
//! failing shadow changes an answer.

use truststram_base::Counter;

use super::answer::{Answer, BatchAnswer, OutputView};
use super::gather::copy;
use super::loaded::LoadedModel;
use crate::artifact::{Signature, Task};
use crate::error::ModelError;
use crate::kernels::Alone;
use crate::program::Session;

/// Numbers that differ by more than this share of their size disagree.
const TOLERANCE: f64 = 1e-3;

/// What a version did as a shadow.
#[derive(Debug, Default)]
pub struct ShadowCounts {
    compared: Counter,
    disagreed: Counter,
    dropped: Counter,
    failed: Counter,
}

/// What a version did as a shadow, in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowSnapshot {
    /// Answered as well, and compared.
    pub compared: u64,
    /// Of these, answered otherwise: another class, or numbers that are not close.
    pub disagreed: u64,
    /// Not asked, because requests waited.
    pub dropped: u64,
    /// Asked and failed.
    pub failed: u64,
}

impl ShadowCounts {
    pub fn snapshot(&self) -> ShadowSnapshot {
        ShadowSnapshot {
            compared: self.compared.get(),
            disagreed: self.disagreed.get(),
            dropped: self.dropped.get(),
            failed: self.failed.get(),
        }
    }

    pub fn drop_rows(&self, rows: usize) {
        self.dropped.add(rows as u64);
    }

    pub fn fail_rows(&self, rows: usize) {
        self.failed.add(rows as u64);
    }
}

/// Whether a version can be asked what another one is asked, and its answers be compared.
pub fn is_comparable(one: &Signature, other: &Signature) -> bool {
    let shapes = |signature: &Signature| -> Vec<_> {
        signature.inputs.iter().map(|input| (input.dtype, input.dims.clone())).collect()
    };
    let kind = |signature: &Signature| std::mem::discriminant(&signature.task);
    shapes(one) == shapes(other)
        && kind(one) == kind(other)
        && one.batchable == other.batchable
        && one.tokens == other.tokens
        && one.outputs.len() == other.outputs.len()
        && one.classes() == other.classes()
}

/// Asks the shadow what `answered` was asked, whose session still holds inputs and outputs, and
/// counts where the answers differ.
pub fn compare(
    answered: (&LoadedModel, &Session),
    shadow: (&LoadedModel, &mut Session),
    rows: usize,
) -> Result<(), ModelError> {
    let (model, session) = answered;
    let (shadow, shadow_session) = shadow;
    for index in 0..model.signature().inputs.len() {
        if let Some(input) = session.input(index) {
            copy(shadow_session.input_mut(index), input);
        }
    }
    shadow_session.run(&Alone, None)?;
    let (mut converted, mut shadow_converted) = (Vec::new(), Vec::new());
    let answer = BatchAnswer::new(model, session, rows, &mut converted)?;
    let other = BatchAnswer::new(shadow, shadow_session, rows, &mut shadow_converted)?;
    for row in 0..rows {
        let counts = &shadow.shadow_counts;
        counts.compared.add(1);
        let agrees = match (answer.of_rows(row, 1), other.of_rows(row, 1)) {
            (Ok(answer), Ok(other)) => agree(&model.signature().task, &answer, &other),
            // Both have no answer, or one of them.
            (answer, other) => answer.is_err() == other.is_err(),
        };
        counts.disagreed.add(u64::from(!agrees));
    }
    Ok(())
}

fn agree(task: &Task, answer: &Answer<'_>, other: &Answer<'_>) -> bool {
    if let Task::Classify { .. } = task {
        let class = |answer: &Answer<'_>| answer.class(0).map(|class| class.index);
        return class(answer) == class(other);
    }
    (0..answer.output_count()).all(|index| match (answer.output(index), other.output(index)) {
        (Some(one), Some(other)) => are_close(&one, &other, TOLERANCE),
        _ => false,
    })
}

/// Whether two outputs have the same shape and, as far as they are numbers with a fraction, values
/// within a share of the largest of them; others must be equal.
pub fn are_close(one: &OutputView<'_>, other: &OutputView<'_>, tolerance: f64) -> bool {
    if one.dtype() != other.dtype() || one.shape != other.shape {
        return false;
    }
    if let (Some(a), Some(b)) = (one.values::<f32>(), other.values::<f32>()) {
        return are_near(
            a.iter().map(|a| f64::from(*a)),
            b.iter().map(|b| f64::from(*b)),
            tolerance,
        );
    }
    if let (Some(a), Some(b)) = (one.values::<f64>(), other.values::<f64>()) {
        return are_near(a.iter().copied(), b.iter().copied(), tolerance);
    }
    one.to_tensor() == other.to_tensor()
}

fn are_near(
    one: impl Iterator<Item = f64> + Clone,
    other: impl Iterator<Item = f64>,
    tolerance: f64,
) -> bool {
    let sizes = one.clone().map(f64::abs).filter(|size| size.is_finite());
    let allowed = tolerance * sizes.fold(1e-3, f64::max);
    let mut pairs = one.zip(other);
    pairs.all(|(a, b)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= allowed)
}
