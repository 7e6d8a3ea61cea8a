//! Owns the answer to a request: a view of what the model computed, lent to the sink.
//!
//! Refuses to know where answers go. Bound: borrows from the session of the worker; nothing is
//! copied.

use std::collections::HashMap;
use std::ops::Range;

use truststram_base::ModelVersion;

use super::loaded::LoadedModel;
use crate::artifact::Task;
use crate::error::ModelError;
use crate::program::Session;
use crate::tensor::{DType, Data, Element, Shape, Tensor};

/// The answer to one request.
#[derive(Clone, Copy, Debug)]
pub struct Inference<'a> {
    /// The version that answered.
    pub version: ModelVersion,
    /// How many requests were computed together.
    pub batch_size: u32,
    /// Time from `enqueued_us` to the start of the computation, microseconds.
    pub queue_us: u32,
    /// Time that the whole batch took to compute, microseconds.
    pub compute_us: u32,
    /// What was computed.
    pub answer: Answer<'a>,
}

/// The class of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class<'a> {
    /// Its index among the classes; where the model names none, the most probable one, the first
    /// of equals.
    pub index: u32,
    /// Its probability.
    pub confidence: f32,
    /// The probabilities of all classes, in the model's order.
    pub probabilities: &'a [f32],
}

/// What a model computed for one request.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    model: &'a LoadedModel,
    session: &'a Session,
    /// Of a classifier: those of the whole batch, row by row.
    probabilities: &'a [f32],
    first: usize,
    rows: usize,
    batch_rows: usize,
}

/// The part of one output that belongs to a request.
#[derive(Clone, Copy, Debug)]
pub struct OutputView<'a> {
    /// The output's name.
    pub name: &'a str,
    /// Elements along each dimension.
    pub shape: Shape,
    tensor: &'a Tensor,
    start: usize,
    end: usize,
}

impl<'a> OutputView<'a> {
    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.tensor.dtype()
    }

    /// The values, row-major, if they are of this type.
    pub fn values<T: Element>(&self) -> Option<&'a [T]> {
        self.tensor.values::<T>()?.get(self.start..self.end)
    }

    /// A copy that can be kept.
    pub fn to_tensor(&self) -> Option<Tensor> {
        let range = self.start..self.end;
        let data = crate::with_values!(self.tensor.data(), values => copied(values, range)?);
        Tensor::new(&self.shape, data)
    }
}

fn copied<T: Element>(values: &[T], range: Range<usize>) -> Option<Data> {
    Some(T::data(values.get(range)?.to_vec()))
}

impl<'a> Answer<'a> {
    /// How many rows the answer has; 1 of a model that takes no batches.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The class of a row, of a classifier. Row 0 is always there.
    pub fn class(&self, row: usize) -> Option<Class<'a>> {
        let Task::Classify { classes, label, .. } = &self.model.signature().task else {
            return None;
        };
        if row >= self.rows {
            return None;
        }
        let row = self.first + row;
        let probabilities = self.probabilities.get(row * classes.len()..)?.get(..classes.len())?;
        let named = label.map(|output| self.model.labels().index(self.session, output, row));
        let index = match named {
            Some(index) => index?,
            None => largest(probabilities),
        };
        let confidence = *probabilities.get(index as usize)?;
        Some(Class { index, confidence, probabilities })
    }

    /// The direction of a row, of a model that embeds.
    pub fn embedding(&self, row: usize) -> Option<&'a [f32]> {
        let Task::Embed { dimension, .. } = self.model.signature().task else { return None };
        if row >= self.rows {
            return None;
        }
        let values = self.session.output(0)?.values::<f32>()?;
        values.get((self.first + row) * dimension..)?.get(..dimension)
    }

    /// How many outputs there are.
    pub fn output_count(&self) -> usize {
        self.model.signature().outputs.len()
    }

    /// The rows of an output that belong to the request; the whole of it where the model takes no
    /// batches.
    pub fn output(&self, index: usize) -> Option<OutputView<'a>> {
        let signature = self.model.signature();
        let name = &signature.outputs.get(index)?.name;
        let tensor = self.session.output(index)?;
        if !signature.batchable {
            let shape = *tensor.shape();
            return Some(OutputView { name, shape, tensor, start: 0, end: tensor.count() });
        }
        let mut dims = [0; crate::tensor::RANK_MAX];
        let rank = tensor.shape().len();
        dims[..rank].copy_from_slice(tensor.shape());
        dims[0] = self.rows;
        let shape = Shape::new(&dims[..rank])?;
        let row = tensor.count() / self.batch_rows.max(1);
        let (start, end) = (self.first * row, (self.first + self.rows) * row);
        Some(OutputView { name, shape, tensor, start, end })
    }
}

/// The first of the largest.
pub fn largest(values: &[f32]) -> u32 {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best as u32
}

