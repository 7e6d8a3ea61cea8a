//! Jobs made, watched, ended and gone on with by requests, and what is refused.

use serde_json::{Value, json};

use super::rig::{JOBS, create, events, fill, job, post, sha256, spec, start, wait};
use crate::harness::held_out;

#[test]
fn a_job_becomes_a_version_that_answers() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), "");
    fill(&server, 600);
    let mut asked = spec(12);
    asked["activate"] = json!(true);
    let id = create(&server, &asked);
    let told: Vec<(String, Value)> = events(&server, id).collect();
    assert_eq!(told[0].0, "job");
    let last = told.last().unwrap();
    assert_eq!((last.0.as_str(), &last.1["state"]), ("state", &json!("done")), "{}", last.1);
    let epoch = told.iter().rev().find(|(name, _)| name == "epoch").map(|(_, data)| data);
    if let Some(epoch) = epoch {
        for key in ["loss", "held_out_loss", "held_out_accuracy", "samples_per_second", "eta_s"] {
            assert!(epoch[key].as_f64().unwrap() >= 0.0, "{key}: {epoch}");
        }
    }
    let done = job(&server, id);
    assert_eq!(&done, &last.1, "what is told and what is shown is the same");
    assert_eq!((&done["rows"], &done["result"]["steps"]), (&json!(601), &json!(12 * 30)));
    assert!(done["result"]["accuracy"].as_f64().unwrap() > 0.8, "{done}");
    // The version is registered with where it comes from, and answers.
    let version = server.get("/api/v1/models/mine/versions/1").body;
    assert_eq!(
        (&version["state"], &version["sha256"]),
        (&json!("active"), &json!(sha256(&server, 1)))
    );
    assert_eq!(version["metadata"]["training"]["job"], id);
    assert_eq!(version["metadata"]["training"]["dataset"], "digits");
    let held_out = held_out();
    let body = json!({ "model_id": "mine", "data": held_out.row(0) }).to_string();
    assert_eq!(server.post("/api/v1/predict", body.as_bytes()).status, 200);
    // The same once more is the same model; rows that came later are others' business.
    let again = create(&server, &spec(12));
    fill(&server, 10);
    let again = wait(&server, again);
    assert_eq!(again["result"]["version"], 2);
    assert_eq!(sha256(&server, 1), sha256(&server, 2));
    let listed = server.get(JOBS).body;
    assert_eq!(listed["jobs"][0]["id"], 2);
    assert_eq!(server.metric("truststram_training_jobs_running"), 0.0);
}

#[test]
fn jobs_are_ended_and_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), "queue_max = 2\nkept_max = 2\n");
    fill(&server, 600);
    let long = create(&server, &spec(100_000));
    events(&server, long).find(|(name, _)| name == "checkpoint").unwrap();
    let waiting = create(&server, &spec(1));
    let other = create(&server, &spec(1));
    let full = post(&server, "", &spec(1));
    assert_eq!(full.status, 503, "{}", full.text);
    assert!(full.headers.contains_key("retry-after"));
    assert_eq!(job(&server, waiting)["state"], "queued");
    let act = |id: u64, action: &str| post(&server, &format!("/{id}/{action}"), &json!({}));
    assert_eq!(act(waiting, "resume").status, 409);
    assert_eq!(act(waiting, "cancel").body["state"], "cancelled");
    assert_eq!(act(waiting, "cancel").status, 409);
    assert_eq!(act(99, "cancel").status, 404);
    assert_eq!(act(long, "cancel").status, 200);
    let over = wait(&server, long);
    assert_eq!(over["state"], "cancelled", "{over}");
    let step = over["progress"]["step"].as_u64().unwrap();
    assert!(step >= 20);
    assert_eq!(wait(&server, other)["state"], "done");
    assert_eq!(act(other, "resume").status, 409);
    // The oldest that was over is forgotten.
    let numbers: Vec<u64> = server.get(JOBS).body["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [other, waiting]);
    assert!(!dir.path().join(format!("training/{long}")).exists());
    assert_eq!(act(waiting, "resume").body["state"], "queued");
    assert_eq!(wait(&server, waiting)["state"], "done");
}

#[test]
fn a_job_that_was_cancelled_goes_on_from_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), "");
    fill(&server, 600);
    let whole = create(&server, &spec(20));
    let whole = wait(&server, whole);
    let id = create(&server, &spec(20));
    events(&server, id).find(|(name, _)| name == "checkpoint").unwrap();
    assert_eq!(post(&server, &format!("/{id}/cancel"), &json!({})).status, 200);
    let ended = wait(&server, id);
    if ended["state"] == "cancelled" {
        assert_eq!(post(&server, &format!("/{id}/resume"), &json!({})).status, 200);
    }
    let done = wait(&server, id);
    assert_eq!(done["result"]["steps"], whole["result"]["steps"]);
    assert_eq!(sha256(&server, 1), sha256(&server, 2));
}

#[test]
fn what_cannot_be_trained_is_refused_or_fails_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), "");
    fill(&server, 60);
    let refused = |change: &dyn Fn(&mut Value), status: u16, expected: &str| {
        let mut asked = spec(1);
        change(&mut asked);
        let answer = post(&server, "", &asked);
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(answer.text.contains(expected), "{}", answer.text);
    };
    refused(&|spec| spec["dataset"] = json!("none"), 404, "no data set `none`");
    refused(&|spec| spec["train"]["epochs"] = json!(0), 422, "`epochs`");
    refused(&|spec| spec["data"] = json!("/etc/passwd"), 422, "a server reads data sets");
    refused(&|spec| spec["train"]["nonsense"] = json!(1), 422, "nonsense");
    refused(&|spec| spec["cores"] = json!(10_000), 422, "`cores`");
    let fails = |change: &dyn Fn(&mut Value), expected: &str| {
        let mut asked = spec(3);
        change(&mut asked);
        let over = wait(&server, create(&server, &asked));
        assert_eq!(over["state"], "failed", "{over}");
        assert!(over["detail"].as_str().unwrap().contains(expected), "{over}");
    };
    let rate = |rate: f64| json!({ "kind": "sgd", "learning_rate": rate });
    fails(&|spec| spec["train"]["optimiser"] = rate(1e30), "lower the learning rate");
    fails(&|spec| spec["train"]["class_weights"] = json!([1.0]), "class_weights");
    fails(&|spec| spec["train"]["net"]["image"] = json!([9, 9, 1]), "image");
    assert_eq!(server.get("/api/v1/models/mine").status, 404, "nothing is registered");
}

#[test]
fn memory_that_runs_short_makes_batches_smaller_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    // All of the memory that is taken is too much.
    let server = start(dir.path(), "memory_used_max = 0.000001\n");
    fill(&server, 600);
    let id = create(&server, &spec(2_000));
    let (_, told) = events(&server, id).find(|(name, _)| name == "batch_size").unwrap();
    assert_eq!((&told["from"], &told["to"]), (&json!(16), &json!(8)), "{told}");
    events(&server, id).find(|(_, data)| data["batch_size"] == 8).unwrap();
    assert!(dir.path().join(format!("training/{id}/checkpoint")).exists());
    assert_eq!(post(&server, &format!("/{id}/cancel"), &json!({})).status, 200);
    // A job can be off altogether.
    drop(server);
    let server = start(dir.path(), "enabled = false\n");
    assert_eq!(server.get(&format!("{JOBS}/{id}")).status, 503);
    assert_eq!(post(&server, "", &spec(1)).status, 503);
}
