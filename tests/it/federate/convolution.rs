//! A federation of a convolutional net: clients train it by its file, and an update of another
//! shape is refused by itself.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use truststram_federate::codec::{Encoding, Head, Kind, encode};
use truststram_train::{
    DIGITS_HELD_OUT_SHARE, DIGITS_SEED, LayerActivation, LayerSpec, NetSpec, Trainable, digits,
};

use super::clients::{CONFIG, Client, begin, shares, standing, tokens};
use super::hostile::{Raw, body, changed, schema_of};
use super::python::python;
use crate::harness::{Server, held_out};

/// A client in Python that changes nothing, and says which tensors it may change.
const IN_PYTHON: &str = "
import sys
from truststram_fl import Client, Over
client = Client(*sys.argv[1:3], samples=100, state=sys.argv[3])
try:
    while True:
        if task := client.task():
            before, about = client.model(task)
            shapes = [list(before[name].shape) for name in task['tensors']]
            print(shapes, client.send(task, before, before, 1), flush=True)
except Over:
    pass
";

fn net() -> NetSpec {
    let activation = LayerActivation::Relu;
    let conv = LayerSpec::Conv { channels: 6, kernel: 3, padding: 1, activation };
    let layers =
        vec![conv, LayerSpec::MaxPool { size: 2 }, LayerSpec::Dense { outputs: 32, activation }];
    NetSpec { image: Some([8, 8, 1]), layers, ..NetSpec::default() }
}

fn right(server: &Server) -> f64 {
    let held_out = held_out();
    let right = (0..held_out.rows()).filter(|&row| {
        let answer = server.predict(held_out.row(row), "");
        answer.body["prediction"] == held_out.classes[held_out.labels[row] as usize].as_str()
    });
    right.count() as f64 / held_out.rows() as f64
}

#[test]
fn a_convolutional_net_is_trained_by_its_clients() {
    let split = digits().unwrap().split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED);
    let model = Trainable::untrained(&split.train, &net(), 3).unwrap();
    let file = model.with(&model.weights()).unwrap().to_bytes().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_configured(dir.path(), CONFIG);
    let path = "/api/v1/models/digits/versions?activate=true";
    let answer = server.post_as(path, "application/octet-stream", &file);
    assert_eq!(answer.status, 201, "{}", answer.text);
    let before = right(&server);
    let python = python();
    let clients_min = if python.is_some() { 5 } else { 4 };
    begin(
        &server,
        &json!({
            "model": "digits", "versions": 4, "activate": true, "selector": { "ratio": 1.0 },
            "encodings": ["f32", "top-0.1-int8"],
            "rounds": { "clients_min": clients_min, "over_selection": 1.0 },
        }),
    );
    let folders = tempfile::tempdir().unwrap();
    let tokens = tokens(&server, 5);
    let raw = Raw::enrol(&server, &tokens[3]);
    let clients: Vec<Client> = shares(3)
        .iter()
        .enumerate()
        .map(|(index, rows)| {
            let folder = folders.path().join(index.to_string());
            Client::join(&folder, &server.public, &tokens[index], rows, &[])
        })
        .collect();
    let in_python = python.map(|python| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python");
        Command::new(python)
            .args(["-c", IN_PYTHON, &server.public, &tokens[4]])
            .arg(folders.path().join("python"))
            .env("PYTHONPATH", package)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let schema = schema_of(&model);
    for round in 0..4 {
        let task = raw.task();
        assert_eq!(task["base_version"], round);
        // Channels last, as training has them, are not as the file has them.
        let turned = changed(&schema, |tensors| tensors[0].shape = vec![6, 3, 3, 1]);
        let refused = raw.update(&task, "examples=1", &body(&turned, 0.0));
        assert_eq!(refused.status, 422, "{}", refused.text);
        assert!(refused.text.contains("layers.0.weight"), "{}", refused.text);
        assert!(refused.text.contains("[6, 1, 3, 3]"), "{}", refused.text);
        let head = Head { kind: Kind::Delta, base: round, block: 256 };
        let nothing = vec![0.0; schema.parameters()];
        let nothing = encode(&nothing, &schema, head, Encoding::DENSE).unwrap();
        assert_eq!(raw.update(&task, "examples=1", &nothing).status, 202);
    }
    for lines in clients.into_iter().map(Client::wait) {
        let last = lines.last().unwrap();
        assert!(last["reason"].as_str().unwrap().contains("4 versions"), "{last}");
    }
    if let Some(client) = in_python {
        let output = client.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let shapes = "[[6, 1, 3, 3], [6], [32, 96], [32], [10, 32], [10]] True";
        assert!(output.status.success() && said.matches(shapes).count() == 4, "{said}");
    }
    let status = standing(&server);
    assert_eq!((&status["version"], &status["updates"]["refused"]), (&json!(4), &json!(4)));
    let after = right(&server);
    assert!(before < 0.3 && after > 0.8, "{before} {after}");
    assert!(server.terminate().success());
}
