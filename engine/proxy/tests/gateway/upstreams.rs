//! Servers that fail, and what a client sees of it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use truststram_proxy::{ActionSpec, BreakerSpec, CheckSpec};

use crate::rig::*;

/// Requests, failures and further attempts of the group.
fn counts(rig: &Rig) -> (Vec<u64>, Vec<u64>, u64) {
    let mut found = (Vec::new(), Vec::new(), 0);
    rig.live.each_upstream(0, |_, stats, _, servers| {
        found = (
            servers.iter().map(|server| server.stats.requests.get()).collect(),
            servers.iter().map(|server| server.stats.failures.get()).collect(),
            stats.retries.get(),
        );
    });
    found
}

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_server_that_is_not_there_costs_no_request() {
    let servers = [nobody().await, server("two", Manner::Echo).await];
    let rig = Rig::start(&table(vec![route("all", "/", to("g"))], vec![group("g", &servers)]));
    for _ in 0..4 {
        // Nothing was sent to the first, so that any method is tried again.
        assert_eq!(ask(rig.plain, POST).await.status, 200);
    }
    assert_eq!(counts(&rig), (vec![1, 4], vec![1, 0], 1));
    rig.stop();
}

#[tokio::test]
async fn what_a_server_may_have_begun_is_tried_again_only_if_idempotent() {
    let servers = [server("one", Manner::Close).await, server("two", Manner::Echo).await];
    let mut one = group("g", &servers);
    one.servers[0].max_fails = 0;
    let rig = Rig::start(&table(vec![route("all", "/", to("g"))], vec![one]));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(rig.plain, POST).await.status);
        assert_eq!(ask(rig.plain, &get("/")).await.status, 200);
    }
    assert!(statuses.contains(&502) && statuses.iter().all(|status| [200, 502].contains(status)));
    // No server at all is a bad gateway too.
    let none = [nobody().await, nobody().await];
    let spec = table(vec![route("all", "/", to("g"))], vec![group("g", &none)]);
    rig.live.replace(&spec).unwrap();
    assert_eq!(ask(rig.plain, &get("/")).await.status, 502);
    assert_eq!(ask(rig.plain, &get("/")).await.status, 502);
    rig.stop();
}

#[tokio::test]
async fn each_attempt_has_the_whole_limit_of_the_body() {
    let servers = [server("one", Manner::Close).await, server("two", Manner::Echo).await];
    let mut one = group("g", &servers);
    one.servers[0].max_fails = 0;
    let rig = Rig::start(&table(vec![route("all", "/", to("g"))], vec![one]));
    // The limit is 1,000 bytes.
    let body = "x".repeat(600);
    let put = format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 600\r\n\r\n{body}");
    for _ in 0..4 {
        let answer = ask(rig.plain, &put).await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(answer.body.ends_with(&body));
    }
    assert!(counts(&rig).2 > 0);
    rig.stop();
}

#[tokio::test]
async fn a_client_that_is_slow_says_nothing_of_the_servers() {
    let mut slow = route("slow", "/slow", to("g"));
    slow.timeouts.total = Some(Duration::from_millis(50));
    let mut guarded = group("g", &[server("one", Manner::Echo).await]);
    guarded.breaker = Some(BreakerSpec {
        failure_percent: 1,
        requests_min: 1,
        window: Duration::from_secs(60),
        open: Duration::from_secs(600),
        probes: 1,
    });
    let rig = Rig::start(&table(vec![slow, route("all", "/", to("g"))], vec![guarded]));
    let (mut read, mut write) = TcpStream::connect(rig.plain).await.unwrap().into_split();
    let drip = async {
        let mut beat = tokio::time::interval(Duration::from_millis(5));
        let head = b"PUT /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 900\r\n\r\n";
        write.write_all(head).await.unwrap();
        while write.write_all(b"x").await.is_ok() {
            beat.tick().await;
        }
    };
    tokio::select! {
        () = drip => {}
        answer = read_message(&mut read) => {
            assert!(answer.unwrap().0.starts_with("HTTP/1.1 504 "));
        }
    }
    assert_eq!(ask(rig.plain, &get("/")).await.status, 200);
    rig.stop();
}

