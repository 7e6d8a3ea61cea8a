//! Owns the graph of an encoder: embeddings, layers of attention and of two linear ones.
//!
//! Refuses to know files; the weights come by name. Bound: nodes in proportion to the layers; the
//! weights are moved, not copied.

use super::config::{Config, Family};
use super::weights::WeightFile;
use crate::error::ModelError;
use crate::graph::{Attribute, Dim, Graph, Node, Port, ValueId};
use crate::tensor::{DType, Tensor};

/// The opset whose Softmax and Sigmoid the heads use.
const OPSET: u32 = 21;

/// A graph that grows, with the weights that it takes.
pub struct Builder<'a, 'f> {
    pub config: &'a Config,
    pub weights: WeightFile<'f>,
    pub graph: Graph,
    pub offsets: ValueId,
}

/// The names of one layer's parts, behind the prefix.
struct LayerNames {
    /// Query, key and value.
    attention: [String; 3],
    output: String,
    output_norm: String,
    up: String,
    down: String,
    norm: String,
}

impl LayerNames {
    fn of(family: Family, index: usize) -> Self {
        match family {
            Family::DistilBert => {
                let layer = format!("transformer.layer.{index}");
                Self {
                    attention: ["q", "k", "v"].map(|part| format!("{layer}.attention.{part}_lin")),
                    output: format!("{layer}.attention.out_lin"),
                    output_norm: format!("{layer}.sa_layer_norm"),
                    up: format!("{layer}.ffn.lin1"),
                    down: format!("{layer}.ffn.lin2"),
                    norm: format!("{layer}.output_layer_norm"),
                }
            }
            Family::Bert | Family::Roberta => {
                let layer = format!("encoder.layer.{index}");
                let attention = ["query", "key", "value"];
                Self {
                    attention: attention.map(|part| format!("{layer}.attention.self.{part}")),
                    output: format!("{layer}.attention.output.dense"),
                    output_norm: format!("{layer}.attention.output.LayerNorm"),
                    up: format!("{layer}.intermediate.dense"),
                    down: format!("{layer}.output.dense"),
                    norm: format!("{layer}.output.LayerNorm"),
                }
            }
        }
    }
}

impl<'a, 'f> Builder<'a, 'f> {
    /// A graph with its inputs.
    pub fn new(config: &'a Config, weights: WeightFile<'f>) -> Self {
        let mut graph = Graph { opset: OPSET, ..Graph::default() };
        let mut input = |name: &str| {
            let value = graph.add_value(name);
            graph.inputs.push(Port { value, dtype: DType::U32, dims: Some(vec![Dim::Any]) });
            value
        };
        input("tokens");
        let offsets = input("offsets");
        if config.types > 1 {
            input("types");
        }
        Self { config, weights, graph, offsets }
    }

    /// The encoder: rows of all tokens, or with `first_only` of each text's first one. Then the
    /// last layer computes the others only as far as attention looks at them.
    ///
    /// # Errors
    /// [`ModelError::Folder`] names the tensor that does not fit.
    pub fn encoder(&mut self, first_only: bool) -> Result<ValueId, ModelError> {
        let mut x = self.embeddings()?;
        for index in 0..self.config.layers {
            x = self.layer(index, x, first_only && index + 1 == self.config.layers)?;
        }
        Ok(x)
    }

