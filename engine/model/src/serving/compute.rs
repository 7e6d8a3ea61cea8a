//! Owns the computation of one batch: rows in, program, answers out, one by one where the batch as
//! a whole fails.
//!
//! Refuses to know how batches are formed. Bound: one batch; a panic costs the session of one
//! worker and no other request.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::answer::{BatchAnswer, Inference};
use super::figures::Done;
use super::gather::gather;
use super::group::Group;
use super::loaded::LoadedModel;
use super::request::Queued;
use super::shadow;
use super::worker::Worker;
use crate::error::ModelError;
use crate::kernels::{Alone, Team, TeamOfThreads};
use crate::program::RunError;

/// A batch that takes this long by its estimate asks idle workers of the node to help.
const TEAM_TIME_US_MIN: u64 = 100;

/// The batch whose answers were just given, for its shadow.
pub struct Answered {
    pub model: Arc<LoadedModel>,
    pub shadow: Arc<LoadedModel>,
    pub rows: usize,
}

/// The results that a session holds.
#[derive(Clone, Copy)]
struct Ran {
    rows: usize,
    /// When its rows were put together.
    gathered_us: u64,
}

#[derive(Clone, Copy)]
struct Times {
    batch_size: u32,
    started_us: u64,
    compute_us: u32,
}

impl<T: Send> Worker<T> {
    /// Computes the batch and delivers its answers; returns how long it computed, microseconds.
    pub(super) fn compute(&mut self, group: &Group<T>) -> u32 {
        let Some(first) = self.batch.first() else { return 0 };
        let model = Arc::clone(&first.model);
        let mut batch = std::mem::take(&mut self.batch);
        let started_us = self.now_us();
        let computed = self.run_program(&model, &batch);
        let compute_us = age_us(self.now_us(), started_us);
        let size = batch.len();
        let units = batch.iter().fold(0u32, |sum, queued| sum.saturating_add(queued.size.units));
        let stats = self.stats();
        stats.batches.add(1);
        stats.inline.add(self.parts.post.is_inline().into());
        stats.batch_sizes.observe(size as u64);
        stats.compute_us.observe(compute_us.into());
        group.answered(size);
        let mut times = Times { batch_size: size as u32, started_us, compute_us };
        match computed {
            Err(error) if size > 1 && blames_a_request(&error) => {
                tracing::warn!(%error, requests = size, "a batch failed; each runs alone");
                for queued in batch.drain(..) {
                    let alone = [queued];
                    let computed = self.run_program(&model, &alone);
                    times.compute_us = age_us(self.now_us(), started_us);
                    self.deliver(
                        &model,
                        computed,
                        alone.into_iter(),
                        Times { batch_size: 1, ..times },
                    );
                }
            }
            computed => {
                if computed.is_ok() {
                    model.estimate.observe(units, compute_us);
                }
                self.deliver(&model, computed, batch.drain(..), times);
            }
        }
        self.batch = batch;
        self.keep_for_shadow(model);
        age_us(self.now_us(), started_us)
    }

    /// Runs the model's program on some requests; the session holds the results.
    fn run_program(&mut self, model: &LoadedModel, batch: &[Queued<T>]) -> Result<Ran, ModelError> {
        let post = self.parts.post;
        let crew = Arc::clone(&self.parts.crew);
        let kept = self.session.take();
        let session = kept.or_else(|| model.take_session(post.worker, post.node));
        let mut session = session.ok_or_else(|| ModelError::NotLoaded {
            model: model.id().clone(),
            version: model.version(),
        })?;
        let units = batch.iter().fold(0u32, |sum, queued| sum.saturating_add(queued.size.units));
        let node = &crew.nodes[post.node];
        let wake = |seat| crew.nudge(post.node, seat);
        let team = TeamOfThreads::new(&node.seats, post.node_seat, node.members.len(), &wake);
        // The seat is that of the worker on this core, where this is the one without a thread.
        let is_large = !post.is_inline() && model.estimate.time_us(units) >= TEAM_TIME_US_MIN;
        let team: &dyn Team = if is_large { &team } else { &Alone };
        let clock = &self.parts.clock;
        let computed = guarded(|| {
            gather(model, &mut session, batch)?;
            let gathered_us = clock.monotonic_us();
            session.run(team, None)?;
            let rows = batch.iter().map(|queued| queued.size.rows as usize).sum();
            Ok(Ran { rows, gathered_us })
        });
        // What a panic left half done is not used again.
        if !matches!(computed, Err(ModelError::Panicked { .. })) {
            self.session = Some(session);
        }
        computed.inspect_err(|error| {
            tracing::error!(%error, model = %model.id(), "a computation failed");
        })
    }