#[tokio::test]
async fn time_limits_of_a_route_end_a_silent_server() {
    let silent = server("silent", Manner::Silent).await;
    let mut read = route("read", "/read", to("g"));
    read.timeouts.read = Duration::from_millis(50);
    let mut total = route("total", "/total", to("g"));
    total.timeouts.total = Some(Duration::from_millis(50));
    let mut only = group("g", &[silent]);
    only.retries = 0;
    let rig = Rig::start(&table(vec![read, total], vec![only]));
    assert_eq!(ask(rig.plain, &get("/read")).await.status, 504);
    assert_eq!(ask(rig.plain, &get("/total")).await.status, 504);
    rig.stop();
}

#[tokio::test]
async fn a_breaker_leaves_a_failing_group_alone() {
    let failing = server("failing", Manner::Fail).await;
    let mut broken = group("g", &[failing]);
    broken.breaker = Some(BreakerSpec {
        failure_percent: 50,
        requests_min: 3,
        window: Duration::from_secs(60),
        open: Duration::from_secs(600),
        probes: 1,
    });
    let rig = Rig::start(&table(vec![route("all", "/", to("g"))], vec![broken]));
    let mut statuses = Vec::new();
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    for _ in 0..5 {
        statuses.push(ask_on(&mut stream, &get("/")).await.unwrap().status);
    }
    assert_eq!(statuses, [500, 500, 500, 503, 503]);
    rig.stop();
}

#[tokio::test]
async fn checks_take_a_server_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sick = listener.local_addr().unwrap();
    let mut checked = group("g", &[sick, server("two", Manner::Echo).await]);
    checked.check = Some(CheckSpec {
        path: Some("/health".to_owned()),
        interval: Duration::from_millis(1),
        timeout: Duration::from_secs(5),
        rise: 1,
        fall: 2,
    });
    let rig = Rig::start(&table(vec![route("all", "/", to("g"))], vec![checked]));
    // Two checks are answered badly; when the third comes, the server is out.
    for _ in 0..3 {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (head, _) = read_message(&mut stream).await.unwrap();
        assert!(head.starts_with("GET /health HTTP/1.1\r\n"), "{head}");
        stream.write_all(b"HTTP/1.1 503 Sick\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    }
    for _ in 0..3 {
        assert!(ask(rig.plain, &get("/")).await.body.starts_with("two\n"));
    }
    assert_eq!(counts(&rig).0, [0, 3]);
    rig.stop();
}

#[tokio::test]
async fn an_upgrade_is_a_tunnel_however_fast_the_server_is() {
    let socket = server("socket", Manner::Upgrade).await;
    let rig = Rig::start(&table(vec![route("all", "/", to("g"))], vec![group("g", &[socket])]));
    for turn in 0..50 {
        let mut stream = TcpStream::connect(rig.plain).await.unwrap();
        let request = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       \r\n";
        let answer = ask_on(&mut stream, request).await.unwrap();
        assert_eq!(answer.status, 101, "turn {turn}");
        let mut echoed = [0; 5];
        // The last tunnel carries more than the limit of a request's body.
        for _ in 0..if turn < 49 { 2 } else { 300 } {
            stream.write_all(b"hello").await.unwrap();
            stream.read_exact(&mut echoed).await.unwrap_or_else(|_| panic!("turn {turn}"));
            assert_eq!(&echoed, b"hello");
        }
    }
    rig.stop();
}

#[tokio::test]
async fn events_arrive_as_they_are_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let rig = Rig::start(&table(vec![route("all", "/", to("g"))], vec![group("g", &[address])]));
    let mut client = TcpStream::connect(rig.plain).await.unwrap();
    client.write_all(get("/events").as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_message(&mut server).await.unwrap();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    server.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    for event in ["data: 1", "data: 2", "data: 3"] {
        server.write_all(format!("9\r\n{event}\n\n\r\n").as_bytes()).await.unwrap();
        // The next one is sent only when this one is there.
        while !String::from_utf8_lossy(&seen).contains(event) {
            assert_ne!(client.read_buf(&mut seen).await.unwrap(), 0);
        }
    }
    server.write_all(b"0\r\n\r\n").await.unwrap();
    while !seen.ends_with(b"0\r\n\r\n") {
        assert_ne!(client.read_buf(&mut seen).await.unwrap(), 0);
    }
    rig.stop();
}

#[tokio::test]
async fn routes_to_nothing_are_local() {
    let rig = Rig::start(&table(Vec::new(), Vec::new()));
    assert_eq!(ask(rig.plain, &get("/x")).await.body, "local GET /x ");
    let spec = table(vec![route("all", "/", ActionSpec::Local)], Vec::new());
    rig.live.replace(&spec).unwrap();
    assert_eq!(ask(rig.plain, &get("/y")).await.body, "local GET /y ");
    rig.stop();
}
