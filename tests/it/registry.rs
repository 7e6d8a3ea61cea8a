//! The registry of a running server: files of scikit-learn registered, tried out, switched, rolled
//! back and removed, across restarts and a kill.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use truststram_model::onnx;

use crate::harness::{Answer, Server};

const MEDIA: &str = "application/octet-stream";

/// A golden model of scikit-learn and its first rows, with the probabilities of ONNX Runtime.
struct Golden {
    file: Vec<u8>,
    width: usize,
    rows: Vec<f32>,
    probabilities: Vec<f32>,
}

fn golden(name: &str) -> Golden {
    let folder: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sklearn").join(name);
    let tensor = |file: &str| onnx::tensor(&fs::read(folder.join(file)).unwrap()).unwrap().1;
    let (rows, probabilities) = (tensor("input_0.pb"), tensor("output_1.pb"));
    Golden {
        file: fs::read(folder.join("model.onnx")).unwrap(),
        width: rows.shape()[1],
        rows: rows.values::<f32>().unwrap().to_vec(),
        probabilities: probabilities.values::<f32>().unwrap().to_vec(),
    }
}

impl Golden {
    fn row(&self, index: usize) -> &[f32] {
        &self.rows[index * self.width..][..self.width]
    }

    /// Asks `path` for all rows and compares the probabilities.
    fn check(&self, server: &Server, path: &str) -> Value {
        let rows = self.rows.len() / self.width;
        let input = json!({
            "name": "X", "datatype": "FP32", "shape": [rows, self.width], "data": self.rows,
        });
        let body = json!({ "inputs": [input], "outputs": [{ "name": "probabilities" }] });
        let answer = server.post(path, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text);
        let found = answer.body["outputs"][0]["data"].as_array().unwrap();
        assert_eq!(found.len(), self.probabilities.len());
        for (found, expected) in found.iter().zip(&self.probabilities) {
            let difference = found.as_f64().unwrap() - f64::from(*expected);
            assert!(difference.abs() < 1e-5, "{found} is not {expected}");
        }
        answer.body
    }
}

fn post(server: &Server, path: &str, body: &Value) -> Answer {
    server.post(&format!("/api/v1/models/cancer{path}"), body.to_string().as_bytes())
}

