//! Owns a virtual client: what it sends, when, and whether it is honest.
//!
//! Refuses to see the server. Bound: what error feedback keeps.

use super::run::{Conditions, Learner};
use crate::codec::{Encoding, ErrorFeedback, Head, Kind, Schema, encode};
use crate::error::FederateError;
use crate::random::Random;
use crate::round::Task;

/// What a hostile client sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attack {
    /// Its change with the sign turned, times this.
    SignFlip(f32),
    /// Noise of this many times its change's length.
    Noise(f32),
    /// What it learns from wrong labels.
    LabelFlip,
    /// Numbers that are none.
    NotANumber,
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    index: usize,
    attack: Option<Attack>,
    feedback: ErrorFeedback,
    random: Random,
}

/// What a client sends.
#[derive(Debug)]
pub(super) struct Sent {
    pub body: Vec<u8>,
    pub examples: f64,
    pub loss: Option<f32>,
}

/// What a client has learnt, and not written yet.
#[derive(Debug)]
pub(super) struct Learnt {
    pub delta: Vec<f32>,
    examples: f64,
    loss: f32,
}

impl Client {
    pub fn new(index: usize, schema: &Schema, conditions: &Conditions) -> Self {
        let hostile = (conditions.hostile_share * conditions.clients as f64).round() as usize;
        let attack = conditions.attack.filter(|_| index < hostile);
        let random = Random::new(conditions.seed, 100 + index as u64);
        Self { index, attack, feedback: ErrorFeedback::new(schema), random }
    }

    /// How long it takes, microseconds: at least the usual time, and more by the half of a normal
    /// distribution (Nguyen et al., 2022).
    pub fn delay_us(&mut self, conditions: &Conditions) -> i64 {
        let more = self.random.normal().abs() * conditions.straggling;
        (1e6 * conditions.train_s * (1.0 + more)) as i64
    }

    /// Whether it says no more.
    pub fn drops_out(&mut self, conditions: &Conditions) -> bool {
        self.random.unit() < conditions.drop_out
    }

    /// Trains; a hostile client changes what comes out.
    pub fn learn(
        &mut self,
        learner: &mut dyn Learner,
        (task, model): (&Task, &[f32]),
    ) -> Result<Learnt, FederateError> {
        let flips = self.attack == Some(Attack::LabelFlip);
        let seed = self.random.next();
        let trained = learner.train(self.index, model, &task.assignment, seed, flips)?;
        let mut delta: Vec<f32> = trained.weights.iter().zip(model).map(|(w, m)| w - m).collect();
        match self.attack {
            Some(Attack::SignFlip(factor)) => delta.iter_mut().for_each(|value| *value *= -factor),
            Some(Attack::Noise(factor)) => {
                let square: f64 = delta.iter().map(|value| f64::from(*value).powi(2)).sum();
                let deviation = f64::from(factor) * (square / delta.len() as f64).sqrt();
                delta.iter_mut().for_each(|v| *v = (deviation * self.random.normal()) as f32);
            }
            _ => {}
        }
        Ok(Learnt { delta, examples: trained.examples as f64, loss: trained.loss })
    }

    /// Trains and writes the update.
    pub fn work(
        &mut self,
        learner: &mut dyn Learner,
        schema: &Schema,
        (task, model): (&Task, &[f32]),
        encoding: Encoding,
    ) -> Result<Sent, FederateError> {
        let Learnt { delta, examples, loss } = self.learn(learner, (task, model))?;
        let head = Head { kind: Kind::Delta, base: task.base, block: 256 };
        let body = if self.attack == Some(Attack::NotANumber) {
            let mut body = encode(&delta, schema, head, Encoding::DENSE)?;
            let at = body.len() - 4;
            body[at..].copy_from_slice(&f32::NAN.to_le_bytes());
            body
        } else {
            self.feedback.encode(&delta, schema, head, encoding)?
        };
        Ok(Sent { body, examples, loss: Some(loss) })
    }
}
