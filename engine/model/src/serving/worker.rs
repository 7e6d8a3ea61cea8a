//! Owns one worker's loop: what came in, which batch, compute, deliver.
//!
//! Refuses to know how requests got here and where answers go. Bound: one thread; its buffers
//! grow to the largest batch and the inbox's limit and are reused.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use truststram_base::{Clock, ModelVersion};

use super::inbox::{Command, Inbox, Incoming, Queued};
use super::port::{Batcher, Inference, NativeBatcher, QueueView, Sink};
use super::replica::{Load, Replica};
use super::stats::WorkerStats;
use crate::error::ModelError;

/// What a worker is made of; all of it moves to the worker's thread.
pub struct WorkerParts<T> {
    pub inbox: Arc<Inbox<T>>,
    pub stats: Arc<WorkerStats>,
    pub clock: Arc<dyn Clock>,
    pub batcher: Box<dyn Batcher>,
    pub sink: Box<dyn Sink<T>>,
    pub batch_max: u32,
    pub target_us: u32,
}

/// See the module.
pub struct Worker<T> {
    parts: WorkerParts<T>,
    replicas: Vec<Replica<T>>,
    incoming: Incoming<T>,
    arrivals: u64,
    sweep_due: bool,
    batch: Vec<Queued<T>>,
    expired: Vec<(u64, Queued<T>)>,
    probabilities: Vec<f32>,
}

impl<T> Worker<T> {
    pub fn new(parts: WorkerParts<T>) -> Self {
        Self {
            parts,
            replicas: Vec::new(),
            incoming: Incoming::default(),
            arrivals: 0,
            sweep_due: false,
            batch: Vec::new(),
            expired: Vec::new(),
            probabilities: Vec::new(),
        }
    }

    /// Works until the inbox is closed and everything in it is answered.
    pub fn run(mut self) {
        loop {
            let open = self.receive();
            if std::mem::take(&mut self.sweep_due) {
                self.replicas.retain(Replica::is_alive);
            }
            match self.oldest() {
                Some(index) => self.serve(index),
                None if !open => return,
                None => {
                    self.replicas.retain(Replica::is_alive);
                    self.parts.inbox.sleep();
                }
            }
        }
    }

    /// Sorts what came in; returns whether more can come. Adds replicas but removes none, so
    /// that indices stay good.
    fn receive(&mut self) -> bool {
        let open = self.parts.inbox.swap(&mut self.incoming);
        while let Some(command) = self.incoming.commands.pop_front() {
            match command {
                Command::Load(load) => self.load(load),
                Command::Sweep => self.sweep_due = true,
            }
        }
        while let Some(queued) = self.incoming.requests.pop_front() {
            self.arrivals += 1;
            let key = queued.model.key;
            match self.replicas.iter_mut().find(|replica| replica.key == key) {
                Some(replica) => replica.queue.push_back((self.arrivals, queued)),
                None => self.refuse(queued),
            }
        }
        open
    }

    fn load(&mut self, load: Load) {
        self.sweep_due = true;
        let batch_max = self.parts.batch_max as usize;
        let built = guarded(|| Replica::build(&load, batch_max));
        let result = built.map(|replica| {
            let spec = Arc::clone(replica.net.spec());
            self.replicas.push(replica);
            spec
        });
        // The engine has given up waiting only if it is being dropped; then nobody asks again.
        let _ = load.done.send(result);
    }

    /// Answers a request for a model that this worker has no replica of. A handle exists only
    /// after all workers built theirs, so this is the answer to a handle of another engine.
    fn refuse(&mut self, queued: Queued<T>) {
        let error =
            ModelError::NotLoaded { model: queued.model.id.clone(), version: queued.model.version };
        self.parts.stats.failed.add(1);
        self.parts.inbox.answered(1);
        let request = queued.request;
        self.parts.sink.deliver(request.reply, request.features, Err(error));
        self.parts.sink.flush();
    }

