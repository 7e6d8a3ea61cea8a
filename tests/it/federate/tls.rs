//! A client whose way to the server is TLS, and what it does not believe.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::clients::{CONFIG, Client, begin, shares, standing, tokens, write_rows};
use crate::harness::{BINARY, Server, trained_dir};

#[test]
fn a_client_joins_by_tls_and_believes_its_authority_alone() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/federate/keys");
    let file = |name: &str| keys.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let gateway = format!(
        "[gateway]\ntls_listen = \"127.0.0.1:0\"\n\
         certificates = [{{ chain = {certificate:?}, key = {key:?} }}]\n"
    );
    let dir = trained_dir();
    let server = Server::start_configured(dir.path(), &format!("{gateway}{CONFIG}"));
    let address = server.tls.clone().unwrap();
    begin(
        &server,
        &json!({
            "model": "digits", "versions": 1, "selector": { "ratio": 1.0 },
            "rounds": { "clients_min": 2, "over_selection": 1.0 },
        }),
    );
    let (parts, tokens) = (shares(2), tokens(&server, 2));
    let folders = tempfile::tempdir().unwrap();
    // An authority that has not signed it.
    let rows = folders.path().join("rows.csv");
    write_rows(&rows, &parts[0]);
    let mut stranger = Command::new(BINARY)
        .args(["federate", "join", &address, "--json", "--token", &tokens[0], "--ca"])
        .args([&certificate, "--state"])
        .arg(folders.path().join("stranger"))
        .arg("--data")
        .arg(&rows)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = std::io::BufReader::new(stranger.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    let _ = stranger.kill();
    let _ = stranger.wait();
    assert!(line.contains("waiting") && line.contains("certificate"), "{line}");
    assert_eq!(standing(&server)["clients"]["enrolled"], 0);

    let authority = file("ca.pem");
    let clients: Vec<Client> = (0..2)
        .map(|index| {
            let folder = folders.path().join(index.to_string());
            let more = ["--ca", authority.as_str()];
            Client::join(&folder, &address, &tokens[index], &parts[index], &more)
        })
        .collect();
    for lines in clients.into_iter().map(Client::wait) {
        assert_eq!(lines[0]["event"], "enrolled");
    }
    assert_eq!(standing(&server)["version"], 1);
    assert!(server.terminate().success());
}
