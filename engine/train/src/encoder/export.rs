//! Owns the nodes of an encoder in the graph of a model, as the importer of Hugging Face folders
//! makes them, and the way of such a graph's weights into training.
//!
//! Refuses graphs of other encoders. Bound: the weights once more.

use truststram_model::artifact::TokenInput;
use truststram_model::graph::{Attribute, Dim, Node, Port, ValueId};
use truststram_model::tensor::DType;

use super::sizes::{Encoder, LayerPlaces};
use super::spec::EncoderPooling;
use crate::error::TrainError;
use crate::export::Builder;
use crate::net::Place;

fn int(count: usize) -> Attribute {
    Attribute::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

/// What the nodes are made of.
struct Nodes<'a> {
    encoder: &'a Encoder,
    weights: &'a [f32],
    builder: &'a mut Builder,
    offsets: ValueId,
}

impl Encoder {
    /// What callers give.
    pub(crate) fn tokens(&self) -> TokenInput {
        TokenInput {
            length_max: self.spec.length_max,
            vocabulary: u32::try_from(self.spec.vocabulary).unwrap_or(u32::MAX),
            types: if self.spec.types > 1 { self.spec.types as u32 } else { 0 },
        }
    }

    /// Adds inputs and nodes to a graph without any.
    pub(crate) fn export(&self, weights: &[f32], builder: &mut Builder) -> Result<(), TrainError> {
        let mut input = |name: &str| {
            let value = builder.graph.add_value(name);
            let dims = Some(vec![Dim::Any]);
            builder.graph.inputs.push(Port { value, dtype: DType::U32, dims });
            value
        };
        let (tokens, offsets) = (input("tokens"), input("offsets"));
        let types = (self.spec.types > 1).then(|| input("types"));
        let mut nodes = Nodes { encoder: self, weights, builder, offsets };
        nodes.embed(tokens, types)?;
        for (index, layer) in self.layers.iter().enumerate() {
            nodes.layer(index, layer)?;
        }
        let mode = match self.spec.pooling {
            EncoderPooling::Mean => "mean",
            EncoderPooling::First => "first",
        };
        let node = builder.node("pooled", Node::OWN_DOMAIN, "Pool", &[offsets]);
        node.attributes.insert("mode".to_owned(), Attribute::String(mode.to_owned()));
        Ok(())
    }
}

impl Nodes<'_> {
    fn own(&mut self, place: &str, operator: &str, more: &[ValueId]) -> &mut Node {
        self.builder.node(place, Node::OWN_DOMAIN, operator, more)
    }

    fn table(&mut self, name: &str, range: std::ops::Range<usize>) -> Result<ValueId, TrainError> {
        let hidden = self.encoder.spec.hidden;
        let dims = [range.len() / hidden, hidden];
        self.builder.constant(name, &dims, self.weights[range].to_vec())
    }

    /// Weight and bias of a place, or gamma and beta.
    fn pair(
        &mut self,
        names: [String; 2],
        place: &Place,
        inputs: Option<usize>,
    ) -> Result<[ValueId; 2], TrainError> {
        let outputs = place.bias.len();
        let (weight, bias) = place.of(self.weights);
        let (weight, bias) = (weight.to_vec(), bias.to_vec());
        let [first, second] = names;
        let first = match inputs {
            Some(inputs) => self.builder.constant(&first, &[outputs, inputs], weight)?,
            None => self.builder.constant(&first, &[outputs], weight)?,
        };
        Ok([first, self.builder.constant(&second, &[outputs], bias)?])
    }

    fn embed(&mut self, tokens: ValueId, types: Option<ValueId>) -> Result<(), TrainError> {
        let encoder = self.encoder;
        let spec = &encoder.spec;
        let words = self.table("embeddings.words", encoder.words.clone())?;
        let mut places = self.weights[encoder.positions.clone()].to_vec();
        if spec.types == 1 {
            // The only type is that of every token: it becomes a part of the positions.
            let kind = &self.weights[encoder.types.clone()];
            for row in places.chunks_exact_mut(spec.hidden) {
                row.iter_mut().zip(kind).for_each(|(place, kind)| *place += kind);
            }
        }
        let dims = [spec.positions(), spec.hidden];
        let places = self.builder.constant("embeddings.positions", &dims, places)?;
        let kinds = match types {
            Some(_) => Some(self.table("embeddings.types", encoder.types.clone())?),
            None => None,
        };
        let names = ["gamma", "beta"].map(|part| format!("embeddings.{part}"));
        let [gamma, beta] = self.pair(names, &encoder.norm, None)?;
        self.builder.last = tokens;
        let offsets = self.offsets;
        let node = self.own("embeddings", "Embed", &[offsets, words, places, gamma, beta]);
        node.inputs.insert(2, types);
        node.inputs.insert(5, kinds);
        node.attributes.insert("epsilon".to_owned(), Attribute::Float(spec.epsilon));
        if spec.position_first > 0 {
            node.attributes.insert("position_first".to_owned(), int(spec.position_first));
        }
        if let Some(padding) = spec.padding {
            node.attributes.insert("padding".to_owned(), int(padding as usize));
        }
        Ok(())
    }

    fn layer(&mut self, index: usize, places: &LayerPlaces) -> Result<(), TrainError> {
        let spec = &self.encoder.spec;
        let (hidden, wide, offsets) = (spec.hidden, spec.feed_forward, self.offsets);
        let place = |part: &str| format!("layers.{index}.{part}");
        let x = self.builder.last;
        self.linear(&place("qkv"), &places.qkv, hidden)?;
        let node = self.own(&place("attention"), "Attention", &[offsets]);
        node.attributes.insert("heads".to_owned(), int(spec.heads));
        node.attributes.insert("head_size".to_owned(), int(hidden / spec.heads));
        self.linear(&place("output"), &places.output, hidden)?;
        self.norm(&place("output.norm"), &places.output_norm, x)?;
        let middle = self.builder.last;
        self.linear(&place("up"), &places.up, hidden)?;
        let name = Attribute::String(spec.activation.name().to_owned());
        if let Some(node) = self.builder.graph.nodes.last_mut() {
            node.attributes.insert("activation".to_owned(), name);
        }
        self.linear(&place("down"), &places.down, wide)?;
        self.norm(&place("norm"), &places.norm, middle)
    }

    fn linear(&mut self, name: &str, place: &Place, inputs: usize) -> Result<(), TrainError> {
        let names = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        let pair = self.pair(names, place, Some(inputs))?;
        self.own(name, "Linear", &pair);
        Ok(())
    }

    fn norm(&mut self, name: &str, place: &Place, residual: ValueId) -> Result<(), TrainError> {
        let names = ["gamma", "beta"].map(|part| format!("{name}.{part}"));
        let [gamma, beta] = self.pair(names, place, None)?;
        let epsilon = Attribute::Float(self.encoder.spec.epsilon);
        let node = self.own(name, "ResidualNorm", &[residual, gamma, beta]);
        node.attributes.insert("epsilon".to_owned(), epsilon);
        Ok(())
    }
}
