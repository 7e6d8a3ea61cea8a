//! A federation whose updates are judged by a component, with real client processes.

use serde_json::json;

use super::clients::{CONFIG, Client, begin, shares, standing, tokens};
use crate::harness::{Server, trained_dir};

#[test]
fn a_component_decides_about_the_updates_of_a_federation() {
    let dir = trained_dir();
    // The description says fedavg; the component says the median.
    let plugin = "[[plugins]]\nname = \"rounds\"\nkind = \"aggregator\"\nbuiltin = \"median\"\n";
    let server = Server::start_configured(dir.path(), &format!("{CONFIG}{plugin}"));
    let private = json!({
        "model": "digits",
        "rounds": {
            "over_selection": 1.0,
            "privacy": { "noise_multiplier": 1.0, "clip_norm": 0.5, "population": 3 },
        },
    });
    let refused = server.admin_post("/admin/v1/federation", &private);
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("a plugin of the configuration decides"), "{}", refused.text);
    begin(
        &server,
        &json!({
            "model": "digits", "versions": 2, "selector": { "ratio": 1.0 },
            "rounds": { "clients_min": 3, "over_selection": 1.0 },
        }),
    );
    let folders = tempfile::tempdir().unwrap();
    let tokens = tokens(&server, 3);
    let clients: Vec<Client> = shares(3)
        .iter()
        .zip(&tokens)
        .map(|(rows, token)| {
            let folder = folders.path().join(token);
            Client::join(&folder, &server.public, token, rows, &[])
        })
        .collect();
    clients.into_iter().for_each(|client| drop(client.wait()));
    let status = standing(&server);
    assert_eq!((&status["state"], &status["version"]), (&json!("ended"), &json!(2)), "{status}");
    // Each round asks it about three updates, for its wishes and for a plan.
    let calls = server.metric("truststram_plugin_calls_total{plugin=\"rounds\"}");
    assert!(calls >= 2.0 * 5.0, "{calls}");
    assert_eq!(server.metric("truststram_plugin_failures_total{plugin=\"rounds\"}"), 0.0);
    let runs = server.admin_get("/admin/v1/plugins/rounds/decisions").text;
    assert!(runs.contains("make-plan"), "{runs}");
    // Nothing was begun after the last version.
    let open =
        status["task_list"].as_array().unwrap().iter().filter(|task| task["state"] == "open");
    assert_eq!((open.count(), &status["round"]), (0, &json!(3)), "{status}");
    assert!(server.terminate().success());
}