    fn embeddings(&mut self) -> Result<ValueId, ModelError> {
        let Config { hidden, vocabulary, positions, types, .. } = *self.config;
        let name = |weights: &WeightFile<'_>, table: &str| {
            weights.name(&format!("embeddings.{table}_embeddings.weight"))
        };
        let words = name(&self.weights, "word");
        let words = self.weights.take(&words, &[vocabulary, hidden])?;
        let places = name(&self.weights, "position");
        let mut places = self.weights.take(&places, &[positions, hidden])?;
        let mut kinds = None;
        if types > 0 {
            let table = name(&self.weights, "token_type");
            let table = self.weights.take(&table, &[types, hidden])?;
            if types == 1 {
                // The only type is that of every token: it becomes a part of the positions.
                for row in places.chunks_exact_mut(hidden) {
                    row.iter_mut().zip(&table).for_each(|(place, kind)| *place += kind);
                }
            } else {
                kinds = Some(table);
            }
        }
        let norm = self.weights.name("embeddings.LayerNorm");
        let (gamma, beta) = self.weights.take_norm(&norm, hidden)?;
        let given = |index: usize| self.graph.inputs.get(index).map(|port| port.value);
        let mut inputs = vec![given(0), given(1), given(2)];
        inputs.push(Some(self.constant("embeddings.words", &[vocabulary, hidden], words)));
        inputs.push(Some(self.constant("embeddings.positions", &[positions, hidden], places)));
        let kinds = kinds.map(|kinds| self.constant("embeddings.types", &[types, hidden], kinds));
        inputs.push(kinds);
        inputs.push(Some(self.constant("embeddings.gamma", &[hidden], gamma)));
        inputs.push(Some(self.constant("embeddings.beta", &[hidden], beta)));
        let mut node = vec![("epsilon", Attribute::Float(self.config.epsilon))];
        if let Some(padding) = self.config.padding {
            let first = self.config.position_first();
            node.push(("position_first", Attribute::Int(first as i64)));
            node.push(("padding", Attribute::Int(padding as i64)));
        }
        Ok(self.node("Embed", "embeddings", inputs, node))
    }

    fn layer(&mut self, index: usize, x: ValueId, first_only: bool) -> Result<ValueId, ModelError> {
        let Config { family, hidden, intermediate, heads, activation, .. } = *self.config;
        let names = LayerNames::of(family, index);
        let place = |part: &str| format!("layers.{index}.{part}");
        let all = names.attention.map(|name| self.weights.name(&name));
        let qkv = self.weights.take_linear(&all, hidden, hidden)?;
        let qkv = self.linear(&place("qkv"), x, qkv, hidden, None);
        let sizes = vec![
            ("heads", Attribute::Int(heads as i64)),
            ("head_size", Attribute::Int((hidden / heads) as i64)),
        ];
        let inputs = vec![Some(qkv), Some(self.offsets)];
        let mut context = self.node("Attention", &place("attention"), inputs, sizes);
        let mut residual = x;
        if first_only {
            context = self.pool(&place("context.first"), context, "first");
            residual = self.pool(&place("input.first"), residual, "first");
        }
        let out =
            self.own_linear(&names.output, &place("output"), context, hidden, hidden, None)?;
        let x = self.norm(&names.output_norm, &place("output.norm"), out, residual)?;
        let up =
            self.own_linear(&names.up, &place("up"), x, intermediate, hidden, Some(activation))?;
        let down = self.own_linear(&names.down, &place("down"), up, hidden, intermediate, None)?;
        self.norm(&names.norm, &place("norm"), down, x)
    }

    /// A linear layer of the encoder.
    fn own_linear(
        &mut self,
        name: &str,
        place: &str,
        x: ValueId,
        outputs: usize,
        inputs: usize,
        activation: Option<&str>,
    ) -> Result<ValueId, ModelError> {
        let name = self.weights.name(name);
        let weights = self.weights.take_linear(&[name], outputs, inputs)?;
        Ok(self.linear(place, x, weights, inputs, activation))
    }

    /// A linear layer of these weights and biases.
    pub fn linear(
        &mut self,
        place: &str,
        x: ValueId,
        (weight, bias): (Vec<f32>, Vec<f32>),
        inputs: usize,
        activation: Option<&str>,
    ) -> ValueId {
        let outputs = bias.len();
        let weight = self.constant(&format!("{place}.weight"), &[outputs, inputs], weight);
        let bias = self.constant(&format!("{place}.bias"), &[outputs], bias);
        let attribute = |name: &str| ("activation", Attribute::String(name.to_owned()));
        let attributes = activation.map(attribute).into_iter().collect();
        self.node("Linear", place, vec![Some(x), Some(weight), Some(bias)], attributes)
    }

    fn norm(
        &mut self,
        name: &str,
        place: &str,
        x: ValueId,
        residual: ValueId,
    ) -> Result<ValueId, ModelError> {
        let hidden = self.config.hidden;
        let name = self.weights.name(name);
        let (gamma, beta) = self.weights.take_norm(&name, hidden)?;
        let gamma = self.constant(&format!("{place}.gamma"), &[hidden], gamma);
        let beta = self.constant(&format!("{place}.beta"), &[hidden], beta);
        let epsilon = vec![("epsilon", Attribute::Float(self.config.epsilon))];
        let inputs = vec![Some(x), Some(residual), Some(gamma), Some(beta)];
        Ok(self.node("ResidualNorm", place, inputs, epsilon))
    }

    /// One row of each text's tokens.
    pub fn pool(&mut self, place: &str, x: ValueId, mode: &str) -> ValueId {
        let mode = vec![("mode", Attribute::String(mode.to_owned()))];
        self.node("Pool", place, vec![Some(x), Some(self.offsets)], mode)
    }

    /// One of our own operators.
    pub fn node(
        &mut self,
        operator: &str,
        place: &str,
        inputs: Vec<Option<ValueId>>,
        attributes: Vec<(&str, Attribute)>,
    ) -> ValueId {
        let out = self.graph.add_value(place);
        let node = Node { name: place.to_owned(), ..Node::own(operator, inputs, vec![out]) };
        let with = |node: Node, (name, value): (&str, Attribute)| node.with(name, value);
        self.graph.nodes.push(attributes.into_iter().fold(node, with));
        out
    }

    /// A constant whose shape the weights' file has checked.
    fn constant(&mut self, name: &str, dims: &[usize], values: Vec<f32>) -> ValueId {
        self.graph.add_constant(name, Tensor::of(dims, values).unwrap_or_default())
    }
}
