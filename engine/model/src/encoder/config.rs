//! Owns the sizes and choices in an encoder's `config.json`.
//!
//! Refuses models that are none of the families known, decoders, and positions that are not
//! absolute. Bound: every size is within its limit here; the weights must then fit it.

use serde_json::Value;

use super::fields::Fields;
use crate::error::ModelError;

/// Its file.
pub const CONFIG: &str = "config.json";

const HIDDEN_MAX: u64 = 16_384;
const LAYERS_MAX: u64 = 256;
const INTERMEDIATE_MAX: u64 = 65_536;
const VOCABULARY_MAX: u64 = 1 << 22;
const POSITIONS_MAX: u64 = 1 << 20;
const TYPES_MAX: u64 = 1_024;
const CLASSES_MAX: u64 = 65_536;

/// How the layers are named and put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// BERT and its smaller kin.
    Bert,
    /// DistilBERT: no types, no pooler.
    DistilBert,
    /// RoBERTa, XLM-RoBERTa and CamemBERT: positions begin behind the padding's.
    Roberta,
}

/// What becomes of the scores of a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// One class of several: softmax.
    OneOf,
    /// Each class by itself: sigmoid.
    AnyOf,
    /// Numbers as they are.
    Numbers,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Config {
    pub family: Family,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub vocabulary: usize,
    /// Rows of the table of positions.
    pub positions: usize,
    /// Rows of the table of types; 0 without one.
    pub types: usize,
    pub epsilon: f32,
    /// The name that [`crate::kernels::Activation::by_name`] knows.
    pub activation: &'static str,
    /// The token whose position is the padding's, where positions begin behind it.
    pub padding: Option<usize>,
    /// Whether the architecture is one that classifies.
    pub classifies: bool,
    /// The names of the classes; empty where the file names none.
    pub classes: Vec<String>,
    pub scores: Scores,
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`ModelError::Folder`] names the key.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModelError> {
        let fields = Fields::parse(CONFIG, bytes)?;
        let family = match fields.text("model_type")? {
            Some("bert") => Family::Bert,
            Some("distilbert") => Family::DistilBert,
            Some("roberta" | "xlm-roberta" | "camembert") => Family::Roberta,
            _ => {
                let expected = "bert, distilbert, roberta, xlm-roberta or camembert";
                return Err(fields.wrong("model_type", expected));
            }
        };
        fields.refuse_flags(&["is_decoder", "add_cross_attention", "is_encoder_decoder"])?;
        for key in ["quantization_config", "pruned_heads"] {
            let is_empty = match fields.get(key) {
                None => true,
                Some(Value::Object(inner)) => inner.is_empty(),
                Some(_) => false,
            };
            if !is_empty {
                return Err(fields.wrong(key, "none; it is not computed"));
            }
        }
        if !matches!(fields.text("position_embedding_type")?, None | Some("absolute")) {
            return Err(fields.wrong("position_embedding_type", "absolute"));
        }
        let names = match family {
            Family::DistilBert => ["dim", "n_layers", "n_heads", "hidden_dim", "activation"],
            _ => [
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
                "hidden_act",
            ],
        };
        let hidden = fields.need(names[0], 1, HIDDEN_MAX)?;
        let heads = fields.need(names[2], 1, HIDDEN_MAX)?;
        if !hidden.is_multiple_of(heads) {
            return Err(fields.wrong(names[2], format_args!("a divisor of {hidden}")));
        }
        let types = match family {
            Family::DistilBert => 0,
            _ => fields.count("type_vocab_size", 1, TYPES_MAX)?.unwrap_or(2),
        };
        let vocabulary = fields.need("vocab_size", 1, VOCABULARY_MAX)?;
        let padding = match family {
            Family::Roberta => {
                Some(fields.count("pad_token_id", 0, vocabulary as u64 - 1)?.unwrap_or(1))
            }
            _ => None,
        };
        let least = padding.map_or(0, |padding| padding as u64 + 1) + 1;
        let positions = fields.need("max_position_embeddings", least, POSITIONS_MAX)?;
        Ok(Self {
            family,
            hidden,
            layers: fields.need(names[1], 1, LAYERS_MAX)?,
            heads,
            intermediate: fields.need(names[3], 1, INTERMEDIATE_MAX)?,
            vocabulary,
            positions,
            types,
            epsilon: epsilon(&fields)?,
            activation: activation(&fields, names[4])?,
            padding,
            classifies: classifies(&fields)?,
            classes: classes(&fields)?,
            scores: scores(&fields)?,
        })
    }

    /// The position of a text's first token.
    pub fn position_first(&self) -> usize {
        self.padding.map_or(0, |padding| padding + 1)
    }

    /// Most tokens of a text that has a position each.
    pub fn length_max(&self) -> usize {
        self.positions - self.position_first()
    }
}

