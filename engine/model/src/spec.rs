//! Owns the description of a model that travels inside its file: what goes in, what comes out and
//! how the layers lie between.
//!
//! Refuses to know weights and bytes. Bound: sizes by [`truststram_base::limits`], at most
//! [`LAYER_COUNT_MAX`] layers.

use serde::{Deserialize, Serialize};
use truststram_base::limits::{FEATURE_COUNT_MAX, MODEL_FILE_BYTES_MAX};

use crate::error::ModelError;

/// Most layers of a dense network.
pub const LAYER_COUNT_MAX: usize = 256;
/// Longest name of a class or of a tensor, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// What kind of network the weights belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Fully connected layers, one after the other, with a softmax at the end.
    Dense,
}

/// What is applied after each layer but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
}

/// The type of one element of an input or an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// IEEE 754 binary32.
    F32,
}

/// Name, shape and type of the input or the output, without the batch dimension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// The name that callers use.
    pub name: String,
    /// Elements along each dimension, the batch left out.
    pub shape: Vec<u32>,
    /// The type of one element.
    #[serde(rename = "type")]
    pub element: ElementType,
}

/// How raw features become network inputs: `x' = (x - mean) * scale`, feature by feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// What is subtracted.
    pub mean: Vec<f32>,
    /// What the difference is multiplied by.
    pub scale: Vec<f32>,
}

/// The description of a model, as JSON under `truststram.model` in the file's metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The kind of network.
    pub architecture: Architecture,
    /// One input: `[features]`.
    pub input: TensorSpec,
    /// One output: `[classes]`, probabilities that sum to 1.
    pub output: TensorSpec,
    /// The names of the classes, in the order of the output.
    pub classes: Vec<String>,
    /// Applied to each input before the first layer.
    pub preprocessing: Preprocessing,
    /// Neurons of each level, from the features to the classes.
    pub layers: Vec<u32>,
    /// Applied after each layer but the last.
    pub activation: Activation,
}

impl ModelSpec {
    /// A dense classifier with the layer sizes `layers`; the features are the first, the classes
    /// the last of them.
    ///
    /// # Errors
    /// [`ModelError::Spec`] if the sizes, the class names and the preprocessing do not fit.
    pub fn dense(
        layers: Vec<u32>,
        classes: Vec<String>,
        preprocessing: Preprocessing,
    ) -> Result<Self, ModelError> {
        let tensor = |name: &str, size: Option<&u32>| TensorSpec {
            name: name.to_owned(),
            shape: size.copied().into_iter().collect(),
            element: ElementType::F32,
        };
        let spec = Self {
            architecture: Architecture::Dense,
            input: tensor("features", layers.first()),
            output: tensor("probabilities", layers.last()),
            classes,
            preprocessing,
            layers,
            activation: Activation::Relu,
        };
        spec.validate()?;
        Ok(spec)
    }

    /// How many features one input has.
    pub fn feature_count(&self) -> usize {
        self.preprocessing.mean.len()
    }

