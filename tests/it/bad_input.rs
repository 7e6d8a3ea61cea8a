//! Bad input gets the right status, a problem document and its place; nothing else suffers.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::{Answer, Server, held_out, trained_dir};

fn is_problem(answer: &Answer, status: u16, name: &str, detail: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["type"], format!("urn:truststram:problem:{name}"), "{}", answer.text);
    assert_eq!(answer.body["status"], status);
    let found = answer.body["detail"].as_str().unwrap();
    assert!(found.contains(detail), "{found:?} lacks {detail:?}");
    assert!(answer.headers.contains_key("x-request-id"));
}

#[test]
fn each_fault_of_a_request_is_named() {
    let dir = trained_dir();
    let server = Server::start_configured(dir.path(), "[gateway]\nbody_bytes_max = 20000\n");
    let data = |length: usize| vec![0; length];
    let check = |body: String, status: u16, name: &str, detail: &str| {
        is_problem(&server.post("/api/v1/predict", body.as_bytes()), status, name, detail);
    };
    let ask = |model: &str, data: Value| json!({ "model_id": model, "data": data }).to_string();
    check(ask("digits", json!(data(63))), 422, "invalid", "takes 64 features, found 63");
    check(ask("digits", json!([1, "x"])), 422, "invalid", "data[1] must be a number, found text");
    let row = vec!["0"; 63].join(",");
    let with = |value: &str| format!("{{\"model_id\":\"digits\",\"data\":[{row},{value}]}}");
    check(with("NaN"), 422, "invalid", "data[63] must be a finite number");
    check(with("-Infinity"), 422, "invalid", "data[63]");
    check(with("1e999"), 422, "invalid", "data[63]");
    check(with("1e39"), 422, "invalid", "data[63] is beyond the range");
    check(ask("none", json!(data(64))), 404, "not-found", "no model `none`");
    let version = json!({ "model_id": "digits", "version": 9, "data": data(64) });
    check(version.to_string(), 404, "not-found", "no version 9");
    check("{\"model_id\": nope}".to_owned(), 400, "malformed", "at byte 14");
    check(" ".repeat(20_001), 413, "too-large", "20000 bytes");
    let malformed = server.post("/api/v1/predict", b"{\"model_id\": nope}");
    assert_eq!(malformed.body["offset"], 14);
    let place = server.post("/api/v1/predict", with("NaN").as_bytes());
    assert_eq!(place.body["errors"][0]["field"], "data");
    assert_eq!(place.body["errors"][0]["index"], 63);

    is_problem(&server.get("/api/v1/models/none"), 404, "not-found", "no model `none`");
    is_problem(&server.get("/nowhere"), 404, "not-found", "nothing is at /nowhere");
    is_problem(&server.get("/api/v1/predict"), 405, "method", "does not take GET");
    is_problem(&server.get("/api/v1/predictions?limit=0"), 422, "invalid", "limit must be");
    is_problem(&server.get("/api/v1/predictions?cursor=x"), 422, "invalid", "cursor");
    is_problem(&server.get("/api/v1/predictions?mdoel=x"), 400, "malformed", "mdoel");
    let url = format!("{}/api/v1/predict", server.public);
    let text = ureq::Agent::config_builder().http_status_as_error(false).build();
    let text = ureq::Agent::from(text).post(url).content_type("text/plain").send("{}").unwrap();
    assert_eq!(text.status().as_u16(), 415);

    // After all of this the server predicts as before.
    assert_eq!(server.predict(held_out().row(0), "").status, 200);
    assert!(server.terminate().success());
}

#[test]
fn a_bad_item_of_a_batch_is_an_error_in_its_place() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let rows = held_out();
    let good = |row: usize| json!({ "model_id": "digits", "data": rows.row(row) }).to_string();
    let body = format!("[{},{{\"model_id\":\"digits\",\"data\":[NaN]}},{}]", good(0), good(1));
    let answer = server.post("/api/v1/predict/batch?probabilities=true", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text);
    let items = answer.body["predictions"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    let sum: f64 =
        items[0]["probabilities"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-4);
    assert_eq!(items[1]["error"]["status"], 422);
    assert_eq!(items[1]["error"]["errors"][0]["index"], 0);
    let single = server.predict(rows.row(1), "");
    assert_eq!(items[2]["prediction"], single.body["prediction"]);
    is_problem(&server.post("/api/v1/predict/batch", b"{}"), 422, "invalid", "must be a list");
    is_problem(&server.post("/api/v1/predict/batch", b"[{]"), 400, "malformed", "at byte");
}

#[test]
fn a_full_queue_is_answered_503_with_retry_after() {
    let dir = trained_dir();
    // The batcher waits for company up to half of the target; the queue holds one request.
    let config = "[api]\ndeadline_ms = 60000\n\
        [inference]\nqueue_requests_max = 1\ncores = \"0\"\nbatch_target_us = 10000000\n\
        [[plugins]]\nname = \"batcher\"\nkind = \"batcher\"\nbuiltin = \"deadline\"\n\
        settings = { wait_us = 1000000, min_batch = 2 }\n";
    let server = Server::start_configured(dir.path(), config);
    let row = held_out().row(0).to_vec();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.predict(&row, "").status);
        while server.metric("truststram_inference_queue{worker=\"0\"}") < 1.0 {}
        let second = server.predict(&row, "");
        is_problem(&second, 503, "overloaded", "the inference queue is full");
        assert_eq!(second.headers["retry-after"], "1");
        assert_eq!(first.join().unwrap(), 200);
    });
}

#[test]
fn broken_http_is_refused_and_harms_nobody() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let address = server.public.trim_start_matches("http://").to_owned();
    let check = |request: &[u8]| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // A reset is as good as a close.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    };
    check(b"");
    check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    check(b"GET\r\n\r\n");
    check(b"POST /api/v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n");
    check(b"POST /api/v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{");
    assert_eq!(server.predict(held_out().row(0), "").status, 200);
}
