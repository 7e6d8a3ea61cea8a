//! Predictions and training rows to files and back.

use std::fmt::Write;

use serde_json::json;

use super::*;

const FORMATS: [&str; 3] = ["parquet", "csv", "jsonl"];

#[test]
fn predictions_survive_the_way_to_a_file_and_back() {
    let folder = used_dir();
    let work = folder.path();
    let rows = |directory: &str| {
        let question = ["query", "predictions", "--limit", "1000", "--features", "--data-dir"];
        json(work, &[&question[..], &[directory]].concat())["predictions"].clone()
    };
    // The classes of the example are its digits, so that a store without the model says the same.
    let expected = rows("data");
    assert_eq!(expected.as_array().unwrap().len(), PREDICTED);
    for format in FORMATS {
        let file = format!("all.{format}");
        let written = json(work, &["export", &file, "--data-dir", "data"]);
        assert_eq!(written["rows"], PREDICTED, "{written}");
        assert_eq!(written["bytes"], fs::metadata(work.join(&file)).unwrap().len());
        ends(work, &["export", &file, "--data-dir", "data"], 3, "is there already");
        let fresh = format!("from-{format}");
        let read = json(work, &["import", &file, "--data-dir", &fresh]);
        assert_eq!(read["rows"], PREDICTED, "{read}");
        assert!(read["rows_per_s"].as_f64().unwrap() > 0.0);
        assert_eq!(rows(&fresh), expected, "{format}: the same rows in the same order");
        assert_eq!(json(work, &["verify", &fresh])["is_sealed"], true);
    }
    let few = ["--data-dir", "data", "--user", "nobody", "--format", "csv"];
    assert_eq!(json(work, &[&["export", "few"][..], &few].concat())["rows"], 0);
    assert_eq!(fs::read_to_string(work.join("few")).unwrap().lines().count(), 1);
    assert!(files(work, ".unfinished").is_empty());
}

#[test]
fn more_rows_than_a_page_and_a_queue_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path();
    let mut text = "model_id,model_version,timestamp,class,confidence,features\n".to_owned();
    for row in 0..5_000 {
        let time = 1_795_442_400_000_000_i64 + row;
        writeln!(text, "m{},1,{time},{},0.5,\"[{row}]\"", row % 3, row % 2).unwrap();
    }
    fs::write(work.join("rows.csv"), text).unwrap();
    fs::write(work.join("small.toml"), "[store]\nqueue_rows_max = 64\n").unwrap();
    fs::create_dir(work.join("data")).unwrap();
    let small = ["--config", "small.toml", "--data-dir", "data"];
    let read = json(work, &[&["import", "rows.csv"][..], &small].concat());
    assert_eq!(read["rows"], 5_000, "{read}");
    said(work, &["export", "again.jsonl", "--data-dir", "data"]);
    let again = fs::read_to_string(work.join("again.jsonl")).unwrap();
    let features = again.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        row["features"][0].as_f64().unwrap()
    });
    assert!(features.eq((0..5_000).map(f64::from)));
    let only = ["--data-dir", "data", "--model", "m1"];
    assert_eq!(json(work, &[&["export", "m1.parquet"][..], &only].concat())["rows"], 1_667);
}

#[test]
fn a_file_with_a_wrong_row_changes_nothing() {
    let folder = used_dir();
    let work = folder.path();
    let rows = || {
        json(work, &["query", "performance", "digits", "--data-dir", "data"])["total_predictions"]
            .clone()
    };
    let head = "model_id,model_version,timestamp,class,confidence";
    let good = "digits,1,2026-11-23T14:00:00Z,1,0.5";
    let check = |head: &str, rows: &[&str], part: &str| {
        fs::write(work.join("a.csv"), format!("{head}\n{}\n", rows.join("\n"))).unwrap();
        ends(work, &["import", "a.csv", "--data-dir", "data"], 1, part);
    };
    check(head, &[good, "digits,1,yesterday,1,0.5"], "row 2 (line 3), column `timestamp`");
    check(head, &["digits,x,1,1,0.5", good, "digits,1,1,1,y"], "row 3 (line 4)");
    check(head, &["digits,1,1"], "has 3 fields where the header has 5");
    check("model_id,model_version,timestamp,class", &["a,1,1,1"], "column `confidence` is missing");
    let many = ["digits,1,1,1,x"; 25];
    check(head, &many, "and 5 more");
    let more = format!("{head},note");
    check(&more, &[&format!("{good},hello")], "unknown column `note`");
    assert_eq!(rows(), PREDICTED);
    said(work, &["import", "a.csv", "--ignore-unknown-columns", "--data-dir", "data"]);
    assert_eq!(rows(), PREDICTED + 1);
}

