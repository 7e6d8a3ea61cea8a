//! The way of an author: a plugin in each language, built by its tools, checked, and in use in a
//! running server. `scripts/plugin-tools.sh` installs the tools; a missing one fails.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

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

/// Has a plugin of each kind in use. What the libraries of one were built to is there for the next
/// one, which takes less long.
fn all_in_use(language: &str, kinds: &[&str]) {
    let work = tempfile::tempdir().unwrap();
    let (target, kept) = (work.path().join("mine/target"), work.path().join("kept"));
    for kind in kinds {
        succeeds(work.path(), &["new", "mine", "--kind", kind, "--lang", language]);
        if kept.exists() {
            std::fs::rename(&kept, &target).unwrap();
        }
        in_use(work.path(), kind);
        std::fs::rename(&target, &kept).unwrap();
        let component = kept.join("mine.wasm");
        std::fs::remove_file(component).unwrap();
        std::fs::remove_dir_all(work.path().join("mine")).unwrap();
    }
}

/// Builds, checks and times the new plugin in `folder`, and has a server ask it.
fn in_use(folder: &Path, kind: &str) {
    let tools = root().join("target/plugin-tools");
    succeeds(folder, &["build", "mine", "--tools", tools.to_str().unwrap()]);
    let checked = succeeds(folder, &["check", "mine"]);
    assert!(checked.contains("within bounds and twice alike"), "{checked}");
    assert!(checked.contains("recorded cases"), "{checked}");
    let timed = succeeds(folder, &["bench", "mine", "--rounds", "1"]);
    assert!(timed.contains("p50 ns"), "{timed}");
    let dir = trained_dir();
    if kind != "batcher" {
        answers(dir.path(), folder, kind);
        return;
    }
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

/// Has a running server ask a plugin its recorded cases; of the kinds that the engine does not ask
/// by itself yet the operator does.
fn answers(data_dir: &Path, folder: &Path, kind: &str) {
    let component = folder.join("mine/target/mine.wasm");
    let config = format!(
        "[[plugins]]\nname = \"mine\"\nkind = \"{kind}\"\npath = {component:?}\n\
         limits = {{ memory_mib = 256, deadline_us = 1000000 }}\n"
    );
    let server = Server::start_configured(data_dir, &config);
    let cases = std::fs::read(folder.join("mine/cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    // Settings are those of the configuration, so that only cases without any are asked here.
    for case in cases.iter().take_while(|case| case.get("settings").is_none()) {
        let answer = server.ask("mine", &case["question"]);
        match case.get("answer") {
            Some(expected) => assert_eq!(alike(&answer.body["answer"]), alike(expected)),
            None => assert_eq!(answer.status, 422, "{}", answer.text),
        }
    }
    let plugin = server.plugin("mine");
    let failures = plugin["failures"].as_object().unwrap().iter();
    // To decline is an answer.
    let failed: Vec<_> = failures.filter(|(kind, n)| *kind != "declined" && **n != 0).collect();
    assert!(failed.is_empty(), "{plugin}");
    assert!(server.terminate().success());
}

/// The same value with every number as a float: JSON has one kind of number.
fn alike(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(values) => values.iter().map(alike).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), alike(value))).collect()
        }
        other => other.clone(),
    }
}

const KINDS: [&str; 7] =
    ["batcher", "selector", "tuner", "kernel", "aggregator", "placer", "router"];

#[test]
fn every_kind_in_rust() {
    all_in_use("rust", &KINDS);
}

#[test]
fn every_kind_in_c() {
    all_in_use("c", &KINDS);
}

#[test]
fn every_kind_in_javascript() {
    all_in_use("js", &KINDS);
}

/// Two of them, and all in the soak: each takes a compiler half a minute.
#[test]
fn kinds_in_python() {
    let all = std::env::var_os("TRUSTSTRAM_SOAK").is_some();
    all_in_use("python", if all { &KINDS } else { &KINDS[..2] });
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
    check(&["new", "mine", "--kind", "tuner", "--lang", "cobol"], 2, "possible values: rust");
    check(&["new", "No Name", "--kind", "batcher", "--lang", "c"], 2, "a-z, 0-9 and `-`");
    for path in ["x/..", "../mine", "/tmp/mine", "", "."] {
        check(&["new", path, "--kind", "batcher", "--lang", "c"], 2, "a-z, 0-9 and `-`");
    }
    assert!(std::fs::read_dir(work.path()).unwrap().next().is_none(), "nothing is written");
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

/// Every line of the first block of commands in `plugins/README.md`, as it stands there.
#[test]
fn the_commands_of_the_guide_work_as_they_are_written() {
    let guide = std::fs::read_to_string(root().join("plugins/README.md")).unwrap();
    let block = guide.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let commands: Vec<&str> = block.lines().collect();
    assert!(commands.len() >= 10, "{block}");
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let work = tempfile::tempdir().unwrap();
    let rows = held_out();
    for command in commands {
        let words = command.split('#').next().unwrap().split_whitespace();
        let words: Vec<&str> = words.collect();
        let Some(("truststram", words)) = words.split_first().map(|(name, rest)| (*name, rest))
        else {
            panic!("{command}");
        };
        let mut process = Command::new(BINARY);
        process.current_dir(work.path()).args(words);
        // The one thing that a test cannot take as it stands: the port.
        if !["new", "build", "check", "bench"].contains(&words[1]) {
            process.args(["--admin", &server.admin]);
        }
        let output = process.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {said}");
        assert_eq!(server.predict(rows.row(0), "").status, 200);
    }
    assert!(server.terminate().success());
}
