//! The operator's commands over the store: with a server at work, at rest, and on damaged files.

mod files;
mod upkeep;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{BINARY, Server, copy_tree, held_out, trained_dir};

/// Predictions that [`used_dir`] holds.
const PREDICTED: usize = 25;

/// `truststram db` in `folder` with these arguments.
fn db(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY).current_dir(folder).arg("db").args(arguments).output().unwrap()
}

/// Standard output of a command that must end well.
fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = db(folder, arguments);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same as JSON.
fn json(folder: &Path, arguments: &[&str]) -> Value {
    let text = said(folder, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// Asserts the exit code of a command and a part of what it says on standard error.
fn ends(folder: &Path, arguments: &[&str], code: i32, part: &str) {
    let output = db(folder, arguments);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {complaint}");
    assert!(complaint.contains(part), "{arguments:?}: {complaint}");
}

fn predict(server: &Server) {
    let rows = held_out();
    for row in 0..PREDICTED {
        assert_eq!(server.predict(rows.row(row), "?durable=true").status, 200);
    }
}

/// The configuration by which a command in the folder of `data` finds the server.
fn config_of(server: &Server) -> String {
    format!(
        "[server]\nlisten = {:?}\nadmin_listen = {:?}\ndata_dir = \"data\"\n",
        server.public.trim_start_matches("http://"),
        server.admin.trim_start_matches("http://"),
    )
}

/// A folder whose `data` is a data directory with [`PREDICTED`] predictions, at rest.
fn used_dir() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_tree(trained_dir().path(), &folder.path().join("data"));
    let server = Server::start(&folder.path().join("data"));
    predict(&server);
    assert!(server.terminate().success());
    folder
}

/// The files below `directory` that end in `suffix`.
fn files(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_str().unwrap().ends_with(suffix)).collect()
}

#[test]
fn a_store_at_rest_answers_as_its_server_did() {
    let folder = tempfile::tempdir().unwrap();
    let (work, data) = (folder.path(), folder.path().join("data"));
    copy_tree(trained_dir().path(), &data);
    let server = Server::start(&data);
    predict(&server);
    fs::write(work.join("mine.toml"), config_of(&server)).unwrap();
    let page = ["query", "predictions", "--limit", "10", "--features"];
    let questions: [&[&str]; 3] = [
        &page,
        &["query", "predictions", "--user", "tester", "--since", "1h", "--limit", "1000"],
        &["query", "predictions", "--user", "nobody"],
    ];
    let ask = |place: &[&str]| -> Vec<Value> {
        questions.iter().map(|question| json(work, &[question, place].concat())).collect()
    };
    let named = ask(&["--server", &server.public]);
    assert_eq!(named[1]["predictions"].as_array().unwrap().len(), PREDICTED);
    assert!(named[1]["predictions"][0]["data"].is_null(), "features only where they are asked for");
    assert_eq!(ask(&["--config", "mine.toml"]), named, "the holder of the lock is asked");
    assert!(server.terminate().success());
    let at_rest = ask(&["--config", "mine.toml"]);
    assert_eq!(at_rest, named);
    assert_eq!(ask(&["--data-dir", "data"]), named);

    let mut seen = at_rest[0]["predictions"].as_array().unwrap().clone();
    let mut cursor = at_rest[0]["next_cursor"].clone();
    while let Some(text) = cursor.as_str() {
        let next = [&page, &["--data-dir", "data", "--cursor", text][..]].concat();
        let next = json(work, &next);
        seen.extend(next["predictions"].as_array().unwrap().iter().cloned());
        cursor = next["next_cursor"].clone();
    }
    let ids: std::collections::BTreeSet<&str> =
        seen.iter().map(|row| row["request_id"].as_str().unwrap()).collect();
    assert_eq!((seen.len(), ids.len()), (PREDICTED, PREDICTED));
}

/// The answers to every kind of question, without what changes from one moment to the next.
fn answers(work: &Path) -> Vec<Value> {
    let questions: [&[&str]; 6] = [
        &["query", "predictions", "--model", "digits", "--limit", "5", "--explain"],
        &["query", "models"],
        &["query", "models", "--active", "--type", "dense", "--metadata", "{}", "--explain"],
        &["query", "statistics", "--since", "2026-01-01T00:00:00Z", "--explain"],
        &["query", "performance"],
        &["query", "performance", "digits"],
    ];
    let place = ["--config", "mine.toml"];
    let answer = |question: &[&str]| {
        let mut answer = json(work, &[question, &place].concat());
        for moment in ["as_of", "daily_since", "until", "has_more"] {
            answer.as_object_mut().unwrap().remove(moment);
            for model in answer["models"].as_array_mut().into_iter().flatten() {
                model.as_object_mut().unwrap().remove(moment);
            }
        }
        if let Some(cost) = answer["explain"].as_object_mut() {
            cost.values_mut().filter(|value| value.is_number()).for_each(|value| *value = 0.into());
        }
        answer
    };
    questions.iter().map(|question| answer(question)).collect()
}

