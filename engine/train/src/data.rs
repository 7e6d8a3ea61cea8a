//! Owns data sets in memory, their stratified splits and the bundled digits.
//!
//! Refuses to know models. Bound: the bundled file; splits copy their rows.

use std::io::Read;

use flate2::read::GzDecoder;

use crate::error::TrainError;
use crate::loss::Loss;
use crate::packed::PackedFeatures;
use crate::random::Random;

/// The share of the digits that the example is not trained on.
pub const DIGITS_HELD_OUT_SHARE: f64 = 0.2;
/// The seed of the example's split, so that tests and benchmarks ask for the same held-out rows.
pub const DIGITS_SEED: u64 = 1_797;

const DIGITS: &[u8] = include_bytes!("../data/digits.csv.gz");
const DIGITS_NAME: &str = "digits.csv.gz";
const PIXELS: usize = 64;
const DIGIT_COUNT: u32 = 10;
/// Rows that are read at once to be shown.
const SHOWN_ROWS: usize = 256;

/// Rows with a class each.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// `[rows, feature_count]`, row-major.
    pub features: Vec<f32>,
    /// The class of each row; empty where rows have numbers.
    pub labels: Vec<u32>,
    /// The number of each row that is to be found; empty where rows have classes.
    pub values: Vec<f32>,
    /// Features of one row.
    pub feature_count: usize,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// The features, where they are in a file and not in `features`.
    pub packed: Option<PackedFeatures>,
}

/// A data set in two parts without a row in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// To train on.
    pub train: Dataset,
    /// To test with.
    pub held_out: Dataset,
}

impl Dataset {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.labels.len().max(self.values.len())
    }

    /// The features of one row.
    ///
    /// # Panics
    /// As indexing does, for an `index` that is not below [`Self::rows`].
    pub fn row(&self, index: usize) -> &[f32] {
        &self.features[index * self.feature_count..][..self.feature_count]
    }

    /// Holds out the given share of each class, at least one row of it, chosen by `seed`; of rows
    /// with numbers the share of all.
    /// A share that leaves nothing to train on shows when training refuses the data.
    pub fn split(&self, held_out_share: f64, seed: u64) -> Split {
        let mut random = Random::new(seed);
        let mut is_held_out = vec![false; self.rows()];
        for class in 0..self.classes.len().max(1) as u32 {
            let is_member = |row: &usize| self.labels.get(*row).is_none_or(|of| *of == class);
            let mut members: Vec<usize> = (0..self.rows()).filter(is_member).collect();
            random.shuffle(&mut members);
            let count = (members.len() as f64 * held_out_share).round().max(1.0) as usize;
            members.iter().take(count).for_each(|&row| is_held_out[row] = true);
        }
        let part = |held_out: bool| {
            let rows = (0..self.rows()).filter(|&row| is_held_out[row] == held_out);
            self.select(&rows.collect::<Vec<_>>())
        };
        Split { train: part(false), held_out: part(true) }
    }

    /// Some of the rows, by their numbers.
    ///
    /// # Panics
    /// As [`Self::row`].
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            features: match self.packed {
                Some(_) => Vec::new(),
                None => rows.iter().flat_map(|&row| self.row(row)).copied().collect(),
            },
            labels: rows.iter().filter_map(|&row| self.labels.get(row)).copied().collect(),
            values: rows.iter().filter_map(|&row| self.values.get(row)).copied().collect(),
            feature_count: self.feature_count,
            classes: self.classes.clone(),
            packed: self.packed.as_ref().map(|packed| packed.select(rows)),
        }
    }

    /// Shows the features of each row in turn, wherever they are.
    pub(crate) fn each_row(&self, show: &mut dyn FnMut(&[f32])) -> Result<(), TrainError> {
        let (mut reader, mut features) = (self.reader(), Vec::new());
        for first in (0..self.rows()).step_by(SHOWN_ROWS) {
            features.clear();
            reader.read(first..self.rows().min(first + SHOWN_ROWS), &mut features)?;
            features.chunks_exact(self.feature_count).for_each(&mut *show);
        }
        Ok(())
    }

    /// Checks rows that need not have all classes.
    pub(crate) fn check_alone(&self) -> Result<(), TrainError> {
        match self.classes.len() {
            // One class is enough where others have the other ones.
            1 => {
                let classes = vec![self.classes[0].clone(), String::new()];
                Self { classes, ..self.clone() }.check(Loss::CrossEntropy)
            }
            _ => self.check(Loss::CrossEntropy),
        }
    }

    pub(crate) fn check(&self, loss: Loss) -> Result<(), TrainError> {
        let (labels, values) = (self.labels.len(), self.values.len());
        let expected = match &self.packed {
            None => self.feature_count.checked_mul(self.rows()),
            Some(packed) => (packed.rows() == self.rows()).then_some(0),
        };
        let holds = [
            (self.feature_count > 0, "has no features"),
            (self.rows() > 0, "has no rows"),
            (!loss.is_of_classes() || labels > 0, "has no classes, and the loss is one of classes"),
            (loss.is_of_classes() || values > 0, "has no numbers, and the loss is one of numbers"),
            (labels == 0 || values == 0, "has classes and numbers"),
            (values > 0 || self.classes.len() > 1, "has less than two classes"),
            (self.values.iter().all(|value| value.is_finite()), "has targets that are not finite"),
            (expected == Some(self.features.len()), "has rows of different lengths"),
            (self.features.iter().all(|value| value.is_finite()), "has values that are not finite"),
            (
                self.labels.iter().all(|&label| (label as usize) < self.classes.len()),
                "has labels without a class",
            ),
        ];
        let broken = holds.into_iter().find(|(holds, _)| !holds);
        broken.map_or(Ok(()), |(_, why)| Err(TrainError::Dataset(why)))
    }
}

