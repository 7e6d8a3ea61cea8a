//! The main promise: digits are told apart over HTTP, and what was acknowledged as durable is
//! there after SIGKILL.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use truststram_base::SystemClock;
use truststram_store::{HostDisk, verify_directory};

use crate::harness::{Server, held_out, trained_dir, try_post};

#[test]
fn held_out_digits_are_recognised_and_acknowledged_records_survive_sigkill() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let rows = held_out();
    let mut ledger: HashMap<String, Value> = HashMap::new();
    let mut right = 0;
    for index in 0..rows.rows() {
        let answer = server.predict(rows.row(index), "?durable=true");
        assert_eq!(answer.status, 200, "{}", answer.text);
        let expected = &rows.classes[rows.labels[index] as usize];
        right += usize::from(answer.body["prediction"] == expected.as_str());
        let id = answer.body["request_id"].as_str().unwrap().to_owned();
        assert_eq!(answer.headers["x-request-id"], id.as_str());
        ledger.insert(id, answer.body);
    }
    let accuracy = right as f64 / rows.rows() as f64;
    assert!(accuracy >= 0.95, "accuracy {accuracy}");
    let acknowledged = kill_under_load(server, &rows);
    ledger.extend(acknowledged);

    let server = Server::start(dir.path());
    let stored: HashMap<String, Value> = server
        .stored("&model_id=digits")
        .into_iter()
        .map(|row| (row["request_id"].as_str().unwrap().to_owned(), row))
        .collect();
    for (id, answer) in &ledger {
        let row = stored.get(id).unwrap_or_else(|| panic!("{id} was acknowledged and is gone"));
        for key in ["prediction", "confidence", "timestamp", "model_version"] {
            assert_eq!(row[key], answer[key], "{id}");
        }
        assert_eq!(row["data"].as_array().unwrap().len(), rows.feature_count);
    }
    assert!(server.terminate().success());
}

/// Killed again and again at different moments, in the same directory: whatever was acknowledged in
/// any round is there at the end, and every index and figure agrees with the rows.
#[test]
fn rounds_of_sigkill_lose_nothing_acknowledged() {
    let rounds = if std::env::var_os("TRUSTSTRAM_SOAK").is_some() { 200 } else { 6 };
    let dir = trained_dir();
    // Small turns of the log, so that kills also fall into the moving of records.
    let config = dir.path().join("kill.toml");
    std::fs::write(&config, "[store]\nlog_rows_max = 1000\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let rows = held_out();
    let mut ledger: HashMap<String, Value> = HashMap::new();
    for round in 0..rounds {
        let server = Server::start_with(dir.path(), &arguments);
        // How many answers come before the kill differs from round to round, by a fixed rule.
        let answers = 20 + (round * 137) % 700;
        ledger.extend(kill_after(server, &rows, answers));
    }
    let server = Server::start_with(dir.path(), &arguments);
    let stored: HashSet<String> = server
        .stored("&model_id=digits")
        .into_iter()
        .map(|row| row["request_id"].as_str().unwrap().to_owned())
        .collect();
    let lost = ledger.keys().filter(|id| !stored.contains(*id)).count();
    assert_eq!(lost, 0, "of {} acknowledged in {rounds} rounds", ledger.len());
    assert!(server.terminate().success());
    let clock = Arc::new(SystemClock::new());
    let report =
        verify_directory(Arc::new(HostDisk), dir.path(), &[], clock, &mut |_| true).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.is_sealed);
}

fn kill_under_load(server: Server, rows: &truststram_train::Dataset) -> HashMap<String, Value> {
    kill_after(server, rows, 200)
}

/// Four clients predict durably until the server is killed in the middle, after so many answers;
/// returns what they were told is kept.
fn kill_after(
    server: Server,
    rows: &truststram_train::Dataset,
    answers: usize,
) -> HashMap<String, Value> {
    let ledger = Mutex::new(HashMap::new());
    let (acknowledged, count) = sync_channel(64);
    let url = format!("{}/api/v1/predict?durable=true", server.public);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (ledger, acknowledged, url) = (&ledger, acknowledged.clone(), &url);
            scope.spawn(move || {
                for index in (0..rows.rows()).cycle().skip(client * 17) {
                    let body = json!({ "model_id": "digits", "data": rows.row(index) });
                    let Ok(answer) = try_post(url, body.to_string().as_bytes()) else { return };
                    if answer.status != 200 {
                        return;
                    }
                    let id = answer.body["request_id"].as_str().unwrap().to_owned();
                    ledger.lock().unwrap().insert(id, answer.body);
                    if acknowledged.send(()).is_err() {
                        return;
                    }
                }
            });
        }
        drop(acknowledged);
        for () in count.iter().take(answers) {}
        server.kill();
        // The clients' next requests fail, and their sends after this receiver is gone.
        drop(count);
    });
    ledger.into_inner().unwrap()
}
