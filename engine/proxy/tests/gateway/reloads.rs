//! What a reload exchanges, and what it leaves alone.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use truststram_proxy::{ActionSpec, bind};

use crate::connections::{client, connect, with_tls};
use crate::rig::*;

#[tokio::test]
async fn requests_under_way_end_as_they_began() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = listener.local_addr().unwrap();
    let old = table(vec![route("all", "/", to("old"))], vec![group("old", &[slow])]);
    let rig = Rig::start(&old);
    let mut client = TcpStream::connect(rig.plain).await.unwrap();
    client.write_all(get("/").as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_message(&mut server).await.unwrap();

    let new = ActionSpec::Answer { status: 200, body: "new".to_owned() };
    rig.live.replace(&table(vec![route("all", "/", new)], Vec::new())).unwrap();
    assert_eq!(ask(rig.plain, &get("/")).await.body, "new");
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold").await.unwrap();
    assert_eq!(read_message(&mut client).await.unwrap().1, "old");
    // The next request of the same connection goes by the new table.
    assert_eq!(ask_on(&mut client, &get("/")).await.unwrap().body, "new");
    assert_eq!(rig.live.reloads(), 1);
    rig.stop();
}

#[tokio::test]
async fn a_table_with_a_fault_changes_nothing() {
    let rig = Rig::start(&with_tls(&["a"]));
    let mut bad = with_tls(&["b", "none"]);
    bad.routes = vec![route("all", "/", to("nowhere"))];
    bad.trusted_proxies = vec!["x".to_owned()];
    let faults = rig.live.replace(&bad).unwrap_err();
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    let expected = ["routes[0].upstream", "gateway.trusted_proxies", "gateway.certificates[1]"];
    assert_eq!(keys, expected);
    assert_eq!(ask(rig.plain, &get("/")).await.status, 200);
    let mut stream = connect(&rig, &client(&[]), "a.test").await;
    assert_eq!(ask_on(&mut stream, &get("/")).await.unwrap().status, 200);
    rig.live.replace(&with_tls(&["b"])).unwrap();
    // Open connections stay, new ones see the new certificate.
    assert_eq!(ask_on(&mut stream, &get("/")).await.unwrap().status, 200);
    connect(&rig, &client(&[]), "b.test").await;
    drop(stream);
    rig.stop();
}

#[tokio::test]
async fn an_address_is_exchanged_while_it_serves() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = upstream.local_addr().unwrap();
    let fixed = ActionSpec::Answer { status: 200, body: "fixed".to_owned() };
    let routes = vec![route("slow", "/slow", to("g")), route("all", "/", fixed)];
    let rig = Rig::start(&table(routes, vec![group("g", &[slow])]));
    let mut busy = TcpStream::connect(rig.plain).await.unwrap();
    busy.write_all(get("/slow").as_bytes()).await.unwrap();
    let (mut server, _) = upstream.accept().await.unwrap();
    read_message(&mut server).await.unwrap();
    let mut idle = TcpStream::connect(rig.plain).await.unwrap();
    assert_eq!(ask_on(&mut idle, &get("/")).await.unwrap().status, 200);

    let new = Arc::new(bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let address = new.address();
    rig.doors[0].exchange(Some(new));
    assert_eq!(ask(address, &get("/")).await.body, "fixed");
    // The old address lets nobody in: idle connections end, and the one that is under way does
    // with its answer.
    assert!(ask_on(&mut idle, &get("/")).await.is_none());
    while TcpStream::connect(rig.plain).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold").await.unwrap();
    let (head, body) = read_message(&mut busy).await.unwrap();
    assert_eq!(body, "old", "{head}");
    assert!(ask_on(&mut busy, &get("/")).await.is_none());
    // Nobody at all, and somebody again.
    rig.doors[0].exchange(None);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let third = Arc::new(bind("127.0.0.1:0".parse().unwrap()).unwrap());
    rig.doors[0].exchange(Some(third.clone()));
    assert_eq!(ask(third.address(), &get("/")).await.body, "fixed");
    assert_eq!(rig.stop().connections_cut, 0);
}
