//! A federation from its start to its end with real client processes, and the rig of the others.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use truststram_federate::simulate::{Split, partition};
use truststram_model::ModelFile;
use truststram_train::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, Dataset, digits};

use crate::harness::{BINARY, Server};

/// Switches federated learning on.
pub const CONFIG: &str = "[federated]\nenabled = true\nrefusals_max = 100\n";

/// The rows of each of so many clients.
pub fn shares(clients: usize) -> Vec<Dataset> {
    let train = digits().unwrap().split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED).train;
    let parts = partition(&train.labels, clients, Split::Iid, 5);
    parts.iter().map(|rows| train.select(rows)).collect()
}

/// A file of rows as `truststram federate join` reads it.
pub fn write_rows(path: &Path, rows: &Dataset) {
    let mut file = std::fs::File::create(path).unwrap();
    for row in 0..rows.rows() {
        let features: Vec<String> = rows.row(row).iter().map(f32::to_string).collect();
        writeln!(file, "{},{}", features.join(","), rows.classes[rows.labels[row] as usize])
            .unwrap();
    }
}

/// So many tokens.
pub fn tokens(server: &Server, count: usize) -> Vec<String> {
    let made = server.admin_post("/admin/v1/federation/tokens", &json!({ "count": count }));
    let tokens = made.body["tokens"].as_array().unwrap().iter();
    tokens.map(|token| token.as_str().unwrap().to_owned()).collect()
}

/// Starts a federation.
pub fn begin(server: &Server, spec: &Value) {
    let started = server.admin_post("/admin/v1/federation", spec);
    assert_eq!(started.status, 200, "{}", started.text);
}

/// A client process.
pub struct Client {
    child: Child,
    pub lines: Option<BufReader<ChildStdout>>,
}

impl Client {
    pub fn join(folder: &Path, server: &str, token: &str, rows: &Dataset, more: &[&str]) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let data = folder.join("rows.csv");
        write_rows(&data, rows);
        let mut child = Command::new(BINARY)
            .args(["federate", "join", server, "--json", "--token", token, "--data"])
            .arg(data)
            .arg("--state")
            .arg(folder.join("state"))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Some(BufReader::new(child.stdout.take().unwrap()));
        Self { child, lines }
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Waits for the end; gives back what it said besides what was read.
    pub fn wait(mut self) -> Vec<Value> {
        let lines = self.lines.take().map(events).unwrap_or_default();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        lines
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a client.
pub fn events(lines: BufReader<ChildStdout>) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// The files of all registered versions of the digits, each of which must be whole: its checksum
/// the registered one, its numbers finite.
pub fn check_versions(server: &Server, data_dir: &Path) -> usize {
    let listed = server.get("/api/v1/models/digits").body;
    let versions = listed["versions"].as_array().unwrap();
    for version in versions {
        let number = version["version"].as_u64().unwrap();
        let path: PathBuf = data_dir.join(format!("models/digits/{number}/model.safetensors"));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(version["sha256"], sha256(&bytes).as_str(), "{number}");
        let file = ModelFile::parse(&bytes).unwrap();
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        assert!(file.layers().iter().all(|layer| finite(&layer.weight) && finite(&layer.bias)));
    }
    versions.len()
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    truststram_federate::identity::hexadecimal(&Sha256::digest(bytes))
}

#[test]
fn clients_train_until_the_federation_is_over() {
    let dir = crate::harness::trained_dir();
    let server = Server::start_configured(dir.path(), CONFIG);
    begin(
        &server,
        &json!({
            "model": "digits", "versions": 3, "activate": true,
            "selector": { "ratio": 1.0 },
            "rounds": { "clients_min": 3, "over_selection": 1.0 },
        }),
    );
    let folders = tempfile::tempdir().unwrap();
    let tokens = tokens(&server, 3);
    // A way of writing for each.
    let ways: [&[&str]; 3] =
        [&["--encoding", "f32"], &["--encoding", "top-0.1-int8"], &["--encoding", "bf16"]];
    let parts = shares(3);
    let clients: Vec<Client> = parts
        .iter()
        .zip(&tokens)
        .zip(ways)
        .enumerate()
        .map(|(index, ((rows, token), way))| {
            let folder = folders.path().join(index.to_string());
            Client::join(&folder, &server.public, token, rows, way)
        })
        .collect();
    let said: Vec<Vec<Value>> = clients.into_iter().map(Client::wait).collect();
    for lines in &said {
        assert_eq!(lines[0]["event"], "enrolled");
        let last = lines.last().unwrap();
        assert!(last["reason"].as_str().unwrap().contains("3 versions"), "{last}");
    }
    let of = |lines: &[Value]| -> u64 {
        let accepted = lines.iter().filter(|line| line["event"] == "accepted");
        accepted.map(|line| line["bytes"].as_u64().unwrap()).max().unwrap()
    };
    assert!(of(&said[0]) > 6 * of(&said[1]) && of(&said[0]) > of(&said[2]));
    let status = server.get("/api/v1/fl/status").body;
    assert_eq!((&status["state"], &status["version"]), (&json!("ended"), &json!(3)));
    assert_eq!(check_versions(&server, dir.path()), 4);
    let answer = server.predict(crate::harness::held_out().row(0), "");
    assert_eq!(answer.body["model_version"], status["registered_version"]);
    assert!(server.terminate().success());

    // What is over stays so; another one may follow, and knows its clients.
    let server = Server::start_configured(dir.path(), CONFIG);
    assert_eq!(server.get("/api/v1/fl/status").body["state"], "ended");
    begin(&server, &json!({ "model": "digits", "versions": 1 }));
    assert_eq!(server.get("/api/v1/fl/status").body["clients"]["enrolled"], 3);
    let twice = server.admin_post("/admin/v1/federation", &json!({ "model": "digits" }));
    assert_eq!(twice.status, 409, "{}", twice.text);
    let folder = folders.path().join("0");
    let client = Client::join(&folder, &server.public, "used", &parts[0], &[]);
    client.signal("TERM");
    let lines = client.wait();
    assert_eq!(lines.last().unwrap()["reason"], "stopped");
    assert!(server.terminate().success());
}
