//! Owns the description of a text encoder as people write it.
//!
//! Refuses to know weights. Bound: every size has a limit.

use serde::{Deserialize, Serialize};
use truststram_model::kernels::Activation;

use crate::error::TrainError;
use crate::net::refused;

/// What is applied between the two linear layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderActivation {
    /// By the error function.
    #[default]
    Gelu,
    /// By the hyperbolic tangent.
    GeluTanh,
    /// The larger of the value and 0.
    Relu,
    /// `x · sigmoid(x)`.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

impl EncoderActivation {
    /// All of them with the names that graphs use.
    pub(crate) const ALL: [(Self, &'static str, Activation); 5] = [
        (Self::Gelu, "gelu", Activation::Gelu),
        (Self::GeluTanh, "gelu_tanh", Activation::GeluTanh),
        (Self::Relu, "relu", Activation::Relu),
        (Self::Silu, "silu", Activation::Silu),
        (Self::Tanh, "tanh", Activation::Tanh),
    ];

    pub(crate) fn kernel(self) -> Activation {
        // The table is in the order of the variants.
        Self::ALL[self as usize].2
    }

    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// What of a text's tokens is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderPooling {
    /// The mean of all.
    #[default]
    Mean,
    /// The first one.
    First,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSpec {
    /// Tokens are below this.
    pub vocabulary: usize,
    /// Most tokens of a text.
    pub length_max: usize,
    /// Numbers of a token between layers.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Numbers of a token between the two linear layers.
    pub feed_forward: usize,
    /// Applied there.
    #[serde(default)]
    pub activation: EncoderActivation,
    /// What of a text's tokens is kept.
    #[serde(default)]
    pub pooling: EncoderPooling,
    /// The share of values that are left out while training: of the embeddings, and of what
    /// attention and the two linear layers give.
    #[serde(default = "dropout")]
    pub dropout: f32,
    /// The share of what attention gives each token that is left out while training, after the
    /// softmax; `attention_probs_dropout_prob` of Hugging Face.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attention_dropout: f32,
    /// Whether the way back computes the inner values of each layer anew instead of keeping them:
    /// less memory, a third more time, the same bits.
    #[serde(default)]
    pub recompute: bool,
    /// Added to variances.
    #[serde(default = "epsilon")]
    pub epsilon: f32,
    /// The position of a text's first token.
    #[serde(default)]
    pub position_first: usize,
    /// A token whose position is one below the first and that is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding: Option<u32>,
    /// Rows of the table of types, the first of which is that of all tokens.
    #[serde(default)]
    pub types: usize,
}

fn dropout() -> f32 {
    0.1
}

fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

fn epsilon() -> f32 {
    1e-12
}

impl EncoderSpec {
    /// Rows of the table of positions.
    pub fn positions(&self) -> usize {
        self.length_max.saturating_add(self.position_first)
    }

    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let within = |count: usize, most: usize| (1..=most).contains(&count);
        let holds = [
            (within(self.vocabulary, 1 << 22), "net.layer.vocabulary", "1 to 2^22"),
            (within(self.length_max, 1 << 13), "net.layer.length_max", "1 to 8192"),
            (within(self.layers, 64), "net.layer.layers", "1 to 64"),
            (within(self.hidden, 1 << 13), "net.layer.hidden", "1 to 8192"),
            (within(self.feed_forward, 1 << 15), "net.layer.feed_forward", "1 to 32768"),
            (
                within(self.heads, self.hidden) && self.hidden.is_multiple_of(self.heads),
                "net.layer.heads",
                "a divisor of `hidden`",
            ),
            ((0.0..1.0).contains(&self.dropout), "net.layer.dropout", "from 0 to below 1"),
            (
                (0.0..1.0).contains(&self.attention_dropout),
                "net.layer.attention_dropout",
                "from 0 to below 1",
            ),
            ((0.0..=1.0).contains(&self.epsilon), "net.layer.epsilon", "from 0 to 1"),
            (self.position_first <= 1 << 13, "net.layer.position_first", "at most 8192"),
            (self.types <= 1024, "net.layer.types", "at most 1024"),
            (
                self.padding.is_none() || self.position_first > 0,
                "net.layer.padding",
                "absent, or `position_first` above 0",
            ),
        ];
        match holds.into_iter().find(|(holds, ..)| !holds) {
            Some((_, option, expected)) => refused(option, expected),
            None => Ok(()),
        }
    }
}
