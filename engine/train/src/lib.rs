//! Floor 4: training.
//!
//! Owns data sets, their splits, networks with their backward passes, losses, optimisers, and the
//! training of those.
//! Refuses to know where models are registered and what is served.
//! Bound: a data set held in memory; the epochs that are asked for.

mod checkpoint;
mod curve;
mod data;
mod dense;
mod encoder;
mod error;
mod evaluate;
mod export;
mod feed;
mod fit;
#[cfg(test)]
mod goldens;
mod local;
mod loss;
mod need;
mod net;
mod optimiser;
mod packed;
mod random;
mod report;
mod rows;
mod schedule;
mod spec;
mod standard;
mod step;
mod texts;
mod trainable;

pub use curve::{Curve, EpochPoint, StepPoint, Thinned};
pub use data::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, Dataset, Split, digits};
pub use dense::{Progress, TrainOptions, Trained, train_dense};
pub use encoder::{EncoderActivation, EncoderPooling, EncoderSpec};
pub use error::TrainError;
pub use evaluate::Evaluation;
pub use export::Exported;
pub use fit::{Checkpoints, Go, Outcome, PART_ROWS_MIN, Step, train};
pub use local::{LocalOutcome, LocalTrainer, LocalWork, local_sgd};
pub use loss::{Loss, Sums, Targets};
pub use need::bytes_needed;
pub use net::{LayerActivation, LayerSpec, Net, NetSpec, Pass, Precision};
pub use optimiser::{Optimiser, OptimiserSpec};
pub use packed::{PackedFeatures, Packer};
pub use report::Report;
pub use rows::read_rows;
pub use schedule::{Pace, Schedule};
pub use spec::{BaseSpec, CheckpointSpec, EarlyStop, JobSpec, TrainSpec};
pub use step::{Batch, StepOptions, Stepper};
pub use texts::{BaseModel, Prepare, TextRows, TextTraining, Tuned, Words, read_texts};
pub use trainable::{Trainable, WeightTensor};
