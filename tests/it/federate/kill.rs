//! The server is killed at seeded moments while clients train: no update that was acknowledged is
//! lost, no model is half made, in plain rounds and in those of secure aggregation.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde_json::{Value, json};
use truststram_machine::{Thread, ThreadSpec, spawn};
use truststram_model::ModelFile;

use super::clients::{CONFIG, Client, begin, check_versions, shares, standing, tokens};
use crate::harness::{Server, trained_dir};

/// The tasks of which the server knows an update.
fn known(server: &Server, acknowledged: &BTreeSet<u64>) -> u64 {
    let records = server.admin_get("/admin/v1/federation");
    assert_eq!(records.status, 200, "{}", records.text);
    let tasks = records.body["task_list"].as_array().unwrap();
    for task in tasks {
        let id = task["task"].as_u64().unwrap();
        let is_lost = task["state"] == "open" || task["state"] == "expired";
        assert!(!(is_lost && acknowledged.contains(&id)), "update {id} is lost: {task}");
    }
    let oldest = tasks.first().map_or(0, |task| task["task"].as_u64().unwrap());
    let listed: BTreeSet<u64> = tasks.iter().map(|task| task["task"].as_u64().unwrap()).collect();
    let missing = acknowledged.range(oldest..).find(|id| !listed.contains(id));
    assert_eq!(missing, None, "an update of a round that is remembered is lost");
    records.body["updates"]["accepted"].as_u64().unwrap()
}

/// Every model that clients could fetch when the server died is whole.
fn check_served(data_dir: &std::path::Path) {
    for run in std::fs::read_dir(data_dir.join("fl")).unwrap() {
        let Ok(files) = std::fs::read_dir(run.unwrap().path().join("served")) else { continue };
        for path in files.map(|file| file.unwrap().path()) {
            if path.extension().is_some_and(|ending| ending == "safetensors") {
                let file = ModelFile::parse(&std::fs::read(&path).unwrap()).unwrap();
                let mut values = file.layers().iter().flat_map(|layer| &layer.weight);
                assert!(values.all(|value| value.is_finite()), "{}", path.display());
            }
        }
    }
}

/// Reads what clients say until so many updates more are acknowledged.
fn wait_for(said: &Receiver<Value>, acknowledged: &mut BTreeSet<u64>, more: usize) {
    let wanted = acknowledged.len() + more;
    while acknowledged.len() < wanted {
        let line = said.recv().unwrap();
        if line["event"] == "accepted" {
            acknowledged.insert(line["task"].as_u64().unwrap());
        }
    }
}

/// Has a thread hand on what a client says.
fn listen(client: &mut Client, index: usize, tell: SyncSender<Value>) -> Thread<()> {
    let lines = client.lines.take().unwrap();
    let spec = ThreadSpec { name: format!("client-{index}"), ..ThreadSpec::default() };
    let read = move |_placement| {
        for line in lines.lines().map_while(Result::ok) {
            let _ = tell.send(serde_json::from_str(&line).unwrap_or_default());
        }
    };
    spawn(spec, read).unwrap()
}

/// A federation whose server is killed.
struct Siege {
    /// So many times.
    kills: usize,
    /// Its clients.
    count: usize,
    rounds: Value,
    /// What every client, and every second one, is told besides.
    options: [&'static [&'static str]; 2],
    /// Whether every second kill hits a round that has just begun.
    early: bool,
    /// Where figures of the long run go.
    figures: &'static str,
}

/// Waits for the beginning of a round.
fn wait_for_round(server: &Server) {
    let mut events = server.lines("/api/v1/fl/events");
    assert!(events.any(|line| line == "event: round"), "the events end");
}