fn version(server: &Server, number: u32) -> Value {
    let answer = server.get(&format!("/api/v1/models/cancer/versions/{number}"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

/// One prediction, answered when it is on disk, and with it all before.
fn predicted_by(server: &Server, row: &[f32], user: &str) -> Value {
    let body = json!({ "model_id": "cancer", "user_id": user, "data": row });
    let answer = server.post("/api/v1/predict?durable=true", body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

#[test]
fn a_model_of_scikit_learn_is_registered_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let forest = golden("forest");
    let path = "/api/v1/models/cancer/versions?owner=ana&tags=trees,new&activate=true";
    let answer = server.post_as(path, MEDIA, &forest.file);
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.headers["location"], "/api/v1/models/cancer/versions/1");
    let shown = version(&server, 1);
    assert_eq!((&shown["state"], &shown["format"]), (&json!("active"), &json!("onnx")));
    assert_eq!(shown["inputs"][0]["name"], "X");
    assert!(shown["memory_bytes"].as_u64().unwrap() > 0, "{shown}");
    assert!(shown["parameter_count"].as_u64().unwrap() > 100, "{shown}");

    let answer = forest.check(&server, "/v2/models/cancer/infer");
    assert_eq!(answer["model_version"], "1");
    let predicted = predicted_by(&server, forest.row(0), "ana");
    let best = if forest.probabilities[0] >= forest.probabilities[1] { "0" } else { "1" };
    assert_eq!(predicted["prediction"], best);
    // Rows of tensors are kept as others are.
    let kept = server.stored("&model_id=cancer");
    assert_eq!(kept.len(), forest.rows.len() / forest.width + 1);
    let figures = server.get("/v2/models/cancer/stats").body;
    let figures = &figures["model_stats"][0];
    assert_eq!(figures["inference_count"], kept.len(), "{figures}");

    let missing = post(&server, "/rollback", &json!({}));
    assert_eq!(missing.status, 409, "{}", missing.text);
    let wide = json!({ "model_id": "cancer", "data": [1.0, 2.0] }).to_string();
    assert_eq!(server.post("/api/v1/predict", wide.as_bytes()).status, 422);
}

#[test]
fn damaged_files_never_serve_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let forest = golden("forest");
    let put = |query: &str, bytes: &[u8]| {
        server.put(&format!("/api/v1/models/cancer/versions/1{query}"), MEDIA, bytes)
    };
    let refused = put("?activate=true", &forest.file[..forest.file.len() / 2]);
    assert_eq!(refused.status, 422, "{}", refused.text);
    let wrong = put(&format!("?sha256={}", "0".repeat(64)), &forest.file);
    assert!(wrong.status == 422 && wrong.text.contains("SHA-256"), "{}", wrong.text);
    assert_eq!(server.get("/api/v1/models/cancer/versions/1").status, 404);
    assert_eq!(server.get("/v2/models/cancer/ready").status, 404);
    assert!(!dir.path().join("models/cancer/1/model.onnx").exists());
    let incoming = fs::read_dir(dir.path().join("models/.incoming")).unwrap();
    assert_eq!(incoming.count(), 0);
    // The number is free for the file that is whole.
    assert_eq!(put("?activate=true", &forest.file).status, 201);
    forest.check(&server, "/v2/models/cancer/infer");
    let again = put("", &forest.file);
    assert_eq!(again.status, 409, "{}", again.text);
}

#[test]
fn what_was_acknowledged_of_versions_outlives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (forest, boosting) = (golden("forest"), golden("boosting"));
    let add = |model: &Golden| {
        let answer = server.post_as("/api/v1/models/cancer/versions", MEDIA, &model.file);
        assert_eq!(answer.status, 201, "{}", answer.text);
    };
    add(&forest);
    add(&boosting);
    add(&forest);
    assert_eq!(version(&server, 1)["state"], "ready");
    let trial = post(&server, "/versions/2/canary", &json!({ "percent": 50 }));
    assert_eq!(trial.status, 409, "no version is active: {}", trial.text);
    assert_eq!(post(&server, "/versions/1/activate", &json!({})).status, 200);
    assert_eq!(post(&server, "/versions/2/activate", &json!({})).status, 200);
    let canary = post(&server, "/versions/3/canary", &json!({ "percent": 50 }));
    assert_eq!((&canary.body["state"], canary.status), (&json!("canary"), 200), "{}", canary.text);
    // A user always meets the same version, and of many users each version meets some.
    let versions = |server: &Server| -> Vec<Value> {
        let users = (0..40).map(|user| format!("user-{user}"));
        let ask =
            |user: String| predicted_by(server, forest.row(0), &user)["model_version"].clone();
        users.map(ask).collect()
    };
    let before = versions(&server);
    assert!(before.contains(&json!(2)) && before.contains(&json!(3)), "{before:?}");
    server.kill();

    let server = Server::start(dir.path());
    assert_eq!(versions(&server), before);
    assert_eq!(version(&server, 2)["state"], "active");
    let back = post(&server, "/rollback", &json!({}));
    assert_eq!((&back.body["version"], back.status), (&json!(1), 200), "{}", back.text);
    forest.check(&server, "/v2/models/cancer/versions/1/infer");
    boosting.check(&server, "/v2/models/cancer/versions/2/infer");
    for (path, expected) in [("/versions/1/retire", 409), ("/versions/2/retire", 200)] {
        let answer = post(&server, path, &json!({}));
        assert_eq!(answer.status, expected, "{path}: {}", answer.text);
    }
    assert_eq!(server.get("/v2/models/cancer/versions/2/ready").status, 503);
    let gone = server.delete("/api/v1/models/cancer/versions/3");
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert!(!dir.path().join("models/cancer/3").exists());
    server.kill();

    let server = Server::start(dir.path());
    assert_eq!(version(&server, 2)["state"], "retired");
    assert_eq!(server.get("/api/v1/models/cancer/versions/3").status, 404);
    // A retired version comes back whole.
    assert_eq!(post(&server, "/versions/2/activate", &json!({})).status, 200);
    boosting.check(&server, "/v2/models/cancer/infer");
    for (action, state) in [("unload", "UNAVAILABLE"), ("load", "READY")] {
        let done = server.post(&format!("/v2/repository/models/cancer/{action}"), b"{}");
        assert_eq!(done.status, 200, "{action}: {}", done.text);
        let index = server.post("/v2/repository/index", b"{}").body;
        assert!(index.as_array().unwrap().iter().all(|entry| entry["state"] == state), "{index}");
    }
    boosting.check(&server, "/v2/models/cancer/infer");
}

#[test]
fn a_shadow_is_compared_and_answers_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (forest, boosting) = (golden("forest"), golden("boosting"));
    for (number, model) in [(1, &forest), (2, &boosting)] {
        let path = format!("/api/v1/models/cancer/versions/{number}?activate={}", number == 1);
        assert_eq!(server.put(&path, MEDIA, &model.file).status, 201);
    }
    let shadow = post(&server, "/versions/2/shadow", &json!({}));
    assert_eq!((&shadow.body["state"], shadow.status), (&json!("shadow"), 200), "{}", shadow.text);
    for row in 0..8 {
        assert_eq!(predicted_by(&server, forest.row(row), "ana")["model_version"], 1);
    }
    // It is asked after the answers have left, so the last of them may still be on its way.
    let compared = |shown: &Value| {
        let of = |name: &str| shown["disagreements"][name].as_u64().unwrap_or(0);
        of("rows") + of("dropped")
    };
    while compared(&version(&server, 2)) < 8 {
        std::thread::yield_now();
    }
    let shown = version(&server, 2);
    assert_eq!(shown["disagreements"]["failed"], 0, "{shown}");
}
