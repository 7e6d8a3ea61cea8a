//! The commands that talk to a running server.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{BINARY, Server, held_out, trained_dir};

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(BINARY)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn models_and_predictions_from_the_command_line() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let url = server.public.clone();
    let url = url.as_str();
    let list = out(&run(&["model", "list", "--server", url], ""));
    assert!(list.contains("digits  1"), "{list}");
    let show = out(&run(&["model", "show", "digits", "--server", url], ""));
    assert!(show.contains("held_out_accuracy=0.9"), "{show}");

    let rows = held_out();
    let text = |row: usize| rows.row(row).iter().map(ToString::to_string).collect::<Vec<_>>();
    let csv = format!("{}\n{}\n", text(0).join(","), text(1).join(","));
    let table = out(&run(&["predict", "--server", url], &csv));
    assert_eq!(table.lines().count(), 3, "{table}");
    let json = format!("[[{}],[{}]]", text(0).join(","), text(1).join(","));
    let json = out(&run(&["predict", "--json", "--durable", "--server", url], &json));
    let json: Value = serde_json::from_str(&json).unwrap();
    for (index, line) in table.lines().skip(1).enumerate() {
        let label = json["predictions"][index]["prediction"].as_str().unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(label));
    }

    let check = |arguments: &[&str], input: &str, code: i32, part: &str| {
        let mut all = arguments.to_vec();
        all.extend(["--server", url]);
        let output = run(&all, input);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(part), "{arguments:?}: {said}");
    };
    check(&["predict"], "1,2,x", 2, "column 3");
    check(&["predict"], "1,2,3", 1, "1 of 1 rows have no answer");
    check(&["predict", "/no/such/file"], "", 2, "cannot open /no/such/file");
    check(&["model", "show", "none"], "", 1, "no model `none`");
    assert!(server.terminate().success());
    let gone = run(&["model", "list", "--server", url], "");
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("is `truststram serve` running"));
}

#[test]
fn help_and_completions() {
    assert!(out(&run(&["--help"], "")).contains("Exit codes"));
    assert!(out(&run(&["serve", "--help"], "")).contains("--example"));
    assert!(out(&run(&["completions", "bash"], "")).contains("truststram"));
    assert_eq!(run(&["serve", "--nonsense"], "").status.code(), Some(2));
}
