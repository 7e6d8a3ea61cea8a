//! Owns what training needs of a model that exists: the sizes of its encoder, its weights in the
//! order of training, and the layer before its scores.
//!
//! Refuses graphs that are not those of an encoder in f32, as the importer of Hugging Face folders
//! and training make them. Bound: the weights once more.

use truststram_model::artifact::Artifact;
use truststram_model::graph::{Attribute, Graph, Node};

use crate::encoder::{EncoderActivation, EncoderPooling, EncoderSpec};
use crate::error::TrainError;
use crate::net::{LayerActivation, LayerSpec};

/// See the module.
pub(super) struct Base {
    pub(super) spec: EncoderSpec,
    /// The layer between the pooled row and the scores, if there is one.
    pub(super) inner: Option<LayerSpec>,
    /// Of the encoder, then of that layer.
    pub(super) weights: Vec<f32>,
}

fn refused(expected: &'static str) -> TrainError {
    TrainError::Option { option: "base", expected }
}

/// The nodes of an encoder in their order.
struct Reader<'a> {
    graph: &'a Graph,
    nodes: std::iter::Peekable<std::slice::Iter<'a, Node>>,
    pooling: EncoderPooling,
    weights: Vec<f32>,
}

impl<'a> Reader<'a> {
    /// The next node of this operator; rows that are picked on the way say how the text is pooled.
    fn next(&mut self, operator: &str) -> Result<&'a Node, TrainError> {
        self.skip_pools();
        let expected = "a text encoder in f32 that was imported from a folder or trained here";
        self.nodes.next().filter(|node| node.operator == operator).ok_or_else(|| refused(expected))
    }

    fn skip_pools(&mut self) {
        while let Some(node) = self.nodes.next_if(|node| node.operator == "Pool") {
            let is_mean = matches!(text(node, "mode"), Some("mean"));
            self.pooling = if is_mean { EncoderPooling::Mean } else { EncoderPooling::First };
        }
    }

    /// A constant input's numbers and rows.
    fn constant(&self, node: &Node, index: usize) -> Result<(&'a [f32], usize), TrainError> {
        let id = node.inputs.get(index).copied().flatten();
        let tensor = id.and_then(|id| self.graph.constant(id));
        let numbers = tensor.and_then(|tensor| Some((tensor.values::<f32>()?, tensor.shape()[0])));
        numbers.ok_or_else(|| refused("a model whose weights are f32"))
    }

    /// Appends two constants of a node.
    fn take(&mut self, node: &Node, first: usize) -> Result<(), TrainError> {
        for index in [first, first + 1] {
            let numbers = self.constant(node, index)?.0;
            self.weights.extend_from_slice(numbers);
        }
        Ok(())
    }

    fn linear(&mut self) -> Result<&'a Node, TrainError> {
        let node = self.next("Linear")?;
        if !matches!(text(node, "precision"), None | Some("f32")) {
            return Err(refused("a model that was not optimised"));
        }
        self.take(node, 1)?;
        Ok(node)
    }

    fn norm(&mut self) -> Result<(), TrainError> {
        let node = self.next("ResidualNorm")?;
        self.take(node, 2)
    }
}

fn text<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    match node.attributes.get(name)? {
        Attribute::String(text) => Some(text),
        _ => None,
    }
}

fn count(node: &Node, name: &str) -> Option<usize> {
    match node.attributes.get(name)? {
        Attribute::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    }
}

impl Base {
    /// Reads a model for texts of at most `length_max` tokens, if that is given.
    pub(super) fn read(artifact: &Artifact, length_max: Option<usize>) -> Result<Self, TrainError> {
        let graph = &artifact.graph;
        let nodes = graph.nodes.iter().peekable();
        let pooling = EncoderPooling::First;
        let mut reader = Reader { graph, nodes, pooling, weights: Vec::new() };
        let embed = reader.next("Embed")?;
        let (words, vocabulary) = reader.constant(embed, 3)?;
        let (places, positions) = reader.constant(embed, 4)?;
        let types = match embed.inputs.get(5).copied().flatten() {
            Some(_) => reader.constant(embed, 5)?,
            None => (&[][..], 0),
        };
        let hidden = words.len() / vocabulary.max(1);
        let position_first = count(embed, "position_first").unwrap_or(0);
        let tokens = artifact.signature.tokens.as_ref();
        let most = tokens.map_or(positions, |tokens| tokens.length_max);
        let most = most.min(positions.saturating_sub(position_first));
        let length_max = length_max.unwrap_or(most);
        if !(1..=most).contains(&length_max) {
            return Err(refused("a model of at least `base.length_max` tokens"));
        }
        let positions = length_max + position_first;
        reader.weights.extend_from_slice(words);
        reader.weights.extend_from_slice(&places[..positions * hidden]);
        reader.weights.extend_from_slice(types.0);
        reader.take(embed, 6)?;
        let epsilon = match embed.attributes.get("epsilon") {
            Some(Attribute::Float(epsilon)) => *epsilon,
            _ => 1e-5,
        };
        let padding = count(embed, "padding").map(|token| token as u32);
        let layers = graph.nodes.iter().filter(|node| node.operator == "Attention").count();
        let (mut heads, mut feed_forward, mut activation) = (1, 1, EncoderActivation::Gelu);
        for _ in 0..layers {
            reader.linear()?;
            let attention = reader.next("Attention")?;
            heads = count(attention, "heads").unwrap_or(1);
            reader.linear()?;
            reader.norm()?;
            let up = reader.linear()?;
            feed_forward = reader.constant(up, 2)?.0.len();
            let name = text(up, "activation").unwrap_or_default();
            let known = EncoderActivation::ALL.iter().find(|(_, known, _)| *known == name);
            activation = known.ok_or_else(|| refused("a model of a known activation"))?.0;
            reader.linear()?;
            reader.norm()?;
        }
        reader.skip_pools();
        let inner = inner(&mut reader)?;
        let Reader { pooling, weights, .. } = reader;
        let spec = EncoderSpec {
            vocabulary,
            length_max,
            hidden,
            layers,
            heads,
            feed_forward,
            activation,
            pooling,
            dropout: 0.1,
            attention_dropout: 0.0,
            recompute: false,
            epsilon,
            position_first,
            padding,
            types: types.1,
        };
        Ok(Self { spec, inner, weights })
    }
}

/// The layer before the scores, whose weights are taken.
fn inner(reader: &mut Reader<'_>) -> Result<Option<LayerSpec>, TrainError> {
    let mut ahead = reader.nodes.clone();
    let Some(node) = ahead.next().filter(|node| node.operator == "Linear") else {
        return Ok(None);
    };
    // Importers name the function in the layer, training puts it behind.
    let behind = ahead.next().map_or("", |node| node.operator.as_str());
    let activation = match (text(node, "activation"), behind) {
        (Some("tanh"), _) | (None, "Tanh") => LayerActivation::Tanh,
        (Some("relu"), _) | (None, "Relu") => LayerActivation::Relu,
        _ => return Ok(None),
    };
    let node = reader.linear()?;
    let outputs = reader.constant(node, 2)?.0.len();
    Ok(Some(LayerSpec::Dense { outputs, activation }))
}