    /// Gives each of some requests, which were computed together, its rows.
    fn deliver(
        &mut self,
        model: &LoadedModel,
        computed: Result<Ran, ModelError>,
        requests: impl Iterator<Item = Queued<T>>,
        times: Times,
    ) {
        let Self { parts, session, converted, rows, .. } = self;
        let stats = &parts.crew.stats[parts.post.stats];
        let Times { batch_size, started_us, compute_us } = times;
        let ran = computed.as_ref().ok().copied();
        *rows = ran.map_or(0, |ran| ran.rows);
        let answers = computed.and_then(|Ran { rows, .. }| {
            let session = session.as_ref().ok_or(ModelError::Closed)?;
            BatchAnswer::new(model, session, rows, converted)
        });
        let (mut first, mut done) = (0, Done::default());
        for Queued { request, size, model: accepted, .. } in requests {
            let queue_us = age_us(started_us, request.enqueued_us);
            stats.queue_us.observe(queue_us.into());
            let own = size.rows as usize;
            let answer = match &answers {
                Ok(answers) => answers.of_rows(first, own),
                Err(error) => Err(error.clone()),
            };
            first += own;
            done.queue.add(1, queue_us.into());
            let version = model.version();
            let result = answer.map(|answer| Inference {
                version,
                batch_size,
                queue_us,
                compute_us,
                answer,
            });
            let waited_us = u64::from(queue_us) + u64::from(compute_us);
            match result.is_ok() {
                true => {
                    stats.answered.add(1);
                    done.success.add(1, waited_us);
                    done.rows += own as u64;
                }
                false => {
                    stats.failed.add(1);
                    done.fail.add(1, waited_us);
                }
            }
            // Whoever sees the answer does not find it counted as unanswered.
            drop(accepted);
            parts.sink.deliver(request.reply, request.payload, result);
        }
        let ended_us = parts.clock.monotonic_us();
        let Some(mut figures) = model.figures.of(parts.post.worker) else { return };
        figures.add(&done);
        if let Some(Ran { rows, gathered_us }) = ran {
            let input_us = gathered_us.saturating_sub(started_us);
            let infer_us = u64::from(compute_us).saturating_sub(input_us);
            let output_us = ended_us.saturating_sub(started_us + u64::from(compute_us));
            figures.add_batch(rows as u32, [input_us, infer_us, output_us]);
        }
    }

    /// Keeps what a shadow is asked after the answers have left, or gives the session back.
    fn keep_for_shadow(&mut self, model: Arc<LoadedModel>) {
        let rows = std::mem::take(&mut self.rows);
        match model.shadow.load_full() {
            Some(shadow) if rows > 0 => self.answered = Some(Answered { model, shadow, rows }),
            _ => self.give_back(&model),
        }
    }

    fn give_back(&mut self, model: &LoadedModel) {
        if let Some(session) = self.session.take() {
            model.keep_session(self.parts.post.worker, session);
        }
    }

    /// Asks the shadow of the version that has just answered, unless requests wait.
    pub(super) fn ask_shadow(&mut self, group: &Group<T>) {
        let Some(Answered { model, shadow, rows }) = self.answered.take() else { return };
        let post = self.parts.post;
        if group.has_waiting() {
            shadow.shadow_counts.drop_rows(rows);
        } else if let Some(session) = &self.session
            && let Some(mut other) = shadow.take_session(post.worker, post.node)
        {
            let compared =
                guarded(|| shadow::compare((&model, session), (&shadow, &mut other), rows));
            if let Err(error) = &compared {
                tracing::warn!(%error, model = %shadow.id(), "a shadow failed");
                shadow.shadow_counts.fail_rows(rows);
            }
            if !matches!(compared, Err(ModelError::Panicked { .. })) {
                shadow.keep_session(post.worker, other);
            }
        }
        self.give_back(&model);
    }
}

/// Whether the error can be one request's, so that the others may be well without it.
fn blames_a_request(error: &ModelError) -> bool {
    match error {
        ModelError::Run { source, .. } => *source != RunError::Late,
        ModelError::Panicked { .. } => true,
        _ => false,
    }
}

/// Microseconds from `then` to `now`, within 32 bits.
fn age_us(now_us: u64, then_us: u64) -> u32 {
    u32::try_from(now_us.saturating_sub(then_us)).unwrap_or(u32::MAX)
}

/// Turns a panic of `compute` into an error, so that no request is lost to it. Whoever uses what
/// `compute` changed must give it up after a panic.
pub fn guarded<R>(compute: impl FnOnce() -> Result<R, ModelError>) -> Result<R, ModelError> {
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
}
