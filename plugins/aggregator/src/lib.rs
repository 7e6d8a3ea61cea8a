//! The built-in aggregators: a component of world `aggregator` in `wit/since_v0.1.0`.
//!
//! Owns the translation between the WIT types and [`truststram_decide::aggregation`], and the
//! settings of this instance. Refuses to see tensors. Bound: the updates of one call.

use std::cell::Cell;

use exports::truststram::policy::aggregation as wit;
use truststram::policy::types::Error;
use truststram_decide::aggregation as decide;

wit_bindgen::generate!({ path: "../../wit/since_v0.1.0", world: "aggregator" });

thread_local! {
    static SETTINGS: Cell<decide::Settings> = Cell::default();
}

struct Aggregator;

truststram_plugin_shell::lifecycle!(
    Aggregator,
    "aggregator",
    "federated averaging, adaptive server optimisers and robust rules",
    |settings| {
        SETTINGS.set(decide::Settings::parse(settings)?);
        Ok(())
    }
);

impl wit::Guest for Aggregator {
    fn wanted() -> wit::CostlyFacts {
        let wanted = SETTINGS.get().wanted();
        let flag = |is_wanted: bool, flag| if is_wanted { flag } else { wit::CostlyFacts::empty() };
        flag(wanted.cosines, wit::CostlyFacts::COSINES)
            | flag(wanted.squared_distances, wit::CostlyFacts::SQUARED_DISTANCES)
    }

    fn admit(
        context: wit::RoundContext,
        update: wit::UpdateFacts,
    ) -> Result<wit::Admission, Error> {
        let round = decide::Round {
            round: context.round,
            now_ms: context.now_ms,
            parameters: context.parameters,
            clients_asked: context.clients_asked,
            buffered: context.buffered,
        };
        let update = decide::Update {
            client: update.client,
            staleness: update.staleness,
            samples: update.samples,
            l2_norm: update.l2_norm,
            train_loss: update.train_loss,
        };
        Ok(match decide::admit(&SETTINGS.get(), &round, &update) {
            decide::Admission::Accept => wit::Admission::Accept,
            decide::Admission::Refuse(reason) => wit::Admission::Refuse(reason),
            decide::Admission::AcceptAndAggregate => wit::Admission::AcceptAndAggregate,
        })
    }

    fn make_plan(
        _context: wit::RoundContext,
        updates: wit::UpdateColumns,
    ) -> Result<wit::Outcome, Error> {
        let updates = decide::Updates {
            clients: updates.clients,
            staleness: updates.staleness,
            samples: updates.samples,
            l2_norms: updates.l2_norms,
            train_losses: updates.train_losses,
            cosines: updates.cosines,
            squared_distances: updates.squared_distances,
        };
        match decide::make_plan(&SETTINGS.get(), &updates).map_err(Error::Unsupported)? {
            decide::Outcome::Aggregate(plan) => Ok(wit::Outcome::Aggregate(translate(plan))),
            decide::Outcome::KeepModel(reason) => Ok(wit::Outcome::KeepModel(reason)),
        }
    }
}

fn translate(plan: decide::Plan) -> wit::Plan {
    let adaptive = |constants: decide::Adaptive| wit::Adaptive {
        beta1: constants.beta1,
        beta2: constants.beta2,
        tau: constants.tau,
    };
    wit::Plan {
        weights: plan.weights,
        reducer: match plan.reducer {
            decide::Reducer::Linear => wit::Reducer::Linear,
            decide::Reducer::TrimmedMean(share) => wit::Reducer::TrimmedMean(share),
            decide::Reducer::Median => wit::Reducer::Median,
            decide::Reducer::GeometricMedian(iterations) => {
                wit::Reducer::GeometricMedian(iterations)
            }
            decide::Reducer::Custom => wit::Reducer::Custom,
        },
        optimizer: match plan.optimizer {
            decide::ServerOptimizer::None => wit::ServerOptimizer::None,
            decide::ServerOptimizer::Momentum(momentum) => wit::ServerOptimizer::Momentum(momentum),
            decide::ServerOptimizer::Adagrad(c) => wit::ServerOptimizer::Adagrad(adaptive(c)),
            decide::ServerOptimizer::Adam(c) => wit::ServerOptimizer::Adam(adaptive(c)),
            decide::ServerOptimizer::Yogi(c) => wit::ServerOptimizer::Yogi(adaptive(c)),
        },
        learning_rate: plan.learning_rate,
        clip_norm: plan.clip_norm,
        noise_multiplier: plan.noise_multiplier,
        refused: plan
            .refused
            .into_iter()
            .map(|refusal| wit::Refusal { index: refusal.index, reason: refusal.reason })
            .collect(),
        reason: plan.reason,
    }
}

export!(Aggregator);
