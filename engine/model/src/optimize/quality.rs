//! Owns the comparison of two versions' answers to the same rows.
//!
//! Refuses to judge it. Bound: one pass over the answers.

use serde::{Deserialize, Serialize};

use super::answers::Answers;
use super::data::DataSet;
use crate::artifact::Task;

/// How the answers of an optimised version differ from those of the version that it was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Rows that both were asked.
    pub row_count: usize,
    /// The share of rows that the version before gets right, where there are labels.
    pub accuracy_before: Option<f64>,
    /// The share of rows that the optimised version gets right, where there are labels.
    pub accuracy_after: Option<f64>,
    /// The share of rows to which both give the same class, where the model classifies.
    pub agreement: Option<f64>,
    /// The mean cosine of the angle between both versions' directions, where the model embeds.
    pub similarity: Option<f64>,
    /// The largest distance of two probabilities, or of two numbers of the first output.
    pub difference_max: f64,
    /// The mean distance of those.
    pub difference_mean: f64,
    /// What optimising costs, where the model classifies or embeds: accuracy before less accuracy
    /// after where there are labels, and negative where it gained; without labels the share of
    /// rows with another class, which is the most that it can cost; of directions 1 less
    /// `similarity`.
    pub accuracy_loss: Option<f64>,
}

impl Quality {
    /// Compares the answers to the rows of a data set.
    pub(super) fn of(task: &Task, data: &DataSet, before: &Answers, after: &Answers) -> Self {
        let row_count = data.row_count();
        let share = |count: usize| count as f64 / row_count.max(1) as f64;
        let is_labelled = data.labels.is_some() && matches!(task, Task::Classify { .. });
        let right = |answers: &Answers| {
            let labels = data.labels.iter().flatten().map(|label| *label as usize);
            labels.zip(&answers.classes).filter(|(label, class)| label == *class).count()
        };
        let right = is_labelled.then(|| (right(before), right(after)));
        let agreement = matches!(task, Task::Classify { .. }).then(|| {
            let pairs = before.classes.iter().zip(&after.classes);
            share(pairs.filter(|(before, after)| before == after).count())
        });
        let similarity = match task {
            Task::Embed { dimension, .. } => Some(cosine_mean(before, after, *dimension)),
            _ => None,
        };
        let differences = before.numbers.iter().zip(&after.numbers).map(|(a, b)| (a - b).abs());
        let number_count = before.numbers.len().max(1) as f64;
        let accuracy_loss = match right {
            // Counted first, so that the loss of one row in a hundred is 0.01 and no more.
            Some((before, after)) if before < after => Some(-share(after - before)),
            Some((before, after)) => Some(share(before - after)),
            None => agreement.or(similarity).map(|kept| 1.0 - kept),
        };
        Self {
            row_count,
            accuracy_before: right.map(|(before, _)| share(before)),
            accuracy_after: right.map(|(_, after)| share(after)),
            agreement,
            similarity,
            difference_max: differences.clone().fold(0.0, f64::max),
            difference_mean: differences.sum::<f64>() / number_count,
            accuracy_loss,
        }
    }
}

fn cosine_mean(before: &Answers, after: &Answers, dimension: usize) -> f64 {
    let rows = |answers: &Answers| answers.numbers.len() / dimension.max(1);
    let pairs = before.numbers.chunks(dimension.max(1)).zip(after.numbers.chunks(dimension.max(1)));
    let cosines = pairs.map(|(a, b)| {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let size = (dot(a, a) * dot(b, b)).sqrt();
        match size > 0.0 {
            true => dot(a, b) / size,
            // Two that are zero point the same way.
            false => f64::from(u8::from(a == b)),
        }
    });
    cosines.sum::<f64>() / rows(before).max(1) as f64
}
