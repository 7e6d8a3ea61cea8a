//! Writes what the fuzzer begins with: small golden models as ONNX, as artifacts and as text.
//!
//! The fuzzer does so itself when it starts, so that nothing is built twice.
//! Refuses models above a size, so that mutation stays fast. Bound: [`BYTES_MAX`] per file.

use std::fs;
use std::path::{Path, PathBuf};

use truststram_model::artifact::{Artifact, GRAPH_KEY, Signature, Task};
use truststram_model::{LayerWeights, ModelFile, ModelSpec, Preprocessing, onnx};

use crate::{container, encoders};

const BYTES_MAX: usize = 4_096;

/// Writes the seeds of all targets to the folder `FUZZ_CORPUS`, of models in the folders
/// `FUZZ_MODELS`; without them nothing.
pub fn write() {
    let Some(corpus) = std::env::var_os("FUZZ_CORPUS").map(PathBuf::from) else { return };
    for name in ["onnx", "artifact", "graph-text", "encoder"] {
        fs::create_dir_all(corpus.join(name)).expect("the corpus can be made");
    }
    let put = |target: &str, name: &str, bytes: &[u8]| {
        fs::write(corpus.join(target).join(name), bytes).expect("the corpus can be written");
    };
    put("artifact", "dense", &dense().to_bytes().expect("the network is right"));
    put("graph-text", "tensors", text_with_tensors().as_bytes());
    for (name, input) in encoders::seeds() {
        put("encoder", &name, &input);
    }
    let folders = std::env::var_os("FUZZ_MODELS").unwrap_or_default();
    for folder in std::env::split_paths(&folders) {
        for (name, bytes) in models(&folder) {
            put("onnx", &name, &bytes);
            let Some(artifact) = artifact(&bytes) else { continue };
            put("artifact", &name, &artifact);
            if let Some(text) = graph_text(&artifact) {
                put("graph-text", &name, text.as_bytes());
            }
        }
    }
}

/// The files `model.onnx` of the folders in a folder, the small ones.
fn models(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let model = |entry: fs::DirEntry| {
        let bytes = fs::read(entry.path().join("model.onnx")).ok()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        (bytes.len() <= BYTES_MAX).then_some((name, bytes))
    };
    entries.filter_map(model).collect()
}

fn artifact(bytes: &[u8]) -> Option<Vec<u8>> {
    let graph = onnx::parse(bytes).ok()?.graph;
    let signature = Signature::of_graph(&graph, Task::Tensors, false).ok()?;
    let (tokenizer, dense, samples) = (None, None, Vec::new());
    Artifact { graph, signature, tokenizer, dense, samples }.to_bytes().ok()
}

fn graph_text(artifact: &[u8]) -> Option<String> {
    let length = u64::from_le_bytes(artifact.get(..8)?.try_into().ok()?);
    let header = artifact.get(8..8 + usize::try_from(length).ok()?)?;
    let header: serde_json::Value = serde_json::from_slice(header).ok()?;
    Some(header["__metadata__"][GRAPH_KEY].as_str()?.to_owned())
}

fn dense() -> ModelFile {
    let preprocessing = Preprocessing { mean: vec![0.5, 1.0], scale: vec![1.0, 2.0] };
    let classes = ["a", "b"].map(str::to_owned).into();
    let spec = ModelSpec::dense(vec![2, 2], classes, preprocessing).expect("the widths are right");
    let layer = LayerWeights { weight: vec![0.5, -0.5, 1.0, 2.0], bias: vec![0.0, 1.0] };
    ModelFile::new(spec, vec![layer]).expect("the weights fit")
}

/// A graph that names each kind of tensor of the container.
fn text_with_tensors() -> String {
    let port = r#"{"name":"x","dtype":"f32","dims":[-1,2]}"#;
    let output = r#"{"name":"y","dtype":"f32","dims":[-1,2]}"#;
    let value = |name: &str, place: &str| format!(r#"{{"name":"{name}"{place}}}"#);
    let constant = |tensor: &str, dtype: &str, dims: &str| {
        format!(r#","constant":{{"tensor":"{tensor}","dtype":"{dtype}","dims":{dims}}}"#)
    };
    let values = [
        value("x", ""),
        value("y", ""),
        value("w", &constant("f", "f32", "[2,2]")),
        value("c", &constant("g", "f32", "[2]")),
        value("s", &constant("i", "i64", "[2]")),
        value("t", &constant("b", "u8", "[4]")),
    ];
    let text = format!(
        concat!(
            r#"{{"signature":{{"inputs":[{}],"outputs":[{}],"task":"tensors","batchable":true}},"#,
            r#""graph":{{"opset":21,"opset_ml":0,"values":[{}],"#,
            r#""inputs":[{{"value":0,"dtype":"f32","dims":["any",{{"fixed":2}}]}}],"#,
            r#""outputs":[{{"value":1,"dtype":"f32","dims":["any",{{"fixed":2}}]}}],"#,
            r#""nodes":[{{"operator":"Gemm","inputs":[0,2,3],"outputs":[1],"#,
            r#""attributes":{{"alpha":{{"float":"0.5"}},"transB":{{"int":1}}}}}}]}}}}"#
        ),
        port,
        output,
        values.join(",")
    );
    let parsed = Artifact::parse(&container(&text));
    parsed.map(|_| text).expect("the seed is a model")
}
