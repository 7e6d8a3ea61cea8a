//! The gateway of the real binary: routes to a server, TLS, and a configuration that is reloaded by
//! signal and by request, all of it or nothing.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Server, trained_dir};

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
