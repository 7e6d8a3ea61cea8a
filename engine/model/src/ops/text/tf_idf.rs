//! Owns the counting of words and of sequences of words.
//!
//! Refuses weights for counts that are not in the order of their sequences, for the definition and
//! its reference differ there. Bound: each row once per length and distance.

use std::collections::HashMap;

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::int_at;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Data, Tensor};

/// This family.
pub const OPERATORS: Family = &[("", "TfIdfVectorizer", tf_idf_vectorizer)];

/// Longest sequence and largest distance.
const LENGTH_MAX: i64 = 1_024;
/// Most counts of a row.
const COLUMN_COUNT_MAX: i64 = 1 << 24;
/// Stands for a word that no sequence has.
const UNKNOWN: i64 = -1;

/// What becomes of counts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// They stay.
    Counts,
    /// A weight, if there is any.
    Weights,
    /// Multiplied with weights.
    Products,
}

#[derive(Debug)]
struct TfIdf {
    mode: Mode,
    /// Numbers of words; none where the words are numbers themselves.
    words: Option<HashMap<String, i64>>,
    /// Column of the result by sequence.
    columns: HashMap<Vec<i64>, usize>,
    width: usize,
    weights: Option<Vec<f32>>,
    lengths: [usize; 2],
    skips: usize,
}

impl TfIdf {
    fn word(&self, data: &Data, index: usize) -> Option<i64> {
        match (&self.words, data) {
            (Some(words), Data::String(texts)) => {
                Some(texts.get(index).and_then(|text| words.get(text)).copied().unwrap_or(UNKNOWN))
            }
            (None, data) => int_at(data, index),
            _ => None,
        }
    }

    fn count(&self, row: &[i64], sequence: &mut Vec<i64>, out: &mut [f32]) {
        let [mut shortest, longest] = self.lengths;
        for distance in 1..=self.skips + 1 {
            for start in 0..row.len() {
                sequence.clear();
                for word in row[start..].iter().step_by(distance).take(longest) {
                    sequence.push(*word);
                    let column = self.columns.get(sequence.as_slice());
                    if let Some(column) = column.filter(|_| sequence.len() >= shortest) {
                        out[*column] += 1.0;
                    }
                }
            }
            // Single words are the same at all distances.
            if shortest == 1 {
                shortest = 2;
            }
            if shortest > longest {
                return;
            }
        }
    }

    fn weigh(&self, out: &mut [f32]) {
        for (column, out) in out.iter_mut().enumerate() {
            let weight = self.weights.as_ref().map_or(1.0, |weights| weights[column]);
            *out = match self.mode {
                Mode::Counts => *out,
                Mode::Weights => {
                    if *out > 0.0 {
                        weight
                    } else {
                        0.0
                    }
                }
                Mode::Products => *out * weight,
            };
        }
    }
}

impl Operator for TfIdf {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let dims = [input.shape().first().copied().unwrap_or(1), self.width];
        let (dims, len) = match input.shape()[..] {
            [] => (&dims[1..], 1),
            [len] => (&dims[1..], len),
            [rows, len] if rows > 0 => (&dims[..], len),
            _ => return Err(RunError::input(input.shape(), "rows of words")),
        };
        let out = context.shape_as::<f32>(&mut outputs[0], dims)?;
        out.fill(0.0);
        let (mut row, mut sequence) = (Vec::with_capacity(len), Vec::new());
        for (index, out) in out.chunks_exact_mut(self.width).enumerate() {
            row.clear();
            for place in index * len..(index + 1) * len {
                let wrong = || RunError::input(input.dtype(), "words as in the settings");
                row.push(self.word(input.data(), place).ok_or_else(wrong)?);
            }
            self.count(&row, &mut sequence, out);
            self.weigh(out);
        }
        Ok(())
    }

    fn memory(&self, report: &mut MemoryReport) {
        let words = self.words.iter().flat_map(|words| words.keys());
        let words = words.map(|word| word.len() + size_of::<(String, i64)>());
        let columns = self.columns.keys();
        let columns = columns.map(|key| size_of_val(&key[..]) + size_of::<(Vec<i64>, usize)>());
        report.add_heap(words.sum::<usize>() + columns.sum::<usize>());
        report.add_heap(self.weights.as_deref().map_or(0, size_of_val));
    }
}

