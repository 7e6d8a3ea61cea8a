//! Owns what one version did since it was loaded: how many, how long, by the size of the batch.
//!
//! Refuses to know queues and clocks. Bound: one record per worker, which only that worker writes,
//! with an entry per size of batch; its first batch makes room for all sizes, so that no later one
//! takes memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often something happened, and how long it took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// How often.
    pub count: u64,
    /// Microseconds in all.
    pub us: u64,
}

impl Took {
    /// Adds `count` of them that took `us` in all.
    pub(super) fn add(&mut self, count: u64, us: u64) {
        self.count += count;
        self.us += us;
    }

    fn merge(&mut self, other: Self) {
        self.add(other.count, other.us);
    }
}

/// The stages of batches, each counted once per batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// Putting rows together.
    pub input: Took,
    /// Computing.
    pub infer: Took,
    /// Handing answers over.
    pub output: Took,
}

impl Stages {
    fn add(&mut self, [input_us, infer_us, output_us]: [u64; 3]) {
        self.input.add(1, input_us);
        self.infer.add(1, infer_us);
        self.output.add(1, output_us);
    }

    fn merge(&mut self, other: Self) {
        self.input.merge(other.input);
        self.infer.merge(other.infer);
        self.output.merge(other.output);
    }
}

/// What became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows answered.
    pub rows: u64,
    /// Requests answered, from when they were made to their answer.
    pub success: Took,
    /// Requests that failed.
    pub fail: Took,
    /// Waiting of all requests.
    pub queue: Took,
}

impl Done {
    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.success.merge(other.success);
        self.fail.merge(other.fail);
        self.queue.merge(other.queue);
    }
}

/// What a version did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// All requests.
    pub done: Done,
    /// All batches that were computed.
    pub stages: Stages,
    /// The same by how many rows a batch had.
    pub by_rows: BTreeMap<u32, Stages>,
}

/// What one worker did for a version.
#[derive(Debug)]
pub struct Record {
    done: Done,
    stages: Stages,
    /// By rows, ascending.
    by_rows: Vec<(u32, Stages)>,
    /// Most rows of a batch.
    rows_max: u32,
}

impl Record {
    fn new(rows_max: u32) -> Self {
        let (done, stages, by_rows) = (Done::default(), Stages::default(), Vec::new());
        Self { done, stages, by_rows, rows_max }
    }

    /// Adds the requests of one batch.
    pub(super) fn add(&mut self, done: &Done) {
        self.done.merge(done);
    }

    /// Adds a batch of so many rows, with the microseconds of its stages.
    pub(super) fn add_batch(&mut self, rows: u32, stages_us: [u64; 3]) {
        self.stages.add(stages_us);
        let place = self.by_rows.binary_search_by_key(&rows, |(rows, _)| *rows);
        let place = place.unwrap_or_else(|place| {
            if self.by_rows.is_empty() {
                self.by_rows.reserve_exact(self.rows_max as usize);
            }
            self.by_rows.insert(place, (rows, Stages::default()));
            place
        });
        self.by_rows[place].1.add(stages_us);
    }
}

impl Figures {
    fn merge(&mut self, other: &Record) {
        self.done.merge(&other.done);
        self.stages.merge(other.stages);
        for (rows, stages) in &other.by_rows {
            self.by_rows.entry(*rows).or_default().merge(*stages);
        }
    }
}

/// The records of all workers.
#[derive(Debug)]
pub struct FiguresOfWorkers(Box<[Mutex<Record>]>);

impl FiguresOfWorkers {
    /// No figures yet, of batches of up to `rows_max` rows.
    pub fn new(workers: usize, rows_max: u32) -> Self {
        Self((0..workers).map(|_| Mutex::new(Record::new(rows_max))).collect())
    }

    /// The record of a worker. Nobody else holds it for longer than a copy takes.
    pub fn of(&self, worker: usize) -> Option<MutexGuard<'_, Record>> {
        // Sums are whole at every moment, so a poisoned lock is sound.
        Some(self.0.get(worker)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All of them together.
    pub fn total(&self) -> Figures {
        let mut total = Figures::default();
        for worker in 0..self.0.len() {
            let record = self.of(worker);
            record.iter().for_each(|record| total.merge(record));
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_of_all_workers_add_up() {
        let figures = FiguresOfWorkers::new(2, 8);
        for (worker, rows) in [(0, 1), (1, 8), (1, 8)] {
            let mut record = figures.of(worker).unwrap();
            let success = Took { count: 1, us: 10 };
            record.add(&Done { rows, success, ..Done::default() });
            record.add_batch(rows as u32, [1, 2, 3]);
        }
        assert!(figures.of(2).is_none());
        let total = figures.total();
        assert_eq!((total.done.rows, total.done.success), (17, Took { count: 3, us: 30 }));
        assert_eq!(total.stages.infer, Took { count: 3, us: 6 });
        assert_eq!(total.by_rows.keys().collect::<Vec<_>>(), [&1, &8]);
        assert_eq!(total.by_rows[&8].output, Took { count: 2, us: 6 });
    }
}