#[test]
fn what_has_a_server_is_done_by_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (work, data) = (folder.path(), folder.path().join("data"));
    copy_tree(trained_dir().path(), &data);
    let server = Server::start(&data);
    predict(&server);
    fs::write(work.join("mine.toml"), config_of(&server)).unwrap();
    let asked = answers(work);
    let command =
        |arguments: &[&str]| json(work, &[arguments, &["--config", "mine.toml"]].concat());
    let stats = command(&["stats"]);
    assert_eq!(stats["rows_committed"], PREDICTED, "{stats}");
    assert_eq!(stats["rows_in_log"], PREDICTED, "{stats}");
    command(&["checkpoint"]);
    assert_eq!(command(&["stats"])["rows_in_log"], 0);
    for check in ["verify", "refresh"] {
        let report = command(&[check]);
        assert_eq!(report["findings"], Value::Array(Vec::new()), "{report}");
    }
    let compacted = command(&["compact"]);
    let month = compacted["months"][0]["month"].as_str().unwrap();
    let backup = command(&["backup", "copy.tar", "--tar"]);
    assert_eq!(backup["rows"], PREDICTED, "{backup}");
    assert!(work.join("copy.tar").is_file(), "relative to where the command runs");
    assert!(server.terminate().success());
    for (at_rest, asked) in answers(work).iter().zip(&asked) {
        assert_eq!(at_rest, asked);
    }

    let server = Server::start(&data);
    fs::write(work.join("mine.toml"), config_of(&server)).unwrap();
    let dropped = json(work, &["drop", month, "--yes", "--config", "mine.toml"]);
    assert_eq!(dropped["rows"], PREDICTED, "{dropped}");
    ends(work, &["drop", month, "--yes", "--config", "mine.toml"], 1, "no month");
    assert!(server.terminate().success());
    let left = json(work, &["query", "predictions", "--config", "mine.toml"]);
    assert_eq!(left["predictions"], Value::Array(Vec::new()));
    said(work, &["restore", "copy.tar", "again"]);
    said(work, &["verify", "again"]);
}

#[test]
fn figures_models_and_the_way_to_them() {
    let folder = used_dir();
    let ask =
        |question: &[&str]| json(folder.path(), &[question, &["--data-dir", "data"]].concat());
    let count = u64::try_from(PREDICTED).unwrap();

    let models = ask(&["query", "models", "--active", "--type", "dense", "--explain"]);
    assert_eq!(models["models"][0]["id"], "digits", "{models}");
    assert_eq!(models["models"][0]["versions"][0]["active"], true);
    assert!(models["explain"]["index"].is_string());
    for nothing in [&["--owner", "nobody"][..], &["--type", "cnn"], &["--metadata", "{\"a\":1}"]] {
        let models = ask(&[&["query", "models"], nothing].concat());
        assert_eq!(models["models"], Value::Array(Vec::new()), "{nothing:?}");
    }

    let figures = ask(&["query", "statistics", "--since", "7d", "--explain"]);
    assert_eq!(figures["models"][0]["prediction_count"], count, "{figures}");
    assert!(figures["explain"]["plan"].as_str().unwrap().contains("no rows are read"));
    let figures = ask(&["query", "performance", "digits"]);
    assert_eq!(figures["total_predictions"], count, "{figures}");
    assert_eq!(figures["daily_predictions"], count);
    assert_eq!(ask(&["query", "performance"])["models"][0]["total_predictions"], count);

    let explained = ask(&["query", "predictions", "--model", "digits", "--explain"]);
    assert_eq!(explained["explain"]["rows"], count, "{explained}");
    let owned = ask(&["query", "predictions", "--owner", "nobody"]);
    assert_eq!(owned["predictions"], Value::Array(Vec::new()));

    let table = said(folder.path(), &["query", "predictions", "--data-dir", "data", "--explain"]);
    assert_eq!(table.lines().next().unwrap().split_whitespace().next(), Some("time"));
    assert!(table.contains("tester") && table.contains("rows_examined"), "{table}");
    let stats = ask(&["stats"]);
    assert_eq!(stats["rows_in_log"], count, "{stats}");
    assert_eq!(ask(&["checkpoint"])["rows_in_log"], 0);
    let stats = ask(&["stats"]);
    let month = &stats["month_files"][0];
    assert_eq!((&month["rows"], &stats["rows_in_log"]), (&count.into(), &0.into()), "{stats}");
    let shown = said(folder.path(), &["stats", "--data-dir", "data"]);
    assert!(shown.starts_with("month") && shown.contains("rows_in_log"), "{shown}");
    assert!(shown.contains(month["month"].as_str().unwrap()), "{shown}");
}

