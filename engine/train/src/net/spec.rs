//! Owns the description of a network as people write it.
//!
//! Refuses to know weights. Bound: [`LAYER_COUNT_MAX`] layers of at most [`SIZE_MAX`] values.

use serde::{Deserialize, Serialize};
use truststram_model::kernels::Isa;

use crate::encoder::EncoderSpec;
use crate::error::TrainError;

/// Most layers before the last.
pub const LAYER_COUNT_MAX: usize = 64;
/// Most values of a row between two layers.
pub const SIZE_MAX: usize = 1 << 20;

/// What is applied after a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerActivation {
    /// Nothing.
    None,
    /// The larger of the value and 0.
    #[default]
    Relu,
    /// The hyperbolic tangent.
    Tanh,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LayerSpec {
    /// A text encoder; rows are the tokens of texts. Only in front of the others.
    Encoder(Box<EncoderSpec>),
    /// Fully connected.
    Dense {
        /// Neurons.
        outputs: usize,
        /// Applied after it.
        #[serde(default)]
        activation: LayerActivation,
    },
    /// A convolution of square kernels, one pixel after the other.
    Conv {
        /// Kernels.
        channels: usize,
        /// Pixels of a kernel's side.
        kernel: usize,
        /// Zeros around the image.
        #[serde(default)]
        padding: usize,
        /// Applied after it.
        #[serde(default)]
        activation: LayerActivation,
    },
    /// The largest of each square of pixels, channel by channel.
    MaxPool {
        /// Pixels of a side; also the step from one square to the next.
        size: usize,
    },
    /// Values left out at random while training.
    Dropout {
        /// The share that is left out.
        rate: f32,
    },
}

/// What the numbers are rounded to before they are multiplied. Weights, sums, losses and what lies
/// between layers are f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Nothing.
    #[default]
    F32,
    /// bf16, where the processor multiplies pairs of them faster than f32.
    Bf16,
}

/// A network: the layers before the last, which is fully connected and follows from the targets.
/// No layer at all makes linear or logistic regression.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetSpec {
    /// Height, width and channels of rows that are images, channels last; none for plain features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<[usize; 3]>,
    /// What products are computed in.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
    /// In their order.
    #[serde(default, rename = "layer", skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerSpec>,
}

impl Precision {
    fn is_f32(&self) -> bool {
        *self == Self::F32
    }

    /// Refuses what would be slower than f32 here.
    pub(super) fn check(self, isa: Isa) -> Result<(), TrainError> {
        match (self, isa) {
            (Self::F32, _) | (Self::Bf16, Isa::Avx512 { bf16: true, vnni: true }) => Ok(()),
            (Self::Bf16, _) => refused(
                "net.precision",
                "f32: this processor has no AVX-512 BF16, without which bf16 is slower",
            ),
        }
    }
}

impl NetSpec {
    /// Fully connected layers with ReLU.
    pub fn dense(hidden: &[usize]) -> Self {
        let layer = |&outputs| LayerSpec::Dense { outputs, activation: LayerActivation::Relu };
        Self { layers: hidden.iter().map(layer).collect(), ..Self::default() }
    }

    /// The encoder in front, if there is one: rows are tokens then.
    pub fn encoder(&self) -> Option<&EncoderSpec> {
        match self.layers.first()? {
            LayerSpec::Encoder(encoder) => Some(encoder),
            _ => None,
        }
    }
}

pub(crate) fn refused<T>(option: &'static str, expected: &'static str) -> Result<T, TrainError> {
    Err(TrainError::Option { option, expected })
}
