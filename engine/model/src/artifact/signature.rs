//! Owns what callers give to a model and get of it: names, types, shapes and the kind of answer.
//!
//! Refuses to know how the answer is computed. Bound: [`PORT_COUNT_MAX`] inputs and outputs, each
//! of at most [`RANK_MAX`] dimensions.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::graph::{Dim, Graph, Port};
use crate::tensor::{DType, RANK_MAX};

/// Most inputs, and most outputs.
pub const PORT_COUNT_MAX: usize = 256;
/// Most classes of a classifier.
const CLASS_COUNT_MAX: usize = 1 << 20;

/// One input or one output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignaturePort {
    /// The name that callers use.
    pub name: String,
    /// The type of its elements.
    pub dtype: DType,
    /// Elements along each dimension, the batch included; -1 for any number.
    pub dims: Vec<i64>,
}

/// What the outputs mean. Outputs are named by their index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Task {
    /// One of several classes per row.
    Classify {
        /// Their names, in the order of the probabilities.
        classes: Vec<String>,
        /// The output `[rows, classes]` of the probabilities, f32 or f64.
        probabilities: usize,
        /// The output `[rows]` that names the class, as text or as a whole number; without one the
        /// most probable class is the answer.
        label: Option<usize>,
    },
    /// One or more numbers per row, in the output 0.
    Regress,
    /// One direction per row, in the output 0, f32 `[rows, dimension]`.
    Embed {
        /// Its length.
        dimension: usize,
        /// Most tokens of one text.
        length_max: usize,
    },
    /// The outputs as they are.
    Tensors,
}

/// That the model reads texts: its inputs are the tokens `[tokens]` of all texts of a batch, one
/// after the other without padding, the offsets `[texts + 1]` between them, and where there is a
/// third input the type of each token, `[tokens]`. Each is i64, i32 or u32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenInput {
    /// Most tokens of one text.
    pub length_max: usize,
    /// Tokens are below this.
    pub vocabulary: u32,
    /// Types of tokens are below this; 0 where there is no such input.
    pub types: u32,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// What callers give, in the order of the graph's inputs.
    pub inputs: Vec<SignaturePort>,
    /// What they get, in the order of the graph's outputs.
    pub outputs: Vec<SignaturePort>,
    /// What the outputs mean.
    pub task: Task,
    /// Whether dimension 0 of every input and output is the batch, so that requests can be
    /// computed together. With `tokens` it is so of the outputs.
    pub batchable: bool,
    /// That the inputs are texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenInput>,
}

impl Signature {
    /// The signature of a graph by the names and shapes of its ports.
    ///
    /// # Errors
    /// [`ModelError::Spec`] if the graph does not say how many dimensions a port has, or as
    /// [`Signature::validate`].
    pub fn of_graph(graph: &Graph, task: Task, batchable: bool) -> Result<Self, ModelError> {
        let ports = |field, ports: &[Port]| -> Result<Vec<_>, ModelError> {
            let one = |port: &Port| {
                let name = graph.values.get(port.value.0 as usize).map(|value| value.name.clone());
                let dims = port.dims.as_deref().ok_or_else(|| ModelError::Spec {
                    field,
                    found: "a shape of unknown rank".to_owned(),
                    expected: "the number of dimensions".to_owned(),
                })?;
                let dims = dims.iter().map(number_of_dim).collect();
                Ok(SignaturePort { name: name.unwrap_or_default(), dtype: port.dtype, dims })
            };
            ports.iter().map(one).collect()
        };
        let inputs = ports("inputs", &graph.inputs)?;
        let outputs = ports("outputs", &graph.outputs)?;
        let signature = Self { inputs, outputs, task, batchable, tokens: None };
        signature.validate()?;
        Ok(signature)
    }

    /// The names of the classes; none of a model that does not classify.
    pub fn classes(&self) -> &[String] {
        match &self.task {
            Task::Classify { classes, .. } => classes,
            _ => &[],
        }
    }

    /// How many features a row has, of a model with one floating-point input whose dimensions
    /// after the first are known; the first is the batch, or 1.
    pub fn feature_count(&self) -> Option<usize> {
        let ([input], None) = (self.inputs.as_slice(), self.tokens) else { return None };
        let (first, rest) = input.dims.split_first()?;
        if !matches!(input.dtype, DType::F32 | DType::F64) || !matches!(first, -1 | 1) {
            return None;
        }
        rest.iter().try_fold(1usize, |count, dim| count.checked_mul(usize::try_from(*dim).ok()?))
    }

    /// Checks that it is one signature: names, dimensions, indices.
    ///
    /// # Errors
    /// [`ModelError::Spec`] names the field.
    pub fn validate(&self) -> Result<(), ModelError> {
        for (field, ports) in [("inputs", &self.inputs), ("outputs", &self.outputs)] {
            let count = ports.len();
            ensure(field, (1..=PORT_COUNT_MAX).contains(&count), count, "1 to 256 of them")?;
            for (index, port) in ports.iter().enumerate() {
                let unique = ports[..index].iter().all(|other| other.name != port.name);
                ensure(field, unique && !port.name.is_empty(), &port.name, "a name of its own")?;
                let rank = port.dims.len();
                ensure(field, rank <= RANK_MAX, format_args!("{rank} dimensions"), "at most 8")?;
                let known = port.dims.iter().all(|dim| (-1..=i64::from(u32::MAX)).contains(dim));
                ensure(field, known, format_args!("{:?}", port.dims), "-1 or up to 2^32 - 1")?;
                let by_tokens = field == "inputs" && self.tokens.is_some();
                let batched = !self.batchable || by_tokens || port.dims.first() == Some(&-1);
                let expected = "-1 first, for the batch";
                ensure(field, batched, format_args!("{:?}", port.dims), expected)?;
            }
        }
        self.validate_tokens()?;
        self.validate_task()
    }

