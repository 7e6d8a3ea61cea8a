//! Plain requests to this process, beside the same by way of Pingora: the same answers, limits and
//! log lines; in pieces, in a drain, and with answers that come bit by bit.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use truststram_base::ManualClock;
use truststram_proxy::{
    AccessSpec, ActionSpec, EditSpec, Escape, FormatSpec, GatewayOptions, RewriteSpec, RouteSpec,
    TableSpec, UseSpec,
};

use crate::before::{limits, rate, zone};
use crate::direct::{NOW_US, WHOLE_WAY, asking, both, same, seen};
use crate::rig::*;

fn post(path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: A.test\r\n{fields}content-length: {length}\r\n\r\n{body}"
    )
}

fn local() -> TableSpec {
    let routes = vec![route("local", "/", ActionSpec::Local)];
    TableSpec { security_headers: true, ..table(routes, Vec::new()) }
}

fn direct(rig: &Rig) -> u64 {
    rig.gateway.stats()[0].direct.get()
}

/// Both ways; whether the first was direct.
async fn twice(rig: &Rig, path: &str, fields: &str, body: &str) -> (bool, Answer) {
    let before = direct(rig);
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    let first = ask_on(&mut stream, &post(path, fields, body)).await.unwrap();
    let whole = post(path, &format!("{fields}{WHOLE_WAY}"), body);
    // On the same connection, where it stays: the first answer was framed as it was meant.
    let second = match first.header("connection") {
        Some("keep-alive") => ask_on(&mut stream, &whole).await.unwrap(),
        _ => ask(rig.plain, &whole).await,
    };
    assert_eq!(seen(&first), seen(&second), "{path} {fields}");
    (direct(rig) > before, first)
}

#[tokio::test]
async fn answers_are_the_same() {
    for spec in [local(), TableSpec { routes: Vec::new(), ..local() }] {
        let rig = Rig::start(&spec);
        for line in ["GET /a", "GET /a/b?c=d", "HEAD /a", "GET /parts"] {
            same(&rig, line, "").await;
        }
        same(&rig, "GET /a", "authorization: Basic YQ==\r\nrange: bytes=0-1\r\npragma: a\r\n")
            .await;
        for body in ["hello", "", &"x".repeat(1_000)] {
            let (is_direct, answer) = twice(&rig, "/echo", "x-tenant: t\r\n", body).await;
            assert!(is_direct);
            assert_eq!(answer.body, format!("local POST /echo t {body}"));
        }
        rig.stop();
    }
}

#[tokio::test]
async fn what_takes_more_goes_the_whole_way() {
    let rig = Rig::start(&local());
    let large = "x".repeat(1_001);
    let (is_direct, answer) = twice(&rig, "/echo", "", &large).await;
    assert_eq!((is_direct, answer.status), (false, 413));
    let (is_direct, answer) = twice(&rig, "/echo", "content-encoding: identity\r\n", "a").await;
    assert_eq!((is_direct, answer.status), (false, 200));
    rig.stop();
    let set = EditSpec { set: vec![("x-a".to_owned(), "$uri".to_owned())], ..EditSpec::default() };
    let one = || route("local", "/", ActionSpec::Local);
    for changed in [
        RouteSpec { request_edits: set.clone(), ..one() },
        RouteSpec { response_edits: set, ..one() },
        RouteSpec { rewrite: RewriteSpec::ReplacePrefix("/b".to_owned()), ..one() },
    ] {
        let rig = Rig::start(&table(vec![changed], Vec::new()));
        assert!(!twice(&rig, "/a", "", "a").await.0);
        assert!(!both(&rig, "GET /a", "").await.0);
        rig.stop();
    }
    // A body for somebody else.
    let echo = server("s", Manner::Echo).await;
    let rig = Rig::start(&table(vec![route("all", "/", to("g"))], vec![group("g", &[echo])]));
    let answer = ask(rig.plain, &post("/a", "", "hello")).await;
    assert!(answer.body.ends_with("hello"), "{}", answer.body);
    let stats = rig.gateway.stats()[0].clone();
    rig.stop();
    assert_eq!((stats.direct.get(), stats.passed.get()), (0, 0));
}

