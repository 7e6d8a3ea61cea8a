//! A server with the digits as a data set, and jobs that are trained on them.

use std::path::Path;

use serde_json::{Value, json};
use truststram_train::digits;

use crate::harness::{Answer, Server};

pub const JOBS: &str = "/api/v1/training/jobs";

/// Other tests keep the cores busy, and what runs on what they leave would take long.
pub const CONFIG: &str = "[training]\npriority = \"background\"\n";

/// Starts a server with these keys of `[training]` besides.
pub fn start(dir: &Path, keys: &str) -> Server {
    Server::start_configured(dir, &format!("{CONFIG}{keys}"))
}

/// Appends the first `count` digits to the data set `digits`.
pub fn fill(server: &Server, count: usize) {
    let data = digits().unwrap();
    let row = |row: usize| {
        let label = &data.classes[data.labels[row] as usize];
        json!({ "features": data.row(row), "label": label })
    };
    let mut rows: Vec<Value> = (0..count).map(row).collect();
    // Rows that say nothing are passed over.
    rows.insert(count / 2, json!({ "features": data.row(0) }));
    let body = json!(rows).to_string();
    let answer = server.post("/api/v1/datasets/digits/rows", body.as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text);
}

/// A description: so many epochs of 480 rows with something random in each step.
pub fn spec(epochs: usize) -> Value {
    let layers = json!([
        { "kind": "dense", "outputs": 24 },
        { "kind": "dropout", "rate": 0.1 },
    ]);
    json!({
        "dataset": "digits", "model": "mine",
        "checkpoint": { "every_steps": 20 },
        "train": {
            "epochs": epochs, "batch_size": 16, "seed": 3,
            "net": { "layer": layers },
            "optimiser": { "kind": "adamw", "learning_rate": 0.003 },
        },
    })
}

pub fn post(server: &Server, path: &str, body: &Value) -> Answer {
    server.post(&format!("{JOBS}{path}"), body.to_string().as_bytes())
}

/// Makes a job; returns its number.
pub fn create(server: &Server, spec: &Value) -> u64 {
    let answer = post(server, "", spec);
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.body["id"].as_u64().unwrap()
}

pub fn job(server: &Server, id: u64) -> Value {
    let answer = server.get(&format!("{JOBS}/{id}"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

/// The events of a job as they come, by name.
pub fn events(server: &Server, id: u64) -> impl Iterator<Item = (String, Value)> + use<> {
    let mut lines = server.lines(&format!("{JOBS}/{id}/events"));
    std::iter::from_fn(move || {
        let name = lines.find_map(|line| line.strip_prefix("event: ").map(str::to_owned))?;
        let data = lines.next()?;
        Some((name, serde_json::from_str(data.strip_prefix("data: ")?).ok()?))
    })
}

/// Waits for the end of a job.
pub fn wait(server: &Server, id: u64) -> Value {
    events(server, id).for_each(drop);
    job(server, id)
}

/// The checksum of a version of the model.
pub fn sha256(server: &Server, version: u64) -> String {
    let answer = server.get(&format!("/api/v1/models/mine/versions/{version}"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body["sha256"].as_str().unwrap().to_owned()
}
