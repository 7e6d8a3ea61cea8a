//! The way of an author: a plugin in each language, built by its tools, checked, and in use in a
//! running server. `scripts/plugin-tools.sh` installs the tools; a missing one fails.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{BINARY, Server, held_out, trained_dir};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY).current_dir(folder).arg("plugin").args(arguments).output().unwrap()
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Makes a plugin by `plugin new`, builds, checks and times it, and has a server ask it.
fn in_use(language: &str, kind: &str) {
    let work = tempfile::tempdir().unwrap();
    let tools = root().join("target/plugin-tools");
    let folder = work.path();
    succeeds(folder, &["new", "mine", "--kind", kind, "--lang", language]);
    succeeds(folder, &["build", "mine", "--tools", tools.to_str().unwrap()]);
    let checked = succeeds(folder, &["check", "mine"]);
    assert!(checked.contains("within bounds and twice alike"), "{checked}");
    let timed = succeeds(folder, &["bench", "mine", "--rounds", "1"]);
    assert!(timed.contains("p50 ns"), "{timed}");
    if kind != "batcher" {
        return;
    }
    assert!(checked.contains("recorded cases"), "{checked}");
    let dir = trained_dir();
    let config = "[[plugins]]\nname = \"batcher\"\nkind = \"batcher\"\nbuiltin = \"greedy\"\n\
                  limits = { memory_mib = 256, deadline_us = 1000000 }\n";
    let server = Server::start_configured(dir.path(), config);
    let file = "mine/target/mine.wasm";
    succeeds(folder, &["install", "batcher", file, "--admin", &server.admin]);
    let before = server.plugin("batcher")["calls"].as_u64().unwrap();
    let rows = held_out();
    let mut calls = before;
    while calls < before + 20 {
        assert_eq!(server.predict(rows.row(calls as usize % 40), "").status, 200);
        calls = server.plugin("batcher")["calls"].as_u64().unwrap();
    }
    let plugin = server.plugin("batcher");
    assert!(plugin["summary"].as_str().unwrap().len() > 10, "{plugin}");
    assert!(plugin["failures"].as_object().unwrap().values().all(|count| count == 0), "{plugin}");
    let listed = succeeds(folder, &["list", "--admin", &server.admin]);
    assert!(listed.contains("in use"), "{listed}");
    assert!(server.terminate().success());
}

#[test]
fn a_plugin_in_rust() {
    in_use("rust", "batcher");
}

#[test]
fn every_kind_in_rust() {
    for kind in ["kernel", "aggregator", "placer", "router", "selector", "tuner"] {
        in_use("rust", kind);
    }
}

#[test]
fn a_plugin_in_c() {
    in_use("c", "batcher");
}

#[test]
fn a_plugin_in_python() {
    in_use("python", "batcher");
}

#[test]
fn a_plugin_in_javascript() {
    in_use("js", "batcher");
}

#[test]
fn what_is_no_plugin_is_refused_with_what_to_do() {
    let work = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str], code: i32, part: &str| {
        let output = run(work.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(part), "{said}");
    };
    check(&["new", "mine", "--kind", "tuner", "--lang", "c"], 2, "batcher in Python");
    check(&["new", "No Name", "--kind", "batcher", "--lang", "c"], 2, "a-z, 0-9 and `-`");
    check(&["new", "mine", "--kind", "batcher", "--lang", "c"], 0, "");
    check(&["new", "mine", "--kind", "batcher", "--lang", "c"], 2, "is there already");
    check(&["check", "mine"], 1, "`truststram plugin build mine` makes it");
    check(&["check", "none.wasm"], 2, "--kind");
    check(&["build", "none"], 1, "cannot find none");
    std::fs::write(work.path().join("mine/plugin.c"), "nonsense").unwrap();
    check(&["build", "mine"], 1, "clang failed");
    check(&["key", "mine.key"], 0, "");
    check(&["key", "mine.key"], 1, "cannot write mine.key");
    std::fs::write(work.path().join("mine.wasm"), "anything").unwrap();
    check(&["sign", "mine.wasm", "--key", "mine.key"], 0, "");
    check(&["sign", "mine.wasm", "--key", "mine.wasm"], 1, "no key that");
}
