//! Privacy of clients on a server: it is charged, shown, kept over kills, and ends a federation.

use serde_json::{Value, json};
use truststram_federate::privacy::{Accountant, Mechanism, Spent};

use super::clients::{CONFIG, Client, begin, shares, standing, tokens};
use crate::harness::{Server, trained_dir};

fn epsilon(rounds: u64) -> f64 {
    let mechanism = Mechanism { sampling_rate: 1.0, noise_multiplier: 2.0 };
    Accountant::default().epsilon(&Spent(vec![(mechanism, rounds)]), 1e-5)
}

fn spec(epsilon_max: f64) -> Value {
    json!({
        "model": "digits",
        "rounds": {
            "clients_min": 3, "over_selection": 1.0,
            "privacy": {
                "noise_multiplier": 2.0, "clip_norm": 0.5, "population": 3,
                "epsilon_max": epsilon_max,
            },
        },
    })
}

fn join(server: &Server, folder: &std::path::Path, tokens: &[String]) -> Vec<Client> {
    let parts = shares(3);
    let start = |(index, rows)| {
        let folder = folder.join(format!("{index}"));
        let token = tokens.get(index).map_or("used", String::as_str);
        Client::join(&folder, &server.public, token, rows, &[])
    };
    parts.iter().enumerate().map(start).collect()
}

#[test]
fn a_privacy_budget_is_spent_once_and_for_all() {
    let dir = trained_dir();
    let server = Server::start_configured(dir.path(), CONFIG);
    begin(&server, &spec(f64::midpoint(epsilon(2), epsilon(3))));
    let mut events = server.lines("/api/v1/fl/events");
    assert_eq!(events.next().unwrap(), "event: status");
    let folders = tempfile::tempdir().unwrap();
    let tokens = tokens(&server, 3);
    let clients = join(&server, folders.path(), &tokens);
    for lines in clients.into_iter().map(Client::wait) {
        let last = lines.last().unwrap();
        assert!(last["reason"].as_str().unwrap().contains("budget is spent"), "{last}");
    }
    let status = standing(&server);
    assert_eq!((&status["state"], &status["version"]), (&json!("ended"), &json!(2)), "{status}");
    let privacy = &status["privacy"];
    assert_eq!(privacy["rounds_charged"], 2);
    assert_eq!(privacy["epsilon"].as_f64().unwrap(), epsilon(2));
    assert_eq!(status["loss"], Value::Null, "what clients have lost is not told");
    let shown = server.metric("truststram_federation_privacy_epsilon ");
    assert!((shown - epsilon(2)).abs() < 1e-9, "{shown}");
    // What watchers are told names nobody.
    let told: Vec<String> = events.by_ref().take_while(|line| line != "event: ended").collect();
    let after = |name: &str| {
        let at = told.iter().position(|line| line == &format!("event: {name}")).unwrap();
        told[at + 1].clone()
    };
    assert!(!after("update").contains("client"), "{}", after("update"));
    assert!(after("version").contains("epsilon"), "{}", after("version"));

    // Neither a kill nor another federation gives it back.
    server.kill();
    let server = Server::start_configured(dir.path(), CONFIG);
    assert_eq!(standing(&server)["privacy"]["rounds_charged"], 2);
    begin(&server, &spec(f64::midpoint(epsilon(2), epsilon(3))));
    let status = standing(&server);
    assert_eq!((&status["state"], &status["version"]), (&json!("ended"), &json!(0)), "{status}");
    begin(&server, &spec(f64::midpoint(epsilon(3), epsilon(4))));
    for client in join(&server, folders.path(), &[]) {
        client.wait();
    }
    let status = standing(&server);
    assert_eq!((&status["version"], &status["privacy"]["rounds_charged"]), (&json!(1), &json!(3)));
    assert_eq!(status["privacy"]["epsilon"].as_f64().unwrap(), epsilon(3));
    assert!(server.terminate().success());
}