    /// The replica whose next request came first.
    fn oldest(&self) -> Option<usize> {
        let heads = self.replicas.iter().enumerate();
        heads
            .filter_map(|(index, replica)| Some((replica.queue.front()?.0, index)))
            .min()
            .map(|(_, index)| index)
    }

    fn serve(&mut self, index: usize) {
        let decided = self.decide_and_wait(index);
        self.form_batch(index, decided.unwrap_or(self.parts.batch_max as usize));
        self.deliver_expired();
        match decided {
            Some(_) if !self.batch.is_empty() => self.compute(index),
            Some(_) => {}
            None => self.deliver_undecided(),
        }
        self.parts.sink.flush();
    }

    /// Asks the batcher until it takes some requests, and returns how many; none where it gives no
    /// decision. Where a wait is not within its bounds the native default decides, so the last
    /// wait ends with the target.
    fn decide_and_wait(&mut self, index: usize) -> Option<usize> {
        loop {
            let view = self.view(index);
            let batcher = &mut self.parts.batcher;
            let decided = catch_unwind(AssertUnwindSafe(|| batcher.decide(&view)));
            let decided = decided.unwrap_or_else(|_| {
                self.parts.stats.batcher_panics.add(1);
                Some(NativeBatcher::decision(&view))
            })?;
            let left_us = view.target_us.saturating_sub(view.oldest_us);
            let wait_us = decided.wait_us.min(left_us);
            let is_full = view.queued >= view.batch_max;
            let waits = decided.take == 0 && wait_us > 0 && !is_full;
            if waits && self.wait_for_another(Duration::from_micros(wait_us.into())) {
                continue;
            }
            let decided = match decided.take {
                0 => NativeBatcher::decision(&self.view(index)),
                _ => decided,
            };
            return Some(decided.take.clamp(1, view.batch_max) as usize);
        }
    }

    fn view(&self, index: usize) -> QueueView {
        let queue = &self.replicas[index].queue;
        let now_us = self.parts.clock.monotonic_us();
        let oldest_us =
            queue.front().map_or(0, |(_, queued)| age_us(now_us, queued.request.enqueued_us));
        let queued = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        let (batch_max, target_us) = (self.parts.batch_max, self.parts.target_us);
        QueueView { queued, oldest_us, batch_max, target_us }
    }

    /// Waits until something comes in, at most `wait`; returns whether waiting can go on, which
    /// it cannot once the inbox is closed.
    fn wait_for_another(&mut self, wait: Duration) -> bool {
        self.parts.inbox.sleep_until(1, Instant::now() + wait);
        self.receive()
    }

    /// Takes the oldest requests of one replica, the expired ones apart.
    fn form_batch(&mut self, index: usize, take: usize) {
        let now_us = self.parts.clock.monotonic_us();
        let queue = &mut self.replicas[index].queue;
        while self.batch.len() < take {
            let Some((_, queued)) = queue.pop_front() else { return };
            match now_us.checked_sub(queued.request.deadline_us) {
                Some(late_us) => self.expired.push((late_us, queued)),
                None => self.batch.push(queued),
            }
        }
    }

    fn deliver_expired(&mut self) {
        self.parts.stats.expired.add(self.expired.len() as u64);
        self.parts.inbox.answered(self.expired.len());
        for (late_us, Queued { request, .. }) in self.expired.drain(..) {
            let error = ModelError::Expired { late_us };
            self.parts.sink.deliver(request.reply, request.features, Err(error));
        }
    }

    fn deliver_undecided(&mut self) {
        self.parts.stats.failed.add(self.batch.len() as u64);
        self.parts.inbox.answered(self.batch.len());
        for Queued { request, .. } in self.batch.drain(..) {
            let error = ModelError::Undecided;
            self.parts.sink.deliver(request.reply, request.features, Err(error));
        }
    }

