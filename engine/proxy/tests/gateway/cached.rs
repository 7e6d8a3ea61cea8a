//! What passes through the cache unchanged, and beside it: dates, hints of what is to come, and
//! fields that the server states itself.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use truststram_base::ManualClock;
use truststram_proxy::{Cache, CacheOptions, CacheRuleSpec, GatewayOptions, RouteSpec, TableSpec};

use crate::connections::{client, connect, with_tls};
use crate::direct::NOW_US;
use crate::rig::*;

/// Before [`NOW_US`], which is a Monday in September 2026.
const THEN: &str = "Mon, 21 Sep 2026 12:26:40 GMT";
/// A field that keeps a request from being answered directly.
pub const WHOLE_WAY: &str = "keep-alive: 5\r\n";

/// What an answer ends with that ends the connection.
const CLOSE: &str = "(closes)";

/// A server that answers by the head of each request.
pub async fn says(answer: fn(&str) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Some((head, _)) = read_message(&mut stream).await {
                    let answer = answer(&head);
                    let text = answer.strip_suffix(CLOSE);
                    stream.write_all(text.unwrap_or(&answer).as_bytes()).await.unwrap();
                    if text.is_some() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A gateway with the routes `/kept`, which is cached, and `/`, which is not.
fn gateway(upstream: SocketAddr, table: TableSpec) -> (Rig, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW_US));
    let cache = Arc::new(Cache::new(CacheOptions::default(), clock.clone()));
    let options = GatewayOptions { clock: clock.clone(), ..options() };
    let kept = RouteSpec { is_cached: true, ..route("kept", "/kept", to("g")) };
    let routes = vec![kept, route("all", "/", to("g"))];
    let spec = TableSpec { routes, upstreams: vec![group("g", &[upstream])], ..table };
    let with = With { cache: Some(cache), ..With::default() };
    (Rig::start_behind(&spec, options, &with), clock)
}

pub fn asking(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n")
}

fn dated(head: &str) -> String {
    let date = match head.split(' ').nth(1) {
        Some("/kept/none" | "/none") => "",
        Some("/kept/bad" | "/bad") => "date: yesterday\r\n",
        Some("/kept/old" | "/old") => "date: Monday, 21-Sep-26 12:26:40 GMT\r\n",
        _ => "date: Mon, 21 Sep 2026 12:26:40 GMT\r\n",
    };
    format!("HTTP/1.1 200 OK\r\n{date}cache-control: max-age=86400\r\ncontent-length: 2\r\n\r\nhi")
}

