//! Owns the end of a round that makes no model, and what is forgotten.
//!
//! Refuses to lose an update that may still count. Bound: updates that wait by the clients of a
//! round; tasks by [`TASK_ROUNDS`].

use std::io::ErrorKind;

use super::federation::Federation;
use super::ports::{Files, Ledger, Policy};
use super::records::{Entry, Phase, TASK_ROUNDS, Task, TaskState};
use super::settings::Mode;
use crate::error::FederateError;

impl<L: Ledger, F: Files, P: Policy> Federation<L, F, P> {
    /// Ends the round with the model as it is. Accepted updates count in the next round, which has
    /// the same model.
    pub(super) fn end_round(
        &mut self,
        reason: &str,
        mut entries: Vec<Entry>,
    ) -> Result<(), FederateError> {
        let mut job = self.job_in(Phase::Waiting);
        job.round += 1;
        job.totals.kept += 1;
        job.last = reason.to_owned();
        entries.push(Entry::Job(job));
        if self.settings.mode == Mode::Sync {
            entries.extend(self.open_tasks().map(expired));
        }
        if self.settings.privacy.is_some() || self.settings.secure.is_some() {
            // In a later round its client might have another, and count twice, or its masks would
            // be those of others.
            let waiting = self.waiting(&entries);
            let left_out: Vec<Entry> =
                waiting.into_iter().map(|task| left_out(task.clone(), reason)).collect();
            entries.extend(left_out);
        }
        entries.extend(self.crowded_out(&entries));
        entries.extend(self.forgotten());
        self.commit(self.without_secrets(entries))?;
        let kept: Vec<u64> = self.state.accepted().map(|task| task.id).collect();
        let versions = Self::versions(&self.settings, &self.state, self.state.job.version);
        self.files.tidy(&kept, versions);
        Ok(())
    }

    /// The oldest of the updates that wait, where more wait than a round has clients: else they
    /// would pile up for as long as no model can be made of them. Those in `entries` wait no more.
    fn crowded_out(&self, entries: &[Entry]) -> Vec<Entry> {
        let waiting = self.waiting(entries);
        let more = waiting.len().saturating_sub(self.settings.clients_max as usize);
        let reason = "more updates wait than a round has clients";
        waiting[..more].iter().map(|task| left_out((*task).clone(), reason)).collect()
    }

    /// The updates that wait, without those in `entries`, which wait no more.
    fn waiting(&self, entries: &[Entry]) -> Vec<&Task> {
        let is_done = |id: u64| {
            entries.iter().any(|entry| matches!(entry, Entry::Task(task) if task.id == id))
        };
        self.state.accepted().filter(|task| !is_done(task.id)).collect()
    }

    /// Leaves updates out whose bodies are not there: a backup may have been made while they went.
    pub(super) fn leave_out_lost(&mut self) -> Result<(), FederateError> {
        let is_lost = |task: &&Task| {
            let error = self.files.update(task.id, &self.schema).err();
            matches!(error, Some(FederateError::Io(error)) if error.kind() == ErrorKind::NotFound)
        };
        let lost = self.state.accepted().filter(is_lost);
        let entries: Vec<Entry> =
            lost.map(|task| left_out(task.clone(), "its file is gone")).collect();
        if entries.is_empty() { Ok(()) } else { self.commit(entries) }
    }

    /// Tasks whose clients are at work.
    pub(super) fn open_tasks(&self) -> impl Iterator<Item = &Task> {
        self.state.tasks.values().filter(|task| task.state == TaskState::Open)
    }

    /// Tasks that are old enough to be forgotten.
    pub(super) fn forgotten(&self) -> Vec<Entry> {
        let oldest = self.state.job.round.saturating_sub(TASK_ROUNDS);
        let is_done = |task: &&Task| !matches!(task.state, TaskState::Open | TaskState::Accepted);
        let old = self.state.tasks.values().filter(|task| task.round < oldest).filter(is_done);
        old.map(|task| Entry::ForgetTask(task.id)).collect()
    }
}

/// The task as one whose update is left out.
pub(super) fn left_out(task: Task, reason: &str) -> Entry {
    Entry::Task(Task { state: TaskState::LeftOut { reason: reason.to_owned() }, ..task })
}

/// The task as one that its round ended without.
pub(super) fn expired(task: &Task) -> Entry {
    Entry::Task(Task { state: TaskState::Expired, ..task.clone() })
}
