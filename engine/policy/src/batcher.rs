//! Owns the questions to a batcher.
//!
//! Refuses a decision outside of the bounds that `batching.wit` states. Bound: flat numbers, no
//! allocation.

use truststram_decide::batching::{Decision, Moment};

use crate::instance::{Instance, Part};
use crate::kind::Batcher;
use crate::stats::{Fault, Refusal};

impl Instance<Batcher> {
    /// Asks which requests run now.
    ///
    /// # Errors
    /// Why there is no decision; the caller decides by itself then.
    pub fn decide(&mut self, moment: &Moment) -> Result<Decision, Refusal> {
        let Moment { bucket, queued, oldest_us, batch_max, target_us } = *moment;
        let answer = self.ask(
            Part::Alone,
            |bindings, store| {
                let batching = bindings.truststram_policy_batching();
                batching.call_decide(store, bucket, queued, oldest_us, batch_max, target_us)
            },
            |answer| {
                let decision = Decision { take: answer.take, wait_us: answer.wait_us };
                if decision.is_within(moment) {
                    return Ok(decision);
                }
                Err(Fault::nonsense(format!("{decision:?} for {moment:?}")))
            },
        );
        self.note(|| *moment, &answer, |decision| *decision);
        answer
    }

    /// Asks a question that was kept.
    pub(crate) fn answer(&mut self, question: &Moment) -> Result<Decision, Refusal> {
        self.decide(question)
    }
}
