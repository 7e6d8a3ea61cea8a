//! Kept connections that a server ends just when they are used again: the request goes on by a new
//! one, whatever budget there is, and nothing is held against the server.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use truststram_proxy::{GroupSpec, HedgeSpec, TableSpec};

use crate::cached::{WHOLE_WAY, asking};
use crate::hedging::{Held, heard, read_by_now, say, servers};
use crate::rig::*;

/// A group that may try nothing again.
fn strict(servers: &[SocketAddr]) -> GroupSpec {
    GroupSpec { retries: 0, retry_budget_percent: 0, ..group("g", servers) }
}

fn behind(group: GroupSpec) -> TableSpec {
    let here = crate::direct::fixed("fixed", "/fixed", 200, "here");
    table(vec![here, route("all", "/", to("g"))], vec![group])
}

fn failures(rig: &Rig) -> Vec<u64> {
    servers(&rig.live).iter().map(|server| server[1]).collect()
}

#[tokio::test]
async fn a_connection_that_ends_when_it_is_used_again_costs_no_request() {
    for fields in ["", WHOLE_WAY] {
        let server = Held::new().await;
        let rig = Rig::start(&behind(strict(&[server.address()])));
        let mut client = TcpStream::connect(rig.plain).await.unwrap();
        let request = asking("/a", fields);
        client.write_all(request.as_bytes()).await.unwrap();
        let mut kept = server.asked().await;
        say(&mut kept, 200, "one").await;
        assert_eq!(heard(&mut client).await, (200, "one".to_owned()));
        for round in 0..3 {
            client.write_all(request.as_bytes()).await.unwrap();
            read_message(&mut kept).await.unwrap();
            drop(kept);
            kept = server.asked().await;
            say(&mut kept, 200, "new").await;
            assert_eq!(heard(&mut client).await, (200, "new".to_owned()), "{fields} {round}");
        }
        assert_eq!(failures(&rig), [0], "{fields}");
        // A new one that ends so is a failure.
        drop(kept);
        client.write_all(request.as_bytes()).await.unwrap();
        drop(server.asked().await);
        assert_eq!(heard(&mut client).await.0, 502, "{fields}");
        assert_eq!(failures(&rig), [1], "{fields}");
        rig.stop();
    }
}

#[tokio::test]
async fn many_connections_that_end_cost_no_request() {
    let server = Held::new().await;
    let rig = Rig::start(&behind(strict(&[server.address()])));
    let (mut clients, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let mut client = TcpStream::connect(rig.plain).await.unwrap();
        client.write_all(get("/").as_bytes()).await.unwrap();
        kept.push(server.asked().await);
        clients.push(client);
    }
    for (client, kept) in clients.iter_mut().zip(&mut kept) {
        say(kept, 200, "one").await;
        assert_eq!(heard(client).await.0, 200);
    }
    // The one that was used last is used again; after that one, none of those that are left.
    clients[0].write_all(get("/").as_bytes()).await.unwrap();
    let mut last = kept.pop().unwrap();
    read_message(&mut last).await.unwrap();
    drop(last);
    let mut new = server.asked().await;
    say(&mut new, 200, "new").await;
    assert_eq!(heard(&mut clients[0]).await, (200, "new".to_owned()));
    assert_eq!(failures(&rig), [0]);
    rig.stop();
}

/// A gateway with a kept connection to each of two servers, which from now on asks the second one
/// as soon as it can, and both ends of these.
async fn both_kept() -> (Rig, [Held; 2], [TcpStream; 2]) {
    let held = [Held::new().await, Held::new().await];
    let addresses = held.each_ref().map(Held::address);
    let rig = Rig::start(&behind(group("g", &addresses)));
    let mut kept = Vec::new();
    for server in &held {
        let mut client = TcpStream::connect(rig.plain).await.unwrap();
        client.write_all(get("/").as_bytes()).await.unwrap();
        let mut asked = server.asked().await;
        say(&mut asked, 200, "first").await;
        assert_eq!(heard(&mut client).await.0, 200);
        kept.push(asked);
    }
    let hedge = HedgeSpec { after: Duration::from_millis(1), budget_percent: 100 };
    let hedged = GroupSpec { hedge: Some(hedge), ..group("g", &addresses) };
    rig.live.replace(&behind(hedged)).unwrap();
    (rig, held, kept.try_into().unwrap())
}

#[tokio::test]
async fn of_two_that_are_asked_each_may_meet_one() {
    for ends in [0, 1] {
        let (rig, _held, kept) = both_kept().await;
        let mut client = TcpStream::connect(rig.plain).await.unwrap();
        client.write_all(get("/").as_bytes()).await.unwrap();
        let mut asked = kept.map(Some);
        for stream in asked.iter_mut().flatten() {
            read_message(stream).await.unwrap();
        }
        asked[ends] = None;
        read_by_now(&rig).await;
        say(asked[1 - ends].as_mut().unwrap(), 200, "well").await;
        assert_eq!(heard(&mut client).await, (200, "well".to_owned()), "{ends}");
        assert_eq!(failures(&rig), [0, 0], "{ends}");
        rig.stop();
    }
}

#[tokio::test]
async fn where_both_meet_one_a_new_one_is_made() {
    for order in [[0, 1], [1, 0]] {
        let (rig, held, kept) = both_kept().await;
        let mut client = TcpStream::connect(rig.plain).await.unwrap();
        client.write_all(get("/").as_bytes()).await.unwrap();
        let mut asked = kept.map(Some);
        for stream in asked.iter_mut().flatten() {
            read_message(stream).await.unwrap();
        }
        for ends in order {
            asked[ends] = None;
            read_by_now(&rig).await;
        }
        let mut new = tokio::select! {
            new = held[0].asked() => new,
            new = held[1].asked() => new,
        };
        say(&mut new, 200, "new").await;
        assert_eq!(heard(&mut client).await, (200, "new".to_owned()), "{order:?}");
        assert_eq!(failures(&rig), [0, 0], "{order:?}");
        rig.stop();
    }
}