#[tokio::test]
async fn the_date_is_that_of_the_server() {
    let (rig, clock) = gateway(says(dated).await, with_tls(&["a"]));
    let mut plain = TcpStream::connect(rig.plain).await.unwrap();
    let mut tls = connect(&rig, &client(&["http/1.1"]), "a.test").await;
    for path in ["/a", "/old", "/kept/a", "/kept/old"] {
        // By a miss, directly, and on the whole way; each connection goes on.
        for (count, fields) in ["", "", WHOLE_WAY, WHOLE_WAY].into_iter().enumerate() {
            let answers = [
                ask_on(&mut plain, &asking(path, fields)).await.unwrap(),
                ask_on(&mut tls, &asking(path, fields)).await.unwrap(),
            ];
            for answer in answers {
                let what = format!("{path} {count} {}", answer.head);
                assert_eq!(answer.header("date"), Some(THEN), "{what}");
                assert_eq!(answer.head.to_lowercase().matches("\r\ndate:").count(), 1, "{what}");
                assert_eq!(answer.header("connection"), Some("keep-alive"), "{what}");
            }
            clock.advance(1_000_000);
        }
    }
    // Where there is none that can be read, it is that of now.
    for path in ["/none", "/bad", "/kept/none", "/kept/bad"] {
        for fields in ["", WHOLE_WAY] {
            let answer = ask_on(&mut plain, &asking(path, fields)).await.unwrap();
            let date = answer.header("date").unwrap();
            assert!(date.ends_with(" GMT") && date.len() == THEN.len(), "{path}: {date}");
            assert_ne!(date, THEN, "{path}");
        }
    }
    // An answer of ours behind one of the server's has a date of its own.
    let answer = ask_on(&mut plain, &asking("/a", "")).await.unwrap();
    assert_eq!(answer.header("date"), Some(THEN));
    let refused = ask_on(&mut plain, "GET /%2 HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
    assert_eq!(refused.status, 400);
    assert_ne!(refused.header("date"), Some(THEN));
    drop((plain, tls));
    rig.stop();
}

#[tokio::test]
async fn an_old_date_makes_an_answer_old() {
    let (rig, _) = gateway(
        says(|_| {
            // Made a day before it was sent, fresh for an hour.
            "HTTP/1.1 200 OK\r\ndate: Sun, 20 Sep 2026 12:26:40 GMT\r\n\
             cache-control: max-age=3600\r\netag: \"a\"\r\ncontent-length: 2\r\n\r\nhi"
                .to_owned()
        })
        .await,
        TableSpec::default(),
    );
    for status in ["fwd=uri-miss", "fwd=stale"] {
        let answer = ask(rig.plain, &get("/kept")).await;
        let found = answer.header("cache-status").unwrap();
        assert!(found.contains(status), "{found}");
    }
    rig.stop();
}

fn hinting(head: &str) -> String {
    let hints = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\
                 link: </a.css>; rel=preload\r\nkeep-alive: 5\r\nx-hint: 1\r\n\r\n";
    if head.contains("/dies ") {
        return format!("{hints}{CLOSE}");
    }
    format!("{hints}{}", dated(head))
}

/// All that comes on a connection that ends behind the answer.
async fn whole(address: SocketAddr, line: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {line}\r\nhost: a.test\r\nconnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = String::new();
    stream.read_to_string(&mut read).await.unwrap();
    read
}

#[tokio::test]
async fn hints_are_passed_on_and_not_kept() {
    let (rig, _) = gateway(says(hinting).await, TableSpec::default());
    for (path, fields) in [("/a", ""), ("/a", WHOLE_WAY), ("/kept/a", "")] {
        let first = whole(rig.plain, &format!("{path} HTTP/1.1"), fields).await;
        let heads: Vec<&str> = first.split_inclusive("\r\n\r\n").collect();
        assert_eq!(heads.len(), 4, "{path}: {first}");
        assert!(heads[0].starts_with("HTTP/1.1 102 "), "{path}: {first}");
        assert!(heads[1].starts_with("HTTP/1.1 103 "), "{path}: {first}");
        assert_eq!(header(heads[1], "link"), Some("</a.css>; rel=preload"));
        assert_eq!((header(heads[1], "x-hint"), header(heads[1], "date")), (Some("1"), None));
        assert!(heads[2].starts_with("HTTP/1.1 200 "), "{path}: {first}");
        assert_eq!((header(heads[2], "x-hint"), header(heads[2], "link")), (None, None));
        assert_eq!((header(heads[2], "date"), heads[3]), (Some(THEN), "hi"), "{path}");
    }
    let again = whole(rig.plain, "/kept/a HTTP/1.1", "").await;
    assert!(again.starts_with("HTTP/1.1 200 ") && !again.contains("x-hint"), "{again}");
    assert!(again.contains("hit; ttl="), "{again}");
    // HTTP/1.0 has no such heads.
    let old = whole(rig.plain, "/kept/b HTTP/1.0", "").await;
    assert!(old.starts_with("HTTP/1.1 200 ") || old.starts_with("HTTP/1.0 200 "), "{old}");
    // Hints are no answer where none follows.
    for (path, fields) in [("/dies", ""), ("/dies", WHOLE_WAY), ("/kept/dies", "")] {
        let read = whole(rig.plain, &format!("{path} HTTP/1.1"), fields).await;
        assert!(read.contains("\r\n\r\nHTTP/1.1 502 "), "{path}: {read}");
    }
    rig.stop();
}

fn framed(head: &str) -> String {
    let frames = "x-frame-options: sameorigin\r\nx-content-type-options: none\r\n\
                  strict-transport-security: max-age=1\r\n";
    let cached = "cache-control: max-age=2\r\netag: \"a\"\r\n";
    if header(head, "if-none-match").is_some() {
        return format!("HTTP/1.1 304 Not Modified\r\n{cached}\r\n");
    }
    format!("HTTP/1.1 200 OK\r\n{frames}{cached}content-length: 2\r\n\r\nhi")
}

#[tokio::test]
async fn what_the_server_says_of_frames_holds() {
    let table = TableSpec { security_headers: true, ..with_tls(&["a"]) };
    let (rig, clock) = gateway(says(framed).await, table);
    let mut tls = connect(&rig, &client(&["http/1.1"]), "a.test").await;
    for (path, status) in [
        ("/a", None),
        ("/kept/a", Some("fwd=uri-miss")),
        ("/kept/a", Some("hit")),
        ("/kept/a", Some("fwd-status=304")),
        ("/kept/a", Some("hit")),
    ] {
        if status == Some("fwd-status=304") {
            clock.advance(3_000_000);
        }
        let answer = ask_on(&mut tls, &asking(path, "")).await.unwrap();
        assert_eq!(answer.status, 200);
        let found = answer.header("cache-status").unwrap_or_default();
        assert!(status.is_none_or(|status| found.contains(status)), "{found} is not {status:?}");
        for (name, expected) in [
            ("x-frame-options", "sameorigin"),
            ("x-content-type-options", "none"),
            ("strict-transport-security", "max-age=60; includeSubDomains"),
        ] {
            assert_eq!(answer.header(name), Some(expected), "{path} {status:?} {}", answer.head);
        }
    }
    drop(tls);
    rig.stop();
}

/// Says how often it was asked, with the status that the path names.
fn counted(head: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1_000);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let status = if head.contains("/missing") { "404 Not Found" } else { "200 OK" };
    format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\n{count}")
}

