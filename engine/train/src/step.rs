//! Owns one step of training: rows shared among workers, their gradients summed in a fixed order,
//! the norm cut, the weights changed.
//!
//! Refuses to know data sets and files. Bound: one pass per worker; the same number of workers
//! gives the same bits, another number the same up to rounding.

use rayon::ThreadPool;
use rayon::prelude::*;
use truststram_machine::compute_pool;
use truststram_model::kernels::{Isa, add_weighted_rows, dot};

use crate::error::TrainError;
use crate::loss::{Loss, Sums, Targets};
use crate::net::{Dropping, Net, NetSpec, Pass};
use crate::optimiser::{Optimiser, OptimiserSpec};
use crate::random::Random;
use crate::schedule::Pace;

/// Fewest rows that are worth a worker.
const WORKER_ROWS_MIN: usize = 8;
/// Gradients whose squares are summed in f32.
const NORM_CHUNK: usize = 1 << 12;

/// A network in training.
#[derive(Debug)]
pub struct Stepper {
    isa: Isa,
    net: Net,
    loss: Loss,
    class_weights: Vec<f32>,
    clip_norm: Option<f32>,
    pool: Option<ThreadPool>,
    workers: Vec<Worker>,
    /// Gradients of the parts of a step so far.
    total: Vec<f32>,
    sums: Sums,
    parts: usize,
    pub(crate) weights: Vec<f32>,
    pub(crate) optimiser: Optimiser,
}

#[derive(Debug)]
struct Worker {
    pass: Pass,
    sums: Sums,
}

/// Rows with their targets.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// `[rows, features]`.
    pub features: &'a [f32],
    /// Of each row.
    pub targets: Targets<'a>,
    /// How many.
    pub rows: usize,
}

/// What a network is trained with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOptions {
    /// The loss.
    pub loss: Loss,
    /// One per class, or none.
    pub class_weights: Vec<f32>,
    /// The longest that all gradients together may be, as one vector.
    pub clip_norm: Option<f32>,
    /// The optimiser.
    pub optimiser: OptimiserSpec,
    /// Of the first weights.
    pub seed: u64,
}

impl Stepper {
    /// A network with random weights and one worker on each of `cores`; with one core the calling
    /// thread works itself.
    ///
    /// # Errors
    /// [`TrainError::Option`] names what does not fit, [`TrainError::Machine`] when a thread cannot
    /// start.
    pub fn new(
        spec: &NetSpec,
        (inputs, outputs): (usize, usize),
        options: StepOptions,
        cores: &[u32],
    ) -> Result<Self, TrainError> {
        let net = Net::new(spec, inputs, outputs)?;
        let isa = Isa::detect();
        let pool = match cores.len() {
            0 | 1 => None,
            _ => Some(compute_pool("train", cores)?),
        };
        let worker = |_| Worker { pass: Pass::new(isa, &net), sums: Sums::default() };
        let workers = (0..cores.len().max(1)).map(worker).collect();
        let weights = net.first_weights(&mut Random::new(options.seed));
        let optimiser = Optimiser::new(options.optimiser, weights.len());
        Ok(Self {
            isa,
            loss: options.loss,
            class_weights: options.class_weights,
            clip_norm: options.clip_norm,
            pool,
            workers,
            total: Vec::new(),
            sums: Sums::default(),
            parts: 0,
            net,
            weights,
            optimiser,
        })
    }

    /// The network.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// All weights, layer after layer.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Adds the gradients of a batch to those of the step.
    pub fn accumulate(&mut self, batch: Batch<'_>, dropping_seed: u64) {
        if self.parts > 0 {
            // The sum so far; the pass writes over every gradient.
            self.total.resize(self.weights.len(), 0.0);
            std::mem::swap(&mut self.total, &mut self.workers[0].pass.gradients);
        }
        let count = self.workers.len().min(batch.rows / WORKER_ROWS_MIN).max(1);
        let share = batch.rows.div_ceil(count).next_multiple_of(8);
        let (net, loss, weights) = (&self.net, &self.loss, &self.weights);
        let (isa, class_weights) = (self.isa, &self.class_weights);
        let at_once = net.rows_at_once();
        let work = |index: usize, worker: &mut Worker| {
            let mut first = (index * share).min(batch.rows);
            let last = (first + share).min(batch.rows);
            let pass = &mut worker.pass;
            worker.sums = Sums::default();
            let mut adds = false;
            while first < last || !adds {
                let rows = at_once.min(last - first);
                let input = &batch.features[first * net.inputs..][..rows * net.inputs];
                let dropping = Dropping { seed: dropping_seed, first_row: first };
                let (given, gradients) = pass.forward(net, weights, input, rows, Some(dropping));
                let targets = batch.targets.rows(first, rows, net.outputs);
                let sums = loss.compute(isa, net.outputs, given, targets, class_weights, gradients);
                worker.sums = worker.sums.and(sums);
                pass.backward(net, weights, input, rows, adds);
                (first, adds) = (first + rows, true);
            }
        };
        let (workers, pool) = (&mut self.workers[..count], self.pool.as_ref());
        match pool {
            Some(pool) if count > 1 => pool.install(|| {
                workers.par_iter_mut().enumerate().for_each(|(index, worker)| work(index, worker));
            }),
            _ => workers.iter_mut().enumerate().for_each(|(index, worker)| work(index, worker)),
        }
        for worker in workers.iter() {
            self.sums = self.sums.and(worker.sums);
        }
        self.gather(count);
        self.parts += 1;
    }

