//! Encoders that are registered and trained further on texts of the store: whole, and the head
//! alone; what is refused, and what a kill leaves of them.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::rig::{create, events, fill, job, post, sha256, start, wait};
use crate::encoders::{golden, import};
use crate::harness::{BINARY, Server, trained_dir};

const ROWS: usize = 240;

/// A text whose class is said by one of its words.
fn example(row: usize) -> (String, &'static str) {
    let fill = ["the", "text", "is", "a", "model", "of", "many", "words"];
    let (label, told) = [("good", ["small", "able"]), ("bad", ["was", "un"])][row % 2];
    let mut words: Vec<&str> =
        (0..3 + row % 5).map(|at| fill[(row * 7 + at * at + at) % fill.len()]).collect();
    words.insert(row % 3, told[row / 2 % 2]);
    (words.join(" "), label)
}

/// Appends the texts to the data set `reviews`.
fn fill_texts(server: &Server) {
    let row = |row: usize| {
        let (text, label) = example(row);
        json!({ "text": text, "label": label })
    };
    let mut rows: Vec<Value> = (0..ROWS).map(row).collect();
    // Rows that say nothing are passed over.
    rows.insert(100, json!({ "text": "nobody knows" }));
    let answer = server.post("/api/v1/datasets/reviews/rows", json!(rows).to_string().as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text);
}

/// A description: 12 steps an epoch.
fn spec(model: &str, tuned: &str, epochs: usize) -> Value {
    let rate = if tuned == "all" { 5e-3 } else { 2e-2 };
    json!({
        "dataset": "reviews", "model": "mine",
        "base": { "model": model, "tuned": tuned, "length_max": 14, "attention_dropout": 0.1 },
        "checkpoint": { "every_steps": 5 },
        "train": {
            "epochs": epochs, "batch_size": 16, "seed": 3,
            "optimiser": { "kind": "adamw", "learning_rate": rate },
        },
    })
}

fn predict(server: &Server, text: &str) -> Value {
    let body = json!({ "model_id": "mine", "text": text }).to_string();
    let answer = server.post("/api/v1/predict?probabilities=true", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

#[test]
fn a_registered_encoder_is_trained_further_and_answers_texts() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), "");
    import(&server, "distilbert_classes");
    fill_texts(&server);
    let mut asked = spec("distilbert_classes", "all", 8);
    asked["activate"] = json!(true);
    let id = create(&server, &asked);
    let told: Vec<(String, Value)> = events(&server, id).collect();
    let last = told.last().unwrap();
    assert_eq!((last.0.as_str(), &last.1["state"]), ("state", &json!("done")), "{}", last.1);
    let done = job(&server, id);
    assert_eq!((&done["rows"], &done["result"]["steps"]), (&json!(ROWS + 1), &json!(8 * 12)));
    assert!(done["result"]["accuracy"].as_f64().unwrap() > 0.9, "{done}");
    assert_eq!(done["spec"]["base"]["version"], 1, "what was active is what it began with");
    let version = server.get("/api/v1/models/mine/versions/1").body;
    assert_eq!(
        (&version["state"], &version["architecture"]),
        (&json!("active"), &json!("encoder")),
        "{version}"
    );
    let base = &version["metadata"]["training"]["base"];
    assert_eq!((&base["model"], &base["version"]), (&json!("distilbert_classes"), &json!(1)));
    let right = (0..20).map(example).filter(|(text, label)| {
        let answer = predict(&server, text);
        assert_eq!(answer["probabilities"].as_array().unwrap().len(), 2);
        answer["prediction"] == *label
    });
    assert!(right.count() >= 18);
    let page = server.get(&format!("/api/v1/training/jobs/{id}/report")).text;
    assert!(page.contains("distilbert_classes, version 1, all of it trained"), "{page}");
    // The same once more is the same model, and what came of it is a base as well.
    let again = wait(&server, create(&server, &spec("distilbert_classes", "all", 8)));
    assert_eq!(again["result"]["version"], 2, "{again}");
    assert_eq!(sha256(&server, 1), sha256(&server, 2));
    let further = wait(&server, create(&server, &spec("mine", "head", 1)));
    assert_eq!(further["result"]["version"], 3, "{further}");
}