fn besiege(siege: &Siege) {
    let Siege { kills, count, .. } = *siege;
    let dir = trained_dir();
    let config = dir.path().join("test.toml");
    std::fs::write(&config, CONFIG).unwrap();
    // Clients must find the server again where it was.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let start = || Server::start_on(&address, dir.path(), &["--config", config.to_str().unwrap()]);
    let mut server = start();
    begin(
        &server,
        &json!({
            "model": "digits", "activate": true, "keep_versions": 4,
            "selector": { "ratio": 1.0 }, "rounds": siege.rounds,
        }),
    );
    let tokens = tokens(&server, count);
    let folders = tempfile::tempdir().unwrap();
    let (tell, said) = sync_channel(1_024);
    let mut clients = Vec::new();
    for (index, rows) in shares(count).iter().enumerate() {
        let folder = folders.path().join(index.to_string());
        let more = siege.options[index % 2];
        let mut client = Client::join(&folder, &server.public, &tokens[index], rows, more);
        let reader = listen(&mut client, index, tell.clone());
        clients.push((client, reader));
    }
    drop(tell);
    let mut acknowledged = BTreeSet::new();
    for kill in 0..kills {
        // How many come before a kill differs by a fixed rule.
        wait_for(&said, &mut acknowledged, 1 + (kill * 7) % (2 * count));
        if siege.early && kill % 2 == 1 {
            wait_for_round(&server);
        }
        server.kill();
        check_served(dir.path());
        server = start();
        known(&server, &acknowledged);
        check_versions(&server, dir.path());
    }
    wait_for(&said, &mut acknowledged, count);
    clients.iter().for_each(|(client, _)| client.signal("TERM"));
    for line in said {
        if line["event"] == "accepted" {
            acknowledged.insert(line["task"].as_u64().unwrap());
        }
    }
    for (client, reader) in clients {
        reader.join().unwrap();
        client.wait();
    }
    let accepted = known(&server, &acknowledged) as usize;
    // The last answer of each client may not have been read.
    let most = acknowledged.len() + count;
    assert!((acknowledged.len()..=most).contains(&accepted), "{accepted} {}", acknowledged.len());
    let status = standing(&server);
    assert!(status["version"].as_u64().unwrap() > 1, "{status}");
    check_learnt(&server);
    if is_long() {
        let figures = json!({
            "kills": kills, "clients": count, "acknowledged": acknowledged.len(),
            "accepted": accepted, "versions": status["version"],
            "rounds_without_model": status["rounds_without_model"],
        });
        std::fs::write(siege.figures, figures.to_string()).unwrap();
    }
    assert!(server.terminate().success());
}

/// The model is one that was trained, and not what a half or a masked sum would make of it.
fn check_learnt(server: &Server) {
    let held_out = crate::harness::held_out();
    let rows = held_out.rows().min(100);
    let right = (0..rows).filter(|&row| {
        let answer = server.predict(held_out.row(row), "");
        answer.body["prediction"] == held_out.classes[held_out.labels[row] as usize].as_str()
    });
    let right = right.count();
    assert!(10 * right > 9 * rows, "{right} of {rows}");
}

fn is_long() -> bool {
    std::env::var_os("TRUSTSTRAM_SOAK").is_some()
}

#[test]
fn kills_lose_no_update_and_no_model() {
    let (kills, count) = if is_long() { (200, 10) } else { (4, 3) };
    besiege(&Siege {
        kills,
        count,
        rounds: json!({ "clients_min": count, "deadline_s": 10, "quorum": 0.3 }),
        options: [&["--encoding", "f32"], &["--encoding", "top-0.1-int8"]],
        early: false,
        figures: "target/federate-kills.json",
    });
}

/// The same where updates are masked: kills hit keys and shares, updates and answers.
#[test]
fn kills_lose_no_masked_update_and_no_sum() {
    let (kills, count) = if is_long() { (100, 6) } else { (4, 3) };
    besiege(&Siege {
        kills,
        count,
        rounds: json!({
            "clients_min": count, "over_selection": 1.0, "deadline_s": 20,
            "secure": { "step_s": 20 },
        }),
        options: [&[], &[]],
        early: true,
        figures: "target/federate-secure-kills.json",
    });
}
