//! Owns the training of a model that reads texts: from nothing, or from a model that exists, of
//! which all weights are trained on or the head alone.
//!
//! With the head alone the encoder computes each text once, without dropout; the head is then
//! trained on what it gave. Refuses to know where texts are, and to register the model. Bound: the
//! weights of the model and those of training; rows are where the data set has them.

use serde::{Deserialize, Serialize};
use truststram_model::artifact::Artifact;
use truststram_model::encoder::Tokenizer;

use super::base::Base;
use super::rows::TextRows;
use super::tokens;
use super::words::Words;
use crate::data::{Dataset, Split};
use crate::encoder::EncoderSpec;
use crate::error::TrainError;
use crate::export::{Exported, export};
use crate::fit::{Checkpoints, Fitted, Go, Outcome, Step, fit, outputs};
use crate::need::bytes_needed;
use crate::net::{LayerSpec, Net, NetSpec, Pass};
use crate::rows::{VALUE_COUNT_MAX, labelled};
use crate::spec::TrainSpec;
use crate::step::{StepOptions, Stepper};

/// Texts whose vectors are computed together.
const TEXTS_AT_ONCE: usize = 16;
/// Copies of all weights while the head alone is trained: those of the base, and once it is
/// trained those of the whole network with room for a gradient, and those of the model.
const COPIES_OF_BASE: u64 = 4;

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

/// Told how many texts of how many are ready for the next step on their way, some at a time; ends
/// the training by `false`.
pub type Prepare<'a> = dyn FnMut(usize, usize) -> bool + 'a;

/// A training on texts before it has rows: how texts become tokens, the network with the encoder
/// first, and the weights that it begins with.
pub struct TextTraining {
    whole: TrainSpec,
    encoder: EncoderSpec,
    tokenizer: Tokenizer,
    /// What the tokenizer is read from.
    file: Vec<u8>,
    tuned: Tuned,
    /// Of the base; none of an encoder from nothing.
    weights: Option<Vec<f32>>,
}

fn wrong<T>(option: &'static str, expected: &'static str) -> Result<T, TrainError> {
    Err(TrainError::Option { option, expected })
}

impl TextTraining {
    /// A training of a model that exists; the network of the description is what stands behind its
    /// encoder.
    ///
    /// # Errors
    /// [`TrainError`] says what does not fit.
    pub fn of_base(spec: &TrainSpec, base: BaseModel<'_>) -> Result<Self, TrainError> {
        spec.check()?;
        if spec.net.encoder().is_some() {
            return wrong("net", "without an encoder: the base has one");
        }
        let Some(file) = base.artifact.tokenizer.clone() else {
            return wrong("base", "a model with a tokenizer");
        };
        let Base { spec: mut encoder, inner, weights } =
            Base::read(base.artifact, base.length_max)?;
        encoder.attention_dropout = base.attention_dropout;
        let mut whole = spec.clone();
        let mut layers = vec![LayerSpec::Encoder(Box::new(encoder))];
        layers.extend(inner);
        layers.append(&mut whole.net.layers);
        whole.net.layers = layers;
        Self::new(whole, file, base.tuned, Some(weights))
    }

    /// A training from nothing; the network of the description begins with an encoder, whose
    /// tokens are these words.
    ///
    /// # Errors
    /// [`TrainError`] says what does not fit.
    pub fn of_words(spec: &TrainSpec, words: &Words) -> Result<Self, TrainError> {
        spec.check()?;
        match spec.net.encoder() {
            Some(encoder) => {
                let file = words.tokenizer(encoder.vocabulary);
                Self::new(spec.clone(), file, Tuned::All, None)
            }
            None => wrong("net", "an encoder first, or a base that has one"),
        }
    }

    fn new(
        whole: TrainSpec,
        file: Vec<u8>,
        tuned: Tuned,
        weights: Option<Vec<f32>>,
    ) -> Result<Self, TrainError> {
        let encoder = whole.net.encoder().cloned();
        let encoder = encoder.ok_or(TrainError::Dataset("has no encoder"))?;
        encoder.check()?;
        let tokenizer = Tokenizer::parse(&file)?;
        Ok(Self { whole, encoder, tokenizer, file, tuned, weights })
    }

    /// Adds the row of a text to `row`: as many numbers for each.
    ///
    /// # Errors
    /// If there are no tokens in it, or it is too long.
    pub fn add_row(&self, text: &str, row: &mut Vec<f32>) -> Result<(), TrainError> {
        tokens::add(text, &self.tokenizer, self.encoder.length_max, row)
    }

