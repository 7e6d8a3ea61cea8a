//! The guide's nginx.conf, imported and served as it is but for addresses and files: what each of
//! its directives is for, seen by curl and nghttp.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use truststram_machine::{ThreadSpec, spawn};

use crate::harness::{BINARY, Server};

const HOST: &str = "api.truststram.com";

/// What the three upstream servers share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How often each target was asked for.
    asked: HashMap<String, u32>,
    held: u32,
    is_open: bool,
}

impl Shared {
    /// Waits until `count` requests are held.
    fn wait_for_held(&self, count: u32) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.held < count).unwrap());
    }

    /// Answers all that are held, and those to come at once.
    fn open(&self) {
        self.state.lock().unwrap().is_open = true;
        self.changed.notify_all();
    }

    fn close(&self) {
        self.state.lock().unwrap().is_open = false;
    }

    fn asked(&self, target: &str) -> u32 {
        self.state.lock().unwrap().asked.get(target).copied().unwrap_or(0)
    }
}

/// Starts a server; it lives as long as the test's process.
fn upstream(name: &'static str, shared: Arc<Shared>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let run = |body: Box<dyn FnOnce() + Send>| {
        drop(spawn(ThreadSpec::default(), move |_placement| body()).unwrap());
    };
    run(Box::new(move || {
        for stream in listener.incoming() {
            let (mut stream, shared) = (stream.unwrap(), shared.clone());
            run(Box::new(move || while answer(name, &mut stream, &shared).is_some() {}));
        }
    }));
    address
}

/// Answers one request as its path asks for; the body shows the head, and is long enough to be
/// compressed.
fn answer(name: &str, stream: &mut TcpStream, shared: &Shared) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let target = head.split(' ').nth(1)?.to_owned();
    {
        let mut state = shared.state.lock().unwrap();
        *state.asked.entry(target.clone()).or_default() += 1;
        if target.contains("/hold") {
            state.held += 1;
            shared.changed.notify_all();
            state = shared.changed.wait_while(state, |state| !state.is_open).unwrap();
            state.held -= 1;
        }
    }
    if target.contains("/silent") {
        let _ = stream.read(&mut [0]);
        return None;
    }
    if head.contains("upgrade: websocket") {
        let switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                         upgrade: websocket\r\n\r\n";
        stream.write_all(switching.as_bytes()).ok()?;
        return None;
    }
    let (fields, body) = match target.rsplit('/').next()? {
        "short" => ("content-type: text/plain", "short".to_owned()),
        "image" => ("content-type: image/png", "x".repeat(2_000)),
        "stale" => {
            ("content-type: text/plain\r\ncache-control: max-age=300\r\nage: 301", "old".into())
        }
        _ => ("content-type: text/plain", format!("{name}\n{head}{}", " ".repeat(1_000))),
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{fields}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).ok()
}

/// The server with the guide's configuration.
struct Guide {
    server: Server,
    port: u16,
    shared: Arc<Shared>,
    _dir: tempfile::TempDir,
}

/// What curl says.
struct Said {
    status: u16,
    head: String,
    body: String,
}

impl Said {
    fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }
}

