//! Owns rounds of secure aggregation: which message is taken when, when a step is over, how masks
//! come off.
//!
//! ```text
//! keys -> shares -> input -> unmask -> the next version
//!   each step ends when all have answered or at its deadline, with as many as are needed at least;
//!   else the round ends with the model as it is
//! ```
//!
//! Whose inputs count is committed before anybody is asked to reveal, and an input that comes later
//! is refused, so that the server is never told both secrets of a client. What was revealed goes
//! with the round. Refuses to see an update. Bound: a record for each client of the round.

use std::collections::BTreeMap;

use truststram_decide::aggregation::{Outcome, Plan, Updates};

use super::ending::expired;
use super::federation::{Federation, SECOND_US};
use super::ports::{Files, Ledger, Policy};
use super::private::is_sum;
use super::records::{Entry, Job, Phase, SecureRound, SecureTask, Step, Task, TaskState};
use super::upload::Receipt;
use crate::error::{FederateError, field_error};
use crate::privacy::{clip_of_round, next_clip};
use crate::secure::{
    Answers, PublicKeys, Quantiser, Roster, SealedShares, SecureSettings, Survivors, check_sealed,
    unmask,
};

/// What a client sends besides its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// In the first step.
    Keys(PublicKeys),
    /// In the second.
    Shares(SealedShares),
    /// In the last.
    Answers(Answers),
}

/// What a client is shown of its round.
#[derive(Clone, Debug, PartialEq)]
pub struct SecureView {
    /// The step that it is asked for.
    pub step: Step,
    /// Until when, microseconds UTC.
    pub deadline_us: i64,
    /// Who takes part; from the second step on.
    pub roster: Roster,
    /// The shares for it, by sender; from the third step on.
    pub shares: SealedShares,
    /// Whose inputs count; in the last step.
    pub survivors: Option<Survivors>,
    /// How values become whole numbers.
    pub range: f32,
    /// The length to which the client shortens its update, where privacy is kept.
    pub clip_norm: Option<f64>,
    /// Whether the update is to say if it was as short as that.
    pub has_clip_bit: bool,
}

impl<L: Ledger, F: Files, P: Policy> Federation<L, F, P> {
    /// Makes a round that begins one of secure aggregation.
    pub(super) fn begin_secure(
        &self,
        now_us: i64,
        secure: &SecureSettings,
        job: &mut Job,
        asked: usize,
    ) {
        job.secure = Some(SecureRound { step: Step::Keys, threshold: 0, survivors: None });
        let deadline_us = now_us + i64::from(secure.step_s) * SECOND_US;
        job.phase = Phase::Collecting { deadline_us, waited_for: asked as u32 };
    }

    /// The tasks of the round whose clients have sent keys.
    fn members(&self) -> impl Iterator<Item = (&Task, &SecureTask)> {
        let round = self.state.job.round;
        let own = self.state.tasks.values().filter(move |task| task.round == round);
        own.filter_map(|task| Some((task, task.secure.as_ref()?)))
    }

    fn roster(&self) -> Result<Roster, FederateError> {
        let members = self.members().map(|(task, secure)| {
            PublicKeys::of_text(&secure.keys).map(|keys| (task.client, keys))
        });
        let threshold = self.state.job.secure.as_ref().map_or(0, |secure| secure.threshold);
        Ok(Roster {
            round: self.state.job.round,
            threshold,
            members: members.collect::<Result<_, _>>()?,
        })
    }

    /// Those who have sent shares, whose streams are in the masks.
    fn sharing(&self) -> impl Iterator<Item = (&Task, &SecureTask)> {
        self.members().filter(|(_, secure)| !secure.sealed.is_empty())
    }

    /// A client's task of the round that runs, and the round.
    fn in_secure_round(
        &mut self,
        now_us: i64,
        (client, task): (u32, u64),
    ) -> Result<(Task, SecureRound), FederateError> {
        self.heard(now_us, client)?;
        let found = self.state.tasks.get(&task).filter(|found| found.client == client).cloned();
        let found = found.ok_or(FederateError::Unknown { what: "task", id: task })?;
        let is_in = matches!(found.state, TaskState::Open | TaskState::Accepted);
        let secure = self.state.job.secure.clone();
        match secure.filter(|_| is_in && found.round == self.state.job.round) {
            Some(secure) => Ok((found, secure)),
            None => Err(FederateError::Gone { task, reason: "its round is over" }),
        }
    }

    /// What a client is shown; none before its round is further than `after`.
    ///
    /// # Errors
    /// [`FederateError::Unknown`] for another's task, [`FederateError::Gone`] for one that is over.
    pub fn secure_view(
        &mut self,
        now_us: i64,
        of: (u32, u64),
        after: Option<Step>,
    ) -> Result<Option<SecureView>, FederateError> {
        let (task, secure) = self.in_secure_round(now_us, of)?;
        let Some(settings) = self.settings.secure.filter(|_| after < Some(secure.step)) else {
            return Ok(None);
        };
        let Phase::Collecting { deadline_us, .. } = self.state.job.phase else { return Ok(None) };
        let mut shares = SealedShares::new();
        if secure.step >= Step::Input {
            let own = |(from, sent): (&Task, &SecureTask)| {
                Some((from.client, sent.sealed.get(&task.client)?.clone()))
            };
            shares = self.sharing().filter_map(own).collect();
        }
        Ok(Some(SecureView {
            step: secure.step,
            deadline_us,
            roster: self.roster()?,
            shares,
            survivors: secure.survivors,
            range: settings.range,
            clip_norm: self.settings.privacy.map(|it| clip_of_round(&it, self.state.job.clip).0),
            has_clip_bit: self.settings.has_clip_bit(),
        }))
    }