/// Where the sequences of each length begin among all words, with the end behind them.
fn bounds(view: &NodeView<'_>, words: usize) -> Result<Vec<usize>, ModelError> {
    let starts = view.ints("ngram_counts")?.unwrap_or_default();
    let mut bounds = Vec::with_capacity(starts.len() + 1);
    for start in starts.iter().copied().chain([words as i64]) {
        let start = usize::try_from(start).ok().filter(|start| *start <= words);
        let start = start.filter(|start| bounds.last().is_none_or(|last| last <= start));
        bounds.push(start.ok_or_else(|| view.refuse("`ngram_counts` does not grow"))?);
    }
    Ok(bounds)
}

fn tf_idf_vectorizer(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[
        "max_gram_length",
        "max_skip_count",
        "min_gram_length",
        "mode",
        "ngram_counts",
        "ngram_indexes",
        "pool_int64s",
        "pool_strings",
        "weights",
    ])?;
    let mode = match view.string("mode")? {
        Some("TF") => Mode::Counts,
        Some("IDF") => Mode::Weights,
        Some("TFIDF") => Mode::Products,
        other => return Err(view.refuse(format_args!("mode {other:?} is not known"))),
    };
    let within = |name: &str, min: i64| match view.int(name)? {
        Some(value) if (min..=LENGTH_MAX).contains(&value) => Ok(value as usize),
        other => Err(view.refuse(format_args!("`{name}` {other:?}"))),
    };
    let lengths = [within("min_gram_length", 1)?, within("max_gram_length", 1)?];
    let skips = within("max_skip_count", 0)?;
    let (words, pool) = match (view.ints("pool_int64s")?, view.strings("pool_strings")?) {
        (Some(numbers), None) => {
            view.dtype_among(0, &[DType::I32, DType::I64])?;
            (None, numbers.to_vec())
        }
        (None, Some(texts)) => {
            view.dtype_among(0, &[DType::String])?;
            let mut words = HashMap::new();
            let number = |text: &String| {
                let next = words.len() as i64;
                *words.entry(text.clone()).or_insert(next)
            };
            let pool = texts.iter().map(number).collect();
            (Some(words), pool)
        }
        _ => return Err(view.refuse("it has not one pool of words")),
    };
    let indexes = view.ints("ngram_indexes")?.unwrap_or_default();
    let largest = indexes.iter().copied().max().unwrap_or(-1);
    if lengths[0] > lengths[1]
        || !(0..COLUMN_COUNT_MAX).contains(&largest)
        || indexes.iter().any(|index| *index < 0)
    {
        return Err(view.refuse("its lengths or `ngram_indexes` are not computed"));
    }
    let (columns, count) = columns(view, &pool, lengths, indexes)?;
    let width = largest as usize + 1;
    let weights = view.floats("weights")?.map(<[f32]>::to_vec);
    let in_order = indexes.iter().enumerate().all(|(place, index)| place as i64 == *index);
    let fits = weights.as_ref().is_none_or(|weights| weights.len() == width && in_order);
    if !fits || count != indexes.len() {
        return Err(view.refuse("its weights or indexes are not in the order of its sequences"));
    }
    let operator = TfIdf { mode, words, columns, width, weights, lengths, skips };
    Ok(Built::one(operator, DType::F32))
}

/// The column of each sequence of a wanted length, and how many sequences there are.
fn columns(
    view: &NodeView<'_>,
    pool: &[i64],
    lengths: [usize; 2],
    indexes: &[i64],
) -> Result<(HashMap<Vec<i64>, usize>, usize), ModelError> {
    let (mut columns, mut count) = (HashMap::new(), 0);
    for (place, bounds) in bounds(view, pool.len())?.windows(2).enumerate() {
        let [start, end] = *bounds else { continue };
        let length = place + 1;
        if !(end - start).is_multiple_of(length) {
            return Err(view.refuse(format_args!("sequences of {length} words are cut")));
        }
        for sequence in pool[start..end].chunks_exact(length) {
            let index = indexes.get(count).copied().unwrap_or(0);
            if (lengths[0]..=lengths[1]).contains(&length) {
                columns.insert(sequence.to_vec(), index as usize);
            }
            count += 1;
        }
    }
    Ok((columns, count))
}