impl Guide {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let shared = Arc::new(Shared::default());
        let servers = ["one", "two", "three"].map(|name| upstream(name, shared.clone()));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let keys = root.join("engine/proxy/tests/keys");
        let mut text = fs::read_to_string(root.join("tests/golden/nginx/guide.conf")).unwrap();
        let mut replace = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        };
        replace("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl"));
        replace("/etc/ssl/certs/truststram.crt", keys.join("a.pem").to_str().unwrap());
        replace("/etc/ssl/private/truststram.key", keys.join("a.key").to_str().unwrap());
        for (guides, ours) in
            ["10.0.1.10:8080", "10.0.1.11:8080", "10.0.1.12:8080"].iter().zip(servers)
        {
            replace(guides, &ours.to_string());
        }
        let dir = tempfile::tempdir().unwrap();
        let [conf, toml] = ["nginx.conf", "imported.toml"].map(|name| dir.path().join(name));
        fs::write(&conf, text).unwrap();
        let mut import = Command::new(BINARY);
        let imported = import.arg("import-nginx").arg(&conf).arg("--out").arg(&toml).output();
        let imported = imported.unwrap();
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        let data = dir.path().join("data");
        let server = Server::start_with(&data, &["--config", toml.to_str().unwrap()]);
        Self { server, port, shared, _dir: dir }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.port)
    }

    fn command(&self, arguments: &[&str], path: &str) -> Command {
        let mut command = Command::new("curl");
        let resolve = format!("{HOST}:{}:127.0.0.1", self.port);
        command.args(["--silent", "--insecure", "--http1.1", "--resolve", &resolve]);
        command.args(arguments).arg(self.url(path)).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    /// Asks with curl by HTTP/1.1, or as `arguments` say.
    fn curl(&self, arguments: &[&str], path: &str) -> Said {
        let mut all = vec!["--globoff", "--include", "--max-time", "60"];
        all.extend(arguments);
        let said = self.command(&all, path).output().unwrap().stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Said { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Asks for several paths at once, by connections of their own.
    fn at_once(&self, path: &str, last: u32) -> Child {
        let arguments = ["--parallel", "--parallel-immediate", "--parallel-max", "60"];
        let output = ["--output", "/dev/null", "--write-out", "%{http_code}\\n"];
        let path = format!("{path}[1-{last}]");
        self.command(&[&arguments[..], &output].concat(), &path).spawn().unwrap()
    }
}

/// The statuses that a curl for several paths prints.
fn statuses(child: Child) -> Vec<u16> {
    let said = child.wait_with_output().unwrap().stdout;
    String::from_utf8(said).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn its_server_and_its_locations() {
    let guide = Guide::start();
    // listen ssl http2, ssl_certificate, ssl_protocols
    assert_eq!(guide.curl(&["--tlsv1.3"], "/health").status, 200);
    assert_eq!(guide.curl(&["--tls-max", "1.2"], "/health").status, 200);
    assert_eq!(guide.curl(&["--tls-max", "1.1"], "/health").status, 0, "older ones are refused");
    let nghttp = Command::new("nghttp")
        .args([
            "--no-verify-peer",
            "--null-out",
            "--stat",
            "--header",
            &format!(":authority: {HOST}"),
        ])
        .arg(format!("https://127.0.0.1:{}/health", guide.port))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&nghttp.stdout).into_owned();
    assert!(nghttp.status.success() && said.contains(" 200 "), "{said}");
    let by_2 = guide.curl(&["--http2"], "/health");
    assert!(by_2.head.starts_with("HTTP/2 200"), "{}", by_2.head);

    // location, proxy_pass, proxy_set_header
    let asked = guide.curl(&["--request", "POST"], "/api/v1/predict/echo");
    let host = format!("host: {HOST}");
    for line in [
        "post /api/v1/predict/echo http/1.1",
        &host,
        "x-real-ip: 127.0.0.1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
    ] {
        assert!(asked.body.lines().any(|found| found == line), "{line} in {}", asked.body);
    }
    let auth = guide.curl(&[], "/auth/token");
    assert!(auth.body.contains("host: truststram_backend"), "{}", auth.body);
    assert!(!auth.body.contains("connection: upgrade"), "{}", auth.body);
    let upgrade = ["--header", "Connection: Upgrade", "--header", "Upgrade: websocket"];
    assert_eq!(guide.curl(&upgrade, "/api/v1/predict/socket").status, 101);
    assert_eq!(guide.curl(&[], "/elsewhere").status, 404);

    // add_header: that of a location stands for those of the server; proxy_cache off
    let names = ["strict-transport-security", "x-frame-options", "x-content-type-options"];
    let values = ["max-age=31536000; includeSubDomains", "DENY", "nosniff"];
    for path in ["/health", "/api/v1/predict/echo", "/elsewhere"] {
        let said = guide.curl(&[], path);
        assert_eq!(names.map(|name| said.fields(name)), values.map(|value| vec![value]), "{path}");
    }
    assert_eq!(names.map(|name| auth.fields(name).len()), [0; 3]);
    assert_eq!(auth.fields("cache-control"), ["no-store, no-cache, must-revalidate"]);
    assert_eq!(guide.curl(&[], "/auth/token").status, 200);
    assert_eq!(guide.shared.asked("/auth/token"), 2);

    // gzip, gzip_types, gzip_min_length, gzip_vary
    let encoded = |path: &str| {
        let said = guide.curl(&["--header", "Accept-Encoding: gzip"], path);
        (said.fields("content-encoding").concat(), said.fields("vary").concat())
    };
    let gzip = ("gzip".to_owned(), "Accept-Encoding".to_owned());
    assert_eq!(encoded("/api/v1/predict/echo"), gzip);
    assert_eq!(encoded("/api/v1/predict/short").0, "");
    assert_eq!(encoded("/api/v1/predict/image").0, "");
    let unpacked = guide.curl(&["--compressed"], "/api/v1/predict/echo");
    assert!(unpacked.body.contains("\nget /api/v1/predict/echo http/1.1\r\n"), "{}", unpacked.body);

    // client_max_body_size
    let length = |bytes: u64| format!("Content-Length: {bytes}");
    let large = length((100 << 20) + 1);
    let large = ["--request", "POST", "--header", &large, "--data", "x"];
    assert_eq!(guide.curl(&large, "/api/v1/predict/echo").status, 413);

    // proxy_read_timeout 1s
    assert_eq!(guide.curl(&[], "/health/silent").status, 504);
    assert!(guide.server.terminate().success());
}

#[test]
fn its_cache_and_its_upstream() {
    let guide = Guide::start();
    // proxy_cache, proxy_cache_valid
    let path = "/api/v1/predict/kept";
    let [first, second] = [(); 2].map(|()| guide.curl(&[], path));
    assert_eq!(first.fields("cache-status"), ["truststram; fwd=uri-miss; stored"]);
    assert!(second.fields("cache-status")[0].starts_with("truststram; hit; ttl="));
    assert_eq!((guide.shared.asked(path), &second.body), (1, &first.body));
    assert_eq!(guide.curl(&["--request", "POST"], path).status, 200);
    assert_eq!(guide.shared.asked(path), 2, "nothing but GET and HEAD is answered from the cache");

    // proxy_cache_lock: one of five goes on
    let path = "/api/v1/predict/hold/same?x=";
    let five: Vec<Child> = (0..5).map(|_| guide.at_once(path, 1)).collect();
    guide.shared.wait_for_held(1);
    guide.shared.open();
    assert_eq!(five.into_iter().flat_map(statuses).collect::<Vec<_>>(), [200; 5]);
    assert_eq!(guide.shared.asked(&format!("{path}1")), 1);
    guide.shared.close();

    // proxy_cache_use_stale updating, proxy_cache_background_update: what is stale is answered
    let path = "/api/v1/predict/stale";
    for _ in 0..3 {
        assert_eq!(guide.curl(&[], path).body, "old");
    }
    let stale = guide.curl(&[], path).fields("cache-status").concat();
    assert!(stale.starts_with("truststram; hit; ttl=-"), "{stale}");

    // least_conn: where one request is under way already, no other goes
    let held = guide.at_once("/api/v1/predict/hold/one", 1);
    guide.shared.wait_for_held(1);
    let mut others: Vec<String> = (0..8)
        .map(|count| guide.curl(&[], &format!("/api/v1/predict/free/{count}")).body)
        .map(|body| body.lines().next().unwrap().to_owned())
        .collect();
    others.sort();
    others.dedup();
    assert_eq!(others.len(), 2, "{others:?}");
    guide.shared.open();
    assert_eq!(statuses(held), [200]);
    assert!(guide.server.terminate().success());
}

#[test]
fn its_limits() {
    let guide = Guide::start();
    // limit_conn: 50 of one address at a time
    let held = guide.at_once("/api/v1/predict/hold/", 50);
    guide.shared.wait_for_held(50);
    let refused = guide.curl(&[], "/api/v1/predict/echo");
    assert_eq!((refused.status, refused.fields("retry-after").len()), (503, 1));
    guide.shared.open();
    assert_eq!(statuses(held), [200; 50]);
    assert_eq!(guide.curl(&[], "/api/v1/predict/echo").status, 200);

    // limit_req zone=auth burst=10: eleven at once, then five a second
    let found = statuses(guide.at_once("/auth/", 60));
    let count = |wanted: u16| found.iter().filter(|status| **status == wanted).count();
    assert!(count(200) >= 11 && count(503) > 0, "{found:?}");
    assert_eq!(count(200) + count(503), 60);

    // limit_req zone=api burst=200: far above its rate
    let h2load = Command::new("h2load")
        .args(["--requests=3000", "--clients=4", "--max-concurrent-streams=10"])
        .arg(format!("https://127.0.0.1:{}/api/v1/predict/echo", guide.port))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&h2load.stdout).into_owned();
    let codes = said.lines().find(|line| line.starts_with("status codes:")).unwrap().to_owned();
    let number = |place: usize| codes.split(' ').nth(place).unwrap().parse::<u32>().unwrap();
    let (good, refused) = (number(2), number(8));
    // Some of the 200 were used above.
    assert!(good >= 100 && refused > 0 && good + refused == 3_000, "{codes}");
    assert!(guide.server.terminate().success());
}
