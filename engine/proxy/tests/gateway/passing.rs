//! Requests that are passed on by the connection's own task: connections that end, clients that
//! leave, read slowly or ask ahead, and limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use truststram_proxy::{GatewayOptions, RouteSpec, TableSpec, UseSpec};

use crate::before::{limits, rate, zone};
use crate::connections::{client, connect, with_tls};
use crate::direct::{WHOLE_WAY, asking};
use crate::passed::through;
use crate::rig::*;

/// A server that counts its connections and, for every second request, ends the connection behind
/// the answer without saying so.
async fn ending() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            for _ in 0..2 {
                if read_message(&mut stream).await.is_none() {
                    break;
                }
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (address, count)
}

#[tokio::test]
async fn connections_are_kept_and_one_that_was_ended_costs_no_request() {
    let (address, count) = ending().await;
    let rig = Rig::start(&through(address));
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    for turn in 1..=10 {
        assert_eq!(ask_on(&mut stream, &get("/")).await.unwrap().status, 200, "{turn}");
    }
    let (live, stats) = (rig.live.clone(), rig.gateway.stats()[0].clone());
    rig.stop();
    assert_eq!((stats.passed.get(), count.load(Ordering::Relaxed)), (10, 5));
    live.each_upstream(0, |_, group, _, servers| {
        assert_eq!((group.retries.get(), servers[0].stats.failures.get()), (0, 0));
        assert_eq!(servers[0].stats.open.get(), 0);
    });
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start(&through(listener.local_addr().unwrap()));
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        let mut client = TcpStream::connect(rig.plain).await.unwrap();
        client.write_all(get("/").as_bytes()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        read_message(&mut server).await.unwrap();
        let (begin, end) = answer.split_at(answer.find("half").unwrap() + 4);
        server.write_all(begin.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"half") && !read.ends_with(b"half\r\n") {
            client.read_buf(&mut read).await.unwrap();
        }
        server.write_all(end.as_bytes()).await.unwrap();
        drop(server);
        let _ = client.read_to_end(&mut read).await;
        let read = String::from_utf8(read).unwrap();
        assert!(read.starts_with("HTTP/1.1 200 OK\r\n") && read.contains("half"), "{read}");
        assert!(!read.ends_with("0\r\n\r\n"), "{read}");
    }
    assert_eq!(rig.gateway.stats()[0].broken.get(), 3);
    rig.stop();
}

#[tokio::test]
async fn an_answer_that_breaks_off_on_a_kept_connection_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start(&through(listener.local_addr().unwrap()));
    let mut client = TcpStream::connect(rig.plain).await.unwrap();
    let request = get("/");
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    for answer in ["5\r\n\r\nwhole", "9\r\n\r\nhalf"] {
        read_message(&mut server).await.unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {answer}");
        server.write_all(answer.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"whole") && !read.ends_with(b"half") {
            client.read_buf(&mut read).await.unwrap();
        }
        if read.ends_with(b"whole") {
            client.write_all(request.as_bytes()).await.unwrap();
        }
    }
    drop(server);
    let _ = client.read_to_end(&mut Vec::new()).await;
    let live = rig.live.clone();
    rig.stop();
    live.each_upstream(0, |_, group, _, servers| {
        let stats = servers[0].stats;
        assert_eq!((stats.requests.get(), stats.failures.get()), (2, 1));
        assert_eq!(group.retries.get(), 0);
    });
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start(&through(listener.local_addr().unwrap()));
    let mut client = TcpStream::connect(rig.plain).await.unwrap();
    client.write_all(get("/").as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_message(&mut server).await.unwrap();
    drop(client);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    let live = rig.live.clone();
    rig.stop();
    live.each_upstream(0, |_, _, _, servers| assert_eq!(servers[0].stats.failures.get(), 0));
}

