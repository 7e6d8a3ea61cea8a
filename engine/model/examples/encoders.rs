//! How long an encoder of the shape of MiniLM-L6 takes on one core, in f32, bf16 and int8.
//!
//! Owns a measurement: 6 layers of 384, 12 heads, 1,536 between, random weights. Refuses to know
//! files; the weights are made here. Bound: under a second for each line.
//!
//! By hand: `taskset -c 1 cargo run --release --example encoders`, with the name
//! of a precision to measure that one alone.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use truststram_model::graph::{Attribute, Dim, Graph, Node, Port, ValueId};
use truststram_model::kernels::Alone;
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::{DType, Shape, Tensor};

const HIDDEN: usize = 384;
const LAYERS: usize = 6;
const HEADS: usize = 12;
const INTERMEDIATE: usize = 1_536;
const VOCABULARY: usize = 30_522;

struct Encoder {
    graph: Graph,
    offsets: ValueId,
    precision: &'static str,
}

impl Encoder {
    fn constant(&mut self, dims: &[usize], scale: f32, shift: f32) -> ValueId {
        let count = dims.iter().product();
        let number = |index: usize| ((index * 7_919) % 2_003) as f32 / 1_001.0 - 1.0;
        let values: Vec<f32> = (0..count).map(|index| shift + scale * number(index)).collect();
        let name = format!("c{}", self.graph.values.len());
        self.graph.add_constant(name, Tensor::of(dims, values).unwrap_or_default())
    }

    fn node(&mut self, operator: &str, inputs: &[ValueId], more: &[(&str, Attribute)]) -> ValueId {
        let out = self.graph.add_value(format!("v{}", self.graph.values.len()));
        let inputs = inputs.iter().copied().map(Some).collect();
        let node = Node::own(operator, inputs, vec![out]);
        let with = |node: Node, (name, value): &(&str, Attribute)| node.with(name, value.clone());
        self.graph.nodes.push(more.iter().fold(node, with));
        out
    }

    fn linear(&mut self, x: ValueId, inputs: usize, outputs: usize, activation: &str) -> ValueId {
        let weight = self.constant(&[outputs, inputs], 0.05, 0.0);
        let bias = self.constant(&[outputs], 0.1, 0.0);
        let text = |value: &str| Attribute::String(value.to_owned());
        let more = [("activation", text(activation)), ("precision", text(self.precision))];
        self.node("Linear", &[x, weight, bias], &more)
    }

    fn norm(&mut self, x: ValueId, residual: ValueId) -> ValueId {
        let gamma = self.constant(&[HIDDEN], 0.1, 1.0);
        let beta = self.constant(&[HIDDEN], 0.1, 0.0);
        self.node("ResidualNorm", &[x, residual, gamma, beta], &[])
    }
}

fn graph(precision: &'static str) -> Graph {
    let mut graph = Graph { opset: 21, ..Graph::default() };
    let mut input = |name: &str| {
        let value = graph.add_value(name);
        graph.inputs.push(Port { value, dtype: DType::U32, dims: Some(vec![Dim::Any]) });
        value
    };
    let (tokens, offsets, types) = (input("tokens"), input("offsets"), input("types"));
    let mut encoder = Encoder { graph, offsets, precision };
    let words = encoder.constant(&[VOCABULARY, HIDDEN], 1.0, 0.0);
    let positions = encoder.constant(&[512, HIDDEN], 1.0, 0.0);
    let kinds = encoder.constant(&[2, HIDDEN], 1.0, 0.0);
    let gamma = encoder.constant(&[HIDDEN], 0.1, 1.0);
    let beta = encoder.constant(&[HIDDEN], 0.1, 0.0);
    let inputs = [tokens, offsets, types, words, positions, kinds, gamma, beta];
    let mut x = encoder.node("Embed", &inputs, &[]);
    for _ in 0..LAYERS {
        let qkv = encoder.linear(x, HIDDEN, 3 * HIDDEN, "none");
        let heads = ("heads", Attribute::Int(HEADS as i64));
        let size = ("head_size", Attribute::Int((HIDDEN / HEADS) as i64));
        let context = encoder.node("Attention", &[qkv, encoder.offsets], &[heads, size]);
        let out = encoder.linear(context, HIDDEN, HIDDEN, "none");
        x = encoder.norm(out, x);
        let up = encoder.linear(x, HIDDEN, INTERMEDIATE, "gelu");
        let down = encoder.linear(up, INTERMEDIATE, HIDDEN, "none");
        x = encoder.norm(down, x);
    }
    let mode = ("mode", Attribute::String("mean".to_owned()));
    let x = encoder.node("Pool", &[x, encoder.offsets], &[mode]);
    let x = encoder.node("L2Normalize", &[x], &[]);
    encoder.graph.outputs.push(Port { value: x, dtype: DType::F32, dims: None });
    encoder.graph
}

fn fill(session: &mut Session, texts: usize, length: usize) -> Result<(), Box<dyn Error>> {
    let tokens = texts * length;
    let inputs: [Vec<u32>; 3] = [
        (0..tokens).map(|index| (index * 7_919 % VOCABULARY) as u32).collect(),
        (0..=texts).map(|text| (text * length) as u32).collect(),
        vec![0; tokens],
    ];
    for (index, values) in inputs.into_iter().enumerate() {
        let shape = Shape::new(&[values.len()]).ok_or("shape")?;
        session.input_mut(index).reset_as::<u32>(shape).copy_from_slice(&values);
    }
    Ok(())
}

/// Time that this thread has spent on a core, or the clock's where the system does not say.
fn spent(start: Instant) -> Duration {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let first = said.and_then(|said| said.split(' ').next()?.parse().ok());
    first.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Milliseconds of one run on a core, the best of several stretches; other programs that take the
/// core meanwhile do not count.
fn milliseconds(session: &mut Session) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let before = spent(start);
        let mut count = 0;
        let mut passed = Duration::ZERO;
        while passed < Duration::from_millis(250) {
            session.run(&Alone, None)?;
            count += 1;
            passed = spent(start).saturating_sub(before);
        }
        best = best.min(passed.as_secs_f64() * 1e3 / f64::from(count));
    }
    Ok(best)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    write!(out, "texts x tokens")?;
    let mut sessions = Vec::new();
    let only = std::env::args().nth(1);
    let is_wanted = |precision: &&str| only.as_deref().is_none_or(|only| only == *precision);
    for precision in ["f32", "bf16", "int8"].into_iter().filter(is_wanted) {
        let program = Program::build(&graph(precision), &BuildOptions::default())?;
        sessions.push(Session::new(Arc::new(program)));
        write!(out, " | {precision:>8} ms   seq/s")?;
    }
    writeln!(out)?;
    for (texts, length) in [(1, 16), (8, 16), (1, 128), (8, 128)] {
        write!(out, "{texts:5} x {length:<6}")?;
        for session in &mut sessions {
            fill(session, texts, length)?;
            let spent = milliseconds(session)?;
            write!(out, " | {spent:11.2} {:7.1}", texts as f64 * 1e3 / spent)?;
        }
        writeln!(out)?;
    }
    Ok(())
}
