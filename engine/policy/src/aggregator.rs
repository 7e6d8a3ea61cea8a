//! Owns the questions to an aggregator.
//!
//! Refuses a plan outside of the bounds that `aggregation.wit` states. Bound: columns of at most
//! [`UPDATES_MAX`] updates.

use serde::{Deserialize, Serialize};
use truststram_decide::aggregation::{
    Adaptive, Admission, CostlyFacts, Outcome, Plan, Reducer, Refusal as LeftOut, Round,
    ServerOptimizer, Update, Updates,
};

use crate::instance::{Instance, Part, accepted};
use crate::kind::Aggregator;
use crate::stats::{Fault, Refusal};
use crate::text;
use crate::v0_1_0::aggregator::exports::truststram::policy::aggregation as wit;

/// Most updates of one plan; their distances to each other fill the memory of a guest first.
pub const UPDATES_MAX: usize = 10_000;
const REASON_BYTES_MAX: usize = 256;
/// How far the weights may sum to something else than 1.
const WEIGHT_SUM_TOLERANCE: f64 = 1e-3;

/// A question to an aggregator.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AggregatorQuestion {
    /// Which costly facts it wants.
    Wanted,
    /// What becomes of an update.
    Admit {
        /// Where the training stands.
        round: Round,
        /// The update.
        update: Update,
    },
    /// The plan for a round.
    MakePlan {
        /// Where the training stands.
        round: Round,
        /// The updates.
        updates: Updates,
    },
}

/// The answer of an aggregator.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AggregatorAnswer {
    /// The costly facts.
    Wanted(CostlyFacts),
    /// What becomes of the update.
    Admitted(Admission),
    /// The plan, or none.
    Planned(Outcome),
}

impl Instance<Aggregator> {
    /// Which costly facts it wants.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn wanted(&mut self) -> Result<CostlyFacts, Refusal> {
        let answer = self.ask(
            Part::Alone,
            |bindings, store| bindings.truststram_policy_aggregation().call_wanted(store),
            |flags| {
                Ok(CostlyFacts {
                    cosines: flags.contains(wit::CostlyFacts::COSINES),
                    squared_distances: flags.contains(wit::CostlyFacts::SQUARED_DISTANCES),
                })
            },
        );
        self.note(|| AggregatorQuestion::Wanted, &answer, |facts| AggregatorAnswer::Wanted(*facts));
        answer
    }

    /// What becomes of an update that has arrived.
    ///
    /// # Errors
    /// Why there is no decision.
    pub fn admit(&mut self, round: &Round, update: &Update) -> Result<Admission, Refusal> {
        let facts = wit::UpdateFacts {
            client: update.client,
            staleness: update.staleness,
            samples: update.samples,
            l2_norm: update.l2_norm,
            train_loss: update.train_loss,
        };
        let context = context(round);
        let answer = self.ask(
            Part::Alone,
            |bindings, store| {
                bindings.truststram_policy_aggregation().call_admit(store, context, facts)
            },
            |answer| {
                Ok(match accepted(answer)? {
                    wit::Admission::Accept => Admission::Accept,
                    wit::Admission::AcceptAndAggregate => Admission::AcceptAndAggregate,
                    wit::Admission::Refuse(reason) => {
                        Admission::Refuse(text::line(&reason, REASON_BYTES_MAX))
                    }
                })
            },
        );
        self.note(
            || AggregatorQuestion::Admit { round: *round, update: *update },
            &answer,
            |admission| AggregatorAnswer::Admitted(admission.clone()),
        );
        answer
    }

    /// The plan for a round.
    ///
    /// # Errors
    /// Why there is none.
    pub fn make_plan(&mut self, round: &Round, updates: &Updates) -> Result<Outcome, Refusal> {
        if updates.len() > UPDATES_MAX {
            return Err(Refusal::Failed);
        }
        let columns = wit::UpdateColumns {
            clients: updates.clients.clone(),
            staleness: updates.staleness.clone(),
            samples: updates.samples.clone(),
            l2_norms: updates.l2_norms.clone(),
            train_losses: updates.train_losses.clone(),
            cosines: updates.cosines.clone(),
            squared_distances: updates.squared_distances.clone(),
        };
        let context = context(round);
        let answer = self.ask(
            Part::Alone,
            |bindings, store| {
                let aggregation = bindings.truststram_policy_aggregation();
                aggregation.call_make_plan(store, context, &columns)
            },
            |answer| match accepted(answer)? {
                wit::Outcome::KeepModel(reason) => {
                    Ok(Outcome::KeepModel(text::line(&reason, REASON_BYTES_MAX)))
                }
                wit::Outcome::Aggregate(plan) => {
                    let plan = plan_of(plan);
                    check(&plan, updates.len()).map_err(Fault::nonsense)?;
                    Ok(Outcome::Aggregate(plan))
                }
            },
        );
        self.note(
            || AggregatorQuestion::MakePlan { round: *round, updates: updates.clone() },
            &answer,
            |outcome| AggregatorAnswer::Planned(outcome.clone()),
        );
        answer
    }

    /// Asks a question that was kept.
    pub(crate) fn answer(
        &mut self,
        question: &AggregatorQuestion,
    ) -> Result<AggregatorAnswer, Refusal> {
        match question {
            AggregatorQuestion::Wanted => self.wanted().map(AggregatorAnswer::Wanted),
            AggregatorQuestion::Admit { round, update } => {
                self.admit(round, update).map(AggregatorAnswer::Admitted)
            }
            AggregatorQuestion::MakePlan { round, updates } => {
                self.make_plan(round, updates).map(AggregatorAnswer::Planned)
            }
        }
    }
}