/// From what a classifier calls a class to its index.
#[derive(Debug, Default)]
pub struct Labels {
    texts: HashMap<String, u32>,
    numbers: HashMap<i64, u32>,
}

impl Labels {
    /// The labels of these classes: their names, and the numbers that they name.
    pub fn new(classes: &[String]) -> Self {
        let indexed = || classes.iter().zip(0u32..);
        let number = |(class, index): (&String, u32)| Some((class.parse().ok()?, index));
        Self {
            texts: indexed().map(|(class, index)| (class.clone(), index)).collect(),
            numbers: indexed().filter_map(number).collect(),
        }
    }

    /// The class that an output names for a row.
    fn index(&self, session: &Session, output: usize, row: usize) -> Option<u32> {
        let tensor = session.output(output)?;
        match tensor.values::<i64>() {
            Some(numbers) => self.numbers.get(numbers.get(row)?).copied(),
            None => self.texts.get(tensor.values::<String>()?.get(row)?).copied(),
        }
    }
}

/// What a session computed for a whole batch, checked against the signature.
#[derive(Clone, Copy, Debug)]
pub struct BatchAnswer<'a> {
    model: &'a LoadedModel,
    session: &'a Session,
    probabilities: &'a [f32],
    rows: usize,
}

impl<'a> BatchAnswer<'a> {
    /// Checks the shapes of the outputs. Probabilities that are no f32 are put into `converted`.
    pub fn new(
        model: &'a LoadedModel,
        session: &'a Session,
        rows: usize,
        converted: &'a mut Vec<f32>,
    ) -> Result<Self, ModelError> {
        let signature = model.signature();
        let wrong = |what: &str, found: String, expected: String| {
            let what = format!("the output `{what}`");
            ModelError::Validation { what, found, expected }
        };
        for (index, port) in signature.outputs.iter().enumerate() {
            let missing = || wrong(&port.name, "missing".to_owned(), "one".to_owned());
            let shape = session.output(index).ok_or_else(missing)?.shape();
            if signature.batchable && shape.first() != Some(&rows) {
                return Err(wrong(&port.name, shape.to_string(), format!("[{rows}, ..]")));
            }
        }
        match &signature.task {
            Task::Classify { classes, probabilities, .. } => {
                let name = &signature.outputs[*probabilities].name;
                let tensor = session.output(*probabilities);
                let tensor = tensor.filter(|tensor| **tensor.shape() == [rows, classes.len()]);
                let values: &[f32] = match tensor.map(Tensor::data) {
                    Some(Data::F32(values)) => values,
                    Some(Data::F64(values)) => {
                        converted.clear();
                        converted.extend(values.iter().map(|value| *value as f32));
                        converted
                    }
                    _ => {
                        let found = session.output(*probabilities).map(|out| format!("{out:?}"));
                        let expected = format!("[{rows}, {}]", classes.len());
                        return Err(wrong(name, found.unwrap_or_default(), expected));
                    }
                };
                Ok(Self { model, session, probabilities: values, rows })
            }
            Task::Embed { dimension, .. } => {
                let tensor = session.output(0);
                let shape = tensor.map(|tensor| *tensor.shape()).unwrap_or_default();
                if *shape != [rows, *dimension] {
                    let expected = format!("[{rows}, {dimension}]");
                    return Err(wrong(&signature.outputs[0].name, shape.to_string(), expected));
                }
                Ok(Self { model, session, probabilities: &[], rows })
            }
            Task::Regress | Task::Tensors => Ok(Self { model, session, probabilities: &[], rows }),
        }
    }

    /// The answer of some of the rows.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] if a probability, a direction or a regressed number is none.
    pub fn of_rows(&self, first: usize, rows: usize) -> Result<Answer<'a>, ModelError> {
        let Self { model, session, probabilities, rows: batch_rows } = *self;
        let answer = Answer { model, session, probabilities, first, rows, batch_rows };
        let finite = match &model.signature().task {
            Task::Classify { .. } => {
                let classes = model.signature().classes().len();
                let own = probabilities.get(first * classes..(first + rows) * classes);
                own.is_some_and(all_finite) && answer.class(0).is_some()
            }
            Task::Embed { .. } => (0..rows).filter_map(|row| answer.embedding(row)).all(all_finite),
            Task::Regress => answer.output(0).is_some_and(|output| {
                let wide = |values: &[f64]| values.iter().all(|value| value.is_finite());
                output
                    .values::<f32>()
                    .map_or_else(|| output.values::<f64>().is_some_and(wide), all_finite)
            }),
            Task::Tensors => true,
        };
        if finite { Ok(answer) } else { Err(ModelError::NotFinite) }
    }
}

fn all_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_most_probable_classes_wins() {
        let check = |row: &[f32], expected: u32| assert_eq!(largest(row), expected, "{row:?}");
        check(&[1.0], 0);
        check(&[0.2, 0.4, 0.4], 1);
        check(&[-3.0, -2.0], 1);
    }
}
