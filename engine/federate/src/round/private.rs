//! Owns private rounds: who is drawn, how a model is made of shortened updates and noise, what that
//! costs.
//!
//! The cost is committed before the noise is drawn, so that no crash publishes what nobody has
//! paid for; a crash after it costs a round's epsilon and gives nothing. Refuses to weigh clients:
//! all count the same. Bound: as `publish`.

use truststram_decide::aggregation::{Plan, Reducer};

use super::ending::left_out;
use super::federation::Federation;
use super::ports::{Files, Ledger, Policy};
use super::publish::norms;
use super::records::{Assignment, Entry, Task};
use crate::aggregate::{Cores, Rows, weighted_sum};
use crate::error::FederateError;
use crate::privacy::{
    Accountant, Gaussian, PrivacySettings, clip_bit, clip_factor, clip_of_round, next_clip,
};

/// Draws in which nobody comes out before a round is put off.
const DRAWS_MAX: usize = 64;

/// What has been spent, read for the delta of the settings.
#[derive(Debug, Default)]
pub(super) struct Account {
    accountant: Accountant,
    epsilon: f64,
    epsilon_next: f64,
}

/// Where the privacy of clients stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrivacyStanding {
    /// What the models published so far tell of any client, at `delta`.
    pub epsilon: f64,
    /// The same after another round.
    pub epsilon_next: f64,
    /// The length to which updates are shortened.
    pub clip_norm: f64,
    /// Rounds that were paid for.
    pub rounds: u64,
    /// The settings.
    pub settings: PrivacySettings,
}

impl<L: Ledger, F: Files, P: Policy> Federation<L, F, P> {
    /// Where the privacy of clients stands, if it is kept.
    pub fn privacy(&self) -> Option<PrivacyStanding> {
        let settings = self.settings.privacy?;
        Some(PrivacyStanding {
            epsilon: self.account.epsilon,
            epsilon_next: self.account.epsilon_next,
            clip_norm: clip_of_round(&settings, self.state.job.clip).0,
            rounds: self.state.spent.rounds(),
            settings,
        })
    }

    /// Reads the account anew.
    pub(super) fn read_account(&mut self) {
        let Some(privacy) = self.settings.privacy else { return };
        let Account { accountant, epsilon, epsilon_next } = &mut self.account;
        let spent = &self.state.spent;
        *epsilon = accountant.epsilon(spent, privacy.delta);
        *epsilon_next = accountant.epsilon(&spent.with(privacy.mechanism()), privacy.delta);
    }

    /// Why no further round can be paid for, if so.
    pub(super) fn privacy_spent(&self) -> Option<String> {
        let privacy = self.settings.privacy?;
        let most = privacy.epsilon_max?;
        let Account { epsilon, epsilon_next, .. } = self.account;
        (epsilon_next > most).then(|| {
            format!(
                "its privacy budget is spent: epsilon {epsilon:.4} of {most} at delta {:e}, and a \
                 further round would come to {epsilon_next:.4}",
                privacy.delta
            )
        })
    }

    /// The clients of a round, each by a coin of its own.
    pub(super) fn drawn(
        &mut self,
        privacy: &PrivacySettings,
        present: &[u32],
    ) -> Result<Vec<(u32, Assignment)>, FederateError> {
        let PrivacySettings { batch_size, local_epochs, sampling_rate, .. } = *privacy;
        let assignment = Assignment { batch_size, local_epochs };
        let mut coins = Gaussian::new(&self.chance.key()?)?;
        for _ in 0..DRAWS_MAX {
            let mut drawn = Vec::new();
            for client in present {
                if coins.unit()? <= sampling_rate {
                    drawn.push((*client, assignment));
                }
            }
            // A round takes all who are drawn or nobody: who else is there must not matter.
            if (1..=self.settings.clients_max as usize).contains(&drawn.len()) {
                return Ok(drawn);
            }
        }
        Ok(Vec::new())
    }

    /// Makes the next version of the accepted updates, shortened and with noise.
    pub(super) fn publish_private(
        &mut self,
        now_us: i64,
        privacy: &PrivacySettings,
    ) -> Result<(), FederateError> {
        let tasks: Vec<Task> = self.state.accepted().cloned().collect();
        let rows = self.rows(&tasks)?;
        let rows: Vec<&dyn Rows> = rows.iter().map(AsRef::as_ref).collect();
        let plan = match self.plan(now_us, &tasks, &rows)? {
            Ok(plan) if is_sum(&plan) => plan,
            Ok(_) => return self.end_round("the plan is no sum of bounded updates", Vec::new()),
            Err(reason) => return self.end_round(&reason, Vec::new()),
        };
        let (clip, deviation) = clip_of_round(privacy, self.state.job.clip);
        let norms = norms(&tasks);
        let factors: Vec<f32> = norms.iter().map(|norm| clip_factor(*norm, clip)).collect();
        let mut sum = vec![0.0; self.schema.parameters()];
        weighted_sum(Cores::one(), &rows, &factors, &mut sum)?;
        drop(rows);
        if let Some(reason) = self.privacy_spent() {
            return self.end_round(&reason, Vec::new());
        }
        let mut noise = self.noised(privacy, deviation, &mut sum)?;
        let bits = norms.iter().map(|norm| clip_bit(*norm, clip)).sum();
        let next = next_clip(privacy, clip, bits, noise.next()?);
        let reason = self.private_reason(tasks.len(), clip, deviation);
        self.apply_sum(tasks, &plan, &sum, reason, next)
    }

    /// What is said of a version.
    pub(super) fn private_reason(&self, updates: usize, clip: f64, deviation: f64) -> String {
        let epsilon = self.account.epsilon;
        format!(
            "{updates} updates, each of length {clip:.4} at most, noise of deviation \
             {deviation:.4}; epsilon {epsilon:.4}"
        )
    }

    /// Pays for noise, adds it to a sum, and divides that by the fixed number.
    pub(super) fn noised(
        &mut self,
        privacy: &PrivacySettings,
        deviation: f64,
        sum: &mut [f32],
    ) -> Result<Gaussian, FederateError> {
        self.commit(vec![Entry::Spent(self.state.spent.with(privacy.mechanism()))])?;
        self.read_account();
        let mut noise = Gaussian::new(&self.chance.key()?)?;
        for value in sum {
            let noised = f64::from(*value) + deviation * noise.next()?;
            *value = (noised / privacy.expected()) as f32;
        }
        Ok(noise)
    }

    /// Makes the next version of a mean of updates that all count the same.
    pub(super) fn apply_sum(
        &mut self,
        tasks: Vec<Task>,
        plan: &Plan,
        mean: &[f32],
        reason: String,
        clip: Option<f64>,
    ) -> Result<(), FederateError> {
        let mut model = self.files.model(self.state.job.version)?;
        let applied =
            model.state.apply(&plan.optimizer, plan.learning_rate, mean, &mut model.values);
        if let Err(error) = applied {
            let reason = error.to_string();
            let left_out = tasks.into_iter().map(|task| left_out(task, &reason)).collect();
            return self.end_round(&reason, left_out);
        }
        let version = self.state.job.version + 1;
        self.files.put_model(version, &model)?;
        let weights = vec![1.0; tasks.len()];
        let plan = Plan { weights, refused: Vec::new(), reason, ..plan.clone() };
        self.make_present(version, tasks, &plan, clip)
    }
}

pub(super) fn is_sum(plan: &Plan) -> bool {
    plan.reducer == Reducer::Linear && plan.noise_multiplier == 0.0 && plan.clip_norm == 0.0
}
