//! Owns `--example digits`: a model trained here and now, so that a newcomer has one to ask.
//!
//! Refuses to replace a model: it trains only when none of that name is registered. Bound: a few
//! seconds on one core.

use truststram_base::{ModelId, ModelVersion};
use truststram_train::{
    DIGITS_HELD_OUT_SHARE, DIGITS_SEED, Progress, TrainError, TrainOptions, digits, train_dense,
};

use crate::app::Started;
use crate::config::Plan;
use crate::registry::{self, RegistryError};

/// The id under which the example is registered.
pub const DIGITS: &str = "digits";

/// Why the example could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExampleError {
    /// Training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Registration.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Trains and registers the example, unless it is there; returns its accuracy on held-out rows if
/// it was trained.
pub fn ensure_digits(
    plan: &Plan,
    started: &Started,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<f64>, ExampleError> {
    let Ok(id) = ModelId::new(DIGITS) else { return Ok(None) };
    let known = started.store.model_versions(&id).map_err(RegistryError::from)?;
    if !known.is_empty() {
        return Ok(None);
    }
    let split = digits()?.split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED);
    let options = TrainOptions::default();
    let trained = train_dense(&split, &options, &plan.inference_cores, progress)?;
    let accuracy = trained.held_out_accuracy;
    let metrics = vec![
        ("held_out_accuracy".to_owned(), accuracy),
        ("train_loss".to_owned(), f64::from(trained.train_loss)),
    ];
    let clock = started.clock.as_ref();
    let version = ModelVersion(1);
    registry::add(&started.store, &plan.data_dir, clock, &id, version, &trained.file, metrics)?;
    Ok(Some(accuracy))
}
