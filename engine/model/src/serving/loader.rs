//! Owns the building of a version: once per NUMA node, on a thread of that node which gives way to
//! the workers.
//!
//! Refuses to know which versions there are. Bound: one thread per node for the length of a load;
//! the checking runs have a time limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use truststram_machine::{Placement, Priority, ThreadSpec, spawn};

use super::compute::guarded;
use super::crew::NodeCrew;
use super::validate::validate;
use crate::artifact::{Artifact, Format, Signature, Summary};
use crate::encoder::Tokenizer;
use crate::error::ModelError;
use crate::passes;
use crate::program::{BuildOptions, MemoryReport, Program};
use crate::spec::ModelSpec;

/// Bytes of a model file, shared by the threads that build it.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A version that is built and checked.
#[derive(Debug)]
pub struct BuiltModel {
    pub signature: Signature,
    pub dense: Option<ModelSpec>,
    pub tokenizer: Option<Tokenizer>,
    pub summary: Summary,
    /// One per node.
    pub programs: Vec<Arc<Program>>,
    pub memory: MemoryReport,
}

struct OfNode {
    /// Without its graph.
    artifact: Artifact,
    summary: Summary,
    program: Arc<Program>,
}

/// Builds a version on all nodes at once, and checks it on the first.
///
/// # Errors
/// What is wrong with the file, or [`ModelError::Validation`] if it does not compute what it
/// promises.
pub fn build(
    nodes: &[NodeCrew],
    bytes: &SharedBytes,
    format: Format,
    validation_ms: u64,
) -> Result<BuiltModel, ModelError> {
    let mut threads = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let (bytes, memory_node) = (Arc::clone(bytes), node.memory_node);
        let spec = ThreadSpec {
            name: format!("load-{index}"),
            cores: node.cores.clone(),
            memory_node,
            priority: Priority::Background,
        };
        let checks = index == 0;
        let body = move |_: Placement| {
            let until = Instant::now() + Duration::from_millis(validation_ms);
            guarded(|| build_on_node(format, (*bytes).as_ref(), memory_node, until, checks))
        };
        threads.push(spawn(spec, body)?);
    }
    // All are joined, also after an error.
    let joined: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
    let mut described = None;
    let mut memory = MemoryReport::default();
    let mut programs = Vec::with_capacity(joined.len());
    for built in joined {
        let built = built??;
        memory.add(&built.program.memory());
        programs.push(built.program);
        described.get_or_insert((built.artifact, built.summary));
    }
    let (Artifact { signature, dense, tokenizer, .. }, summary) =
        described.ok_or(ModelError::Closed)?;
    let tokenizer = tokenizer.map(|bytes| Tokenizer::parse(&bytes)).transpose()?;
    Ok(BuiltModel { signature, dense, tokenizer, summary, programs, memory })
}

fn build_on_node(
    format: Format,
    bytes: &[u8],
    node: Option<u32>,
    until: Instant,
    checks: bool,
) -> Result<OfNode, ModelError> {
    let mut artifact = Artifact::read(format, bytes, until)?;
    let summary = artifact.summary();
    let options = BuildOptions { node, ..BuildOptions::default() };
    let graph = passes::optimize(std::mem::take(&mut artifact.graph), &options)?;
    let program = Arc::new(Program::build(&graph, &options)?);
    // Its constants have been packed; what is still used the program holds itself.
    drop(graph);
    if checks {
        validate(&program, &artifact.signature, &artifact.samples, until)?;
    }
    artifact.samples = Vec::new();
    Ok(OfNode { artifact, summary, program })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Dim, Graph, Node, Port};
    use crate::kernels::Alone;
    use crate::program::Session;
    use crate::tensor::{DType, Tensor};
    use crate::testing::small_model;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn answer(program: Arc<Program>, x: &Tensor) -> Result<Tensor, ModelError> {
        let mut session = Session::new(program);
        *session.input_mut(0) = x.clone();
        session.run(&Alone, None)?;
        Ok(session.output(0).unwrap().clone())
    }

    #[test]
    fn a_dense_network_keeps_its_bits() {
        let bytes = small_model(0.0).to_bytes().unwrap();
        let built = build_on_node(Format::Safetensors, &bytes, None, soon(), true).unwrap();
        let graph = Artifact::parse(&bytes).unwrap().graph;
        let plain = Program::build(&graph, &BuildOptions::default()).unwrap();
        assert_eq!(built.program.step_count(), plain.step_count());
        let x = Tensor::of(&[3, 2], vec![0.1_f32, -7.5, 1e-3, 2.0, 31.0, 0.7]).unwrap();
        let answers = [built.program, Arc::new(plain)].map(|program| answer(program, &x).unwrap());
        assert_eq!(answers[0], answers[1]);
    }

    #[test]
    fn an_import_is_fused_and_refuses_what_it_refused() {
        let mut graph = Graph { opset: 17, ..Graph::default() };
        let (x, y, z) = (graph.add_value("x"), graph.add_value("y"), graph.add_value("z"));
        let w = Tensor::of(&[2, 2], vec![1.0_f32, -2.0, 3.0, -4.0]).unwrap();
        let w = graph.add_constant("w", w);
        let node = |operator: &str, inputs, output| Node {
            operator: operator.to_owned(),
            inputs,
            outputs: vec![Some(output)],
            ..Node::default()
        };
        graph.nodes = vec![node("Gemm", vec![Some(x), Some(w)], y), node("Relu", vec![Some(y)], z)];
        let port =
            |value| Port { value, dtype: DType::F32, dims: Some(vec![Dim::Any, Dim::Fixed(2)]) };
        (graph.inputs, graph.outputs) = (vec![port(x)], vec![port(z)]);
        let signature = Signature::of_graph(&graph, crate::artifact::Task::Regress, true).unwrap();
        // The signature knows two dimensions, the graph leaves them open.
        graph.inputs[0].dims = None;
        let artifact =
            Artifact { graph, signature, tokenizer: None, dense: None, samples: Vec::new() };
        let bytes = artifact.to_bytes().unwrap();
        let built = build_on_node(Format::Safetensors, &bytes, None, soon(), true).unwrap();
        assert_eq!(built.program.step_count(), 1);
        let ones = |dims: &[usize]| Tensor::of(dims, vec![1.0_f32; dims.iter().product()]).unwrap();
        let found = answer(Arc::clone(&built.program), &ones(&[1, 2])).unwrap();
        assert_eq!(found, Tensor::of(&[1, 2], vec![4.0_f32, 0.0]).unwrap());
        for dims in [&[2][..], &[1, 1, 2]] {
            assert!(answer(Arc::clone(&built.program), &ones(dims)).is_err(), "{dims:?}");
        }
    }
}