#[tokio::test]
async fn a_body_in_pieces_is_waited_for() {
    let rig = Rig::start(&local());
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for _ in 0..3 {
        for byte in post("/echo", "", "hello").as_bytes() {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(read_message(&mut stream).await.unwrap().1, "local POST /echo  hello");
    }
    assert_eq!(direct(&rig), 3);
    rig.stop();
}

#[tokio::test]
async fn a_body_that_has_begun_is_answered_in_a_drain() {
    let rig = Rig::start(&local());
    let request = post("/echo", "", "hello");
    let (begin, end) = request.as_bytes().split_at(request.len() - 2);
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    assert_eq!(ask_on(&mut stream, &request).await.unwrap().status, 200);
    let mut idle = TcpStream::connect(rig.plain).await.unwrap();
    assert_eq!(ask_on(&mut idle, &request).await.unwrap().status, 200);
    stream.write_all(begin).await.unwrap();
    // It was read before this is answered.
    assert_eq!(ask(rig.plain, &request).await.status, 200);
    let draining = Draining::begin(rig.gateway);
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    stream.write_all(end).await.unwrap();
    let (head, body) = read_message(&mut stream).await.unwrap();
    assert!(body.ends_with("hello") && header(&head, "connection") == Some("close"), "{head}");
    assert_eq!(draining.end().await.connections_cut, 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_the_connection() {
    let rig = Rig::start(&local());
    for way in ["", WHOLE_WAY] {
        let mut stream = TcpStream::connect(rig.plain).await.unwrap();
        stream.write_all(asking("GET /broken", way).as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read).await;
        let read = String::from_utf8(read).unwrap();
        assert!(read.contains("half") && !read.ends_with("0\r\n\r\n"), "{read}");
    }
    let stats = rig.gateway.stats()[0].clone();
    rig.stop();
    assert_eq!((stats.broken.get(), stats.direct.get()), (2, 1));
}

#[tokio::test]
async fn an_answer_without_end_ends_with_its_client() {
    let rig = Rig::start(&local());
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    stream.write_all(asking("GET /endless", "").as_bytes()).await.unwrap();
    let mut read = [0; 1 << 10];
    stream.read_exact(&mut read).await.unwrap();
    drop(stream);
    let stats = rig.gateway.stats()[0].clone();
    while stats.broken.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.stop().connections_cut, 0);
}

#[tokio::test]
async fn limits_hold() {
    let zones = vec![zone("own", "header:x-who", Some("1r/s"))];
    let one = RouteSpec { limits: rate("own", 1), ..route("local", "/", ActionSpec::Local) };
    let limits = limits(zones, UseSpec::default());
    let spec = TableSpec { limits, ..table(vec![one], Vec::new()) };
    let clock = Arc::new(ManualClock::at(NOW_US));
    let rig = Rig::start_with(&spec, GatewayOptions { clock, ..options() });
    let mut all = Vec::new();
    for (who, way) in [("a", ""), ("b", WHOLE_WAY)] {
        let mut answers = Vec::new();
        for _ in 0..3 {
            let fields = format!("x-who: {who}\r\n{way}");
            answers.push(seen(&ask(rig.plain, &post("/echo", &fields, "hello")).await));
        }
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.0).collect();
        assert_eq!(statuses, [200, 200, 429], "{who}");
        all.push(answers);
    }
    assert_eq!(all[0][..2], all[1][..2]);
    rig.stop();
}

#[tokio::test]
async fn log_lines_are_the_same() {
    let text = "$remote_addr $request_method $request_uri $status $body_bytes_sent $route $host \
                $sent_http_content_length $sent_http_x_frame_options $upstream_addr $http_x_who";
    let format = FormatSpec::Template { text: text.to_owned(), escape: Escape::Hex };
    let access = AccessSpec { format, skip: vec!["/health".to_owned()] };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let mut options = options();
    options.access_log = Some(log_at(&path));
    let with = With { is_logged: true, ..With::default() };
    let rig = Rig::start_behind(&TableSpec { access, ..local() }, options, &with);
    for way in ["", WHOLE_WAY] {
        let fields = format!("x-who: me\r\n{way}");
        ask(rig.plain, &post("/echo?a=b", &fields, "hello")).await;
        ask(rig.plain, &asking("GET /health", &fields)).await;
        ask(rig.plain, &asking("GET /a", &fields)).await;
    }
    rig.stop();
    let written = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.len(), 4, "{written}");
    assert_eq!(lines[..2], lines[2..]);
    assert_eq!(lines[0], "127.0.0.1 POST /echo?a=b 200 23 local a.test 23 DENY - me");
}
