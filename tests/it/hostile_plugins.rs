//! A batcher that traps, loops for ever, eats memory or answers nonsense: every request is still
//! answered rightly within its deadline, and the metrics count the failures.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Server, held_out, trained_dir};

#[path = "../golden/plugins/component.rs"]
pub mod golden;

/// Predictions of some held-out digits, made by several clients at once.
fn labels(server: &Server) -> Vec<String> {
    let rows = held_out();
    let url = format!("{}/api/v1/predict", server.public);
    let mut labels = vec![String::new(); 200];
    std::thread::scope(|scope| {
        for (part, labels) in labels.chunks_mut(50).enumerate() {
            let (rows, url) = (&rows, &url);
            scope.spawn(move || {
                for (index, label) in labels.iter_mut().enumerate() {
                    let body = json!({ "model_id": "digits", "data": rows.row(part * 50 + index) });
                    let body = body.to_string();
                    let answer = crate::harness::try_post(url, body.as_bytes()).unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text);
                    *label = answer.body["prediction"].as_str().unwrap().to_owned();
                }
            });
        }
    });
    labels
}

#[test]
fn every_request_is_answered_whatever_the_batcher_does() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let expected = labels(&server);
    assert!(server.metric("truststram_plugin_calls_total{plugin=\"batcher\"}") > 0.0);
    assert!(server.terminate().success());

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let check = |file: &str, kind: &str| {
        let component = dir.path().join("hostile.wasm");
        fs::write(&component, golden::hostile(root, file)).unwrap();
        let config = format!(
            "[[plugins]]\nname = \"hostile\"\nkind = \"batcher\"\npath = {component:?}\n\
             limits = {{ memory_mib = 4, deadline_us = 1000 }}\n"
        );
        let server = Server::start_configured(dir.path(), &config);
        assert_eq!(labels(&server), expected, "{file}");
        let metric =
            format!("truststram_plugin_failures_total{{plugin=\"hostile\",kind=\"{kind}\"}}");
        assert!(server.metric(&metric) > 0.0, "{file}: {}", server.admin_get("/metrics").text);
        assert_eq!(
            server.metric("truststram_requests_total{listener=\"public\",status=\"5xx\"}"),
            0.0
        );
        let plugin = &server.admin_get("/admin/v1/status").body["plugins"][0];
        assert!(plugin["failures"][kind].as_u64().unwrap() > 0, "{plugin}");
        assert!(server.terminate().success());
    };
    check("trap.wat", "trap");
    check("loop.wat", "deadline");
    check("memory.wat", "memory");
    check("nonsense.wat", "nonsense");
}