#[test]
fn the_head_alone_and_an_encoder_from_nothing_are_trained() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), "");
    import(&server, "bert_mean");
    fill_texts(&server);
    let mut asked = spec("bert_mean", "head", 40);
    asked["activate"] = json!(true);
    let done = wait(&server, create(&server, &asked));
    assert_eq!((&done["state"], &done["result"]["steps"]), (&json!("done"), &json!(480)), "{done}");
    assert_eq!(done["progress"]["texts"], Value::Null, "it is over with them: {done}");
    // The encoder is random: what it gives says little of the class.
    assert!(done["result"]["accuracy"].as_f64().unwrap() > 0.55, "{done}");
    assert_eq!(predict(&server, "the text is small")["model_version"], 1);
    let again = wait(&server, create(&server, &asked));
    assert_eq!(again["result"]["version"], 2);
    assert_eq!(sha256(&server, 1), sha256(&server, 2));
    let mut nothing = spec("", "all", 12);
    nothing.as_object_mut().unwrap().remove("base");
    nothing["activate"] = json!(true);
    nothing["train"]["net"]["layer"] = json!([{
        "kind": "encoder", "vocabulary": 40, "length_max": 12, "hidden": 16, "layers": 1,
        "heads": 2, "feed_forward": 32, "pooling": "mean",
    }]);
    let done = wait(&server, create(&server, &nothing));
    assert_eq!(done["result"]["version"], 3, "{done}");
    assert!(done["result"]["accuracy"].as_f64().unwrap() > 0.9, "{done}");
    assert_eq!(predict(&server, "a model that was un")["prediction"], "bad");
}