impl Split {
    /// Checks both parts, that they are of one kind, and that each class can be learnt.
    pub(crate) fn check(&self, loss: Loss) -> Result<(), TrainError> {
        let Self { train, held_out } = self;
        train.check(loss)?;
        held_out.check(loss)?;
        if train.feature_count != held_out.feature_count || train.classes != held_out.classes {
            return Err(TrainError::Dataset("has parts with different features or classes"));
        }
        let mut has_rows = vec![false; train.classes.len()];
        train.labels.iter().for_each(|&label| has_rows[label as usize] = true);
        match has_rows.iter().position(|has_rows| !has_rows) {
            None => Ok(()),
            Some(empty) => Err(TrainError::EmptyClass { class: train.classes[empty].clone() }),
        }
    }
}

/// The bundled digits: 64 pixels of 0 to 16, ten classes.
pub fn digits() -> Result<Dataset, TrainError> {
    let mut text = String::new();
    GzDecoder::new(DIGITS)
        .read_to_string(&mut text)
        .map_err(|source| TrainError::Compression { name: DIGITS_NAME, source })?;
    let mut features = Vec::new();
    let mut labels = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |expected| TrainError::Data { name: DIGITS_NAME, line: index + 1, expected };
        let (pixels, label) = line.rsplit_once(',').ok_or_else(|| wrong("pixels, then a digit"))?;
        let before = features.len();
        for pixel in pixels.split(',') {
            features.push(pixel.parse().map_err(|_| wrong("a pixel must be a number"))?);
        }
        if features.len() - before != PIXELS {
            return Err(wrong("a row must hold 64 pixels"));
        }
        let label: u32 = label.trim().parse().map_err(|_| wrong("the last number is the digit"))?;
        if label >= DIGIT_COUNT {
            return Err(wrong("the digit must be 0 to 9"));
        }
        labels.push(label);
    }
    let classes = (0..DIGIT_COUNT).map(|digit| digit.to_string()).collect();
    let (values, packed) = (Vec::new(), None);
    Ok(Dataset { features, labels, values, feature_count: PIXELS, classes, packed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_whole_and_their_split_is_stratified_and_seeded() {
        let data = digits().unwrap();
        assert_eq!((data.rows(), data.feature_count, data.classes.len()), (1_797, 64, 10));
        data.check(Loss::CrossEntropy).unwrap();
        let split = data.split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED);
        assert_eq!(split, data.split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED));
        assert_ne!(split, data.split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED + 1));
        assert_eq!(split.train.rows() + split.held_out.rows(), 1_797);
        let count = |data: &Dataset, class| data.labels.iter().filter(|&&l| l == class).count();
        for class in 0..10 {
            let share = count(&split.held_out, class) as f64 / count(&data, class) as f64;
            assert!((share - 0.2).abs() < 0.01, "class {class}: {share}");
        }
    }

    /// Two classes of ten rows; the only feature of a row is its number.
    fn numbered() -> Dataset {
        Dataset {
            features: (0..20u8).map(f32::from).collect(),
            labels: (0..20).map(|row| row % 2).collect(),
            values: Vec::new(),
            feature_count: 1,
            classes: ["even", "odd"].map(str::to_owned).into(),
            packed: None,
        }
    }

    #[test]
    fn a_split_has_each_row_once_whatever_the_share() {
        let check = |share: f64, held_out: usize| {
            let split = numbered().split(share, 1);
            assert_eq!(split.held_out.rows(), held_out, "{share}");
            let mut rows = [split.train.features, split.held_out.features].concat();
            rows.sort_by(f32::total_cmp);
            assert_eq!(rows, numbered().features, "{share}");
        };
        check(0.3, 6);
        check(0.0, 2);
        check(-1.0, 2);
        check(f64::NAN, 2);
        check(1.0, 20);
        check(f64::INFINITY, 20);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let check = |change: &dyn Fn(&mut Split), expected: &str| {
            let mut split = numbered().split(0.3, 1);
            split.check(Loss::CrossEntropy).unwrap();
            change(&mut split);
            let message = split.check(Loss::CrossEntropy).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        check(&|split| split.held_out.classes.swap(0, 1), "different features or classes");
        check(&|split| split.held_out = digits().unwrap(), "different features or classes");
        check(&|split| split.train.labels.fill(0), "class `odd` has no rows");
        check(&|split| *split = numbered().split(1.0, 1), "no rows");
        check(&|split| split.held_out.features[0] = f32::INFINITY, "not finite");
    }

    #[test]
    fn data_that_cannot_be_trained_on_is_refused() {
        let good = digits().unwrap();
        let check = |change: &dyn Fn(&mut Dataset), expected: &str| {
            let mut data = good.clone();
            change(&mut data);
            let message = data.check(Loss::CrossEntropy).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        check(&|data| data.feature_count = 0, "no features");
        check(&|data| data.labels.clear(), "no rows");
        check(&|data| data.classes.truncate(1), "two classes");
        check(&|data| data.classes.truncate(9), "without a class");
        check(&|data| data.features.truncate(9), "different lengths");
        check(&|data| data.features[7] = f32::NAN, "not finite");
    }
}
