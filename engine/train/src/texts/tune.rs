//! Owns the training of a model that reads texts: from nothing, or from a model that exists, of
//! which all weights are trained on or the head alone.
//!
//! With the head alone the encoder computes each text once, without dropout; the head is then
//! trained on what it gave. Refuses to register the model. Bound: as the module says.

use serde::{Deserialize, Serialize};
use truststram_model::artifact::Artifact;
use truststram_model::encoder::Tokenizer;

use super::base::Base;
use super::rows::TextRows;
use super::tokens;
use super::words;
use crate::data::{Dataset, Split};
use crate::encoder::EncoderSpec;
use crate::error::TrainError;
use crate::export::{Exported, export};
use crate::fit::{Checkpoints, Fitted, Go, Outcome, Step, fit};
use crate::net::{LayerSpec, Net, NetSpec, Pass};
use crate::spec::TrainSpec;
use crate::step::{StepOptions, Stepper};

/// Texts whose vectors are computed together.
const TEXTS_AT_ONCE: usize = 16;

/// What of a model that exists is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tuned {
    /// All of it.
    #[default]
    All,
    /// What stands behind the encoder.
    Head,
}

/// A model whose encoder training begins with.
#[derive(Clone, Copy, Debug)]
pub struct BaseModel<'a> {
    /// The model.
    pub artifact: &'a Artifact,
    /// What of it is trained on.
    pub tuned: Tuned,
    /// Most tokens of a text; as many as the model takes where it is absent.
    pub length_max: Option<usize>,
    /// The share of what attention gives each token that is left out while all of it is trained.
    pub attention_dropout: f32,
}

/// Trains on texts. Without `base` the network begins with an encoder, whose tokens are the words
/// of the texts; with it the network is what stands behind the encoder of the model.
///
/// # Errors
/// [`TrainError`] says what does not fit.
pub fn train_texts(
    rows: &TextRows,
    spec: &TrainSpec,
    base: Option<BaseModel<'_>>,
    cores: &[u32],
    checkpoints: Option<&Checkpoints>,
    note: &mut dyn FnMut(&Step) -> Go,
) -> Result<Option<Outcome>, TrainError> {
    spec.check()?;
    let wrong = |option, expected| Err(TrainError::Option { option, expected });
    let (file, start, tuned) = match (base, spec.net.encoder()) {
        (Some(_), Some(_)) => return wrong("net", "without an encoder: the base has one"),
        (None, None) => return wrong("net", "an encoder first, or a base that has one"),
        (None, Some(encoder)) => {
            (words::tokenizer(&rows.texts, encoder.vocabulary), None, Tuned::All)
        }
        (Some(base), None) => {
            let file = base.artifact.tokenizer.clone();
            let file = file.ok_or(TrainError::Option {
                option: "base",
                expected: "a model with a tokenizer",
            })?;
            let mut start = Base::read(base.artifact, base.length_max)?;
            start.spec.attention_dropout = base.attention_dropout;
            (file, Some(start), base.tuned)
        }
    };
    let mut whole = spec.clone();
    let mut weights = None;
    if let Some(base) = start {
        let mut layers = vec![LayerSpec::Encoder(Box::new(base.spec))];
        layers.extend(base.inner);
        layers.append(&mut whole.net.layers);
        whole.net.layers = layers;
        weights = Some(base.weights);
    }
    let encoder = whole.net.encoder().cloned();
    let encoder = encoder.ok_or(TrainError::Dataset("has no encoder"))?;
    encoder.check()?;
    let tokenizer = Tokenizer::parse(&file)?;
    let data = tokens::dataset(rows, &tokenizer, encoder.length_max, spec.loss.is_of_classes())?;
    let split = data.split(spec.held_out, spec.seed);
    let fitted = match (tuned, weights) {
        (Tuned::Head, Some(weights)) => {
            head(&split, &whole, &encoder, &weights, cores, checkpoints, note)?
        }
        (_, weights) => fit(&split, &whole, weights.as_deref(), cores, checkpoints, note)?,
    };
    let Some(fitted) = fitted else { return Ok(None) };
    let model = export(&fitted.stepper, spec.loss, &split.train, fitted.preprocessing.clone())?;
    let Exported::Graph(mut artifact) = model else {
        return wrong("net", "an encoder first");
    };
    artifact.tokenizer = Some(file);
    fitted.outcome(Exported::Graph(artifact), &split, cores).map(Some)
}

/// Trains what stands behind the encoder on what it gives for each text.
fn head(
    split: &Split,
    whole: &TrainSpec,
    encoder: &EncoderSpec,
    weights: &[f32],
    cores: &[u32],
    checkpoints: Option<&Checkpoints>,
    note: &mut dyn FnMut(&Step) -> Go,
) -> Result<Option<Fitted>, TrainError> {
    for data in [&split.train, &split.held_out] {
        tokens::check(data, encoder)?;
    }
    let layers = vec![whole.net.layers[0].clone()];
    let front = Net::new(&NetSpec { layers, ..NetSpec::default() }, encoder.length_max, 1)?;
    let count = front.layers[0].encoder().map_or(0, |encoder| encoder.weight_count);
    let (of_encoder, of_inner) = weights.split_at(count.min(weights.len()));
    let vectors = |data: &Dataset| -> Dataset {
        let mut pass = Pass::new(truststram_model::kernels::Isa::detect(), &front);
        let mut features = Vec::with_capacity(data.rows() * encoder.hidden);
        for rows in data.features.chunks(TEXTS_AT_ONCE * encoder.length_max) {
            let rows_count = rows.len() / encoder.length_max;
            features.extend_from_slice(pass.encoded(&front, of_encoder, rows, rows_count));
        }
        let (labels, values) = (data.labels.clone(), data.values.clone());
        let classes = data.classes.clone();
        let feature_count = encoder.hidden;
        Dataset { features, labels, values, feature_count, classes, packed: None }
    };
    let encoded = Split { train: vectors(&split.train), held_out: vectors(&split.held_out) };
    let mut behind = TrainSpec { standardise: false, ..whole.clone() };
    behind.net.layers.remove(0);
    let start = Some(of_inner).filter(|inner| !inner.is_empty());
    let Some(mut fitted) = fit(&encoded, &behind, start, cores, checkpoints, note)? else {
        return Ok(None);
    };
    // The whole network with what both parts have.
    let outputs = fitted.stepper.net().outputs;
    let options = StepOptions { loss: whole.loss, ..StepOptions::default() };
    let mut stepper = Stepper::new(&whole.net, (encoder.length_max, outputs), options, &[])?;
    stepper.weights[..count].copy_from_slice(of_encoder);
    stepper.weights[count..].copy_from_slice(fitted.stepper.weights());
    fitted.stepper = stepper;
    Ok(Some(fitted))
}
