//! More requests than can be done: refused by their priority under a strain that the test says, and
//! made to wait in turns where too many are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use truststram_proxy::{
    ActionSpec, GatewayOptions, OverloadSpec, RoutePriority, RouteSpec, Strain, TableSpec,
};

use crate::rig::*;

pub fn spec(in_flight_max: usize, queue_max: usize, wait: Duration) -> OverloadSpec {
    OverloadSpec {
        strain_max: Strain { cpu_percent: Some(40), ..Strain::default() },
        in_flight_max,
        queue_max,
        queue_wait: wait,
        queue_key: "header:x-key".parse().unwrap(),
    }
}

fn of(priority: RoutePriority, name: &str, path: &str, action: ActionSpec) -> RouteSpec {
    RouteSpec { priority, ..route(name, path, action) }
}

fn fixed() -> ActionSpec {
    ActionSpec::Answer { status: 200, body: "fixed".to_owned() }
}

#[tokio::test]
async fn low_priorities_are_refused_under_strain() {
    let cpu = Arc::new(AtomicU32::new(39));
    let source = cpu.clone();
    let strain = Arc::new(move || Strain {
        cpu_percent: Some(source.load(Ordering::Relaxed)),
        ..Strain::default()
    });
    let one = server("one", Manner::Echo).await;
    let routes = vec![
        of(RoutePriority::Low, "low", "/low", fixed()),
        of(RoutePriority::Low, "up", "/up", to("g")),
        of(RoutePriority::High, "high", "/high", fixed()),
        route("all", "/", fixed()),
    ];
    let overload = Some(spec(0, 0, Duration::from_secs(1)));
    let spec = TableSpec { overload, ..table(routes, vec![group("g", &[one])]) };
    let rig = Rig::start_with(&spec, GatewayOptions { strain, ..options() });
    let statuses = async || {
        let mut found = Vec::new();
        for path in ["/low", "/up", "/high", "/"] {
            found.push(ask(rig.plain, &get(path)).await.status);
        }
        found
    };
    assert_eq!(statuses().await, [200; 4]);
    assert_eq!(rig.gateway.stats()[0].direct.get(), 3);
    cpu.store(40, Ordering::Relaxed);
    rig.live.replace(&spec).unwrap();
    while ask(rig.plain, &get("/low")).await.status == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(statuses().await, [503, 503, 200, 200]);
    let refused = ask(rig.plain, &get("/low")).await;
    assert_eq!((refused.body.as_str(), refused.header("retry-after")), ("overloaded", Some("5")));
    cpu.store(0, Ordering::Relaxed);
    rig.live.replace(&spec).unwrap();
    while ask(rig.plain, &get("/low")).await.status != 200 {
        tokio::task::yield_now().await;
    }
    assert!(rig.live.overload().shed.get() >= 3);
    rig.stop();
}

/// A gateway in front of a server that answers when the test says so.
async fn held(overload: OverloadSpec) -> (Rig, TcpListener) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let servers = [upstream.local_addr().unwrap()];
    let routes = vec![
        of(RoutePriority::High, "high", "/high", fixed()),
        of(RoutePriority::Normal, "fixed", "/fixed", fixed()),
        route("up", "/", to("g")),
    ];
    let spec = TableSpec { overload: Some(overload), ..table(routes, vec![group("g", &servers)]) };
    (Rig::start(&spec), upstream)
}

async fn asking(rig: &Rig, path: &str, key: &str) -> TcpStream {
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: a.test\r\nx-key: {key}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn answer(upstream: &mut TcpStream) -> String {
    let (head, _) = read_message(upstream).await.unwrap();
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    header(&head, "x-key").unwrap().to_owned()
}

#[tokio::test]
async fn those_that_wait_take_turns_by_key() {
    let (rig, upstream) = held(spec(1, 10, Duration::from_secs(600))).await;
    let first = asking(&rig, "/first", "a").await;
    let (mut server, _) = upstream.accept().await.unwrap();
    let mut streams = vec![first];
    for (count, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
        streams.push(asking(&rig, "/next", key).await);
        while rig.live.overload().waiting.get() < count {
            tokio::task::yield_now().await;
        }
    }
    // What is at hand waits, too, and is not answered before the others; what is urgent is.
    let fixed = asking(&rig, "/fixed", "d").await;
    while rig.live.overload().waiting.get() < 5 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(rig.plain, &get("/high")).await.status, 200);
    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(answer(&mut server).await);
    }
    assert_eq!(order, ["a", "a", "b", "c", "a"]);
    for mut stream in streams.into_iter().chain([fixed]) {
        assert!(read_message(&mut stream).await.unwrap().0.starts_with("HTTP/1.1 200 "));
    }
    let stats = rig.live.clone();
    rig.stop();
    let stats = stats.overload();
    assert_eq!((stats.waited.get(), stats.in_flight.get(), stats.waiting.get()), (5, 0, 0));
}

#[tokio::test]
async fn a_queue_has_an_end_in_length_and_in_time() {
    let (rig, upstream) = held(spec(1, 1, Duration::from_millis(50))).await;
    let _first = asking(&rig, "/first", "a").await;
    let (_server, _) = upstream.accept().await.unwrap();
    // One waits too long, and of two at once one finds no room.
    let both = [asking(&rig, "/next", "a").await, asking(&rig, "/next", "a").await];
    for mut stream in both {
        let (head, body) = read_message(&mut stream).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 503 ") && body == "overloaded", "{head}");
        assert_eq!(header(&head, "retry-after"), Some("1"));
    }
    let stats = rig.live.overload();
    assert_eq!(stats.late.get() + stats.full.get(), 2);
    assert!(stats.late.get() >= 1);
    rig.gateway.drain(Duration::ZERO).unwrap();
}
