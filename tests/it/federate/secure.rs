//! Secure aggregation over HTTP: client processes, one that drops out after it has shared its
//! secrets, and a server that is told no more than it asks for.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use truststram_federate::privacy::Chance;
use truststram_federate::secure::{PublicKeys, Roster, SecureClient};

use super::clients::{CONFIG, Client, begin, check_versions, shares, standing, tokens};
use super::hostile::{Raw, body, schema};
use crate::harness::{Answer, Server, trained_dir};

/// Waits for the step after another one.
fn next(raw: &Raw<'_>, task: &Value, after: &str) -> Answer {
    let path = format!("/api/v1/fl/tasks/{}/secure?wait=30{after}", task["task"]);
    raw.send("GET", &path, "", &[], b"")
}

fn tell(raw: &Raw<'_>, task: &Value, message: &Value) -> Answer {
    let path = format!("/api/v1/fl/tasks/{}/secure", task["task"]);
    raw.send("POST", &path, "application/json", &[], message.to_string().as_bytes())
}

#[test]
fn a_sum_is_told_and_no_update_though_a_client_drops_out() {
    let dir = trained_dir();
    let server = Server::start_configured(dir.path(), CONFIG);
    begin(
        &server,
        &json!({
            "model": "digits", "versions": 1, "activate": true, "selector": { "ratio": 1.0 },
            // Three of four inputs are waited for.
            "rounds": { "clients_min": 4, "over_selection": 1.34, "secure": {} },
        }),
    );
    let folders = tempfile::tempdir().unwrap();
    let tokens = tokens(&server, 4);
    let parts = shares(3);
    let raw = Raw::enrol(&server, &tokens[3]);
    let clients: Vec<Client> = (0..3)
        .map(|index| {
            let folder = folders.path().join(index.to_string());
            Client::join(&folder, &server.public, &tokens[index], &parts[index], &[])
        })
        .collect();
    // Others are missing still: it waits, and is told when they are there.
    let task = raw.task();
    assert_eq!((&task["secure"], &task["encodings"]), (&json!(true), &json!(["masked"])));
    let schema = schema(dir.path());
    let plain = raw.update(&task, "examples=1", &body(&schema, 0.1));
    assert_eq!(plain.status, 422, "{}", plain.text);
    assert!(plain.text.contains("after the shares"), "{}", plain.text);

    let mut own = SecureClient::new(raw.id, Chance::System).unwrap();
    assert_eq!(next(&raw, &task, "").body["step"], "keys");
    for wrong in [json!({ "keys": "00" }), json!({ "mask": 1 }), json!({ "shares": {} })] {
        assert_eq!(tell(&raw, &task, &wrong).status, 422, "{wrong}");
    }
    let keys = json!({ "keys": own.keys().to_text() });
    assert_eq!(tell(&raw, &task, &keys).body["receipt"], "accepted");
    assert_eq!(tell(&raw, &task, &keys).body["receipt"], "again");
    let round = next(&raw, &task, "&after=keys").body;
    assert_eq!((&round["step"], &round["threshold"]), (&json!("shares"), &json!(3)), "{round}");
    let members: BTreeMap<u32, String> = serde_json::from_value(round["keys"].clone()).unwrap();
    let members = members.iter().map(|(id, text)| (*id, PublicKeys::of_text(text).unwrap()));
    let roster = Roster { round: 1, threshold: 3, members: members.collect() };
    let sealed = own.share(roster).unwrap();
    assert_eq!(tell(&raw, &task, &json!({ "shares": sealed })).status, 202);
    let round = next(&raw, &task, "&after=shares").body;
    assert_eq!(round["step"], "input");
    assert_eq!(round["shares"].as_object().unwrap().len(), 3);
    // It says no more. The others are done without it.
    for lines in clients.into_iter().map(Client::wait) {
        let accepted = lines.iter().filter(|line| line["event"] == "accepted");
        assert_eq!(accepted.count(), 1, "{lines:?}");
        let last = lines.last().unwrap();
        assert!(last["reason"].as_str().unwrap().contains("1 versions"), "{last}");
    }
    let status = standing(&server);
    let last = status["last"].as_str().unwrap();
    assert!(last.contains("3 masked updates, 1 dropped out"), "{last}");
    assert_eq!((&status["version"], &status["state"]), (&json!(1), &json!("ended")), "{status}");
    assert_eq!(check_versions(&server, dir.path()), 2);
    // The model is a step ahead of the one that it began with, not noise.
    let held_out = crate::harness::held_out();
    let right = (0..held_out.rows()).filter(|&row| {
        let answer = server.predict(held_out.row(row), "");
        answer.body["prediction"] == held_out.classes[held_out.labels[row] as usize].as_str()
    });
    let share = right.count() as f64 / held_out.rows() as f64;
    assert!(share > 0.9, "{share}");
    assert_eq!(next(&raw, &task, "").status, 410);
    assert!(server.terminate().success());
}
