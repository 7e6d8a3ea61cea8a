//! One connection and its requests, one after the other: in pieces, of all kinds, and in a drain.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use truststram_proxy::{ActionSpec, GatewayOptions};

use crate::direct::{caching, caching_with, fixed};
use crate::rig::*;

#[tokio::test]
async fn requests_of_both_kinds_share_a_connection() {
    let routes = vec![fixed("one", "/one", 200, "hello"), route("local", "/", ActionSpec::Local)];
    let options = GatewayOptions { keepalive_requests: Some(5), ..options() };
    let rig = Rig::start_with(&table(routes, Vec::new()), options);
    for last in ["/one", "/local"] {
        let mut stream = TcpStream::connect(rig.plain).await.unwrap();
        for path in ["/one", "/local", "/local", "/one", "/one"] {
            let answer = ask_on(&mut stream, &get(path)).await.unwrap();
            assert_eq!(answer.header("connection"), Some("keep-alive"), "{path}");
        }
        let answer = ask_on(&mut stream, &get(last)).await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{last}");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "{last}");
    }
    rig.stop();
}

#[tokio::test]
async fn two_requests_at_once_are_left_to_pingora() {
    let rig = Rig::start(&table(vec![fixed("one", "/one", 200, "hello")], Vec::new()));
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    let twice = get("/one").repeat(2);
    assert_eq!(ask_on(&mut stream, &twice).await.unwrap().body, "hello");
    assert_eq!(rig.gateway.stats()[0].direct.get(), 0);
    // In two parts, too.
    let (first, second) = twice.split_at(10);
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    stream.write_all(first.as_bytes()).await.unwrap();
    assert_eq!(ask_on(&mut stream, second).await.unwrap().body, "hello");
    rig.stop();
}

#[tokio::test]
async fn a_head_in_pieces_is_waited_for_here() {
    let rig = Rig::start(&table(vec![fixed("one", "/one", 200, "hello")], Vec::new()));
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for _ in 0..3 {
        for byte in get("/one").as_bytes() {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(read_message(&mut stream).await.unwrap().1, "hello");
    }
    assert_eq!(rig.gateway.stats()[0].direct.get(), 3);
    // What cannot become a head is refused at once.
    for bad in ["GET /one HTTP/1.1\r\nhost : a\r\n", "\x16\x03\x01"] {
        let mut stream = TcpStream::connect(rig.plain).await.unwrap();
        stream.write_all(bad.as_bytes()).await.unwrap();
        let mut read = [0; 13];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"HTTP/1.1 400 ", "{bad:?}");
    }
    rig.stop();
}

#[tokio::test]
async fn a_request_that_has_begun_is_answered_in_a_drain() {
    let rig = Rig::start(&table(vec![fixed("one", "/one", 200, "hello")], Vec::new()));
    let request = get("/one");
    let (begin, end) = request.as_bytes().split_at(20);
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
    assert_eq!((body.as_str(), header(&head, "connection")), ("hello", Some("close")));
    assert_eq!(draining.end().await.connections_cut, 0);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_sent_whole_in_a_drain() {
    let (rig, _, _) = caching("cache-control: max-age=60\r\n", 1 << 20).await;
    assert_eq!(ask(rig.plain, &get("/a")).await.status, 200);
    let mut slow = TcpStream::connect(rig.plain).await.unwrap();
    slow.write_all(get("/a").as_bytes()).await.unwrap();
    let mut read = vec![0; 1 << 10];
    slow.read_exact(&mut read).await.unwrap();
    let mut idle = TcpStream::connect(rig.plain).await.unwrap();
    assert_eq!(ask_on(&mut idle, &get("/a")).await.unwrap().body.len(), 3 << 20);
    let draining = Draining::begin(rig.gateway);
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    slow.read_to_end(&mut read).await.unwrap();
    assert_eq!(draining.end().await.connections_cut, 0);
    let end = read.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(read.len() - end, 3 << 20);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let fields = "cache-control: max-age=60\r\n";
    let options = GatewayOptions { write_timeout: Duration::from_millis(50), ..options() };
    let (rig, _, _) = caching_with(options, fields, 4 << 20).await;
    assert_eq!(ask(rig.plain, &get("/a")).await.status, 200);
    let mut idle = TcpStream::connect(rig.plain).await.unwrap();
    idle.write_all(get("/a").as_bytes()).await.unwrap();
    let stats = rig.gateway.stats()[0].clone();
    while stats.broken.get() == 0 {
        tokio::task::yield_now().await;
    }
    let mut read = Vec::new();
    let _ = idle.read_to_end(&mut read).await;
    assert!(read.len() < 12 << 20);
    rig.stop();
}