    /// Sums the gradients of `count` workers into those of the first, in their order, and adds
    /// what the parts before gave.
    fn gather(&mut self, count: usize) {
        let isa = self.isa;
        let (first, others) = self.workers[..count].split_at_mut(1);
        let sum = &mut first[0].pass.gradients;
        let part = sum.len().div_ceil(count).next_multiple_of(16);
        let total = (self.parts > 0).then_some(&self.total);
        let add = |index: usize, sum: &mut [f32]| {
            let range = index * part..index * part + sum.len();
            if let Some(total) = total {
                add_weighted_rows(isa, &[&total[range.clone()]], &[1.0], sum);
            }
            for other in others.iter() {
                add_weighted_rows(isa, &[&other.pass.gradients[range.clone()]], &[1.0], sum);
            }
        };
        match &self.pool {
            Some(pool) if count > 1 => pool.install(|| {
                sum.par_chunks_mut(part).enumerate().for_each(|(index, sum)| add(index, sum));
            }),
            _ if total.is_some() => add(0, sum),
            _ => {}
        }
    }

    /// Ends the step: changes the weights by the mean gradient and returns the mean loss.
    pub fn finish(&mut self, pace: Pace) -> Sums {
        let sums = std::mem::take(&mut self.sums);
        self.parts = 0;
        let gradients = &self.workers[0].pass.gradients;
        let mut factor = (1.0 / sums.weight) as f32;
        if let Some(longest) = self.clip_norm {
            let squares = |part: &[f32]| f64::from(dot(self.isa, part, part));
            let total: f64 = gradients.chunks(NORM_CHUNK).map(squares).sum();
            let norm = total.sqrt() * f64::from(factor);
            factor *= (f64::from(longest) / (norm + 1e-6)).min(1.0) as f32;
        }
        let weights = &mut self.weights;
        match &self.pool {
            Some(pool) => pool.install(|| {
                let parts = self.workers.len();
                self.optimiser.step(self.isa, pace, factor, weights, gradients, parts);
            }),
            None => self.optimiser.step(self.isa, pace, factor, weights, gradients, 1),
        }
        sums
    }

    /// Gives the buffers of all passes back; the next ones are as large as their batches need.
    pub fn release(&mut self) {
        let (isa, net) = (self.isa, &self.net);
        self.workers.iter_mut().for_each(|worker| worker.pass = Pass::new(isa, net));
        self.total = Vec::new();
    }

    /// The sums of the loss over rows, by the present weights, and how many rows get their class.
    pub fn loss_of(&mut self, batch: Batch<'_>) -> (Sums, u64) {
        let pass = &mut self.workers[0].pass;
        let (given, gradients) =
            pass.forward(&self.net, &self.weights, batch.features, batch.rows, None);
        let outputs = self.net.outputs;
        let weights = &self.class_weights;
        let right = match batch.targets {
            Targets::Classes(classes) => right_of(given, outputs, classes),
            Targets::Numbers(_) => 0,
        };
        let sums = self.loss.compute(self.isa, outputs, given, batch.targets, weights, gradients);
        (sums, right)
    }
}

/// How many rows of `outputs` scores, or of one score for two classes, give their class the most.
fn right_of(given: &[f32], outputs: usize, classes: &[u32]) -> u64 {
    let found = |scores: &[f32]| match scores {
        [score] => u32::from(*score > 0.0),
        scores => {
            let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(class, _)| class as u32)
        }
    };
    let rows = given.chunks_exact(outputs).zip(classes);
    rows.filter(|(scores, class)| found(scores) == **class).count() as u64
}