    /// Takes a message of a client. It is durable once this returns.
    ///
    /// # Errors
    /// As [`Federation::secure_view`]; [`FederateError::Conflict`] for a second one that differs;
    /// what is wrong with it, or that it is not the step's.
    pub fn secure_message(
        &mut self,
        now_us: i64,
        of: (u32, u64),
        message: Message,
    ) -> Result<Receipt, FederateError> {
        let (mut task, round) = self.in_secure_round(now_us, of)?;
        let wrong_step = |expected: Step| {
            let found = format!("of step {:?}", round.step);
            field_error("message", found, format!("one of step {expected:?}"))
        };
        let mut secure = task.secure.take().unwrap_or_default();
        let again = |is_same: bool| match is_same {
            true => Ok(Receipt::Again),
            false => Err(FederateError::Conflict { task: of.1 }),
        };
        match message {
            Message::Keys(keys) => {
                let text = keys.to_text();
                if !secure.keys.is_empty() {
                    return again(secure.keys == text);
                }
                if round.step != Step::Keys {
                    return Err(wrong_step(Step::Keys));
                }
                let is_taken = self.members().any(|(_, other)| other.keys == text);
                if is_taken {
                    return Err(field_error("keys", "another client's", "keys of its own"));
                }
                secure.keys = text;
            }
            Message::Shares(sealed) => {
                if !secure.sealed.is_empty() {
                    return again(secure.sealed == sealed);
                }
                if round.step != Step::Shares {
                    return Err(wrong_step(Step::Shares));
                }
                check_sealed(&sealed, task.client, &self.roster()?)?;
                secure.sealed = sealed;
            }
            Message::Answers(answers) => {
                if let Some(before) = &secure.answers {
                    return again(*before == answers);
                }
                let Some(survivors) = &round.survivors else {
                    return Err(wrong_step(Step::Unmask));
                };
                answers.check(survivors)?;
                secure.answers = Some(answers);
            }
        }
        self.commit(vec![Entry::Task(Task { secure: Some(secure), ..task })])?;
        Ok(Receipt::Accepted)
    }

    /// Refuses an input before its step and after it.
    pub(super) fn takes_input(&self, task: &Task) -> Result<(), FederateError> {
        let Some(round) = &self.state.job.secure else { return Ok(()) };
        let has_shared = task.secure.as_ref().is_some_and(|secure| !secure.sealed.is_empty());
        match round.step {
            Step::Input if has_shared => Ok(()),
            Step::Unmask => Err(FederateError::Gone { task: task.id, reason: "its step is over" }),
            step => {
                let found = format!("of step {step:?}");
                Err(field_error("input", found, "one after the shares of its client"))
            }
        }
    }

    /// Ends the step of a round that is complete or late.
    pub(super) fn advance_secure(&mut self, now_us: i64) -> Result<(), FederateError> {
        let (Some(settings), Some(round)) = (self.settings.secure, self.state.job.secure.clone())
        else {
            return self.end_round("secure aggregation was taken away", Vec::new());
        };
        let Phase::Collecting { deadline_us, waited_for } = self.state.job.phase else {
            return Ok(());
        };
        let done = match round.step {
            Step::Keys => self.members().count(),
            Step::Shares => self.sharing().count(),
            Step::Input => self.state.accepted().count(),
            Step::Unmask => self.answers().len(),
        };
        if done < waited_for as usize && now_us < deadline_us {
            return Ok(());
        }
        let least = match round.step {
            Step::Keys => self.settings.clients_min as usize,
            Step::Input => round.threshold.max(self.settings.quorum_of(waited_for)),
            _ => round.threshold,
        };
        if done < least {
            let reason = format!("too few clients in step {:?}: {done} of {least}", round.step);
            return self.end_round(&reason, Vec::new());
        }
        let step_us = i64::from(settings.step_s) * SECOND_US;
        let training_us = i64::from(self.settings.deadline_s) * SECOND_US;
        let quick = |of: usize| (of as f64 / self.settings.over_selection).round() as usize;
        let (next, threshold, waited_for, deadline_us) = match round.step {
            Step::Keys => (Step::Shares, settings.needed(done), done, now_us + step_us),
            Step::Shares => {
                let waited_for = quick(done).max(round.threshold);
                (Step::Input, round.threshold, waited_for, now_us + training_us)
            }
            // As many as are needed will do.
            Step::Input => (Step::Unmask, round.threshold, round.threshold, now_us + step_us),
            Step::Unmask => return self.publish_secure(now_us, &round),
        };
        let survivors = (next == Step::Unmask).then(|| self.survivors());
        let mut job = self.job_in(Phase::Collecting { deadline_us, waited_for: waited_for as u32 });
        job.secure = Some(SecureRound { step: next, threshold, survivors });
        let is_behind = |task: &&Task| match round.step {
            Step::Keys => task.secure.is_none(),
            Step::Shares => task.secure.as_ref().is_none_or(|secure| secure.sealed.is_empty()),
            _ => true,
        };
        let behind = self.open_tasks().filter(is_behind).map(expired);
        self.commit(std::iter::once(Entry::Job(job)).chain(behind).collect())
    }