#[test]
fn a_tuning_that_is_killed_ends_with_the_same_bits() {
    for tuned in ["all", "head"] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = start(dir.path(), "");
        import(&server, "distilbert_classes");
        fill_texts(&server);
        let asked = spec("distilbert_classes", tuned, 20);
        let whole = wait(&server, create(&server, &asked));
        assert_eq!(whole["state"], "done", "{whole}");
        let id = create(&server, &asked);
        // Another version is active from here on, and rows have come; the job is not about them.
        import(&server, "distilbert_classes");
        fill_texts(&server);
        for kill in 0..3 {
            let written = |(name, _): &(String, _)| name == "checkpoint";
            if kill > 0 {
                assert!(events(&server, id).filter(written).nth(kill - 1).is_some());
            }
            server.kill();
            server = start(dir.path(), "");
        }
        let killed = wait(&server, id);
        assert_eq!(killed["state"], "done", "{killed}");
        assert!(killed["starts"].as_u64().unwrap() > 1, "{killed}");
        assert_eq!(killed["spec"]["base"]["version"], 1);
        assert_eq!(
            (&whole["result"]["version"], &killed["result"]["version"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(killed["result"]["steps"], whole["result"]["steps"]);
        assert_eq!(sha256(&server, 1), sha256(&server, 2), "{tuned}");
        assert!(!dir.path().join(format!("training/{id}/checkpoint")).exists());
        assert!(server.terminate().success());
    }
}

#[test]
fn what_cannot_begin_is_refused_with_the_reason() {
    let dir = trained_dir();
    let server = start(dir.path(), "");
    import(&server, "distilbert_classes");
    fill_texts(&server);
    fill(&server, 60);
    let refused = |change: &dyn Fn(&mut Value), status: u16, expected: &str| {
        let mut asked = spec("distilbert_classes", "head", 1);
        change(&mut asked);
        let answer = post(&server, "", &asked);
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(answer.body["detail"].as_str().unwrap().contains(expected), "{}", answer.text);
    };
    let base =
        |key: &'static str, value: Value| move |spec: &mut Value| spec["base"][key] = value.clone();
    refused(&base("model", json!("none")), 404, "no model `none` is registered");
    refused(&base("model", json!("../etc")), 422, "base.model");
    refused(
        &base("model", json!("digits")),
        422,
        "is of the kind `dense`; name a model that reads",
    );
    refused(&base("version", json!(9)), 404, "`distilbert_classes` has no version 9");
    refused(&base("length_max", json!(9_999)), 422, "`base.length_max` tokens");
    refused(&base("attention_dropout", json!(2.0)), 422, "attention_dropout");
    refused(&base("tuned", json!("some")), 422, "unknown variant `some`");
    refused(&|spec| spec["dataset"] = json!("digits"), 422, "`digits` has features, and encoders");
    refused(&|spec| spec["base"] = Value::Null, 422, "`reviews` has texts, which encoders read");
    let encoder = json!([{
        "kind": "encoder", "vocabulary": 40, "length_max": 12, "hidden": 16, "layers": 1,
        "heads": 2, "feed_forward": 32,
    }]);
    refused(&|spec| spec["train"]["net"]["layer"] = encoder.clone(), 422, "the base has one");
    assert_eq!(server.get("/api/v1/training/jobs").body["jobs"], json!([]), "none is made");
    // A version that has gone when the job is begun again is missed.
    let id = create(&server, &spec("distilbert_classes", "all", 10_000));
    events(&server, id).find(|(name, _)| name == "checkpoint").unwrap();
    assert_eq!(post(&server, &format!("/{id}/cancel"), &json!({})).status, 200);
    assert_eq!(wait(&server, id)["state"], "cancelled");
    import(&server, "distilbert_classes");
    assert_eq!(server.delete("/api/v1/models/distilbert_classes/versions/1").status, 200);
    assert_eq!(post(&server, &format!("/{id}/resume"), &json!({})).status, 200);
    let failed = wait(&server, id);
    assert_eq!(failed["state"], "failed", "{failed}");
    assert!(failed["detail"].as_str().unwrap().contains("has no version 1"), "{failed}");
}

#[test]
fn the_command_trains_on_texts_of_a_store_as_on_those_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path();
    let mut rows = String::from("text,label\n");
    for (text, label) in (0..ROWS).map(example) {
        writeln!(rows, "{text},{label}").unwrap();
    }
    fs::write(work.join("reviews.csv"), rows).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        let output = command.current_dir(work).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let place = ["--data-dir", "data"];
    let import = ["db", "dataset", "import", "reviews", "reviews.csv"];
    assert_eq!(run(&[&import[..], &place].concat()).0, Some(0));
    let model = golden("distilbert_classes");
    let train = |rows: &str, base: &str, output: &str| {
        let spec = format!(
            "{rows}\noutput = \"{output}\"\n[base]\nmodel = {model:?}\n{base}\n\
             [train]\nepochs = 2\n"
        );
        fs::write(work.join("spec.toml"), spec).unwrap();
        run(&[&["train", "spec.toml"][..], &place].concat())
    };
    let done = train("dataset = \"reviews\"", "length_max = 14", "a.safetensors");
    assert_eq!(done.0, Some(0), "{}", done.1);
    let done = train("data = \"reviews.csv\"", "length_max = 14", "b.safetensors");
    assert_eq!(done.0, Some(0), "{}", done.1);
    let bytes = |name: &str| fs::read(work.join(name)).unwrap();
    assert!(bytes("a.safetensors") == bytes("b.safetensors"));
    assert!(!work.join("a.rows").exists());
    let (code, told) = train("data = \"reviews.csv\"", "version = 1", "c.safetensors");
    assert!(code == Some(2) && told.contains("`base.version` is for a server"), "{told}");
}
