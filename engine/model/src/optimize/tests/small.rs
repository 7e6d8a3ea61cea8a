//! The models and data sets that these tests share: seeded, small, and with layers of all widths.

use std::sync::Arc;

use crate::artifact::{Artifact, Signature, SignaturePort, Task, TokenInput};
use crate::file::{LayerWeights, ModelFile};
use crate::graph::{Attribute, Dim, Graph, Node, Port, ValueId};
use crate::kernels::Alone;
use crate::optimize::{DataRows, DataSet, OptimizeOptions, TextTokens};
use crate::program::{BuildOptions, Program, Session};
use crate::spec::{ModelSpec, Preprocessing};
use crate::tensor::{DType, Tensor};

/// Numbers within -1 and 1, the same for the same seed (SplitMix64).
pub fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A dense network of these sizes with weights that keep the size of what comes in.
pub fn dense(sizes: &[u32]) -> Artifact {
    let features = sizes[0] as usize;
    let classes = (0..*sizes.last().unwrap()).map(|class| format!("class {class}")).collect();
    let preprocessing = Preprocessing { mean: vec![0.1; features], scale: vec![2.0; features] };
    let spec = ModelSpec::dense(sizes.to_vec(), classes, preprocessing).unwrap();
    let layers = sizes.windows(2).enumerate().map(|(index, pair)| {
        let (inputs, outputs) = (pair[0] as usize, pair[1] as usize);
        let scale = 2.0 / (inputs as f32).sqrt();
        let weight = numbers(index as u64, inputs * outputs);
        let weight = weight.into_iter().map(|weight| weight * scale).collect();
        LayerWeights { weight, bias: numbers(index as u64 + 50, outputs) }
    });
    Artifact::of_dense(ModelFile::new(spec, layers.collect()).unwrap())
}

/// Rows of features, without labels.
pub fn rows(count: usize, features: usize) -> DataSet {
    let all = numbers(99, count * features);
    DataSet {
        rows: DataRows::Features(all.chunks(features).map(<[f32]>::to_vec).collect()),
        labels: None,
    }
}

fn node(operator: &str, inputs: &[ValueId], output: ValueId) -> Node {
    Node {
        operator: operator.to_owned(),
        inputs: inputs.iter().copied().map(Some).collect(),
        outputs: vec![Some(output)],
        ..Node::default()
    }
}

/// A classifier as exporters write it: `Gemm`, `Relu`, `MatMul`, `Add`, `Softmax`.
pub fn imported() -> Artifact {
    let mut graph = Graph { opset: 17, ..Graph::default() };
    let x = graph.add_value("x");
    let mut constant = |name: &str, dims: &[usize], seed| {
        let values = numbers(seed, dims.iter().product());
        graph.add_constant(name, Tensor::of(dims, values).unwrap())
    };
    let (w, b) = (constant("w", &[64, 48], 1), constant("b", &[48], 2));
    let (v, c) = (constant("v", &[48, 4], 3), constant("c", &[4], 4));
    let mut value = |name: &str| graph.add_value(name);
    let (h, r, m, s, y) = (value("h"), value("r"), value("m"), value("s"), value("y"));
    graph.nodes = vec![
        node("Gemm", &[x, w, b], h),
        node("Relu", &[h], r),
        node("MatMul", &[r, v], m),
        node("Add", &[m, c], s),
        node("Softmax", &[s], y),
    ];
    let port = |value, count| {
        let dims = Some(vec![Dim::Any, Dim::Fixed(count)]);
        Port { value, dtype: DType::F32, dims }
    };
    (graph.inputs, graph.outputs) = (vec![port(x, 64)], vec![port(y, 4)]);
    let classes = ["a", "b", "c", "d"].map(str::to_owned).into();
    let task = Task::Classify { classes, probabilities: 0, label: None };
    let signature = Signature::of_graph(&graph, task, true).unwrap();
    Artifact { graph, signature, tokenizer: None, dense: None, samples: Vec::new() }
}