    /// How many classes the answer chooses from.
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// Inputs and outputs of each layer, in order.
    pub fn layer_shapes(&self) -> impl ExactSizeIterator<Item = (usize, usize)> + '_ {
        self.layers.windows(2).map(|pair| (pair[0] as usize, pair[1] as usize))
    }

    /// Checks that all sizes agree with each other and with the limits.
    ///
    /// # Errors
    /// [`ModelError::Spec`] names the field.
    pub fn validate(&self) -> Result<(), ModelError> {
        let levels = self.layers.len();
        ensure("layers", (2..=LAYER_COUNT_MAX + 1).contains(&levels), || {
            (format!("{levels} levels"), format!("2 to {}", LAYER_COUNT_MAX + 1))
        })?;
        for &size in &self.layers {
            ensure("layers", (1..=FEATURE_COUNT_MAX).contains(&(size as usize)), || {
                (format!("a level of {size}"), format!("1 to {FEATURE_COUNT_MAX}"))
            })?;
        }
        let bytes: u64 = self.layer_shapes().map(|(i, o)| (i as u64 + 1) * o as u64 * 4).sum();
        ensure("layers", bytes <= MODEL_FILE_BYTES_MAX, || {
            (format!("{bytes} bytes of weights"), format!("at most {MODEL_FILE_BYTES_MAX}"))
        })?;
        let (features, classes) = (self.layers[0], self.layers[levels - 1]);
        self.validate_tensor("input.shape", &self.input.shape, features)?;
        self.validate_tensor("output.shape", &self.output.shape, classes)?;
        ensure("classes", self.classes.len() == classes as usize, || {
            (format!("{} names", self.classes.len()), format!("{classes}"))
        })?;
        let names = self.classes.iter().chain([&self.input.name, &self.output.name]);
        for name in names {
            ensure("classes", (1..=NAME_BYTES_MAX).contains(&name.len()), || {
                (format!("a name of {} bytes", name.len()), format!("1 to {NAME_BYTES_MAX}"))
            })?;
        }
        validate_numbers("preprocessing.mean", &self.preprocessing.mean, features)?;
        validate_numbers("preprocessing.scale", &self.preprocessing.scale, features)
    }

    fn validate_tensor(
        &self,
        field: &'static str,
        shape: &[u32],
        size: u32,
    ) -> Result<(), ModelError> {
        ensure(field, shape == [size], || {
            (format!("{shape:?}"), format!("[{size}] as in `layers`"))
        })
    }
}

fn validate_numbers(field: &'static str, values: &[f32], count: u32) -> Result<(), ModelError> {
    ensure(field, values.len() == count as usize, || {
        (format!("{} values", values.len()), format!("{count}"))
    })?;
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => ensure(field, false, || {
            (format!("{} at index {at}", values[at]), "a finite number".to_owned())
        }),
    }
}

fn ensure(
    field: &'static str,
    holds: bool,
    texts: impl FnOnce() -> (String, String),
) -> Result<(), ModelError> {
    if holds {
        return Ok(());
    }
    let (found, expected) = texts();
    Err(ModelError::Spec { field, found, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ModelSpec {
        let preprocessing = Preprocessing { mean: vec![0.5, 1.0], scale: vec![2.0, 1.0] };
        ModelSpec::dense(vec![2, 4, 3], ["a", "b", "c"].map(str::to_owned).into(), preprocessing)
            .unwrap()
    }

    #[test]
    fn a_description_survives_json() {
        let spec = spec();
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ModelSpec>(&text).unwrap(), spec);
        let extra = text.replacen('{', r#"{"extra":1,"#, 1);
        assert!(serde_json::from_str::<ModelSpec>(&extra).is_err());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let check = |change: fn(&mut ModelSpec), expected: &str| {
            let mut spec = spec();
            change(&mut spec);
            match spec.validate() {
                Err(ModelError::Spec { field, .. }) => assert_eq!(field, expected),
                other => panic!("{expected}: {other:?}"),
            }
        };
        check(|spec| spec.layers.truncate(1), "layers");
        check(|spec| spec.layers = vec![1; LAYER_COUNT_MAX + 2], "layers");
        check(|spec| spec.layers[1] = 0, "layers");
        check(|spec| spec.layers[1] = u32::MAX, "layers");
        check(|spec| spec.layers = vec![65_536, 65_536, 65_536], "layers");
        check(|spec| spec.input.shape = vec![1, 2], "input.shape");
        check(|spec| spec.output.shape = vec![2], "output.shape");
        check(|spec| spec.classes.truncate(2), "classes");
        check(|spec| spec.classes[0].clear(), "classes");
        check(|spec| spec.preprocessing.mean.truncate(1), "preprocessing.mean");
        check(|spec| spec.preprocessing.scale[1] = f32::INFINITY, "preprocessing.scale");
    }
}