#[test]
fn one_wrong_bit_is_found_and_named() {
    let folder = used_dir();
    let work = folder.path();
    said(work, &["checkpoint", "--data-dir", "data"]);
    let report = json(work, &["verify", "data"]);
    assert_eq!(report["is_sealed"], true, "{report}");
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    assert_eq!(report["checked"]["rows"], PREDICTED);
    assert!(said(work, &["verify", "--data-dir", "data"]).contains("every byte of"));
    let figures = json(work, &["refresh", "--data-dir", "data"]);
    assert_eq!(figures["rows"], PREDICTED, "{figures}");

    let month = files(&work.join("data/predictions"), ".redb").remove(0);
    let whole = fs::read(&month).unwrap();
    let name = month.file_name().unwrap().to_str().unwrap();
    for place in [whole.len() / 3, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&month, damaged).unwrap();
        let output = db(work, &["verify", "data"]);
        assert_eq!(output.status.code(), Some(1), "bit of byte {place}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(name), "bit of byte {place}");
        let report = db(work, &["verify", "data", "--json"]);
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        assert!(report["findings"][0]["path"].as_str().unwrap().contains(name), "{report}");
        assert_eq!(report["findings"][0]["table"], "");
    }
    fs::write(&month, whole).unwrap();
    said(work, &["verify", "data"]);
}

#[test]
fn wrong_words_are_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path();
    let page = ["query", "predictions", "--data-dir", "none"];
    let with = |more: &[&'static str]| [&page[..], more].concat();
    for (arguments, part) in [
        (vec!["stats", "--data-dir", "none"], "there is no store in none"),
        (vec!["export", "a.csv", "--data-dir", "."], "there is no store in ."),
        (vec!["verify", "none"], "there is no store in none"),
        (vec!["stats", "--data-dir", "a", "--admin", "b"], "cannot be used with"),
        (vec!["verify", "a", "--data-dir", "b"], "cannot be used with"),
        (with(&["--since", "yesterday"]), "--since: `yesterday` is no time"),
        (with(&["--limit", "0"]), "1..=1000"),
        (with(&["--model", "No!"]), "the model id `No!`"),
        (with(&["--cursor", "17"]), "is not a cursor"),
        (with(&["--owner", "a", "--cursor", "p1-1"]), "cannot be used with"),
        (vec!["query", "models", "--metadata", "{", "--data-dir", "none"], "--metadata"),
        (vec!["drop", "2026-11", "--yes"], "write YYYYMM"),
        (vec!["drop", "202613", "--yes"], "write YYYYMM"),
        (vec!["export", "a.xml", "--data-dir", "none"], "--format"),
        (vec!["import", "a.csv", "--data-dir", "none"], "cannot open a.csv"),
        (vec!["dataset", "import", "a/b", "a.csv", "--data-dir", "none"], "data set, `a/b`"),
        (vec!["stats", "--config", "none.toml"], "none.toml"),
        (vec!["nonsense"], "unrecognized subcommand"),
    ] {
        ends(work, &arguments, 2, part);
    }
    ends(work, &["drop", "202611", "--data-dir", "none"], 3, "say --yes");
    assert!(fs::read_dir(work).unwrap().next().is_none(), "nothing is written");
}

#[test]
fn a_directory_in_use_is_left_to_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let (work, data) = (folder.path(), folder.path().join("data"));
    copy_tree(trained_dir().path(), &data);
    let server = Server::start(&data);
    let holder = format!("in use by pid {}", server.process_id());
    for arguments in [&["export", "a.csv"][..], &["datasets"], &["dataset", "export", "a", "a.csv"]]
    {
        ends(work, &[arguments, &["--data-dir", "data"]].concat(), 3, &holder);
    }
    // Nobody listens on the first port; a server that has other data listens on the second.
    let other_data = trained_dir();
    let other = Server::start(other_data.path());
    let config = |admin: &str| {
        let text = format!("[server]\nadmin_listen = {admin:?}\ndata_dir = \"data\"\n");
        fs::write(work.join("mine.toml"), text).unwrap();
    };
    let commands: [&[&str]; 4] =
        [&["stats"], &["verify"], &["drop", "202611", "--yes"], &["query", "models"]];
    for command in commands {
        let arguments = [command, &["--config", "mine.toml"]].concat();
        config("127.0.0.1:1");
        ends(work, &arguments, 1, &format!("{holder}, and it cannot be asked"));
        config(other.admin.trim_start_matches("http://"));
        ends(work, &arguments, 3, &format!("is pid {}", other.process_id()));
    }
    let gone = ["--admin", "http://127.0.0.1:1"];
    ends(work, &[&["stats"][..], &gone].concat(), 1, "no answer from http://127.0.0.1:1");
    assert!(server.terminate().success());
    assert!(other.terminate().success());
}
