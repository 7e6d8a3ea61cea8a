//! Owns the way from the accepted updates of a round to the next version.
//!
//! Refuses to show a version before it is whole: the file first, then one commit. Bound: as
//! `aggregate`; the same updates give the same model, so that a crash costs time alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use truststram_decide::aggregation::{Outcome, Plan, Reducer, Updates};

use super::ending::{expired, left_out};
use super::federation::Federation;
use super::ports::{Files, Ledger, Policy};
use super::records::{Entry, Phase, Task, TaskState};
use super::settings::Mode;
use super::upload::facts;
use crate::aggregate::{self, Cores, Difference, Rows, carry_out};
use crate::error::FederateError;

impl<L: Ledger, F: Files, P: Policy> Federation<L, F, P> {
    /// Makes the next version of the accepted updates, or keeps the last good one.
    pub(super) fn publish(&mut self, now_us: i64) -> Result<(), FederateError> {
        if let Some(privacy) = self.settings.privacy.filter(|_| self.settings.secure.is_none()) {
            return self.publish_private(now_us, &privacy);
        }
        let tasks: Vec<Task> = self.state.accepted().cloned().collect();
        let rows = self.rows(&tasks)?;
        let rows: Vec<&dyn Rows> = rows.iter().map(AsRef::as_ref).collect();
        let plan = match self.plan(now_us, &tasks, &rows)? {
            Ok(plan) if plan.noise_multiplier > 0.0 || plan.reducer == Reducer::Custom => {
                let reason = "the plan wants noise or a kernel of its own, which rounds have not";
                return self.end_round(reason, Vec::new());
            }
            Ok(plan) => plan,
            Err(reason) => return self.end_round(&reason, Vec::new()),
        };
        let (job, norms) = (&self.state.job, norms(&tasks));
        let mut model = self.files.model(job.version)?;
        let applied = carry_out(
            Cores::one(),
            &plan,
            (&rows, &norms),
            None,
            &mut || 0.0,
            (&mut model.values, &mut model.state),
        );
        drop(rows);
        match applied {
            Ok(()) => {}
            // Reading has failed, not the updates: they wait until the federation is opened anew.
            Err(error @ (FederateError::Io(_) | FederateError::Port { .. })) => return Err(error),
            Err(error) => {
                // The updates would spoil every later round as well.
                let reason = error.to_string();
                let left_out = tasks.into_iter().map(|task| left_out(task, &reason)).collect();
                return self.end_round(&reason, left_out);
            }
        }
        let version = job.version + 1;
        self.files.put_model(version, &model)?;
        self.make_present(version, tasks, &plan, None)
    }

    /// The commit that makes a version the present one.
    pub(super) fn make_present(
        &mut self,
        version: u64,
        tasks: Vec<Task>,
        plan: &Plan,
        clip: Option<f64>,
    ) -> Result<(), FederateError> {
        let mut job = self.job_in(Phase::Waiting);
        job.clip = clip;
        job.version = version;
        job.round += 1;
        job.last = plan.reason.clone();
        let mut entries = vec![Entry::Job(job)];
        for (index, task) in tasks.into_iter().enumerate() {
            let refusal = plan.refused.iter().find(|refusal| refusal.index as usize == index);
            entries.push(match refusal {
                Some(refusal) => left_out(task, &refusal.reason),
                None if plan.weights[index] == 0.0 => left_out(task, "of no weight"),
                None => Entry::Task(Task { state: TaskState::Merged { version }, ..task }),
            });
        }
        if self.settings.mode == Mode::Sync {
            entries.extend(self.open_tasks().map(expired));
        }
        entries.extend(self.forgotten());
        self.commit(self.without_secrets(entries))?;
        self.files.tidy(&[], Self::versions(&self.settings, &self.state, version));
        Ok(())
    }

    /// The plan, or why the model is kept.
    pub(super) fn plan(
        &mut self,
        now_us: i64,
        tasks: &[Task],
        rows: &[&dyn Rows],
    ) -> Result<Result<Plan, String>, FederateError> {
        if tasks.is_empty() {
            return Ok(Err("no updates".to_owned()));
        }
        let costly = aggregate::facts(Cores::one(), rows, self.policy.wanted())?;
        let mut updates = Updates {
            cosines: costly.cosines,
            squared_distances: costly.squared_distances,
            ..Updates::default()
        };
        for (task, update) in tasks.iter().filter_map(|task| Some((task, task.update.as_ref()?))) {
            let facts = facts(task, update);
            updates.clients.push(facts.client);
            updates.staleness.push(facts.staleness);
            updates.samples.push(facts.samples);
            updates.l2_norms.push(facts.l2_norm);
            updates.train_losses.push(facts.train_loss);
        }
        let context = self.context(now_us);
        Ok(match self.policy.make_plan(&context, &updates) {
            Ok(Outcome::Aggregate(plan)) => Ok(plan),
            Ok(Outcome::KeepModel(reason)) | Err(reason) => Err(reason),
        })
    }

    /// The updates of some tasks, each as a change of its base; a base is read once.
    pub(super) fn rows(&self, tasks: &[Task]) -> Result<Vec<Box<dyn Rows>>, FederateError> {
        let mut bases: BTreeMap<u64, Arc<Vec<f32>>> = BTreeMap::new();
        let row = |task: &Task| -> Result<Box<dyn Rows>, FederateError> {
            let received = self.files.update(task.id, &self.schema)?;
            if !task.update.as_ref().is_some_and(|update| update.is_weights) {
                return Ok(Box::new(received));
            }
            let base = match bases.get(&task.base) {
                Some(base) => Arc::clone(base),
                None => {
                    let base = Arc::new(self.files.model(task.base)?.values);
                    bases.insert(task.base, Arc::clone(&base));
                    base
                }
            };
            Ok(Box::new(Difference { weights: received, base }))
        };
        tasks.iter().map(row).collect()
    }
}

pub(super) fn norms(tasks: &[Task]) -> Vec<f64> {
    let norm = |task: &Task| task.update.as_ref().map_or(0.0, |update| update.l2_norm);
    tasks.iter().map(norm).collect()
}
