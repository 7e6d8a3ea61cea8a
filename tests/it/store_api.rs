//! What the store can be asked over HTTP: figures, owners, models by filter, data sets, checks.

use serde_json::{Value, json};

use crate::harness::{Answer, Server, held_out, trained_dir};

/// The problem names `field` and, of a body, `row`.
fn is_refused(answer: &Answer, field: &str, row: Option<u64>) {
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let error = &answer.body["errors"][0];
    assert_eq!(error["field"], field, "{}", answer.text);
    assert_eq!(error["row"].as_u64(), row, "{}", answer.text);
    assert!(!error["message"].as_str().unwrap().is_empty());
}

fn is_not_found(answer: &Answer) {
    assert_eq!(answer.status, 404, "{}", answer.text);
    assert_eq!(answer.body["type"], "urn:truststram:problem:not-found");
}

/// Makes durable predictions of the example; gives back how many have a class above the first.
fn predict(server: &Server, count: usize) -> usize {
    let rows = held_out();
    let positive = (0..count).filter(|&index| {
        let answer = server.predict(rows.row(index), "?durable=true");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body["prediction"] != "0"
    });
    positive.count()
}

#[test]
fn figures_are_exact_and_as_of_now_before_and_after_a_checkpoint() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let empty = server.get("/api/v1/models/digits/performance").body;
    assert_eq!(empty["total_predictions"], 0);
    for field in ["avg_confidence", "positive_share", "last_prediction_time"] {
        assert!(empty[field].is_null(), "{empty}");
    }
    let positive = predict(&server, 30);
    let stored = server.stored("");
    let sum: f64 = stored.iter().map(|row| row["confidence"].as_f64().unwrap()).sum();
    let check = || {
        let found = server.get("/api/v1/models/digits/performance").body;
        assert_eq!(found["model_id"], "digits");
        assert_eq!(found["model_type"], "dense");
        assert_eq!(
            (&found["total_predictions"], &found["daily_predictions"]),
            (&json!(30), &json!(30))
        );
        assert!((found["avg_confidence"].as_f64().unwrap() - sum / 30.0).abs() < 1e-6, "{found}");
        let share = positive as f64 / 30.0;
        assert!((found["positive_share"].as_f64().unwrap() - share).abs() < 1e-9, "{found}");
        assert_eq!(found["last_prediction_time"], stored[0]["timestamp"]);
        let all = server.get("/api/v1/performance").body;
        assert_eq!(all["models"][0]["total_predictions"], 30, "{all}");
        assert_eq!(all["models"].as_array().unwrap().len(), 1);

        let recent = server.get("/api/v1/statistics?explain=true").body;
        assert_eq!(recent["models"][0]["model_id"], "digits", "{recent}");
        assert_eq!(recent["models"][0]["prediction_count"], 30);
        assert!((recent["models"][0]["positive_share"].as_f64().unwrap() - share).abs() < 1e-9);
        assert!(recent["explain"]["plan"].as_str().unwrap().contains("no rows are read"));
        let early = server.get("/api/v1/statistics?until=2020-01-01T00:00:00Z&since=0").body;
        assert_eq!(early["models"][0]["prediction_count"], 0);
    };
    check();
    let before = server.admin_get("/admin/v1/store").body;
    assert_eq!((&before["rows_in_log"], &before["rows_committed"]), (&json!(30), &json!(30)));
    assert!(before["commit_us"]["p50"].as_u64() <= before["commit_us"]["p99"].as_u64());
    assert_eq!(server.store_action("checkpoint", &json!({})).status, 200);
    let after = server.admin_get("/admin/v1/store").body;
    assert_eq!((&after["rows_in_log"], &after["rows_applied"]), (&json!(0), &json!(30)));
    assert_eq!(after["months"], 1);
    assert_eq!(server.metric("truststram_store_rows_applied_total "), 30.0);
    assert_eq!(server.metric("truststram_store_months "), 1.0);
    check();
    is_not_found(&server.get("/api/v1/models/none/performance"));
    is_not_found(&server.get("/api/v1/models/NO/performance"));
    is_refused(&server.get("/api/v1/statistics?since=soon"), "since", None);
    is_refused(&server.get("/api/v1/statistics?since=9&until=5"), "since", None);
    assert_eq!(server.get("/api/v1/statistics?sinse=9").status, 400);
}

