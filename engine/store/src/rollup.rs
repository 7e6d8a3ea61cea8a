//! Owns the figures that are kept beside the rows: counts, sums and times of a span of time.
//!
//! They are exact: sums are whole numbers, so that they do not depend on the order of the rows,
//! and counting the rows again gives the same bytes. Refuses to know where they are kept.
//! Bound: four numbers per figure.

use truststram_base::PredictionRecord;

use crate::error::Damage;
use crate::fields::Fields;

/// A minute, in microseconds.
pub(crate) const MINUTE_US: i64 = 60_000_000;
/// Minutes of an hour.
pub(crate) const HOUR_MINUTES: i64 = 60;
/// What a confidence of 1 adds to [`Rollup::confidence_sum`].
const CONFIDENCE_UNIT: f64 = 4_294_967_296.0;

/// Bytes of a stored figure.
pub(crate) const ROLLUP_BYTES: usize = 4 * size_of::<u64>();

/// Figures of some rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// How many rows.
    pub rows: u64,
    /// How many of them have a result above 0.5, the result being the number of the class; of a
    /// model with two classes, those that answered yes.
    pub positive_rows: u64,
    /// Sum of the confidences, in units of 2^-32.
    confidence_sum: u64,
    /// Time of the latest row, microseconds UTC.
    pub last_us: i64,
}

impl Default for Rollup {
    fn default() -> Self {
        Self { rows: 0, positive_rows: 0, confidence_sum: 0, last_us: i64::MIN }
    }
}

impl Rollup {
    /// Adds one row.
    pub(crate) fn add_row(&mut self, record: &PredictionRecord) {
        self.add_parts(record.class, record.confidence, record.timestamp_us);
    }

    /// Adds one row, of which these fields are known.
    pub(crate) fn add_parts(&mut self, class: u32, confidence: f32, timestamp_us: i64) {
        self.rows += 1;
        self.positive_rows += u64::from(class >= 1);
        // The cast saturates, so that a confidence outside 0 to 1 or no number at all is bounded.
        let confidence = (f64::from(confidence.clamp(0.0, 1.0)) * CONFIDENCE_UNIT).round() as u64;
        self.confidence_sum = self.confidence_sum.wrapping_add(confidence);
        self.last_us = self.last_us.max(timestamp_us);
    }

    /// Adds the rows of `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.positive_rows += other.positive_rows;
        self.confidence_sum = self.confidence_sum.wrapping_add(other.confidence_sum);
        self.last_us = self.last_us.max(other.last_us);
    }

    /// Mean confidence, 0 to 1; `None` of no rows.
    pub fn confidence_mean(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.confidence_sum as f64 / CONFIDENCE_UNIT / self.rows as f64)
    }

    /// Share of the rows with a result above 0.5, 0 to 1; `None` of no rows.
    pub fn positive_share(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.positive_rows as f64 / self.rows as f64)
    }

    /// Time of the latest row, microseconds UTC; `None` of no rows.
    pub fn last_prediction_us(&self) -> Option<i64> {
        (self.rows > 0).then_some(self.last_us)
    }

    pub(crate) fn to_bytes(self) -> [u8; ROLLUP_BYTES] {
        let mut bytes = [0; ROLLUP_BYTES];
        let numbers =
            [self.rows, self.positive_rows, self.confidence_sum, self.last_us.cast_unsigned()];
        for (to, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
            *to = number.to_le_bytes();
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Damage> {
        let mut fields = Fields::new(bytes);
        let mut number = || fields.array().map(u64::from_le_bytes);
        let rollup = Self {
            rows: number()?,
            positive_rows: number()?,
            confidence_sum: number()?,
            last_us: number()?.cast_signed(),
        };
        if fields.is_empty() { Ok(rollup) } else { Err(Damage::Length) }
    }
}

/// The minute that a time is in, counted from 1970.
pub(crate) fn minute_of(timestamp_us: i64) -> i64 {
    timestamp_us.div_euclid(MINUTE_US)
}

/// The hour that a minute is in, counted from 1970.
pub(crate) fn hour_of(minute: i64) -> i64 {
    minute.div_euclid(HOUR_MINUTES)
}
