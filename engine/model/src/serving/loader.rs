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
    let program = Arc::new(Program::build(&artifact.graph, &options)?);
    if checks {
        validate(&program, &artifact.signature, &artifact.samples, until)?;
    }
    // Its constants have been packed; what is still used the program holds itself.
    artifact.graph = crate::graph::Graph::default();
    artifact.samples = Vec::new();
    Ok(OfNode { artifact, summary, program })
}
