//! What all targets of the fuzzer share: the packing of a graph's text, and what is done with a
//! model that was accepted.
//!
//! Owns the rule that a model never panics: built, fused, run on zeros and ones within small
//! bounds, and the same bits with and without vector instructions.
//! Refuses to judge answers. Bound: a megabyte per result, a fraction of a second per run.

pub mod encoders;
pub mod seeds;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use truststram_model::ModelError;
use truststram_model::artifact::{Artifact, GRAPH_KEY};
use truststram_model::graph::{Dim, Graph};
use truststram_model::kernels::{Alone, Isa};
use truststram_model::passes::optimize;
use truststram_model::program::{BuildOptions, Program, RunError, Session};
use truststram_model::tensor::{DType, Data, Shape, Tensor};

/// Most elements of one input.
const INPUT_COUNT_MAX: usize = 1 << 14;
/// Tokens of two texts, and offsets between them.
const TOKENS: usize = 3;
const RUN_TIME: Duration = Duration::from_millis(200);

/// The tensors that a graph's text may name, with their types and shapes; all bytes are 1.
const TENSORS: [(&str, &str, &[usize], usize); 4] = [
    ("f", "F32", &[2, 2], 16),
    ("g", "F32", &[2], 8),
    ("i", "I64", &[2], 16),
    ("b", "U8", &[4], 4),
];

/// Builds an artifact's graph that was accepted, and runs it; nothing of it may panic.
pub fn run_artifact(artifact: &Artifact) {
    run_graph(&artifact.graph, artifact.signature.tokens.is_some());
}

/// The same for a graph without a signature.
pub fn run(graph: &Graph) {
    run_graph(graph, false);
}

fn run_graph(graph: &Graph, reads_texts: bool) {
    let outputs = |graph, isa| outputs(graph, isa, reads_texts);
    let plain = outputs(graph, Isa::Portable);
    if let (Ok(plain), Ok(vector)) = (plain, outputs(graph, Isa::detect())) {
        let same = plain.iter().zip(&vector).all(|(plain, vector)| are_same(plain, vector));
        assert!(same && plain.len() == vector.len(), "{plain:?}\nis not\n{vector:?}\n{graph:?}");
    }
    if let Ok(fused) = optimize(graph.clone(), &options(Isa::detect())) {
        // What it answers may be a little other; that it answers without a panic is tested.
        let _ = outputs(&fused, Isa::detect());
    }
}

fn options(isa: Isa) -> BuildOptions {
    BuildOptions { isa, node: None, session_bytes_max: 1 << 20 }
}

/// The outputs for zeros, then for ones; of what reads texts, for two texts of such tokens.
fn outputs(graph: &Graph, isa: Isa, reads_texts: bool) -> Result<Vec<Tensor>, ModelError> {
    let program = Arc::new(Program::build(graph, &options(isa))?);
    let mut session = Session::new(Arc::clone(&program));
    let mut outputs = Vec::new();
    for fill in [0, 1] {
        for (index, port) in program.inputs().iter().enumerate() {
            let dims = port.dims.as_deref().unwrap_or_default().iter().map(|dim| match dim {
                Dim::Fixed(count) => *count,
                Dim::Named(_) | Dim::Any => 2,
            });
            let mut dims: Vec<usize> = dims.collect();
            if reads_texts {
                dims = vec![TOKENS];
            }
            let shape = Shape::new(&dims).filter(|shape| shape.count() <= INPUT_COUNT_MAX);
            let source = RunError::TooLarge { bytes: 0, bytes_max: 0 };
            let too_large = ModelError::Run { place: "the fuzzer's input".into(), source };
            let input = session.input_mut(index);
            input.reset(port.dtype, shape.ok_or(too_large)?);
            fill_with(input, fill);
            if reads_texts && index == 1 {
                for (at, offset) in [0, 1, TOKENS as u8].into_iter().enumerate() {
                    set_offset(input, at, offset);
                }
            }
        }
        session.run(&Alone, Some(Instant::now() + RUN_TIME))?;
        outputs.extend((0..program.outputs().len()).filter_map(|at| session.output(at).cloned()));
    }
    Ok(outputs)
}

fn set_offset(input: &mut Tensor, at: usize, offset: u8) {
    match input.data_mut() {
        Data::I32(values) => values[at] = offset.into(),
        Data::I64(values) => values[at] = offset.into(),
        Data::U32(values) => values[at] = offset.into(),
        _ => {}
    }
}

fn fill_with(input: &mut Tensor, value: u8) {
    match input.data_mut() {
        Data::F32(values) => values.fill(value.into()),
        Data::F64(values) => values.fill(value.into()),
        Data::I8(values) => values.fill(value as i8),
        Data::I16(values) => values.fill(value.into()),
        Data::I32(values) => values.fill(value.into()),
        Data::I64(values) => values.fill(value.into()),
        Data::U8(values) => values.fill(value),
        Data::U16(values) => values.fill(value.into()),
        Data::U32(values) => values.fill(value.into()),
        Data::U64(values) => values.fill(value.into()),
        Data::Bool(values) => values.fill(value == 1),
        Data::String(values) => values.fill(value.to_string()),
        Data::F16(_) | Data::Bf16(_) => {}
    }
}

/// Whether two tensors are equal to the bit, all NaN being one.
fn are_same(one: &Tensor, other: &Tensor) -> bool {
    let shapes = one.shape() == other.shape() && one.dtype() == other.dtype();
    if let (Some(one), Some(other)) = (one.values::<f32>(), other.values::<f32>()) {
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        return shapes && one.iter().zip(other).all(same);
    }
    let is_float = one.dtype() == DType::F64 || one.dtype().is_float();
    shapes && (is_float || one.data() == other.data())
}

/// A container with a graph's text and those tensors that it names.
pub fn container(text: &str) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({ GRAPH_KEY: text }));
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in TENSORS {
        if text.contains(&format!("\"{name}\"")) {
            let start = data.len();
            data.resize(start + bytes, 1);
            let offsets = [start, start + bytes];
            let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
            header.insert(name.to_owned(), entry);
        }
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}
