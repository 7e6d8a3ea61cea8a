//! Encoders of texts on a running server: a folder imported by the command, asked for vectors,
//! classes and tensors; and a model optimised by the command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{BINARY, Server, trained_dir};

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoder").join(name)
}

fn expected(name: &str) -> Value {
    let text = std::fs::read_to_string(golden(name).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn model(server: &Server, arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("model").args(arguments).args(["--server", &server.public]);
    command.output().unwrap()
}

pub fn import(server: &Server, name: &str) {
    let folder = golden(name);
    let output = model(server, &["import", folder.to_str().unwrap(), "--id", name, "--activate"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn near(found: &Value, expected: &Value, what: &str) {
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let (found, expected) = (numbers(found), numbers(expected));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-4, "{what}: {found} is not {expected}");
    }
}

#[test]
fn a_folder_becomes_vectors_of_texts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    import(&server, "bert_mean");
    let expected = expected("bert_mean");
    let cases: Vec<&Value> =
        expected["cases"].as_array().unwrap().iter().filter(|case| case["text"] != "").collect();
    let texts: Vec<&Value> = cases.iter().map(|case| &case["text"]).collect();
    let body = json!({ "model": "bert_mean", "input": texts }).to_string();
    let answer = server.post("/v1/embeddings", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text);
    for (index, case) in cases.iter().enumerate() {
        near(&answer.body["data"][index]["embedding"], &case["answer"], &case["text"].to_string());
    }
    let tokens: usize = cases.iter().map(|case| case["ids"].as_array().unwrap().len()).sum();
    assert_eq!(answer.body["usage"]["prompt_tokens"], tokens);
    // The same through the Open Inference Protocol, whose tensors hold texts.
    let metadata = server.get("/v2/models/bert_mean").body;
    let text = json!([{ "name": "text", "datatype": "BYTES", "shape": [-1] }]);
    assert_eq!(metadata["inputs"], text, "{metadata}");
    let input = json!({
        "name": "text", "datatype": "BYTES", "shape": [1], "data": [texts[0]],
    });
    let body = json!({ "inputs": [input] }).to_string();
    let answer = server.post("/v2/models/bert_mean/infer", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text);
    near(&answer.body["outputs"][0]["data"], &cases[0]["answer"], "tensors");
    let tokens = json!({ "model": "bert_mean", "input": [[999_999]] }).to_string();
    assert_eq!(server.post("/v1/embeddings", tokens.as_bytes()).status, 400);
}

#[test]
fn a_folder_becomes_classes_of_texts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    import(&server, "distilbert_classes");
    for case in expected("distilbert_classes")["cases"].as_array().unwrap() {
        if case["text"] == "" {
            continue;
        }
        let body = json!({
            "model_id": "distilbert_classes", "user_id": "ana", "text": case["text"],
        });
        let path = "/api/v1/predict?probabilities=true";
        let answer = server.post(path, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text);
        near(&answer.body["probabilities"], &case["answer"], &case["text"].to_string());
    }
    // Its one input by its name, and as a tensor, is the same text.
    let of_data = |data: Value| {
        let body = json!({ "model_id": "distilbert_classes", "data": data }).to_string();
        server.post("/api/v1/predict?probabilities=true", body.as_bytes())
    };
    let case = &expected("distilbert_classes")["cases"][0];
    let tensor = |texts: &[&Value]| {
        let shape = [texts.len()];
        json!({ "inputs": [{
            "name": "text", "datatype": "BYTES", "shape": shape, "data": texts,
        }] })
    };
    for data in [json!({ "text": case["text"] }), tensor(&[&case["text"]])] {
        let answer = of_data(data);
        assert_eq!(answer.status, 200, "{}", answer.text);
        near(&answer.body["probabilities"], &case["answer"], "data");
    }
    let two = of_data(tensor(&[&case["text"], &case["text"]]));
    assert!(two.status == 422 && two.text.contains("one row"), "{}", two.text);
    for data in [json!([1, 2]), json!({ "a": 1 })] {
        let refused = of_data(data);
        let expected = "model `distilbert_classes` takes texts: give `text`";
        assert!(refused.status == 422 && refused.text.contains(expected), "{}", refused.text);
    }
    let embedded = json!({ "model": "distilbert_classes", "input": "a" }).to_string();
    let refused = server.post("/v1/embeddings", embedded.as_bytes());
    assert!(refused.status == 400 && refused.text.contains("no vectors"), "{}", refused.text);
}

#[test]
fn many_texts_are_answered_in_one_body_and_by_the_command() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    import(&server, "distilbert_classes");
    import(&server, "bert_mean");
    let expected = expected("distilbert_classes");
    let cases: Vec<&Value> =
        expected["cases"].as_array().unwrap().iter().filter(|case| case["text"] != "").collect();
    let mut texts: Vec<&Value> = cases.iter().map(|case| &case["text"]).collect();
    let empty = json!("");
    texts.insert(1, &empty);
    let body = json!({ "model_id": "distilbert_classes", "user_id": "eva", "texts": texts });
    let path = "/api/v1/predict/batch?probabilities=true&durable=true";
    let answer = server.post(path, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text);
    let mut found = answer.body["predictions"].as_array().unwrap().clone();
    let refused = found.remove(1)["error"].to_string();
    assert!(refused.contains("texts[1] must have 1 to"), "{refused}");
    assert_eq!(found.len(), cases.len());
    for (found, case) in found.iter().zip(&cases) {
        near(&found["probabilities"], &case["answer"], &case["text"].to_string());
    }
    // They are kept without what the texts said.
    let kept = server.get("/api/v1/predictions?user_id=eva").body;
    let kept = kept["predictions"].as_array().unwrap();
    assert_eq!(kept.len(), cases.len());
    for found in &found {
        // Texts of other lengths are answered in other batches, so the order is another one.
        let kept = kept.iter().find(|kept| kept["request_id"] == found["request_id"]).unwrap();
        assert_eq!((&kept["prediction"], &kept["data"]), (&found["prediction"], &json!([])));
    }
    // Requests of several models in one list.
    let text = &cases[0]["text"];
    let items = json!([
        { "model_id": "distilbert_classes", "text": text },
        { "model_id": "digits", "text": text },
        { "model_id": "bert_mean", "text": text },
        { "model_id": "distilbert_classes", "text": text, "data": [1] },
        { "model_id": "digits", "data": vec![0; 64] },
    ]);
    let answer = server.post("/api/v1/predict/batch", items.to_string().as_bytes());
    let found = answer.body["predictions"].as_array().unwrap();
    let refusals = [
        "model `digits` takes numbers: give 64 of them as `data`, not a text",
        "POST /v1/embeddings gives them",
        "text and `data` are both given",
    ];
    assert_eq!(found[0]["model_id"], "distilbert_classes", "{}", answer.text);
    for (found, expected) in found[1..].iter().zip(refusals) {
        let detail = found["error"]["detail"].as_str().unwrap();
        assert!(found["error"]["status"] == 422 && detail.contains(expected), "{detail}");
    }
    assert_eq!(found[4]["model_id"], "digits", "{}", answer.text);
    // One text a line.
    let lines = dir.path().join("texts.txt");
    let lines_of = |text: &Value| text.as_str().unwrap().lines().count() == 1;
    let (some, cases): (Vec<&Value>, Vec<&Value>) =
        cases.iter().map(|case| (&case["text"], *case)).filter(|(text, _)| lines_of(text)).unzip();
    let text: String = some.iter().map(|text| format!("{}\n", text.as_str().unwrap())).collect();
    std::fs::write(&lines, text).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["predict", lines.to_str().unwrap(), "--format", "text", "--json"]);
    command.args(["--model", "distilbert_classes", "--server", &server.public]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["predictions"].as_array().map(Vec::len), Some(cases.len()), "{told}");
    assert!(server.terminate().success());
}