#[test]
fn data_sets_of_texts_are_moved_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path();
    let place = ["--data-dir", "data"];
    let run = |arguments: &[&str]| said(work, &[arguments, &place].concat());
    fs::write(work.join("rows.csv"), "label,text\ngood,\"so, \"\"so\"\"\n\"\n,b\n").unwrap();
    run(&["dataset", "import", "mine", "rows.csv"]);
    let listed = json(work, &[&["datasets"][..], &place].concat());
    let mine = &listed["datasets"][0];
    assert_eq!((&mine["is_of_texts"], &mine["feature_count"]), (&json!(true), &json!(0)));
    for format in FORMATS {
        let (file, last) = (format!("mine.{format}"), format!("{format}.jsonl"));
        run(&["dataset", "export", "mine", &file]);
        run(&["dataset", "import", format, &file]);
        run(&["dataset", "export", format, &last]);
        let rows = fs::read_to_string(work.join(&last)).unwrap();
        let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
        let expected = |id: u64, text: &str, label: Value| {
            let metadata = Value::Null;
            json!({ "id": id, "text": text, "label": label, "metadata": metadata })
        };
        let expected = [expected(0, "so, \"so\"\n", json!("good")), expected(1, "b", Value::Null)];
        assert_eq!(rows, expected, "{format}");
    }
    let wrong = |file: &str, rows: &str, expected: &str| {
        fs::write(work.join(file), rows).unwrap();
        ends(work, &[&["dataset", "import", "mine", file][..], &place].concat(), 1, expected);
    };
    wrong("narrow.csv", "features\n\"[1]\"\n", "has features where the data set has texts");
    wrong("both.csv", "text,features\na,\"[1]\"\n", "unknown column `text`");
    wrong("gap.jsonl", "{\"text\":\"a\"}\n{\"label\":\"b\"}\n", "row 2 (line 2), column `text`");
    assert!(run(&["datasets"]).contains("of texts"));
}

#[test]
fn data_sets_are_listed_and_moved() {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path();
    let rows = "features,label,metadata\n\"[1.5,2]\",yes,\"{\"\"a\"\":1}\"\n\"[3,4]\",,\n";
    fs::write(work.join("rows.csv"), rows).unwrap();
    let place = ["--data-dir", "data"];
    let appended = json(work, &[&["dataset", "import", "mine", "rows.csv"][..], &place].concat());
    assert_eq!(appended, json!({ "dataset": "mine", "path": "rows.csv", "rows": 2 }));
    said(work, &[&["dataset", "import", "mine", "rows.csv"][..], &place].concat());
    let listed = json(work, &[&["datasets"][..], &place].concat());
    let mine = &listed["datasets"][0];
    assert_eq!((&mine["name"], &mine["rows"]), (&json!("mine"), &json!(4)), "{listed}");
    assert_eq!((&mine["labels"], &mine["unlabelled"]), (&json!({ "yes": 2 }), &json!(2)));
    assert!(said(work, &[&["datasets"][..], &place].concat()).contains("mine"));
    let mut last = String::new();
    for format in FORMATS {
        let file = format!("mine.{format}");
        said(work, &[&["dataset", "export", "mine", &file][..], &place].concat());
        said(work, &[&["dataset", "import", format, &file][..], &place].concat());
        last = format!("{format}.jsonl");
        said(work, &[&["dataset", "export", format, &last][..], &place].concat());
        let rows = fs::read_to_string(work.join(&last)).unwrap();
        let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[2]["features"], json!([1.5, 2.0]), "{format}");
        assert_eq!(rows[2]["metadata"], json!({ "a": 1 }), "{format}");
        assert_eq!((&rows[3]["id"], &rows[3]["label"]), (&json!(3), &Value::Null), "{format}");
    }
    ends(work, &[&["dataset", "export", "mine", &last][..], &place].concat(), 3, "there already");
    ends(
        work,
        &[&["dataset", "export", "none", "n.csv"][..], &place].concat(),
        1,
        "does not exist",
    );
    fs::write(work.join("wide.csv"), "features\n\"[1]\"\n\"[1,2]\"\n").unwrap();
    let wide = ["dataset", "import", "mine", "wide.csv"];
    ends(work, &[&wide[..], &place].concat(), 1, "2 features where the first has 1");
    fs::write(work.join("narrow.csv"), "features\n\"[1]\"\n").unwrap();
    let narrow = ["dataset", "import", "mine", "narrow.csv"];
    ends(work, &[&narrow[..], &place].concat(), 1, "1 features where the data set has 2");
}