fn epsilon(fields: &Fields<'_>) -> Result<f32, ModelError> {
    let Some(value) = fields.get("layer_norm_eps") else { return Ok(1e-12) };
    let epsilon = value.as_f64().filter(|epsilon| (0.0..=1.0).contains(epsilon));
    Ok(epsilon.ok_or_else(|| fields.wrong("layer_norm_eps", "a number from 0 to 1"))? as f32)
}

fn activation(fields: &Fields<'_>, key: &str) -> Result<&'static str, ModelError> {
    Ok(match fields.text(key)? {
        None | Some("gelu" | "gelu_python") => "gelu",
        Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => "gelu_tanh",
        Some("relu") => "relu",
        Some("silu" | "swish") => "silu",
        Some("tanh") => "tanh",
        Some(_) => {
            let expected = "gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, silu or tanh";
            return Err(fields.wrong(key, expected));
        }
    })
}

/// Whether the architecture classifies sequences; others have heads that are not computed.
fn classifies(fields: &Fields<'_>) -> Result<bool, ModelError> {
    let key = "architectures";
    let expected = "one that ends with Model, ForSequenceClassification or a language model's";
    let Some(value) = fields.get(key) else { return Ok(false) };
    let names = value.as_array().ok_or_else(|| fields.wrong(key, expected))?;
    match names.first().map(Value::as_str) {
        None => Ok(false),
        Some(Some(name)) if name.ends_with("ForSequenceClassification") => Ok(true),
        Some(Some(name))
            if ["Model", "ForMaskedLM", "ForPreTraining"].iter().any(|end| name.ends_with(end)) =>
        {
            Ok(false)
        }
        Some(name) => {
            let found = name.unwrap_or("no text");
            Err(super::fields::wrong(CONFIG, key, found, expected))
        }
    }
}

/// The names by number, `id2label`, or as many numbers as `num_labels` says.
fn classes(fields: &Fields<'_>) -> Result<Vec<String>, ModelError> {
    let key = "id2label";
    let Some(value) = fields.get(key) else {
        let count = fields.count("num_labels", 1, CLASSES_MAX)?.unwrap_or(0);
        return Ok((0..count).map(|index| format!("LABEL_{index}")).collect());
    };
    let expected = "names by the numbers from 0 on";
    let names = value.as_object().filter(|names| names.len() as u64 <= CLASSES_MAX);
    let names = names.ok_or_else(|| fields.wrong(key, expected))?;
    let name = |index: usize| names.get(&index.to_string()).and_then(Value::as_str);
    let named: Option<Vec<_>> =
        (0..names.len()).map(|index| Some(name(index)?.to_owned())).collect();
    named.ok_or_else(|| fields.wrong(key, expected))
}

fn scores(fields: &Fields<'_>) -> Result<Scores, ModelError> {
    match fields.text("problem_type")? {
        None | Some("single_label_classification") => Ok(Scores::OneOf),
        Some("multi_label_classification") => Ok(Scores::AnyOf),
        Some("regression") => Ok(Scores::Numbers),
        Some(_) => Err(fields.wrong(
            "problem_type",
            "single_label_classification, multi_label_classification or regression",
        )),
    }
}
