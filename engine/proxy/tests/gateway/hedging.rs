//! Requests for which a second server is asked: which answer is taken, what becomes of the other
//! one, and when nobody else is asked. A server answers when the test says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use truststram_base::SystemClock;
use truststram_machine::{LogFile, RingMode, Rotation, probe};
use truststram_proxy::{
    AccessSpec, Escape, FormatSpec, GroupSpec, HedgeSpec, Live, RouteSpec, TableSpec,
};

use crate::direct::fixed;
use crate::rig::*;

/// A server that the test speaks for.
pub struct Held(TcpListener);

impl Held {
    pub async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next connection, behind the request that came by it.
    pub async fn asked(&self) -> TcpStream {
        let (mut stream, _) = self.0.accept().await.unwrap();
        read_message(&mut stream).await.unwrap();
        stream
    }
}

/// A gateway whose group `g` has so many servers, and the servers.
async fn rig<const N: usize>(change: impl Fn(&mut GroupSpec)) -> (Rig, [Held; N]) {
    let mut held = Vec::new();
    for _ in 0..N {
        held.push(Held::new().await);
    }
    let addresses: Vec<SocketAddr> = held.iter().map(Held::address).collect();
    let mut spec = hedged("g", &addresses);
    change(&mut spec);
    let rig = Rig::start(&behind(vec![route("all", "/", to("g"))], vec![spec]));
    (rig, held.try_into().unwrap_or_else(|_| panic!("as many as were made")))
}

fn behind(mut routes: Vec<RouteSpec>, upstreams: Vec<GroupSpec>) -> TableSpec {
    routes.push(fixed("fixed", "/fixed", 200, "here"));
    table(routes, upstreams)
}

/// A group that asks a second server as soon as it can.
fn hedged(name: &str, servers: &[SocketAddr]) -> GroupSpec {
    let hedge = HedgeSpec { after: Duration::from_millis(1), budget_percent: 100 };
    GroupSpec { hedge: Some(hedge), retry_budget_percent: 100, ..group(name, servers) }
}

