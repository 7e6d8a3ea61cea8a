//! The gateway of the real binary: routes to a server, TLS, and a configuration that is reloaded by
//! signal and by request, all of it or nothing.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{BINARY, Server, ask_with, trained_dir, until};

fn write_config(dir: &Path, rest: &str) -> String {
    let config = format!("[gateway]\nkeepalive_s = 30\n{rest}");
    fs::write(dir.join("test.toml"), &config).unwrap();
    config
}

fn fixed(name: &str, body: &str) -> String {
    format!("[[routes]]\nname = \"{name}\"\npath = \"/fixed\"\nstatus = 200\nbody = \"{body}\"\n")
}

const LOCAL: &str = "[[routes]]\nname = \"local\"\npath = \"/api\"\nlocal = true\n";

#[test]
fn a_route_leads_to_a_server_and_is_counted() {
    let dir = trained_dir();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let config = write_config(
        dir.path(),
        &format!(
            "{LOCAL}[[routes]]\nname = \"up\"\npath = \"/up\"\nupstream = \"g\"\n\
             strip_prefix = true\n[[upstreams]]\nname = \"g\"\npolicy = \"least_conn\"\n\
             servers = [{{ address = \"{address}\" }}]\n"
        ),
    );
    let server = Server::start_configured(dir.path(), &config);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = upstream.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> =
                lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            let said = head.join("\n");
            let length = said.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{said}");
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let answer = server.get("/up/x?q=1");
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.text.starts_with("GET /x?q=1 HTTP/1.1\n"), "{}", answer.text);
        assert!(answer.text.contains("127.0.0.1"), "{}", answer.text);
    });
    assert_eq!(server.get("/api/v1/models").status, 200);
    assert_eq!(server.get("/health").status, 404);
    assert_eq!(server.get("/api/..%2fx").status, 400);
    let requests = "truststram_upstream_requests_total";
    let labels = format!("{{upstream=\"g\",server=\"{address}\"}}");
    assert_eq!(server.metric(&format!("{requests}{labels}")), 1.0);
    assert_eq!(server.metric("truststram_route_requests_total{route=\"up\",status=\"2xx\"}"), 1.0);
    assert!(server.terminate().success());
}

#[test]
fn a_reload_takes_over_all_or_nothing() {
    let dir = trained_dir();
    let reload = |server: &Server| server.admin_post("/admin/v1/config/reload", &json!({}));
    let config = write_config(dir.path(), &fixed("one", "first"));
    let mut server = Server::start_configured(dir.path(), &config);
    assert_eq!(server.get("/fixed").text, "first");

    write_config(dir.path(), &fixed("one", "second"));
    server.signal("HUP");
    server.wait_for_log("the configuration is reloaded");
    assert_eq!(server.get("/fixed").text, "second");

    let bad = "[[routes]]\nname = \"bad\"\nupstream = \"none\"\n[server]\ndrain_s = 5\n";
    write_config(dir.path(), &format!("{}{bad}", fixed("one", "third")));
    let answer = reload(&server);
    assert_eq!(answer.status, 422, "{}", answer.text);
    let named = |answer: &Value| answer["errors"][0]["field"].as_str().unwrap().to_owned();
    assert_eq!(named(&answer.body), "routes[1].upstream");
    write_config(dir.path(), &format!("{}[server]\ndrain_s = 5\n", fixed("one", "third")));
    assert_eq!(named(&reload(&server).body), "server.drain_s");
    assert_eq!(server.get("/fixed").text, "second");

    write_config(dir.path(), &fixed("one", "third"));
    let answer = reload(&server);
    assert_eq!((answer.status, &answer.body), (200, &json!({ "reloaded": true })));
    assert_eq!(server.get("/fixed").text, "third");
    assert_eq!(server.metric("truststram_config_reloads_total"), 2.0);
    assert!(server.terminate().success());
}

#[test]
fn what_a_key_has_used_of_a_day_outlives_a_kill() {
    let dir = trained_dir();
    let key = |arguments: &[&str]| {
        let output = Command::new(BINARY).arg("key").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let here = dir.path().to_str().unwrap().to_owned();
    let text = key(&["create", "app", "--scope", "models:read", "--data-dir", &here]);
    let (text, id) = (text.trim(), text.split('_').nth(1).unwrap());
    let config = "[auth]\nmode = \"required\"\n[[limits]]\nname = \"daily\"\nkey = \"api-key\"\n\
                  window = \"day\"\n[gateway]\n\
                  limit_days = [{ zone = \"daily\", at_most = 3 }]\n";
    let ask = |server: &Server| {
        let url = format!("{}/api/v1/models", server.public);
        ask_with("GET", &url, &[("x-api-key", text)], None)
    };
    let server = Server::start_configured(dir.path(), config);
    assert_eq!([(); 2].map(|()| ask(&server).status), [200, 200]);
    let shown = key(&["show", id, "--admin", &server.admin]);
    assert!(shown.contains("used today  daily 2\n"), "{shown}");
    // Written behind: a kill forgets nothing that is older than the last turn.
    let records = || server.metric("truststram_quota_turns_total");
    let before = records();
    while records() < before + 2.0 {
        std::thread::yield_now();
    }
    server.kill();
    assert!(key(&["list", "--data-dir", &here]).contains("daily 2"));
    let server = Server::start_configured(dir.path(), config);
    assert_eq!(ask(&server).status, 200);
    let refused = ask(&server);
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert_eq!(refused.headers["ratelimit-policy"], "\"daily\";q=3;w=86400");
    let wait_s: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait_s), "{wait_s}");
    assert!(server.terminate().success());
    // And an end in order forgets nothing at all.
    assert!(key(&["show", id, "--data-dir", &here]).contains("daily 3"));
}