#[tokio::test]
async fn a_route_says_how_long_and_for_whom_answers_are_kept() {
    let upstream = says(counted).await;
    let clock = Arc::new(ManualClock::at(NOW_US));
    let kept = CacheOptions { lifetimes_s: vec![(Some(200), 600)], ..CacheOptions::default() };
    let cache = Arc::new(Cache::new(kept, clock.clone()));
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let own = CacheRuleSpec {
        lifetimes_s: vec![(Some(200), 10), (None, 5)],
        bypass: texts(&["cookie:session", "arg:fresh", "header:x-fresh"]),
        no_store: texts(&["cookie:session"]),
        ..CacheRuleSpec::default()
    };
    let of = |name: &str, path: &str, cache_rules: CacheRuleSpec| RouteSpec {
        is_cached: true,
        cache_rules,
        ..route(name, path, to("g"))
    };
    let routes = vec![of("own", "/own", own), of("usual", "/usual", CacheRuleSpec::default())];
    let spec = table(routes, vec![group("g", &[upstream])]);
    let options = GatewayOptions { clock: clock.clone(), ..options() };
    let with = With { cache: Some(cache), ..With::default() };
    let rig = Rig::start_behind(&spec, options, &with);
    let body = async |path: &str, fields: &str| ask(rig.plain, &asking(path, fields)).await.body;
    let first = body("/own/a", "").await;
    let (usual, missing) = (body("/usual/a", "").await, body("/own/missing", "").await);
    assert_ne!(body("/usual/missing", "").await, body("/usual/missing", "").await);
    for fields in ["", WHOLE_WAY, "cookie: session=\r\n", "x-fresh: 0\r\n"] {
        assert_eq!(body("/own/a", fields).await, first, "{fields}");
        assert_eq!(body("/own/missing", fields).await, missing, "{fields}");
    }
    // What goes past what is kept is kept itself, unless it is not to be.
    for way in ["", WHOLE_WAY] {
        let before = body("/own/a", "").await;
        let session = body("/own/a", &format!("cookie: a=b; session=x\r\n{way}")).await;
        assert_ne!(session, before);
        assert_eq!(body("/own/a", way).await, before);
        let fresh = ask(rig.plain, &asking("/own/a", &format!("x-fresh: 1\r\n{way}"))).await;
        assert_eq!(fresh.header("cache-status"), Some("truststram; fwd=bypass; stored"));
        assert_eq!(body("/own/a", way).await, fresh.body);
        let argument = body("/own/a?fresh=1", way).await;
        assert_ne!(body("/own/a?fresh=1", way).await, argument);
    }
    let first = body("/own/a", "").await;
    clock.advance(6_000_000);
    assert_eq!(body("/own/a", "").await, first);
    assert_ne!(body("/own/missing", "").await, missing);
    clock.advance(5_000_000);
    assert_ne!(body("/own/a", "").await, first);
    assert_eq!(body("/usual/a", "").await, usual);
    let bad = CacheRuleSpec { no_store: texts(&["session"]), ..CacheRuleSpec::default() };
    let spec = table(vec![of("own", "/own", bad)], vec![group("g", &[upstream])]);
    let faults = rig.live.replace(&spec).unwrap_err();
    assert_eq!(faults[0].key, "routes[0].cache_no_store");
    rig.stop();
}
