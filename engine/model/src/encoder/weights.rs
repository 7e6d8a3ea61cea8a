//! Owns the tensors of an encoder's `model.safetensors` by the names that its family gives them.
//!
//! Refuses to leave a tensor aside whose meaning it does not know. Bound: each tensor is taken
//! once, in the shape that the sizes in `config.json` want.

use super::fields::wrong;
use crate::container::Container;
use crate::error::ModelError;

/// Its file.
pub const WEIGHTS: &str = "model.safetensors";

/// Tensors without a part in the answer: counted positions, and heads of language models.
const HARMLESS: &[&str] = &[
    "cls.",
    "lm_head.",
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",
    "embeddings.position_ids",
    "embeddings.token_type_ids",
];

/// See the module.
#[derive(Debug)]
pub struct WeightFile<'a> {
    container: Container<'a>,
    /// What stands before the encoder's names.
    prefix: &'static str,
}

/// The same complaint with the file's name.
fn of_file(error: ModelError) -> ModelError {
    match error {
        ModelError::Tensor { tensor, found, expected } => wrong(WEIGHTS, &tensor, found, expected),
        ModelError::Container { part, found, expected } => wrong(WEIGHTS, part, found, expected),
        ModelError::Json { part, source } => wrong(WEIGHTS, part, source, "JSON of a container"),
        other => other,
    }
}

impl<'a> WeightFile<'a> {
    /// Reads the container; `prefix` is what names begin with where they are not bare.
    ///
    /// # Errors
    /// [`ModelError::Folder`] names the tensor or the part of the container.
    pub fn parse(bytes: &'a [u8], prefix: &'static str) -> Result<Self, ModelError> {
        let container = Container::parse(bytes).map_err(of_file)?;
        let probe = "embeddings.word_embeddings.weight";
        let is_bare = container.get(probe).is_some();
        Ok(Self { container, prefix: if is_bare { "" } else { prefix } })
    }

    /// The full name of a tensor of the encoder.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether there is a tensor of this full name.
    pub fn has(&self, name: &str) -> bool {
        self.container.get(name).is_some()
    }

    /// The rows of a tensor, if it is there and a matrix.
    pub fn rows(&self, name: &str) -> Option<usize> {
        match **self.container.get(name)?.shape() {
            [rows, _] => Some(rows),
            _ => None,
        }
    }

    /// Takes a tensor by its full name and adds its numbers to others.
    ///
    /// # Errors
    /// [`ModelError::Folder`] if it is missing, has another shape or holds no finite numbers.
    pub fn append(
        &mut self,
        name: &str,
        shape: &[usize],
        numbers: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let stored = self.container.take(name, shape).map_err(of_file)?;
        stored.append_f32(name, numbers).map_err(of_file)
    }

    /// Takes a tensor by its full name.
    ///
    /// # Errors
    /// As [`WeightFile::append`].
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let mut numbers = Vec::new();
        self.append(name, shape, &mut numbers)?;
        Ok(numbers)
    }

    /// Weights `[outputs, inputs]` and biases of several layers with the same inputs, one below
    /// the other.
    ///
    /// # Errors
    /// As [`WeightFile::append`].
    pub fn take_linear(
        &mut self,
        names: &[String],
        outputs: usize,
        inputs: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            self.append(&format!("{name}.weight"), &[outputs, inputs], &mut weight)?;
            self.append(&format!("{name}.bias"), &[outputs], &mut bias)?;
        }
        Ok((weight, bias))
    }

    /// Factors and addends of a normalisation, which old files call gamma and beta.
    ///
    /// # Errors
    /// As [`WeightFile::append`].
    pub fn take_norm(
        &mut self,
        name: &str,
        columns: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let is_old = self.has(&format!("{name}.gamma"));
        let (gamma, beta) = if is_old { ("gamma", "beta") } else { ("weight", "bias") };
        let gamma = self.take(&format!("{name}.{gamma}"), &[columns])?;
        Ok((gamma, self.take(&format!("{name}.{beta}"), &[columns])?))
    }

    /// Checks that nothing is left over that could have a part in the answer; the pooler has none
    /// where it was not taken.
    ///
    /// # Errors
    /// [`ModelError::Folder`] names the tensor.
    pub fn finish(self) -> Result<(), ModelError> {
        let pooler = self.name("pooler.");
        let is_harmless = |name: &str| {
            let bare = name.strip_prefix(self.prefix).unwrap_or(name);
            name.starts_with(&pooler) || HARMLESS.iter().any(|start| bare.starts_with(start))
        };
        match self.container.names().find(|name| !is_harmless(name)) {
            None => Ok(()),
            Some(name) => Err(wrong(WEIGHTS, name, "a tensor", "none that is not computed")),
        }
    }
}