    fn survivors(&self) -> Survivors {
        let alive = self.state.accepted().map(|task| task.client).collect();
        let sharing = self.sharing().filter(|(task, _)| task.state != TaskState::Accepted);
        Survivors { alive, dropped: sharing.map(|(task, _)| task.client).collect() }
    }

    fn answers(&self) -> BTreeMap<u32, Answers> {
        let given =
            |(task, secure): (&Task, &SecureTask)| Some((task.client, secure.answers.clone()?));
        self.members().filter_map(given).collect()
    }

    /// Takes the masks off the sum of all inputs and makes the next version of it.
    fn publish_secure(&mut self, now_us: i64, round: &SecureRound) -> Result<(), FederateError> {
        let tasks: Vec<Task> = self.state.accepted().cloned().collect();
        let mut sum = vec![0_u32; self.sent.parameters()];
        for task in &tasks {
            self.files.update(task.id, &self.sent)?.add_masked(&mut sum)?;
        }
        let survivors = round.survivors.clone().unwrap_or_default();
        if let Err(error) = unmask(&mut sum, &self.roster()?, &survivors, &self.answers()) {
            return self.end_round(&format!("the masks do not come off: {error}"), Vec::new());
        }
        let plan = match self.plan_of_sum(now_us, &tasks) {
            Ok(plan) => plan,
            Err(reason) => return self.end_round(&reason, Vec::new()),
        };
        let range = self.settings.secure.unwrap_or_default().range;
        let quantiser = Quantiser::new(range, self.sharing().count());
        let mut sum: Vec<f32> = sum.into_iter().map(|sum| quantiser.real(sum)).collect();
        // What the inputs say of the clip lies behind them; each says the range or its negative.
        let bits: f32 = sum.split_off(self.schema.parameters()).iter().sum();
        let (count, mut clip_next) = (tasks.len(), None);
        let reason = match self.settings.privacy {
            None => {
                sum.iter_mut().for_each(|value| *value /= count as f32);
                let dropped = survivors.dropped.len();
                format!("{count} masked updates, {dropped} dropped out")
            }
            Some(privacy) => {
                if let Some(reason) = self.privacy_spent() {
                    return self.end_round(&reason, Vec::new());
                }
                let (clip, deviation) = clip_of_round(&privacy, self.state.job.clip);
                let mut noise = self.noised(&privacy, deviation, &mut sum)?;
                let bits = f64::from(bits) / f64::from(2.0 * range);
                clip_next = next_clip(&privacy, clip, bits, noise.next()?);
                self.private_reason(count, clip, deviation)
            }
        };
        self.apply_sum(tasks, &plan, &sum, reason, clip_next)
    }

    /// The plan of the aggregator for updates of which nothing is known.
    fn plan_of_sum(&mut self, now_us: i64, tasks: &[Task]) -> Result<Plan, String> {
        let count = tasks.len();
        let updates = Updates {
            clients: tasks.iter().map(|task| task.client).collect(),
            staleness: vec![0; count],
            samples: vec![1; count],
            l2_norms: vec![0.0; count],
            train_losses: vec![f32::NAN; count],
            ..Updates::default()
        };
        let context = self.context(now_us);
        match self.policy.make_plan(&context, &updates)? {
            Outcome::Aggregate(plan) if is_sum(&plan) => Ok(plan),
            Outcome::Aggregate(_) => Err("the plan is no sum of updates".to_owned()),
            Outcome::KeepModel(reason) => Err(reason),
        }
    }

    /// The same changes without what clients have sent to the round that ends with them.
    pub(super) fn without_secrets(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        if self.state.job.secure.is_none() {
            return entries;
        }
        for entry in &mut entries {
            match entry {
                Entry::Job(job) => job.secure = None,
                Entry::Task(task) => task.secure = None,
                _ => {}
            }
        }
        let is_there = |id: u64| {
            entries.iter().any(|entry| match entry {
                Entry::Task(task) => task.id == id,
                Entry::ForgetTask(forgotten) => *forgotten == id,
                _ => false,
            })
        };
        let others = self.state.tasks.values().filter(|task| task.secure.is_some());
        let others = others.filter(|task| !is_there(task.id));
        let bare: Vec<Entry> =
            others.map(|task| Entry::Task(Task { secure: None, ..task.clone() })).collect();
        entries.extend(bare);
        entries
    }
}
