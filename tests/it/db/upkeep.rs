//! Backups, compaction and dropped months; and what a server is asked to do of these.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use super::*;

#[test]
fn a_backup_in_either_form_is_the_store_again() {
    let folder = used_dir();
    let work = folder.path();
    let rows = |directory: &str| {
        let question = ["query", "predictions", "--limit", "1000", "--features", "--data-dir"];
        json(work, &[&question[..], &[directory]].concat())
    };
    let expected = rows("data");
    for (target, form) in [("backup", &[][..]), ("backup.tar", &["--tar"])] {
        let made = json(work, &[&["backup", target, "--data-dir", "data"], form].concat());
        assert_eq!(made["rows"], PREDICTED, "{made}");
        assert_eq!(Path::new(made["path"].as_str().unwrap()), work.join(target));
        ends(work, &[&["backup", target, "--data-dir", "data"], form].concat(), 3, "there already");
        let again = format!("from-{target}");
        let restored = json(work, &["restore", target, &again]);
        assert_eq!(restored["rows"], PREDICTED, "{restored}");
        assert_eq!(rows(&again), expected);
        assert!(said(work, &["verify", &again]).contains("25 rows of"));
        ends(work, &["restore", target, &again], 3, "there already");
        ends(work, &["restore", target, "data"], 3, "there already");
    }
    let server = Server::start(&work.join("from-backup.tar"));
    assert_eq!(server.stored("").len(), PREDICTED);
    assert_eq!(server.predict(held_out().row(0), "").status, 200);
    assert!(server.terminate().success());

    ends(work, &["restore", "none", "new"], 1, "none");
    ends(work, &["restore", "data", "new"], 1, "not a backup");
    let month = files(&work.join("backup/predictions"), ".redb").remove(0);
    let mut damaged = fs::read(&month).unwrap();
    damaged[100] ^= 1;
    fs::write(&month, damaged).unwrap();
    ends(work, &["restore", "backup", "new"], 1, "is not what the manifest says");
    assert!(!work.join("new").exists(), "nothing is left of it");
}

#[test]
fn months_are_compacted_and_dropped() {
    let folder = used_dir();
    let work = folder.path();
    said(work, &["checkpoint", "--data-dir", "data"]);
    let months = json(work, &["compact", "--data-dir", "data"])["months"].clone();
    let compacted = &months.as_array().unwrap()[0];
    assert!(compacted["bytes_after"].as_u64() <= compacted["bytes_before"].as_u64(), "{months}");
    assert!(said(work, &["verify", "data"]).contains("25 rows of"));
    let month = compacted["month"].as_str().unwrap();
    ends(work, &["drop", month, "--data-dir", "data"], 3, "say --yes");
    ends(work, &["drop", "197001", "--yes", "--data-dir", "data"], 1, "no month `197001`");
    let stats = json(work, &["stats", "--data-dir", "data"]);
    assert_eq!(stats["month_files"][0]["rows"], PREDICTED);
    let dropped = json(work, &["drop", month, "--yes", "--data-dir", "data"]);
    assert_eq!(dropped["rows"], PREDICTED, "{dropped}");
    let stats = json(work, &["stats", "--data-dir", "data"]);
    assert_eq!((&stats["month_files"], &stats["months"]), (&json!([]), &json!(0)), "{stats}");
    let left = json(work, &["query", "predictions", "--data-dir", "data"]);
    assert_eq!(left["predictions"], json!([]));
    said(work, &["verify", "data"]);
}

/// What a command sent to the address that it was given, and how it ended.
fn asked(command: &[&str], answer: &Value) -> (String, Value, Output) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(BINARY)
        .current_dir(folder.path())
        .arg("db")
        .args(command)
        .args(["--json", "--admin", &url])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let (mut request, mut byte) = (String::new(), [0]);
    while !request.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        request.push(char::from(byte[0]));
    }
    let request = request.to_lowercase();
    let length = request.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |text| text.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    let answer = answer.to_string();
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length";
    write!(stream, "{head}: {}\r\n\r\n{answer}", answer.len()).unwrap();
    drop(stream);
    let first = request.lines().next().unwrap().to_owned();
    let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(path) = body["path"].as_str() {
        let path = Path::new(path);
        assert!(path.is_absolute());
        body["path"] = path.file_name().unwrap().to_str().into();
    }
    (first, body, child.wait_with_output().unwrap())
}

#[test]
fn a_server_is_asked_in_the_words_of_its_interface() {
    let check = |command: &[&str], request: &str, body: Value, answer: Value, code: i32| {
        let (first, sent, output) = asked(command, &answer);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(first, format!("{request} http/1.1"));
        assert_eq!(sent, body, "{command:?}");
        assert_eq!(output.status.code(), Some(code), "{command:?}: {complaint}");
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(printed.is_object(), "{printed}");
    };
    let clean = json!({ "findings": [], "checked": { "rows": 1 }, "is_sealed": false, "files": 0 });
    let finding = |table: &str| {
        let finding = json!({ "path": "a", "table": table, "key": "b", "problem": "c" });
        json!({ "findings": [finding], "checked": { "rows": 1 }, "is_sealed": false })
    };
    let post = |name: &str| format!("post /admin/v1/store/{name}");
    let nothing = json!({});
    check(&["stats"], "get /admin/v1/store", Value::Null, json!({ "months": 0 }), 0);
    check(&["checkpoint"], &post("checkpoint"), nothing.clone(), json!({}), 0);
    check(&["compact"], &post("compact"), nothing.clone(), json!({ "months": [] }), 0);
    check(&["verify"], &post("verify"), nothing.clone(), clean.clone(), 0);
    check(&["verify"], &post("verify"), nothing.clone(), finding("spans"), 1);
    check(&["refresh"], &post("refresh"), nothing.clone(), clean, 0);
    check(&["refresh"], &post("refresh"), nothing.clone(), finding("hours"), 1);
    check(&["refresh"], &post("refresh"), nothing, finding("spans"), 0);
    let drop = ["drop", "202611", "--yes"];
    check(&drop, &post("drop-month"), json!({ "month": "202611" }), json!({ "rows": 1 }), 0);
    let report = json!({ "path": "/x/b.tar", "files": 1, "bytes": 1, "rows": 1 });
    let body = json!({ "path": "b.tar", "tar": true });
    check(&["backup", "b.tar", "--tar"], &post("backup"), body, report, 0);
}