#[test]
fn an_optimised_version_serves_within_its_limit_alone() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let file = dir.path().join("models/digits/1/model.safetensors");
    let file = file.to_str().unwrap();
    let rows = dir.path().join("rows.csv");
    let held_out = crate::harness::held_out();
    let row = |index: usize| -> String {
        let features = held_out.row(index).iter().map(ToString::to_string);
        features.chain([held_out.labels[index].to_string()]).collect::<Vec<_>>().join(",")
    };
    let text: Vec<String> = (0..held_out.labels.len()).map(row).collect();
    std::fs::write(&rows, text.join("\n")).unwrap();
    let data = ["--data", rows.to_str().unwrap(), "--id", "digits"];
    let optimise = |options: &[&str]| {
        let output = model(&server, &[&["optimize", file][..], options, &data].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let report = optimise(&["--int8", "dynamic", "--max-accuracy-loss", "0.01"]);
    assert!(report.contains("accuracy before") && report.contains("int8"), "{report}");
    let activate = |version: u32| {
        server.post(&format!("/api/v1/models/digits/versions/{version}/activate"), b"{}")
    };
    let activated = activate(2);
    assert_eq!(activated.status, 200, "{}", activated.text);
    assert_eq!(activated.body["optimisation"]["is_within_limit"], true, "{}", activated.text);
    let right = (0..50).filter(|index| {
        let answer = server.predict(held_out.row(*index), "").body;
        assert_eq!(answer["model_version"], 2);
        answer["prediction"].as_str().unwrap().parse() == Ok(held_out.labels[*index])
    });
    assert!(right.count() >= 45);
    // Nearly all weights away, the net cannot tell digits.
    optimise(&["--prune-l1", "0.99", "--max-accuracy-loss", "0.01"]);
    let refused = activate(3);
    assert!(refused.status == 409 && refused.text.contains("accuracy"), "{}", refused.text);
    assert_eq!(server.get("/api/v1/models/digits/versions/2").body["state"], "active");
}
