//! What must not interrupt anybody: a newer program, configurations that are read again, upstream
//! servers that are killed. Requests go on all the while, each on a connection of its own.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::harness::{Server, held_out, trained_dir};

/// The full count under `make soak`, else a share.
fn rounds(full: u32, share: u32) -> u32 {
    if std::env::var_os("TRUSTSTRAM_SOAK").is_some() { full } else { share }
}

/// One request on a connection of its own: the status and the whole answer.
fn once(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // A connection that breaks off has no status.
    let _ = stream.read_to_string(&mut answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), answer)
}

/// An upstream server that notes what it was asked, and how often.
struct Recorder {
    listener: TcpListener,
    seen: Mutex<HashMap<String, u32>>,
    is_over: AtomicBool,
}

impl Recorder {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { listener, seen: Mutex::default(), is_over: AtomicBool::new(false) }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Serves until it is over.
    fn serve(&self) {
        std::thread::scope(|scope| {
            for stream in self.listener.incoming() {
                if self.is_over.load(Ordering::Acquire) {
                    return;
                }
                let mut stream = stream.unwrap();
                scope.spawn(move || while self.answer(&mut stream).is_some() {});
            }
        });
    }

    fn answer(&self, stream: &mut TcpStream) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let path = String::from_utf8(head).unwrap().split(' ').nth(1)?.to_owned();
        *self.seen.lock().unwrap().entry(path).or_default() += 1;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").ok()
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address());
    }
}

/// Asks with numbered paths until it is over; returns how many were asked, all of them answered.
fn load(address: &str, method: &str, prefix: &str, is_over: &AtomicBool) -> u32 {
    let mut count = 0;
    while !is_over.load(Ordering::Acquire) {
        let path = format!("{prefix}{count}");
        let (status, answer) = once(address, method, &path, "");
        assert_eq!(status, 200, "{method} {path}: {answer:?}");
        count += 1;
    }
    count
}

fn to_upstreams(addresses: &[SocketAddr]) -> String {
    let servers: Vec<_> =
        addresses.iter().map(|address| format!("{{ address = \"{address}\" }}")).collect();
    format!(
        "[[routes]]\nname = \"local\"\npath = \"/api\"\nlocal = true\n[[routes]]\n\
         name = \"up\"\nupstream = \"g\"\n[[upstreams]]\nname = \"g\"\n\
         servers = [{}]\n",
        servers.join(", ")
    )
}

#[test]
fn upgrades_and_reloads_lose_and_repeat_no_request() {
    let dir = trained_dir();
    let upstream = Recorder::new();
    let config = to_upstreams(&[upstream.address()]);
    let mut server = Server::start_configured(dir.path(), &config);
    let address = server.public.strip_prefix("http://").unwrap().to_owned();
    let features = held_out();
    let row = serde_json::to_string(&features.row(0)).unwrap();
    let predict = format!("{{\"model_id\":\"digits\",\"user_id\":\"u\",\"data\":{row}}}");
    let (is_over, predicted) = (AtomicBool::new(false), AtomicU32::new(0));
    let (gets, posts) = std::thread::scope(|scope| {
        scope.spawn(|| upstream.serve());
        let gets = scope.spawn(|| load(&address, "GET", "/get/", &is_over));
        let posts = scope.spawn(|| load(&address, "POST", "/post/", &is_over));
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                let path = "/api/v1/predict?durable=true";
                let (status, answer) = once(&address, "POST", path, &predict);
                assert_eq!(status, 200, "{answer}");
                predicted.fetch_add(1, Ordering::AcqRel);
            }
        });
        for round in 0..rounds(20, 3) {
            for _ in 0..rounds(30, 5) {
                server.signal("HUP");
                server.wait_for_log("the configuration is reloaded");
            }
            server.signal("USR2");
            server.wait_for_log("the newer program serves");
            // The same process, with what the older program left.
            let environment = format!("/proc/{}/environ", server.process_id());
            let environment = std::fs::read(environment).unwrap();
            let environment = String::from_utf8_lossy(&environment);
            assert!(environment.contains("TRUSTSTRAM_LISTENERS=server."), "round {round}");
        }
        is_over.store(true, Ordering::Release);
        let counts = (gets.join().unwrap(), posts.join().unwrap());
        assert!(server.terminate().success());
        upstream.end();
        counts
    });
    let seen = upstream.seen.into_inner().unwrap();
    assert_eq!(seen.len(), (gets + posts) as usize);
    let repeated: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
    let server = Server::start(dir.path());
    assert_eq!(server.stored("&user_id=u").len(), predicted.into_inner() as usize);
    assert!(server.terminate().success());
}

#[test]
fn a_program_that_does_not_take_the_configuration_is_not_run() {
    let dir = trained_dir();
    let mut server = Server::start_configured(dir.path(), "[server]\ndrain_s = 5\n");
    std::fs::write(dir.path().join("test.toml"), "[server]\ndrain = 5\n").unwrap();
    server.signal("USR2");
    server.wait_for_log("no upgrade");
    assert_eq!(server.get("/readyz").status, 200);
    assert!(server.terminate().success());
}

#[test]
fn killed_upstream_servers_cost_no_request_that_may_be_tried_again() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let fixed = "[[routes]]\nname = \"all\"\nstatus = 200\nbody = \"ok\"\n";
    let start = |index: usize, port: &str| {
        let file = dirs[index].path().join("test.toml");
        std::fs::write(&file, fixed).unwrap();
        let listen = format!("127.0.0.1:{port}");
        Server::start_on(&listen, dirs[index].path(), &["--config", file.to_str().unwrap()])
    };
    let mut upstreams = vec![start(0, "0"), start(1, "0")];
    let addresses: Vec<SocketAddr> =
        upstreams.iter().map(|one| one.public["http://".len()..].parse().unwrap()).collect();
    let gateway = Server::start_configured(dirs[2].path(), &to_upstreams(&addresses));
    let address = gateway.public.strip_prefix("http://").unwrap().to_owned();
    let is_over = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let gets = scope.spawn(|| load(&address, "GET", "/", &is_over));
        for round in 0..rounds(20, 4) {
            let index = round as usize % 2;
            upstreams.remove(index).kill();
            upstreams.insert(index, start(index, &addresses[index].port().to_string()));
        }
        is_over.store(true, Ordering::Release);
        gets.join().unwrap()
    });
    assert!(asked > 0);
    assert!(gateway.terminate().success());
}