    fn validate_tokens(&self) -> Result<(), ModelError> {
        let Some(tokens) = self.tokens else { return Ok(()) };
        let count = self.inputs.len();
        ensure("tokens", matches!(count, 2 | 3), format_args!("{count} inputs"), "2 or 3")?;
        for input in &self.inputs {
            let fits = matches!(input.dtype, DType::I64 | DType::I32 | DType::U32);
            ensure("tokens", fits, input.dtype, "i64, i32 or u32")?;
            let flat = input.dims == [-1];
            ensure("tokens", flat, format_args!("{:?}", input.dims), "[-1]")?;
        }
        let length = (1..=1 << 20).contains(&tokens.length_max);
        ensure("tokens.length_max", length, tokens.length_max, "1 to 2^20")?;
        let vocabulary = (1..=i32::MAX as u32).contains(&tokens.vocabulary);
        ensure("tokens.vocabulary", vocabulary, tokens.vocabulary, "1 to 2^31 - 1")?;
        let types = (count == 3) == (tokens.types > 0);
        ensure("tokens.types", types, tokens.types, "more than 0 exactly with a third input")
    }

    fn validate_task(&self) -> Result<(), ModelError> {
        match &self.task {
            Task::Classify { classes, probabilities, label } => {
                let count = classes.len();
                let fits = (1..=CLASS_COUNT_MAX).contains(&count);
                ensure("task.classes", fits, count, "1 to 2^20 names")?;
                let known = self.outputs.get(*probabilities);
                let fits = known.is_some_and(|output| {
                    let last = output.dims.get(1).copied();
                    let columns = last == Some(-1) || last == i64::try_from(count).ok();
                    matches!(output.dtype, DType::F32 | DType::F64)
                        && output.dims.len() == 2
                        && columns
                });
                let expected = "an output [rows, classes], f32 or f64";
                ensure("task.probabilities", fits, probabilities, expected)?;
                let Some(label) = label else { return Ok(()) };
                let fits = self.outputs.get(*label).is_some_and(|output| {
                    matches!(output.dtype, DType::I64 | DType::String) && output.dims.len() == 1
                });
                ensure("task.label", fits, label, "an output [rows], i64 or text")
            }
            Task::Regress => {
                let float = matches!(self.outputs[0].dtype, DType::F32 | DType::F64);
                ensure("task", float, self.outputs[0].dtype, "output 0 of f32 or f64")
            }
            Task::Embed { dimension, length_max } => {
                let output = &self.outputs[0];
                let last = output.dims.get(1).and_then(|dim| usize::try_from(*dim).ok());
                let fits = output.dtype == DType::F32
                    && output.dims.len() == 2
                    && last.is_none_or(|last| last == *dimension);
                let expected = "output 0 of f32, [rows, dimension]";
                ensure("task.dimension", fits && *dimension > 0, dimension, expected)?;
                let same = self.tokens.is_none_or(|tokens| tokens.length_max == *length_max);
                ensure("task.length_max", same, length_max, "as in tokens.length_max")
            }
            Task::Tensors => Ok(()),
        }
    }

    /// Checks that it describes this graph.
    ///
    /// # Errors
    /// [`ModelError::Spec`] names the field.
    pub fn validate_for(&self, graph: &Graph) -> Result<(), ModelError> {
        self.validate()?;
        let sides = [
            ("inputs", &self.inputs, &graph.inputs, true),
            ("outputs", &self.outputs, &graph.outputs, false),
        ];
        for (field, ports, of_graph, typed) in sides {
            let expected = format!("{} as in the graph", of_graph.len());
            ensure(field, ports.len() == of_graph.len(), ports.len(), &expected)?;
            for (port, of_graph) in ports.iter().zip(of_graph) {
                // The types of outputs are what the operators make of them; the load checks those.
                let same = !typed || port.dtype == of_graph.dtype;
                let expected = format!("{} as in the graph", of_graph.dtype);
                ensure(field, same, format_args!("`{}` of {}", port.name, port.dtype), &expected)?;
                let Some(dims) = &of_graph.dims else { continue };
                let known = dims.iter().map(number_of_dim).collect::<Vec<_>>();
                let fits = known.len() == port.dims.len()
                    && known.iter().zip(&port.dims).all(|(a, b)| *a == -1 || *b == -1 || a == b);
                let found = format!("`{}` {:?}", port.name, port.dims);
                ensure(field, fits, found, &format!("{known:?} as in the graph"))?;
            }
        }
        Ok(())
    }
}

fn number_of_dim(dim: &Dim) -> i64 {
    match dim {
        Dim::Fixed(count) => i64::try_from(*count).unwrap_or(i64::MAX),
        Dim::Named(_) | Dim::Any => -1,
    }
}

fn ensure(
    field: &'static str,
    holds: bool,
    found: impl ToString,
    expected: &str,
) -> Result<(), ModelError> {
    match holds {
        true => Ok(()),
        false => {
            let (found, expected) = (found.to_string(), expected.to_owned());
            Err(ModelError::Spec { field, found, expected })
        }
    }
}
