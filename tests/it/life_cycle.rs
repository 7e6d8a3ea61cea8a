//! Start, drain, restart, and a second process on the same data.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::harness::{BINARY, Server, held_out, trained_dir};

#[test]
fn sigterm_writes_what_is_queued_and_pages_come_newest_first() {
    let dir = trained_dir();
    let log = dir.path().join("access.log");
    // Records would wait for ten seconds: only the drain can have written them.
    let config = format!("[store]\ngroup_wait_us = 10000000\n[gateway]\naccess_log = {log:?}\n");
    let server = Server::start_configured(dir.path(), &config);
    let rows = held_out();
    let ids: Vec<String> = (0..250)
        .map(|index| {
            let answer = server.predict(rows.row(index), "");
            answer.body["request_id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(server.terminate().success());
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 250);

    let server = Server::start(dir.path());
    let newest_first: Vec<String> = ids.into_iter().rev().collect();
    for filter in ["", "&model_id=digits", "&user_id=tester", "&model_id=digits&user_id=tester"] {
        let stored = server.stored(filter);
        let found: Vec<&str> =
            stored.iter().map(|row| row["request_id"].as_str().unwrap()).collect();
        assert_eq!(found, newest_first, "{filter}");
    }
    assert!(server.stored("&user_id=nobody").is_empty());
    let status = server.admin_get("/admin/v1/status").body;
    for part in ["machine", "network", "inference", "models", "plugins", "store"] {
        assert!(!status[part].is_null(), "{status}");
    }
    // Network threads go before all others of their cores, or the kernel's reason is named.
    let network = &status["network"];
    let threads = network["threads"].as_array().unwrap();
    assert_eq!(threads.len(), network["cores"].as_array().unwrap().len(), "{network}");
    for thread in threads {
        let may_go_first = thread["refused"].is_null();
        assert!(may_go_first || thread["first"] == false, "{thread}");
        assert!(thread["name"].as_str().unwrap().starts_with("net-"), "{thread}");
    }
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(server.get("/livez").status, 200);
    assert_eq!(server.get("/health").status, 200);
    assert!(server.get("/docs").text.contains("<!doctype html>"));
    assert!(server.get("/openapi.json").body["paths"]["/api/v1/predict"]["post"].is_object());
    assert!(server.terminate().success());
}

#[test]
fn a_second_process_on_the_same_data_names_the_first() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let second = Command::new(BINARY)
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(3));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(&format!("pid {}", server.process_id())), "{said}");
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn an_open_request_finishes_in_the_drain_and_a_second_signal_cuts_it() {
    let dir = trained_dir();
    let row: Vec<String> = held_out().row(0).iter().map(ToString::to_string).collect();
    let body = format!("{{\"model_id\":\"digits\",\"data\":[{}]}}", row.join(","));
    let head = format!(
        "POST /api/v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let begin = |server: &Server| {
        let mut stream = TcpStream::connect(server.public.trim_start_matches("http://")).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"));
        stream
    };

    let mut server = Server::start(dir.path());
    let mut stream = begin(&server);
    server.signal("TERM");
    server.wait_for_log("draining");
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(server.wait().success());

    let mut server = Server::start(dir.path());
    let mut stream = begin(&server);
    server.signal("TERM");
    server.wait_for_log("draining");
    server.signal("TERM");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty());
    assert!(server.wait().success());
}