#[test]
fn predictions_say_how_they_were_found() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    predict(&server, 5);
    let explained = |query: &str| {
        let answer = server.get(&format!("/api/v1/predictions?explain=true{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text);
        (answer.body["explain"].clone(), answer.body["predictions"].as_array().unwrap().len())
    };
    let (found, rows) = explained("&user_id=tester");
    assert_eq!((rows, &found["rows"], &found["rows_from_memory"]), (5, &json!(5), &json!(5)));
    assert!(found["plan"].as_str().unwrap().contains("index users"), "{found}");
    assert_eq!(server.store_action("checkpoint", &json!({})).status, 200);
    let (found, rows) = explained("&user_id=tester");
    assert_eq!((rows, &found["rows_from_memory"], &found["months"]), (5, &json!(0), &json!(1)));
    assert!(found["segments_read"].as_u64().unwrap() > 0, "{found}");
    assert!(found["duration_us"].is_u64(), "{found}");
    let (found, rows) = explained("&owner_id=nobody");
    assert_eq!(rows, 0);
    assert!(found["plan"].as_str().unwrap().starts_with("the owner's models by index"), "{found}");
    assert!(server.get("/api/v1/predictions").body.get("explain").is_none());
    is_refused(&server.get("/api/v1/predictions?owner_id=a&cursor=p1-0"), "cursor", None);
    is_refused(&server.get("/api/v1/predictions?owner_id=%00"), "owner_id", None);
}

#[test]
fn models_are_listed_by_filter() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let all = server.get("/api/v1/models").body;
    let digits = &all["models"][0];
    assert_eq!((&digits["id"], &digits["status"]), (&json!("digits"), &json!("active")));
    assert_eq!((&digits["model_type"], &digits["active_version"]), (&json!("dense"), &json!(1)));
    for field in ["owner_id", "name", "tags", "metadata", "created", "versions"] {
        assert!(digits.get(field).is_some(), "{digits} lacks {field}");
    }
    let count = |query: &str| {
        let answer = server.get(&format!("/api/v1/models?{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body["models"].as_array().unwrap().len()
    };
    assert_eq!(count("status=active&model_type=dense&limit=1"), 1);
    assert_eq!(count("metadata=%7B%7D"), 1);
    assert_eq!(count("created_since=0&version=1"), 1);
    for other in ["owner_id=nobody", "model_type=tree", "tag=none", "version=9"] {
        assert_eq!(count(other), 0, "{other}");
    }
    assert_eq!(count("metadata=%7B%22no%22%3A1%7D"), 0);
    let same = server.get("/api/v1/models?status=all&explain=true").body;
    assert_eq!(same["models"], all["models"]);
    assert_eq!(same["explain"]["rows"], 1, "{same}");
    is_refused(&server.get("/api/v1/models?metadata=%7B"), "metadata", None);
    let large = format!("/api/v1/models?metadata=%22{}%22", "x".repeat(17_000));
    is_refused(&server.get(&large), "metadata", None);
    is_refused(&server.get("/api/v1/models?cursor=p1-0"), "cursor", None);
    is_refused(&server.get("/api/v1/models?limit=0"), "limit", None);
    assert_eq!(server.get("/api/v1/models?status=some").status, 400);
}

#[test]
fn data_sets_of_texts_keep_what_was_acknowledged() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let rows = "/api/v1/datasets/reviews/rows";
    let list = json!([
        { "text": "so \"good\"\n", "label": "yes", "metadata": { "n": 1 } },
        { "text": "☂", "label": null },
    ]);
    let answer = server.post(rows, list.to_string().as_bytes());
    assert_eq!((answer.status, &answer.body), (201, &json!({ "first_id": 0, "rows": 2 })));
    let longest = "a".repeat(256 << 10);
    let lines = format!("{{\"text\":\"{longest}\"}}\n");
    let answer = server.post_as(rows, "application/x-ndjson", lines.as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text);
    let second = |row: &str| server.post(rows, format!(r#"[{{"text":"a"}},{row}]"#).as_bytes());
    is_refused(&second(r#"{"features":[1]}"#), "features", Some(1));
    is_refused(&second(r#"{"text":""}"#), "text", Some(1));
    is_refused(&second(r#"{"text":7}"#), "text", Some(1));
    is_refused(&second(r#"{"text":"a","features":[1]}"#), "text", Some(1));
    is_refused(&second(r#"{"label":"a"}"#), "features", Some(1));
    is_refused(&second(&format!(r#"{{"text":"{longest}a"}}"#)), "text", Some(1));
    let other = "/api/v1/datasets/iris/rows";
    assert_eq!(server.post(other, br#"[{"features":[1]}]"#).status, 201);
    let refused = server.post(other, br#"[{"features":[1]},{"text":"a"}]"#);
    is_refused(&refused, "text", Some(1));
    assert!(refused.text.contains("append texts to a data set of their own"), "{}", refused.text);
    server.kill();

    let server = Server::start(dir.path());
    let found = server.get("/api/v1/datasets/reviews").body;
    assert_eq!((&found["rows"], &found["is_of_texts"]), (&json!(3), &json!(true)), "{found}");
    assert_eq!(found["labels"], json!({ "yes": 1 }));
    assert_eq!(server.get("/api/v1/datasets/iris").body["is_of_texts"], false);
    let page = server.get(rows).body;
    let kept = page["rows"].as_array().unwrap();
    assert_eq!(kept.len(), 3, "{page}");
    for (kept, given) in kept.iter().zip(list.as_array().unwrap()) {
        assert_eq!((&kept["text"], &kept["label"]), (&given["text"], &given["label"]));
        assert!(kept.get("features").is_none(), "{kept}");
    }
    assert_eq!(kept[0]["metadata"], json!({ "n": 1 }));
    assert_eq!(kept[2]["text"], json!(longest));
}

#[test]
fn data_sets_keep_what_was_acknowledged() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let rows = "/api/v1/datasets/iris/rows";
    is_not_found(&server.get("/api/v1/datasets/iris"));
    is_not_found(&server.get(rows));
    let row = |index: usize| {
        let label = format!("c{}", index % 2);
        json!({ "features": [index, 0.5], "label": label, "metadata": { "n": index } })
    };
    let list: Vec<Value> = (0..4).map(row).collect();
    let answer = server.post(rows, json!(list).to_string().as_bytes());
    assert_eq!((answer.status, &answer.body), (201, &json!({ "first_id": 0, "rows": 4 })));
    let lines = "{\"features\":[4,1]}\n{\"features\":[5,1],\"label\":\"c1\"}\n";
    let answer = server.post_as(rows, "application/x-ndjson", lines.as_bytes());
    assert_eq!((answer.status, &answer.body), (201, &json!({ "first_id": 4, "rows": 2 })));

    let post = |body: &str| server.post(rows, body.as_bytes());
    let second = |row: &str| post(&format!(r#"[{{"features":[1,2]}},{row}]"#));
    is_refused(&second(r#"{"features":[1]}"#), "features", Some(1));
    is_refused(&second(r#"{"features":[1,NaN]}"#), "features", Some(1));
    is_refused(&second(r#"{"features":[1,2],"label":7}"#), "label", Some(1));
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(70), "]".repeat(70));
    let deep = second(&format!(r#"{{"features":[1,2],"metadata":{deep}}}"#));
    is_refused(&deep, "metadata", Some(1));
    let long = "x".repeat(300);
    is_refused(&second(&format!(r#"{{"features":[1,2],"label":"{long}"}}"#)), "label", Some(1));
    is_refused(&post("[]"), "body", None);
    assert_eq!(post("[{]").status, 400);
    assert_eq!(server.post_as(rows, "text/csv", b"1,2").status, 415);
    is_refused(&server.post("/api/v1/datasets/Iris/rows", b"[{\"features\":[1]}]"), "name", None);
    // What was acknowledged survives; nothing of what was refused is there.
    server.kill();

    let server = Server::start(dir.path());
    let found = server.get("/api/v1/datasets/iris").body;
    assert_eq!((&found["rows"], &found["feature_count"]), (&json!(6), &json!(2)), "{found}");
    assert_eq!(found["labels"], json!({ "c0": 2, "c1": 3 }));
    assert_eq!(found["unlabelled"], 1);
    let mut ids = Vec::new();
    let mut path = format!("{rows}?limit=4");
    loop {
        let page = server.get(&path);
        assert_eq!((page.status, &page.body["row_count"]), (200, &json!(6)), "{}", page.text);
        for row in page.body["rows"].as_array().unwrap() {
            assert_eq!(row["features"][0].as_f64(), row["id"].as_f64());
            ids.push(row["id"].as_u64().unwrap());
        }
        let Some(next) = page.body["next_from"].as_u64() else { break };
        let link = page.headers["link"].to_str().unwrap();
        path = link[1..link.find('>').unwrap()].to_owned();
        assert!(path.contains(&format!("from={next}")));
    }
    assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
    let first = &server.get(&format!("{rows}?from=3&limit=1")).body["rows"][0];
    assert_eq!((&first["label"], &first["metadata"]), (&json!("c1"), &json!({ "n": 3 })));
    assert_eq!(server.get(&format!("{rows}?from=99")).body["rows"], json!([]));
    is_refused(&server.get(&format!("{rows}?limit=1001")), "limit", None);
    assert_eq!(server.get("/api/v1/datasets").body["datasets"][0]["name"], "iris");
    let removed = server.delete("/api/v1/datasets/iris");
    assert_eq!((removed.status, &removed.body["rows"]), (200, &json!(6)));
    is_not_found(&server.delete("/api/v1/datasets/iris"));
    assert_eq!(server.get("/api/v1/datasets").body["datasets"], json!([]));
}

#[test]
fn the_operator_has_the_store_checked() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    predict(&server, 12);
    assert_eq!(server.store_action("checkpoint", &json!({})).status, 200);
    let found = server.store_action("verify", &json!({}));
    assert_eq!(found.status, 200, "{}", found.text);
    assert_eq!((&found.body["findings"], &found.body["checked"]["rows"]), (&json!([]), &json!(12)));
    let found = server.store_action("refresh", &json!({})).body;
    assert_eq!((&found["findings"], &found["other_findings"]), (&json!([]), &json!(0)), "{found}");
    is_not_found(&server.store_action("explode", &json!({})));
    assert_eq!(server.store_action("verify", &json!([])).status, 400);
    let status = server.admin_get("/admin/v1/status").body;
    assert_eq!(
        (&status["store"]["rows_in_log"], &status["store"]["months"]),
        (&json!(0), &json!(1))
    );
    let metrics = server.admin_get("/metrics").text;
    assert!(!metrics.contains("{}"), "{metrics}");
    for name in ["rows_in_log", "rows_applied_total", "apply_failures_total", "apply_seconds_sum"] {
        assert!(metrics.contains(&format!("\ntruststram_store_{name} ")), "{metrics}");
    }
    assert!(server.terminate().success());
}

#[test]
fn slow_queries_are_logged_with_their_plan() {
    let dir = trained_dir();
    let mut server = Server::start_configured(dir.path(), "[store]\nslow_query_ms = 0\n");
    assert_eq!(server.get("/api/v1/predictions?user_id=tester").status, 200);
    server.wait_for_log("index users");
}

#[test]
fn the_operator_has_the_store_compacted_backed_up_and_freed_of_a_month() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    predict(&server, 12);
    let month: String = server.stored("")[0]["timestamp"].as_str().unwrap()[..7].replace('-', "");
    let done = server.store_action("compact", &json!({}));
    assert_eq!(done.status, 200, "{}", done.text);
    assert!(done.body["months"].is_array(), "{}", done.text);
    let elsewhere = tempfile::tempdir().unwrap();
    for (name, tar) in [("backup", false), ("backup.tar", true)] {
        let path = elsewhere.path().join(name);
        let done = server.store_action("backup", &json!({ "path": path, "tar": tar }));
        assert_eq!((done.status, &done.body["rows"]), (200, &json!(12)), "{}", done.text);
        assert!(path.exists());
        let again = server.store_action("backup", &json!({ "path": path, "tar": tar }));
        assert!(again.status >= 400, "{}", again.text);
    }
    assert_eq!(server.store_action("backup", &json!({ "path": "here" })).status, 422);
    assert_eq!(server.store_action("backup", &json!({})).status, 422);
    is_not_found(&server.store_action("drop-month", &json!({ "month": "190001" })));
    let gone = server.store_action("drop-month", &json!({ "month": month }));
    assert_eq!((gone.status, &gone.body["rows"]), (200, &json!(12)), "{}", gone.text);
    assert!(server.stored("").is_empty());
    let left = server.get("/api/v1/models/digits/performance").body;
    assert_eq!(left["total_predictions"], 0, "{left}");
}