/// A reader of texts: embeddings, two linear layers and the direction of each first token. The
/// embeddings are the weights of a third layer too, turned back.
pub fn encoder() -> Artifact {
    let (vocabulary, width) = (64_usize, 64_usize);
    let mut graph = Graph { opset: 17, ..Graph::default() };
    let (tokens, offsets) = (graph.add_value("tokens"), graph.add_value("offsets"));
    let mut constant = |name: &str, dims: &[usize], seed| {
        let values = numbers(seed, dims.iter().product());
        graph.add_constant(name, Tensor::of(dims, values).unwrap())
    };
    let table = constant("table", &[vocabulary, width], 1);
    let (up, up_bias) = (constant("up", &[96, width], 2), constant("up bias", &[96], 3));
    let down = constant("down", &[96, width], 4);
    let mut whole =
        |name: &str, value: i64| graph.add_constant(name, Tensor::of(&[1], vec![value]).unwrap());
    let (start, end) = (whole("start", 0), whole("end", -1));
    let mut value = |name: &str| graph.add_value(name);
    let (x, h, z, tied) = (value("x"), value("h"), value("z"), value("tied"));
    let (back, firsts, y) = (value("back"), value("firsts"), value("y"));
    let text = |value: &str| Attribute::String(value.to_owned());
    let inputs = |ids: &[ValueId]| ids.iter().copied().map(Some).collect::<Vec<_>>();
    graph.nodes = vec![
        node("Gather", &[table, tokens], x),
        Node::own("Linear", inputs(&[x, up, up_bias]), vec![h]).with("activation", text("gelu")),
        Node::own("Linear", inputs(&[h, down]), vec![z]).with("transposed", Attribute::Int(1)),
        Node::own("Linear", inputs(&[z, table]), vec![tied]),
        node("MatMul", &[tied, table], back),
        node("Slice", &[offsets, start, end], firsts),
        node("Gather", &[back, firsts], y),
    ];
    let port = |value, dtype| Port { value, dtype, dims: Some(vec![Dim::Any]) };
    graph.inputs = vec![port(tokens, DType::I64), port(offsets, DType::I64)];
    graph.outputs = vec![Port { value: y, dtype: DType::F32, dims: None }];
    let port = |name: &str, dtype, dims: &[i64]| SignaturePort {
        name: name.to_owned(),
        dtype,
        dims: dims.to_vec(),
    };
    let signature = Signature {
        inputs: vec![port("tokens", DType::I64, &[-1]), port("offsets", DType::I64, &[-1])],
        outputs: vec![port("y", DType::F32, &[-1, width as i64])],
        task: Task::Embed { dimension: width, length_max: 16 },
        batchable: true,
        tokens: Some(TokenInput { length_max: 16, vocabulary: 50, types: 0 }),
    };
    Artifact { graph, signature, tokenizer: Some(vec![7]), dense: None, samples: Vec::new() }
}

/// Texts of the encoder, of 1 to 9 tokens.
pub fn texts(count: usize) -> DataSet {
    let one = |text: usize| {
        let ids = (0..text % 9 + 1).map(|at| ((text * 31 + at * 7) % 50) as u32).collect();
        TextTokens { ids, types: Vec::new() }
    };
    DataSet { rows: DataRows::Texts((0..count).map(one).collect()), labels: None }
}

/// The first output for all rows at once.
pub fn answer(artifact: &Artifact, data: &DataSet) -> Vec<f32> {
    let program = Program::build(&artifact.graph, &BuildOptions::default()).unwrap();
    let mut session = Session::new(Arc::new(program));
    let inputs = data.inputs(&artifact.signature, 0..data.row_count()).unwrap();
    for (index, input) in inputs.into_iter().enumerate() {
        *session.input_mut(index) = input;
    }
    session.run(&Alone, None).unwrap();
    session.output(0).unwrap().values::<f32>().unwrap().to_vec()
}

/// No step.
pub fn none() -> OptimizeOptions {
    OptimizeOptions::default()
}