    fn compute(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        let started_us = self.parts.clock.monotonic_us();
        let computed = guarded(|| replica.net.forward(&self.batch, &mut self.probabilities));
        let computed = computed.inspect_err(|error| {
            tracing::error!(%error, requests = self.batch.len(), "a batch failed");
            // A second failure shows itself in the next batch, which is answered the same way.
            let _ = replica.net.reset();
        });
        let compute_us = age_us(self.parts.clock.monotonic_us(), started_us);
        let size = self.batch.len();
        let stats = &self.parts.stats;
        stats.batches.add(1);
        stats.batch_sizes.observe(size as u64);
        stats.compute_us.observe(compute_us.into());
        self.parts.inbox.answered(size);
        let class_count = replica.net.spec().class_count();
        for (row, Queued { request, model }) in self.batch.drain(..).enumerate() {
            let queue_us = age_us(started_us, request.enqueued_us);
            stats.queue_us.observe(queue_us.into());
            let inference = computed.clone().and_then(|()| {
                let row = &self.probabilities[row * class_count..][..class_count];
                let times = Times { batch_size: size as u32, queue_us, compute_us };
                infer(row, model.version, times)
            });
            let counter = if inference.is_ok() { &stats.answered } else { &stats.failed };
            counter.add(1);
            self.parts.sink.deliver(request.reply, request.features, inference);
        }
    }
}

impl<T> Drop for Worker<T> {
    /// Whatever ends the thread, nobody goes on queueing for it: requests that a panic left
    /// behind are dropped, which tells their owners.
    fn drop(&mut self) {
        self.parts.inbox.abandon();
    }
}

struct Times {
    batch_size: u32,
    queue_us: u32,
    compute_us: u32,
}

/// The answer that one row of probabilities is.
fn infer(row: &[f32], version: ModelVersion, times: Times) -> Result<Inference, ModelError> {
    if !row.iter().all(|value| value.is_finite()) {
        return Err(ModelError::NotFinite);
    }
    let mut class = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[class] {
            class = index;
        }
    }
    let Times { batch_size, queue_us, compute_us } = times;
    Ok(Inference {
        class: class as u32,
        confidence: row[class],
        probabilities: row.to_vec(),
        version,
        batch_size,
        queue_us,
        compute_us,
    })
}

/// Microseconds from `then` to `now`, within 32 bits.
fn age_us(now_us: u64, then_us: u64) -> u32 {
    u32::try_from(now_us.saturating_sub(then_us)).unwrap_or(u32::MAX)
}

/// Turns a panic of `compute` into an error, so that no request is lost to it. Whoever uses what
/// `compute` changed must reset it after an error.
fn guarded<R>(compute: impl FnOnce() -> Result<R, ModelError>) -> Result<R, ModelError> {
    catch_unwind(AssertUnwindSafe(compute)).unwrap_or_else(|panic| {
        let panic: &(dyn Any + Send) = &*panic;
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(ModelError::Panicked { message: text.unwrap_or("no message").into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let check = |result: Result<(), ModelError>, expected: &str| match result {
            Err(ModelError::Panicked { message }) => assert_eq!(&*message, expected),
            other => panic!("{other:?}"),
        };
        check(guarded(|| std::panic::panic_any("static")), "static");
        check(guarded(|| panic!("with {}", 1)), "with 1");
        check(guarded(|| std::panic::panic_any(7)), "no message");
        assert!(guarded(|| Ok(())).is_ok());
    }

    #[test]
    fn the_first_of_the_most_probable_classes_wins() {
        let check = |row: &[f32], expected: Option<(u32, f32)>| {
            let times = Times { batch_size: 1, queue_us: 0, compute_us: 0 };
            let found = infer(row, ModelVersion(1), times);
            assert_eq!(found.ok().map(|found| (found.class, found.confidence)), expected);
        };
        check(&[1.0], Some((0, 1.0)));
        check(&[0.2, 0.4, 0.4], Some((1, 0.4)));
        check(&[0.2, f32::NAN, 0.4], None);
    }
}