async fn client(rig: &Rig, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

pub async fn say(server: &mut TcpStream, status: u16, body: &str) {
    let answer = format!("HTTP/1.1 {status} S\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    server.write_all(answer.as_bytes()).await.unwrap();
}

/// The status and the body that the client gets.
pub async fn heard(client: &mut TcpStream) -> (u16, String) {
    let (head, body) = read_message(client).await.unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

/// What servers said before this the gateway has read behind it, for it has one network thread.
pub async fn read_by_now(rig: &Rig) {
    assert_eq!(ask(rig.plain, &get("/fixed")).await.body, "here");
}

async fn is_closed(server: &mut TcpStream) -> bool {
    server.read(&mut [0]).await.unwrap_or(0) == 0
}

/// Of group `name`: hedges, those that won, those refused, and retries.
fn hedges(live: &Live, name: &str) -> [u64; 4] {
    let mut counts = [0; 4];
    live.each_upstream(0, |group, stats, _, _| {
        if group == name {
            let all = [&stats.hedges, &stats.hedges_won, &stats.hedges_refused, &stats.retries];
            counts = all.map(|count| count.get());
        }
    });
    counts
}

/// Of each server of the only group: requests, failures, and those that are open.
pub fn servers(live: &Live) -> Vec<[u64; 3]> {
    let mut counts = Vec::new();
    live.each_upstream(0, |_, _, _, servers| {
        let stats = servers.iter().map(|server| server.stats);
        let count =
            stats.map(|stats| [stats.requests.get(), stats.failures.get(), stats.open.get()]);
        counts = count.collect();
    });
    counts
}

/// What the gateway did, once nothing is under way any more.
fn counted(rig: Rig) -> ([u64; 4], Vec<[u64; 3]>) {
    let live = rig.live.clone();
    rig.stop();
    (hedges(&live, "g"), servers(&live))
}

#[tokio::test]
async fn the_second_server_wins_and_its_connection_is_kept() {
    let (rig, [one, two]) = rig(|_| {}).await;
    let mut client = client(&rig, &get("/")).await;
    let mut first = one.asked().await;
    let mut second = two.asked().await;
    say(&mut second, 200, "two").await;
    assert_eq!(heard(&mut client).await, (200, "two".to_owned()));
    assert!(is_closed(&mut first).await);
    assert_eq!(hedges(&rig.live, "g"), [1, 1, 0, 0]);
    // Now it is the second one's turn.
    client.write_all(get("/").as_bytes()).await.unwrap();
    read_message(&mut second).await.unwrap();
    say(&mut second, 200, "again").await;
    assert_eq!(heard(&mut client).await, (200, "again".to_owned()));
    let ([_, won, refused, retries], servers) = counted(rig);
    assert_eq!([won, refused, retries], [1, 0, 0]);
    assert!(servers.iter().all(|server| server[1..] == [0, 0]), "{servers:?}");
}

#[tokio::test]
async fn the_first_server_wins_after_the_second_was_asked() {
    let (rig, [one, two]) = rig(|_| {}).await;
    let mut client = client(&rig, &get("/")).await;
    let mut first = one.asked().await;
    let mut second = two.asked().await;
    say(&mut first, 200, "one").await;
    assert_eq!(heard(&mut client).await, (200, "one".to_owned()));
    assert!(is_closed(&mut second).await);
    // The second one is asked first, on a new connection; the first one's was kept.
    client.write_all(get("/").as_bytes()).await.unwrap();
    let mut other = two.asked().await;
    read_message(&mut first).await.unwrap();
    say(&mut first, 404, "none").await;
    assert_eq!(heard(&mut client).await, (404, "none".to_owned()));
    assert!(is_closed(&mut other).await);
    assert_eq!(counted(rig), ([2, 1, 0, 0], vec![[2, 0, 0], [2, 0, 0]]));
}

#[tokio::test]
async fn answers_of_all_forms_are_passed_on_whole() {
    let long = "x".repeat(300_000);
    let with_length = format!("HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n{long}");
    let chunks =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n493e0\r\n{long}\r\n");
    for (begin, end) in [(with_length, ""), (chunks, "0\r\n\r\n")] {
        let (rig, [one, two]) = rig(|_| {}).await;
        let mut client = client(&rig, &get("/")).await;
        let _first = one.asked().await;
        let mut second = two.asked().await;
        let answer = async move {
            second.write_all(begin.as_bytes()).await.unwrap();
            second.write_all(end.as_bytes()).await.unwrap();
            second
        };
        let (_second, (status, body)) = tokio::join!(answer, heard(&mut client));
        let count = body.matches('x').count();
        assert_eq!((status, count, body.ends_with(end)), (200, 300_000, true));
        assert_eq!(counted(rig).0, [1, 1, 0, 0]);
    }
    // One to HEAD has a length and no body.
    let (rig, [one, two]) = rig(|_| {}).await;
    let mut client = client(&rig, "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let _first = one.asked().await;
    let mut second = two.asked().await;
    say(&mut second, 200, "").await;
    assert_eq!(heard(&mut client).await.0, 200);
    assert_eq!(counted(rig).0, [1, 1, 0, 0]);
}

#[tokio::test]
async fn two_that_fail_are_a_bad_gateway() {
    for order in [[0, 1], [1, 0]] {
        let (rig, [one, two]) = rig(|_| {}).await;
        let mut client = client(&rig, &get("/")).await;
        let mut asked = [Some(one.asked().await), Some(two.asked().await)];
        for index in order {
            asked[index] = None;
            read_by_now(&rig).await;
        }
        assert_eq!(heard(&mut client).await.0, 502, "{order:?}");
        assert_eq!(rig.gateway.stats()[0].broken.get(), 1);
        assert_eq!(counted(rig), ([1, 0, 0, 0], vec![[1, 1, 0], [1, 1, 0]]), "{order:?}");
    }
}

#[tokio::test]
async fn a_third_server_is_asked_only_when_both_failed() {
    let (rig, [one, two, three]) = rig(|group| group.retries = 2).await;
    let mut client = client(&rig, &get("/")).await;
    let first = one.asked().await;
    let second = two.asked().await;
    drop(first);
    read_by_now(&rig).await;
    assert_eq!(servers(&rig.live), [[1, 1, 0], [1, 0, 1], [0, 0, 0]]);
    drop(second);
    let mut third = three.asked().await;
    say(&mut third, 200, "three").await;
    assert_eq!(heard(&mut client).await, (200, "three".to_owned()));
    assert_eq!(counted(rig), ([1, 0, 0, 1], vec![[1, 1, 0], [1, 1, 0], [1, 0, 0]]));
}

#[tokio::test]
async fn one_that_fails_leaves_the_other_alone() {
    for fails in [0, 1] {
        let (rig, [one, two]) = rig(|_| {}).await;
        let mut client = client(&rig, &get("/")).await;
        let mut asked = [Some(one.asked().await), Some(two.asked().await)];
        asked[fails] = None;
        read_by_now(&rig).await;
        say(asked[1 - fails].as_mut().unwrap(), 200, "well").await;
        assert_eq!(heard(&mut client).await, (200, "well".to_owned()), "{fails}");
        let (counts, servers) = counted(rig);
        assert_eq!(counts, [1, u64::from(fails == 0), 0, 0]);
        assert_eq!((servers[fails][1], servers[1 - fails][1]), (1, 0));
    }
}

#[tokio::test]
async fn a_second_server_that_cannot_be_reached_costs_nothing() {
    let one = Held::new().await;
    let spec = hedged("g", &[one.address(), nobody().await]);
    let rig = Rig::start(&behind(vec![route("all", "/", to("g"))], vec![spec]));
    let mut client = client(&rig, &get("/")).await;
    let mut first = one.asked().await;
    while servers(&rig.live)[1][1] == 0 {
        tokio::task::yield_now().await;
    }
    say(&mut first, 200, "one").await;
    assert_eq!(heard(&mut client).await, (200, "one".to_owned()));
    assert_eq!(counted(rig), ([1, 0, 0, 0], vec![[1, 0, 0], [1, 1, 0]]));
}

#[tokio::test]
async fn a_failure_does_not_win_while_the_other_one_is_open() {
    // Who says 503 first, what the other one does, and what the client gets.
    let cases = [
        (1, Some(200), (200, "last")),
        (0, Some(200), (200, "last")),
        (1, Some(500), (503, "early")),
        (0, Some(500), (503, "early")),
        (1, None, (503, "early")),
        (0, None, (503, "early")),
    ];
    for (early, last, expected) in cases {
        let (rig, [one, two]) = rig(|_| {}).await;
        let mut client = client(&rig, &get("/")).await;
        let mut asked = [Some(one.asked().await), Some(two.asked().await)];
        say(asked[early].as_mut().unwrap(), 503, "early").await;
        read_by_now(&rig).await;
        let mut other = asked[1 - early].take();
        match (last, &mut other) {
            (Some(status), Some(other)) => say(other, status, "last").await,
            _ => other = None,
        }
        let (status, body) = heard(&mut client).await;
        assert_eq!((status, &*body), expected, "{early} {last:?}");
        drop(other);
        let (counts, servers) = counted(rig);
        let won = usize::from(expected.0 == 503) ^ (1 - early);
        assert_eq!(counts, [1, won as u64, 0, 0], "{early} {last:?}");
        let failures = [servers[0][1], servers[1][1]];
        assert_eq!(failures[1 - early], u64::from(last.is_none()), "{early} {last:?}");
        assert_eq!((failures[early], servers[0][2], servers[1][2]), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_both_servers() {
    let (rig, [one, two]) = rig(|_| {}).await;
    let client = client(&rig, &get("/")).await;
    let mut asked = [one.asked().await, two.asked().await];
    drop(client);
    for server in &mut asked {
        assert!(is_closed(server).await);
    }
    assert_eq!(counted(rig), ([1, 0, 0, 0], vec![[1, 0, 0], [1, 0, 0]]));
}

#[tokio::test]
async fn no_budget_no_second_server() {
    for (own, of_retries) in [(0, 100), (100, 0)] {
        let (rig, [one, _two]) = rig(|group| {
            group.retry_budget_percent = of_retries;
            group.hedge.as_mut().unwrap().budget_percent = own;
        })
        .await;
        let mut client = client(&rig, &get("/")).await;
        let mut first = one.asked().await;
        while hedges(&rig.live, "g")[2] == 0 {
            tokio::task::yield_now().await;
        }
        say(&mut first, 200, "one").await;
        assert_eq!(heard(&mut client).await, (200, "one".to_owned()));
        assert_eq!(counted(rig), ([0, 0, 1, 0], vec![[1, 0, 0], [0, 0, 0]]));
    }
}

#[tokio::test]
async fn whoever_has_no_second_server_is_not_asked_twice() {
    let (one, two) = (Held::new().await, Held::new().await);
    let both = [one.address(), two.address()];
    let single = hedged("single", &both[..1]);
    let (mut drained, mut backed, mut never) =
        (hedged("drained", &both), hedged("backed", &both), hedged("never", &both));
    drained.servers[1].drain = true;
    backed.servers[1].backup = true;
    never.retries = 0;
    let names = ["single", "drained", "backed", "never", "posted"];
    let routes = names.map(|name| route(name, &format!("/{name}"), to(name))).to_vec();
    let (first, second) = (Held::new().await, Held::new().await);
    let witness = hedged("g", &[first.address(), second.address()]);
    let posted = hedged("posted", &both);
    let upstreams = vec![single, drained, backed, never, posted, witness];
    let routes = [routes, vec![route("all", "/", to("g"))]].concat();
    let rig = Rig::start(&behind(routes, upstreams));
    let mut asking = Vec::new();
    for name in names {
        let request = match name {
            "posted" => "POST /posted HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx".to_owned(),
            name => get(&format!("/{name}")),
        };
        let client = client(&rig, &request).await;
        asking.push((client, one.asked().await));
    }
    // Once this one is asked twice, it is too late for all that came before it.
    let _last = client(&rig, &get("/")).await;
    let (_first, _second) = (first.asked().await, second.asked().await);
    for (name, (client, server)) in names.iter().zip(&mut asking) {
        say(server, 200, name).await;
        assert_eq!(heard(client).await, (200, (*name).to_owned()));
        assert_eq!(hedges(&rig.live, name), [0; 4], "{name}");
    }
    assert_eq!(hedges(&rig.live, "g"), [1, 0, 0, 0]);
    rig.stop();
}

#[tokio::test]
async fn the_log_names_both_servers() {
    let text = "$status $upstream_addr $upstream_status";
    let format = FormatSpec::Template { text: text.to_owned(), escape: Escape::Hex };
    let servers = [Held::new().await, Held::new().await];
    let addresses = servers.each_ref().map(Held::address);
    let spec = TableSpec {
        access: AccessSpec { format, skip: Vec::new() },
        ..behind(vec![route("all", "/", to("g"))], vec![hedged("g", &addresses)])
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let clock = Arc::new(SystemClock::new());
    let log = LogFile::open(&path, probe(RingMode::Off).0, 1_000, Rotation::default(), clock);
    let mut options = options();
    options.access_log = Some(Arc::new(log.unwrap()));
    let with = With { is_logged: true, ..With::default() };
    let rig = Rig::start_behind(&spec, options, &with);
    let mut client = client(&rig, &get("/")).await;
    let mut first = servers[0].asked().await;
    let mut second = servers[1].asked().await;
    say(&mut first, 503, "no").await;
    read_by_now(&rig).await;
    say(&mut second, 200, "two").await;
    assert_eq!(heard(&mut client).await.1, "two");
    rig.stop();
    let written = std::fs::read_to_string(&path).unwrap();
    let [one, two] = addresses;
    assert!(written.contains(&format!("200 {one}, {two} 503, 200\n")), "{written}");
}
