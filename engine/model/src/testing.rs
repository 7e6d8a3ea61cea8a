//! Owns the small models that this crate's tests share, the operator that goes wrong and the team
//! that divides everything.
//!
//! Refuses to know any test's purpose. Bound: compiled for tests only.

use crate::artifact::{Artifact, Signature, Task};
use crate::error::ModelError;
use crate::file::{LayerWeights, ModelFile};
use crate::graph::{Dim, Graph, Node, NodeView, Port};
use crate::kernels::Team;
use crate::program::{Build, Built, Context, Inputs, Operator, RunError};
use crate::spec::{ModelSpec, Preprocessing};
use crate::tensor::{DType, Tensor};

/// `truststram.Trap` copies its input.
pub const FAMILIES: &[&[(&str, &str, Build)]] = &[&[("truststram", "Trap", trap)]];

/// What makes `Trap` panic.
pub const PANICS_AT: f32 = 13.0;
/// What makes `Trap` fail.
pub const FAILS_AT: f32 = 14.0;

/// A team of so many, for which everything is worth dividing; it does its parts backwards.
pub struct Backwards(pub usize);

impl Team for Backwards {
    fn parts(&self, _nanos: usize) -> usize {
        self.0
    }

    fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..parts).rev().for_each(task);
    }
}

#[derive(Debug)]
struct Trap;

impl Operator for Trap {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<f32>(0)?;
        assert!(!values.contains(&PANICS_AT), "the trap");
        if values.contains(&FAILS_AT) {
            return Err(RunError::input(FAILS_AT, "another number"));
        }
        context.shape_as::<f32>(&mut outputs[0], shape)?.copy_from_slice(values);
        Ok(())
    }
}

fn trap(_: &NodeView<'_>) -> Result<Built, ModelError> {
    Ok(Built::one(Trap, DType::F32))
}

/// A 2-4-3 network with fixed weights; `shift` is added to the last bias of class 2, so that a
/// large shift makes it the answer to everything.
pub fn small_model(shift: f32) -> ModelFile {
    let preprocessing = Preprocessing { mean: vec![0.5, -1.0], scale: vec![2.0, 0.25] };
    let classes = ["low", "middle", "high"].map(str::to_owned).into();
    let spec = ModelSpec::dense(vec![2, 4, 3], classes, preprocessing).unwrap();
    let ramp = |count: usize, start: f32, step: f32| -> Vec<f32> {
        (0..count).map(|index| start + step * index as f32).collect()
    };
    let hidden = LayerWeights { weight: ramp(8, -0.7, 0.2), bias: ramp(4, 0.1, -0.05) };
    let mut output = LayerWeights { weight: ramp(12, 0.6, -0.11), bias: ramp(3, -0.2, 0.3) };
    output.bias[2] += shift;
    ModelFile::new(spec, vec![hidden, output]).unwrap()
}

/// A regression that answers a row of two features with what one node makes of it.
pub fn one_node(domain: &str, operator: &str) -> Artifact {
    let mut graph = Graph { opset: 21, ..Graph::default() };
    let (x, y) = (graph.add_value("x"), graph.add_value("y"));
    let port = |value| {
        let dims = Some(vec![Dim::Any, Dim::Fixed(2)]);
        Port { value, dtype: DType::F32, dims }
    };
    graph.inputs.push(port(x));
    graph.outputs.push(port(y));
    graph.nodes.push(Node {
        domain: domain.to_owned(),
        operator: operator.to_owned(),
        inputs: vec![Some(x)],
        outputs: vec![Some(y)],
        ..Node::default()
    });
    let signature = Signature::of_graph(&graph, Task::Regress, true).unwrap();
    Artifact { graph, signature, tokenizer: None, dense: None, samples: Vec::new() }
}