/// A port of this machine that nobody has, or had a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_reload_moves_the_listeners_or_says_why_not() {
    let dir = trained_dir();
    let file = dir.path().join("test.toml");
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/proxy/tests/keys");
    let config = |listen: &str, tls: &str| {
        let (chain, key) = (keys.join("a.pem"), keys.join("a.key"));
        let config = format!(
            "[server]\nlisten = \"{listen}\"\nadmin_listen = \"127.0.0.1:0\"\n\
             [gateway]\ntls_listen = \"{tls}\"\n\
             certificates = [{{ chain = \"{}\", key = \"{}\" }}]\n{}",
            chain.display(),
            key.display(),
            fixed("one", "body")
        );
        fs::write(&file, config).unwrap();
    };
    config("127.0.0.1:0", "");
    let arguments = ["--config", file.to_str().unwrap()];
    let mut server = Server::start_on("", dir.path(), &arguments);
    let old = server.public.trim_start_matches("http://").to_owned();
    let reload = |server: &Server| server.admin_post("/admin/v1/config/reload", &json!({}));
    assert_eq!(server.get("/fixed").text, "body");

    // An address that another has: nothing changes, not even what could be had.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let (port, tls_port) = (free_port(), free_port());
    config(&format!("127.0.0.1:{port}"), &taken);
    let answer = reload(&server);
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(answer.body["errors"][0]["field"], "gateway.tls_listen");
    assert!(answer.text.contains("is in use by another process"), "{}", answer.text);
    assert_eq!(server.get("/fixed").text, "body");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());

    config(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{tls_port}"));
    let answer = reload(&server);
    assert_eq!(answer.status, 200, "{}", answer.text);
    server.public = format!("http://127.0.0.1:{port}");
    assert_eq!(server.get("/fixed").text, "body");
    assert!(std::net::TcpStream::connect(("127.0.0.1", tls_port)).is_ok());
    until("the old address is given up", || std::net::TcpStream::connect(&old).is_err());
    config(&format!("127.0.0.1:{tls_port}"), &format!("127.0.0.1:{port}"));
    assert_eq!(reload(&server).status, 200, "the two change places");
    config(&format!("127.0.0.1:{port}"), "");
    let answer = reload(&server);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(server.get("/fixed").text, "body");

    // A newer program gets the sockets as they are now.
    server.signal("USR2");
    server.wait_for_log("the newer program serves");
    assert_eq!(server.get("/fixed").text, "body");
    assert!(server.terminate().success());
}

#[test]
fn a_reload_moves_the_operators_listener() {
    let dir = trained_dir();
    let file = dir.path().join("test.toml");
    let config = |public: &str, admin: &str| {
        let config = format!("[server]\nlisten = \"{public}\"\nadmin_listen = \"{admin}\"\n");
        fs::write(&file, config).unwrap();
    };
    config("127.0.0.1:0", "127.0.0.1:0");
    let mut server = Server::start_on("", dir.path(), &["--config", file.to_str().unwrap()]);
    let reload = |server: &Server| server.admin_post("/admin/v1/config/reload", &json!({}));
    let old = server.admin.trim_start_matches("http://").to_owned();

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    config("127.0.0.1:0", &other.local_addr().unwrap().to_string());
    let answer = reload(&server);
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(answer.body["errors"][0]["field"], "server.admin_listen");
    assert_eq!(server.admin_get("/metrics").status, 200);

    // The request that asks for it is answered where it came.
    let (port, public) = (free_port(), free_port());
    config("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    let answer = reload(&server);
    assert_eq!((answer.status, &answer.body), (200, &json!({ "reloaded": true })));
    server.admin = format!("http://127.0.0.1:{port}");
    assert_eq!(server.metric("truststram_config_reloads_total"), 1.0);
    until("the old address is given up", || std::net::TcpStream::connect(&old).is_err());
    config(&format!("127.0.0.1:{public}"), &format!("127.0.0.1:{port}"));
    assert_eq!(reload(&server).status, 200);
    config(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{public}"));
    assert_eq!(reload(&server).status, 200, "the two change places");
    server.public = format!("http://127.0.0.1:{port}");
    server.admin = format!("http://127.0.0.1:{public}");
    // Whoever comes before a network thread has changed its sockets is answered as before.
    until("the two have changed places", || server.admin_get("/metrics").status != 404);
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(server.admin_get("/metrics").status, 200);

    server.signal("USR2");
    server.wait_for_log("the newer program serves");
    assert_eq!(server.admin_get("/metrics").status, 200);
    assert!(server.terminate().success());
}

#[test]
fn an_access_log_that_cannot_be_opened_anew_is_counted() {
    let dir = trained_dir();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let config = format!("[gateway]\naccess_log = \"{}\"\n", logs.join("a.log").display());
    let server = Server::start_configured(dir.path(), &config);
    assert!(server.admin_get("/metrics").text.contains("truststram_access_log_stuck_total 0"));
    fs::remove_dir_all(&logs).unwrap();
    server.signal("USR1");
    until("a log that is stuck is counted", || {
        assert_eq!(server.get("/api/v1/models").status, 200);
        server.metric("truststram_access_log_stuck_total") >= 1.0
    });
    assert!(server.terminate().success());
}
