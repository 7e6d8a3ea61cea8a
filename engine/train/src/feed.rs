//! Owns the way of rows into the parts of steps: standardised, from memory or from a file.
//!
//! Rows of a file are read by a thread of its own, [`AHEAD_MAX`] parts ahead of the step that is
//! computed. Refuses to choose rows: the order of an epoch is given. Bound: rows in memory once
//! more, standardised; of rows in a file the parts that are ahead.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use truststram_machine::{Thread, ThreadSpec, spawn};
use truststram_model::Preprocessing;
use truststram_model::kernels::{Isa, scale_shift};

use crate::data::Dataset;
use crate::error::TrainError;
use crate::packed::{FileReader, PackedFeatures};

/// Parts that are read before they are needed: as many as the guide's loader prefetches.
const AHEAD_MAX: usize = 2;

/// The rows of a data set, standardised.
pub(crate) struct Feed<'a> {
    pub(crate) data: &'a Dataset,
    preprocessing: &'a Preprocessing,
    /// Of rows in memory.
    features: Vec<f32>,
    ahead: Option<Ahead>,
    /// Of rows of a file in their own order.
    reading: Option<Reading<'a>>,
}

/// How an epoch is cut into parts: steps of so many rows, each in parts of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) step_rows: usize,
    pub(crate) part_rows: usize,
}

impl Cut {
    /// Where the part that begins at `start` ends, of an epoch of so many rows.
    pub(crate) fn end(self, start: usize, rows: usize) -> usize {
        let step_end = (start / self.step_rows).saturating_add(1).saturating_mul(self.step_rows);
        rows.min(step_end).min(start.saturating_add(self.part_rows))
    }
}

impl<'a> Feed<'a> {
    pub(crate) fn new(data: &'a Dataset, preprocessing: &'a Preprocessing) -> Self {
        let mut features = vec![0.0; data.features.len()];
        let Preprocessing { mean, scale } = preprocessing;
        scale_shift(Isa::detect(), &data.features, mean, scale, &mut features);
        Self { data, preprocessing, features, ahead: None, reading: None }
    }

    /// Puts the features of the part that begins at `start` of an epoch's order into `features`.
    pub(crate) fn part(
        &mut self,
        order: &[usize],
        start: usize,
        cut: Cut,
        features: &mut Vec<f32>,
    ) -> Result<(), TrainError> {
        let end = cut.end(start, order.len());
        let Some(packed) = &self.data.packed else {
            let count = self.data.feature_count;
            features.clear();
            for &row in &order[start..end] {
                features.extend_from_slice(&self.features[row * count..][..count]);
            }
            return Ok(());
        };
        // What is ahead may be of the epoch before, or cut otherwise.
        let is_next = |ahead: &Ahead| ahead.next == start && ahead.cut == cut;
        if !self.ahead.as_ref().is_some_and(is_next) {
            self.ahead = None;
            let rows = packed.select(order);
            self.ahead = Some(Ahead::start(rows, self.preprocessing.clone(), start, cut)?);
        }
        let Some(ahead) = &mut self.ahead else { return Ok(()) };
        let taken = ahead.take(end, features);
        if taken.is_err() || end == order.len() {
            self.ahead = None;
        }
        taken
    }

    /// Puts the features of `count` rows from `first` on into `features`.
    pub(crate) fn range(
        &mut self,
        first: usize,
        count: usize,
        features: &mut Vec<f32>,
    ) -> Result<(), TrainError> {
        features.clear();
        match &self.data.packed {
            Some(packed) => {
                let start = || Reading::new(packed, self.preprocessing);
                self.reading.get_or_insert_with(start).rows(first..first + count, features)
            }
            None => {
                let width = self.data.feature_count;
                features.extend_from_slice(&self.features[first * width..][..count * width]);
                Ok(())
            }
        }
    }
}

/// The reading of rows of a file.
struct Reading<'a> {
    file: FileReader<'a>,
    preprocessing: &'a Preprocessing,
    raw: Vec<f32>,
}

impl<'a> Reading<'a> {
    fn new(packed: &'a PackedFeatures, preprocessing: &'a Preprocessing) -> Self {
        Self { file: packed.reader(), preprocessing, raw: Vec::new() }
    }

    fn rows(&mut self, rows: Range<usize>, features: &mut Vec<f32>) -> Result<(), TrainError> {
        self.raw.clear();
        self.file.read(rows, &mut self.raw)?;
        features.clear();
        features.resize(self.raw.len(), 0.0);
        let Preprocessing { mean, scale } = self.preprocessing;
        scale_shift(Isa::detect(), &self.raw, mean, scale, features);
        Ok(())
    }
}

type Part = Result<Vec<f32>, TrainError>;

/// The thread that reads, and the parts that it has read.
struct Ahead {
    /// Where the next part begins.
    next: usize,
    cut: Cut,
    parts: Option<Receiver<Part>>,
    /// Buffers to be used again.
    back: SyncSender<Vec<f32>>,
    thread: Option<Thread<()>>,
}

impl Ahead {
    /// Reads the rows from `start` on, one part after the other.
    fn start(
        rows: PackedFeatures,
        preprocessing: Preprocessing,
        start: usize,
        cut: Cut,
    ) -> Result<Self, TrainError> {
        let (send, parts) = sync_channel::<Part>(AHEAD_MAX);
        let (back, buffers) = sync_channel::<Vec<f32>>(AHEAD_MAX + 2);
        // Its priority is that of the thread that trains.
        let spec = ThreadSpec { name: "train-reader".to_owned(), ..ThreadSpec::default() };
        let thread = spawn(spec, move |_placement| {
            let mut reading = Reading::new(&rows, &preprocessing);
            let (mut first, last) = (start, rows.rows());
            while first < last {
                let end = cut.end(first, last);
                let mut features = buffers.try_recv().unwrap_or_default();
                let read = reading.rows(first..end, &mut features);
                let is_over = read.is_err();
                // Nobody takes it where the training has ended, or is cut otherwise by now.
                if send.send(read.map(|()| features)).is_err() || is_over {
                    return;
                }
                first = end;
            }
        })?;
        Ok(Self { next: start, cut, parts: Some(parts), back, thread: Some(thread) })
    }

    fn take(&mut self, end: usize, features: &mut Vec<f32>) -> Result<(), TrainError> {
        let ended = TrainError::Dataset("cannot be read: the thread that reads has ended");
        let part = self.parts.as_ref().and_then(|parts| parts.recv().ok()).ok_or(ended)?;
        let before = std::mem::replace(features, part?);
        // One that finds no place is freed.
        let _ = self.back.try_send(before);
        self.next = end;
        Ok(())
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // The thread ends at the next part that nobody takes.
        self.parts = None;
        if let Some(thread) = self.thread.take() {
            // One that has panicked has told so already.
            let _ = thread.join();
        }
    }
}