#[tokio::test]
async fn what_is_asked_ahead_is_answered_next() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start(&through(listener.local_addr().unwrap()));
    let mut client = TcpStream::connect(rig.plain).await.unwrap();
    client.write_all(get("/first").as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_message(&mut server).await.unwrap();
    // In two parts; the first one is read while the server is waited for.
    let next = get("/next");
    client.write_all(&next.as_bytes()[..9]).await.unwrap();
    tokio::task::yield_now().await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst";
    server.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(read_message(&mut client).await.unwrap().1, "first");
    client.write_all(&next.as_bytes()[9..]).await.unwrap();
    assert_eq!(read_message(&mut client).await.unwrap().1, "next");
    rig.stop();
}

#[tokio::test]
async fn a_large_answer_is_sent_whole_in_a_drain_to_a_client_that_reads_slowly() {
    let large = crate::direct::origin("", 1 << 20).await;
    let rig = Rig::start(&through(large));
    let mut slow = TcpStream::connect(rig.plain).await.unwrap();
    slow.write_all(get("/").as_bytes()).await.unwrap();
    let mut read = vec![0; 1 << 10];
    slow.read_exact(&mut read).await.unwrap();
    let draining = Draining::begin(rig.gateway);
    slow.read_to_end(&mut read).await.unwrap();
    assert_eq!(draining.end().await.connections_cut, 0);
    let end = read.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(read.len() - end, 3 << 20);
}

#[tokio::test]
async fn a_client_that_does_not_read_frees_its_server() {
    let large = crate::direct::origin("", 4 << 20).await;
    let options = GatewayOptions { write_timeout: Duration::from_millis(50), ..options() };
    let rig = Rig::start_with(&through(large), options);
    let mut idle = TcpStream::connect(rig.plain).await.unwrap();
    idle.write_all(get("/").as_bytes()).await.unwrap();
    let stats = rig.gateway.stats()[0].clone();
    while stats.broken.get() == 0 {
        tokio::task::yield_now().await;
    }
    rig.live.each_upstream(0, |_, _, _, servers| {
        assert_eq!(servers[0].stats.failures.get(), 0, "it is not the server's fault");
    });
    rig.stop();
}

#[tokio::test]
async fn limits_hold_and_say_the_same() {
    let zones = vec![zone("own", "header:x-who", Some("1r/s"))];
    let echo = server("s", Manner::Echo).await;
    let all = RouteSpec { limits: rate("own", 2), ..route("all", "/", to("g")) };
    let spec = TableSpec {
        limits: limits(zones, UseSpec::default()),
        ..table(vec![all], vec![group("g", &[echo])])
    };
    let rig = Rig::start(&spec);
    for who in ["a", "b"] {
        let way = if who == "a" { "" } else { WHOLE_WAY };
        let mut answers = Vec::new();
        for _ in 0..4 {
            let answer = ask(rig.plain, &asking("GET /", &format!("x-who: {who}\r\n{way}"))).await;
            answers.push((answer.status, answer.header("ratelimit").map(str::to_owned)));
        }
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.0).collect();
        assert_eq!(statuses, [200, 200, 200, 429], "{who}");
        assert!(answers.iter().all(|answer| answer.1.is_some()), "{who}");
    }
    let stats = rig.gateway.stats()[0].clone();
    rig.stop();
    assert_eq!(stats.passed.get(), 3);
}

#[tokio::test]
async fn by_tls_too() {
    let echo = server("s", Manner::Echo).await;
    let mut spec = with_tls(&["a"]);
    spec.routes = vec![route("all", "/", to("g"))];
    spec.upstreams = vec![group("g", &[echo])];
    let rig = Rig::start(&spec);
    let mut stream = connect(&rig, &client(&["http/1.1"]), "a.test").await;
    for _ in 0..3 {
        let answer = ask_on(&mut stream, &asking("GET /", "")).await.unwrap();
        assert!(answer.body.to_lowercase().contains("x-forwarded-proto: https"));
        assert!(answer.header("strict-transport-security").is_some());
    }
    let stats = rig.gateway.stats()[1].clone();
    rig.stop();
    assert_eq!(stats.passed.get(), 3);
}