fn context(round: &Round) -> wit::RoundContext {
    wit::RoundContext {
        round: round.round,
        now_ms: round.now_ms,
        parameters: round.parameters,
        clients_asked: round.clients_asked,
        buffered: round.buffered,
    }
}

fn plan_of(plan: wit::Plan) -> Plan {
    let adaptive = |constants: wit::Adaptive| Adaptive {
        beta1: constants.beta1,
        beta2: constants.beta2,
        tau: constants.tau,
    };
    Plan {
        weights: plan.weights,
        reducer: match plan.reducer {
            wit::Reducer::Linear => Reducer::Linear,
            wit::Reducer::TrimmedMean(share) => Reducer::TrimmedMean(share),
            wit::Reducer::Median => Reducer::Median,
            wit::Reducer::GeometricMedian(iterations) => Reducer::GeometricMedian(iterations),
            wit::Reducer::Custom => Reducer::Custom,
        },
        optimizer: match plan.optimizer {
            wit::ServerOptimizer::None => ServerOptimizer::None,
            wit::ServerOptimizer::Momentum(momentum) => ServerOptimizer::Momentum(momentum),
            wit::ServerOptimizer::Adagrad(c) => ServerOptimizer::Adagrad(adaptive(c)),
            wit::ServerOptimizer::Adam(c) => ServerOptimizer::Adam(adaptive(c)),
            wit::ServerOptimizer::Yogi(c) => ServerOptimizer::Yogi(adaptive(c)),
        },
        learning_rate: plan.learning_rate,
        clip_norm: plan.clip_norm,
        noise_multiplier: plan.noise_multiplier,
        refused: plan
            .refused
            .into_iter()
            .map(|refusal| LeftOut {
                index: refusal.index,
                reason: text::line(&refusal.reason, REASON_BYTES_MAX),
            })
            .collect(),
        reason: text::line(&plan.reason, REASON_BYTES_MAX),
    }
}

/// What is wrong with a plan for so many updates, by the bounds that `aggregation.wit` states.
fn check(plan: &Plan, updates: usize) -> Result<(), String> {
    let decay = |value: f32| (0.0..1.0).contains(&value);
    let at_least_zero = |value: f32| value.is_finite() && value >= 0.0;
    let adaptive =
        |c: &Adaptive| decay(c.beta1) && decay(c.beta2) && c.tau.is_finite() && c.tau > 0.0;
    let found = plan.weights.len();
    if found != updates {
        return Err(format!("{found} weights for {updates} updates"));
    }
    if let Some(at) = plan.weights.iter().position(|&weight| !at_least_zero(weight)) {
        return Err(format!("weight {at} is {}", plan.weights[at]));
    }
    let mut is_left_out = vec![false; updates];
    for refusal in &plan.refused {
        match is_left_out.get_mut(refusal.index as usize) {
            None => return Err(format!("refuses update {} of {updates}", refusal.index)),
            Some(true) => return Err(format!("refuses update {} twice", refusal.index)),
            Some(seen) => *seen = true,
        }
        if plan.weights[refusal.index as usize] != 0.0 {
            return Err(format!("update {} is refused and has a weight", refusal.index));
        }
    }
    let sum: f64 = plan.weights.iter().map(|&weight| f64::from(weight)).sum();
    let sums_to_one = (sum - 1.0).abs() <= WEIGHT_SUM_TOLERANCE;
    let is_reducer_good = match plan.reducer {
        Reducer::Linear => sums_to_one,
        Reducer::GeometricMedian(iterations) => sums_to_one && (1..=100).contains(&iterations),
        Reducer::TrimmedMean(share) => (0.0..0.5).contains(&share) && sum > 0.0,
        Reducer::Median | Reducer::Custom => sum > 0.0,
    };
    if !is_reducer_good {
        return Err(format!("{:?} with weights that sum to {sum}", plan.reducer));
    }
    let is_optimizer_good = match &plan.optimizer {
        ServerOptimizer::None => true,
        ServerOptimizer::Momentum(momentum) => decay(*momentum),
        ServerOptimizer::Adagrad(c) | ServerOptimizer::Adam(c) | ServerOptimizer::Yogi(c) => {
            adaptive(c)
        }
    };
    if !is_optimizer_good {
        return Err(format!("{:?} is out of range", plan.optimizer));
    }
    if !(plan.learning_rate.is_finite() && plan.learning_rate > 0.0) {
        return Err(format!("a learning rate of {}", plan.learning_rate));
    }
    let noise_is_bounded = plan.noise_multiplier == 0.0 || plan.clip_norm > 0.0;
    if !at_least_zero(plan.clip_norm) || !at_least_zero(plan.noise_multiplier) || !noise_is_bounded
    {
        let (clip, noise) = (plan.clip_norm, plan.noise_multiplier);
        return Err(format!("a clip norm of {clip} with a noise multiplier of {noise}"));
    }
    Ok(())
}