    /// The rows of texts in memory.
    ///
    /// # Errors
    /// [`TrainError`] says what is wrong with which.
    pub fn dataset(&self, rows: &TextRows) -> Result<Dataset, TrainError> {
        let length_max = self.encoder.length_max;
        let count = rows.texts.len().checked_mul(length_max);
        let count = count.filter(|count| *count <= VALUE_COUNT_MAX);
        let count = count.ok_or(TrainError::Dataset("is more than can be trained on"))?;
        let mut features = Vec::with_capacity(count);
        for text in &rows.texts {
            self.add_row(text, &mut features)?;
        }
        labelled(features, &rows.labels, length_max, self.whole.loss.is_of_classes())
            .map_err(|what| TrainError::Label { what })
    }

    /// Bytes that the training needs at least, besides its rows.
    ///
    /// # Errors
    /// [`TrainError::Option`] names what does not fit the rows.
    pub fn bytes_needed(&self, split: &Split, cores: usize) -> Result<u64, TrainError> {
        if self.base_of_head().is_none() {
            return bytes_needed(split, &self.whole, cores);
        }
        let sizes = (split.train.feature_count, outputs(&split.train, &self.whole)?);
        let net = Net::new(&self.whole.net, sizes.0, sizes.1)?;
        Ok(net.weight_count() as u64 * COPIES_OF_BASE * 4)
    }

    /// The weights of the base, where the head alone is trained.
    fn base_of_head(&self) -> Option<&[f32]> {
        self.weights.as_deref().filter(|_| self.tuned == Tuned::Head)
    }

    /// Trains on rows of [`Self::add_row`], as [`crate::train`] does. `prepare` is told of the
    /// vectors that a head is trained on, before there are steps to tell of.
    ///
    /// # Errors
    /// [`TrainError`] says what does not fit.
    pub fn train(
        &self,
        split: &Split,
        cores: &[u32],
        checkpoints: Option<&Checkpoints>,
        prepare: &mut Prepare<'_>,
        note: &mut dyn FnMut(&Step) -> Go,
    ) -> Result<Option<Outcome>, TrainError> {
        let whole = &self.whole;
        let fitted = match self.base_of_head() {
            Some(weights) => self.head(split, weights, cores, checkpoints, prepare, note)?,
            None => fit(split, whole, self.weights.as_deref(), cores, checkpoints, note)?,
        };
        let Some(fitted) = fitted else { return Ok(None) };
        let preprocessing = fitted.preprocessing.clone();
        let model = export(&fitted.stepper, whole.loss, &split.train, preprocessing)?;
        let Exported::Graph(mut artifact) = model else {
            return wrong("net", "an encoder first");
        };
        artifact.tokenizer = Some(self.file.clone());
        fitted.outcome(Exported::Graph(artifact), split, cores).map(Some)
    }

    /// Trains what stands behind the encoder on what it gives for each text.
    fn head(
        &self,
        split: &Split,
        weights: &[f32],
        cores: &[u32],
        checkpoints: Option<&Checkpoints>,
        prepare: &mut Prepare<'_>,
        note: &mut dyn FnMut(&Step) -> Go,
    ) -> Result<Option<Fitted>, TrainError> {
        let (whole, encoder) = (&self.whole, &self.encoder);
        for data in [&split.train, &split.held_out] {
            tokens::check(data, encoder)?;
        }
        let layers = vec![whole.net.layers[0].clone()];
        let front = Net::new(&NetSpec { layers, ..NetSpec::default() }, encoder.length_max, 1)?;
        let count = front.layers[0].encoder().map_or(0, |encoder| encoder.weight_count);
        let (of_encoder, of_inner) = weights.split_at(count.min(weights.len()));
        let (mut done, all) = (0, split.train.rows() + split.held_out.rows());
        let mut pass = Pass::new(truststram_model::kernels::Isa::detect(), &front);
        let mut vectors = |data: &Dataset| {
            data.mapped(TEXTS_AT_ONCE, encoder.hidden, &mut |rows, count| {
                done += count;
                let goes_on = prepare(done, all);
                goes_on.then(|| pass.encoded(&front, of_encoder, rows, count).to_vec())
            })
        };
        let Some(train) = vectors(&split.train)? else { return Ok(None) };
        let Some(held_out) = vectors(&split.held_out)? else { return Ok(None) };
        let encoded = Split { train, held_out };
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
}
