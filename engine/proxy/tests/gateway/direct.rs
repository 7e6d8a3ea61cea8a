//! Requests whose answer is at hand, beside the same requests on the whole way: the same answers,
//! counts and log lines.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use truststram_base::ManualClock;
use truststram_proxy::{
    AccessSpec, ActionSpec, Cache, CacheOptions, CompressionSpec, CorsSpec, EditSpec, Encoding,
    Escape, FormatSpec, GatewayOptions, InFlightUseSpec, LimitSpec, RateUseSpec, RewriteSpec,
    RouteSpec, TableSpec, UseSpec,
};

use crate::before::{limits, rate, zone};
use crate::connections::{client, connect, with_tls};
use crate::rig::*;

/// A field that changes no answer, and that no plain request has.
pub const WHOLE_WAY: &str = "keep-alive: 5\r\n";
pub const NOW_US: i64 = 1_790_000_000_000_000;

pub fn fixed(name: &str, path: &str, status: u16, body: &str) -> RouteSpec {
    route(name, path, ActionSpec::Answer { status, body: body.to_owned() })
}

pub fn asking(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: A.test\r\n{fields}\r\n")
}

/// Status, fields in order and body, without what is of one answer alone.
pub fn seen(answer: &Answer) -> (u16, Vec<String>, String) {
    let fields = answer.head.lines().skip(1).filter(|line| !line.is_empty());
    let mut fields: Vec<String> = fields
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            match name.to_ascii_lowercase().as_str() {
                name @ ("date" | "x-request-id") => format!("{name} of {} bytes", value.len()),
                name => format!("{name}: {value}"),
            }
        })
        .collect();
    fields.sort();
    (answer.status, fields, answer.body.clone())
}

/// Asks directly and on the whole way; whether the first was direct, and both answers.
pub async fn both(rig: &Rig, line: &str, fields: &str) -> (bool, [Answer; 2]) {
    let before = rig.gateway.stats()[0].direct.get();
    let direct = head_of(rig, &asking(line, fields)).await;
    let is_direct = rig.gateway.stats()[0].direct.get() > before;
    let whole = head_of(rig, &asking(line, &format!("{fields}{WHOLE_WAY}"))).await;
    assert_eq!(rig.gateway.stats()[0].direct.get(), before + u64::from(is_direct), "{line}");
    (is_direct, [direct, whole])
}

/// The answer, on a connection that is ended behind it; that to HEAD has no body to wait for.
async fn head_of(rig: &Rig, request: &str) -> Answer {
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    if !request.starts_with("HEAD") {
        return ask_on(&mut stream, request).await.unwrap();
    }
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
    let head = String::from_utf8(read).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    // What comes next says that there was no body.
    let next = ask_on(&mut stream, &asking("GET /next", WHOLE_WAY)).await.unwrap();
    assert!(next.head.starts_with("HTTP/1.1 "), "{}", next.head);
    Answer { status, head, body: String::new() }
}

pub async fn same(rig: &Rig, line: &str, fields: &str) {
    let (is_direct, [direct, whole]) = both(rig, line, fields).await;
    assert!(is_direct, "{line}");
    assert_eq!(seen(&direct), seen(&whole), "{line}");
}

#[tokio::test]
async fn fixed_answers_are_the_same() {
    let routes = vec![
        fixed("one", "/one", 200, "hello"),
        fixed("none", "/none", 404, "nothing is here"),
        fixed("empty", "/empty", 503, ""),
        fixed("no-content", "/no-content", 204, ""),
        route("local", "/", ActionSpec::Local),
    ];
    let spec = TableSpec { security_headers: true, ..table(routes, Vec::new()) };
    let rig = Rig::start(&spec);
    for line in ["GET /one", "GET /one/below?a=b", "HEAD /one", "GET /none", "GET /empty"] {
        same(&rig, line, "").await;
    }
    same(&rig, "GET /one", "accept: */*\r\nuser-agent: x\r\ncookie: a=b\r\n").await;
    // What has no body by definition, and methods that ask for more.
    for line in ["GET /no-content", "OPTIONS /one"] {
        assert!(!both(&rig, line, "").await.0, "{line}");
    }
    // What is counted once an answer is out is there when all is over.
    let live = rig.live.clone();
    rig.stop();
    let mut routes = Vec::new();
    live.each_route(|_, stats| {
        routes.push(stats.requests.iter().map(|count| count.get()).sum::<u64>());
    });
    assert_eq!(routes[..3], [10, 2, 2]);
}

#[tokio::test]
async fn by_tls_too() {
    let routes = vec![fixed("one", "/one", 200, "hello")];
    // Requests by TLS are where those without it are sent.
    let rig = Rig::start(&TableSpec { routes, https_port: Some(443), ..with_tls(&["a"]) });
    let mut stream = connect(&rig, &client(&["http/1.1"]), "a.test").await;
    let direct = ask_on(&mut stream, &asking("GET /one", "")).await.unwrap();
    let whole = ask_on(&mut stream, &asking("GET /one", WHOLE_WAY)).await.unwrap();
    assert_eq!(seen(&direct), seen(&whole));
    assert_eq!(direct.header("strict-transport-security"), Some("max-age=60; includeSubDomains"));
    assert_eq!(rig.gateway.stats()[1].direct.get(), 1);
    rig.stop();
}

#[tokio::test]
async fn what_belongs_to_no_page_is_the_same_beside_cors() {
    let cors = |origin: &str| CorsSpec { origins: vec![origin.to_owned()], ..CorsSpec::default() };
    let echo = origin("access-control-allow-origin: *\r\nvary: x\r\n", 1).await;
    let limited = RouteSpec { limits: rate("own", 0), ..fixed("own", "/own", 200, "own") };
    let routes = vec![
        fixed("one", "/one", 200, "hello"),
        limited,
        route("up", "/up", to("g")),
        route("local", "/", ActionSpec::Local),
    ];
    let zones = vec![zone("own", "ip", Some("1r/s"))];
    for cors in [cors("https://a.test"), cors("*")] {
        let limits = limits(zones.clone(), UseSpec::default());
        let table = table(routes.clone(), vec![group("g", &[echo])]);
        let clock = Arc::new(ManualClock::at(NOW_US));
        let options = GatewayOptions { clock, ..options() };
        let rig = Rig::start_with(&TableSpec { cors, limits, ..table }, options);
        // The first one is let through.
        ask(rig.plain, &asking("GET /own", "")).await;
        for line in ["GET /one", "GET /own", "GET /local"] {
            same(&rig, line, "").await;
        }
        let passed = || rig.gateway.stats()[0].passed.get();
        let (before, answers) = (passed(), both(&rig, "GET /up", "").await.1);
        assert_eq!(passed(), before + 1);
        assert_eq!(seen(&answers[0]), seen(&answers[1]));
        assert_eq!(answers[0].header("access-control-allow-origin"), None);
        // What a page sends takes the whole way.
        let from_page = "origin: https://a.test\r\n";
        for line in ["GET /one", "GET /local", "GET /up"] {
            let (is_direct, answers) = both(&rig, line, from_page).await;
            assert!(!is_direct && answers[0].header("access-control-allow-origin").is_some());
        }
        assert_eq!(passed(), before + 1);
        rig.stop();
    }
}

#[tokio::test]
async fn what_asks_for_more_takes_the_whole_way() {
    let one = || fixed("one", "/one", 200, "hello");
    let plain = || table(vec![one()], Vec::new());
    let compression = CompressionSpec {
        encodings: vec![(Encoding::Gzip, 1)],
        types: vec!["text/*".to_owned()],
        bytes_min: 1,
    };
    let set = EditSpec { set: vec![("x-a".to_owned(), "$uri".to_owned())], ..EditSpec::default() };
    let stripped = RouteSpec { rewrite: RewriteSpec::ReplacePrefix("/".to_owned()), ..one() };
    let mut waits = rate("api", 5);
    waits.rates[0].undelayed = Some(0);
    let waits = limits(vec![zone("api", "ip", Some("100r/s"))], waits);
    for (name, spec) in [
        ("compression", TableSpec { compression, ..plain() }),
        ("a way to TLS", TableSpec { https_port: Some(443), ..plain() }),
        ("edits", table(vec![RouteSpec { response_edits: set, ..one() }], Vec::new())),
        ("another path", table(vec![stripped], Vec::new())),
        ("waiting", TableSpec { limits: waits, ..plain() }),
    ] {
        let rig = Rig::start(&spec);
        let (is_direct, [first, second]) = both(&rig, "GET /one", "").await;
        assert!(!is_direct, "{name}");
        assert_eq!(first.status, second.status, "{name}");
        rig.stop();
    }
}

/// Limits of the listener, and of two routes.
fn limited() -> TableSpec {
    let zones = vec![zone("every", "ip", Some("1r/s")), zone("own", "header:x-who", Some("1r/s"))];
    let own = RouteSpec { limits: rate("own", 1), ..fixed("own", "/own", 200, "own") };
    let every = RateUseSpec { zone: "every".to_owned(), burst: 4, undelayed: None };
    let every = UseSpec { rates: vec![every], ..UseSpec::default() };
    let local = RouteSpec { limits: rate("own", 1), ..route("local", "/", ActionSpec::Local) };
    let routes = vec![own, local];
    TableSpec { limits: limits(zones, every), ..table(routes, Vec::new()) }
}

#[tokio::test]
async fn limits_decide_and_count_the_same() {
    let ways = ["", WHOLE_WAY];
    let mut all = Vec::new();
    for way in ways {
        let clock = Arc::new(ManualClock::at(NOW_US));
        let rig = Rig::start_with(&limited(), GatewayOptions { clock: clock.clone(), ..options() });
        let mut answers = Vec::new();
        for (path, who) in [
            ("/own", "a"),
            ("/own", "a"),
            ("/own", "a"),
            ("/local", "a"),
            ("/own", "b"),
            ("/own", "b"),
            ("/local", "b"),
        ] {
            let request = asking(&format!("GET {path}"), &format!("x-who: {who}\r\n{way}"));
            answers.push(seen(&ask(rig.plain, &request).await));
            clock.advance(200_000);
        }
        let (live, direct) = (rig.live.clone(), rig.gateway.stats()[0].direct.get());
        rig.stop();
        let zones = live.zones();
        let counts: Vec<[u64; 2]> = zones
            .rates
            .iter()
            .map(|zone| [zone.stats().passed.get(), zone.stats().rejected.get()])
            .collect();
        let mut of_routes = Vec::new();
        live.each_route(|_, stats| {
            of_routes.push(stats.requests.iter().map(|count| count.get()).collect::<Vec<_>>());
        });
        all.push((direct, (answers, counts, of_routes)));
    }
    let [(direct, of_direct), (none, of_whole)] = all.try_into().unwrap();
    assert_eq!(of_direct, of_whole);
    let statuses: Vec<u16> = of_direct.0.iter().map(|answer| answer.0).collect();
    assert_eq!(statuses, [200, 200, 429, 429, 200, 200, 429]);
    assert_eq!((direct, none), (7, 0));
}

#[tokio::test]
async fn requests_under_way_count_the_same() {
    let zones = vec![zone("addr", "ip", None)];
    let in_flight = vec![InFlightUseSpec { zone: "addr".to_owned(), at_most: 1 }];
    let spec = limits(zones, UseSpec { in_flight, ..UseSpec::default() });
    let silent = server("silent", Manner::Silent).await;
    let routes = vec![fixed("one", "/one", 200, "hello"), route("all", "/", to("g"))];
    let spec = TableSpec { limits: spec, ..table(routes, vec![group("g", &[silent])]) };
    let rig = Rig::start(&spec);
    same(&rig, "GET /one", "").await;
    let mut waiting = TcpStream::connect(rig.plain).await.unwrap();
    waiting.write_all(get("/").as_bytes()).await.unwrap();
    while rig.live.zones().in_flight[0].key_count() == 0 {
        tokio::task::yield_now().await;
    }
    let (is_direct, [direct, whole]) = both(&rig, "GET /one", "").await;
    assert!(is_direct);
    assert_eq!((direct.status, direct.header("retry-after")), (429, Some("1")));
    assert_eq!(seen(&direct), seen(&whole));
    drop(waiting);
    rig.stop();
}

#[tokio::test]
async fn a_dry_run_is_the_same() {
    let spec = limited();
    let limits = LimitSpec { is_dry_run: true, ..spec.limits.clone() };
    let clock = Arc::new(ManualClock::at(NOW_US));
    let options = GatewayOptions { clock, ..options() };
    let rig = Rig::start_with(&TableSpec { limits, ..spec }, options);
    for _ in 0..4 {
        assert_eq!(both(&rig, "GET /own", "x-who: a\r\n").await.1.map(|one| one.status), [200; 2]);
    }
    let zones = rig.live.zones();
    let counts = |place: usize| zones.rates[place].stats().rejected_dry_run.get();
    assert_eq!([counts(0), counts(1)], [3, 6]);
    rig.stop();
}

/// A server that answers every request with these fields, and with the body `ABC` so many times.
pub async fn origin(fields: &'static str, times: usize) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while read_message(&mut stream).await.is_some() {
                    let body = "ABC".repeat(times);
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len());
                    let answer = format!("{head}{fields}\r\n{body}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

pub async fn caching(fields: &'static str, times: usize) -> (Rig, Arc<Cache>, Arc<ManualClock>) {
    caching_with(options(), fields, times).await
}

pub async fn caching_with(
    options: GatewayOptions,
    fields: &'static str,
    times: usize,
) -> (Rig, Arc<Cache>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW_US));
    let kept =
        CacheOptions { bytes_max: 1 << 30, object_bytes_max: 16 << 20, ..CacheOptions::default() };
    let cache = Arc::new(Cache::new(kept, clock.clone()));
    let options = GatewayOptions { clock: clock.clone(), ..options };
    let kept = RouteSpec { is_cached: true, ..route("kept", "/", to("g")) };
    let upstream = origin(fields, times).await;
    let spec = table(vec![kept], vec![group("g", &[upstream])]);
    let spec = TableSpec { security_headers: true, ..spec };
    let with = With { cache: Some(cache.clone()), ..With::default() };
    (Rig::start_behind(&spec, options, &with), cache, clock)
}

#[tokio::test]
async fn stored_answers_are_the_same() {
    let fields = "Cache-Control: max-age=60\r\ncdn-cache-control: max-age=90\r\nETag: \"a\"\r\n\
                  cache-status: other; hit\r\nset-cookie: a\r\nset-cookie: b\r\nvary: x-who\r\n\
                  date: Mon, 21 Sep 2026 14:13:20 GMT\r\nx-request-id: its-own\r\n";
    let (rig, cache, clock) = caching(fields, 10).await;
    assert!(!both(&rig, "GET /a", "").await.0, "it is not stored yet");
    clock.advance(2_500_000);
    same(&rig, "GET /a", "").await;
    same(&rig, "HEAD /a", "").await;
    assert!(!both(&rig, "GET /a", "x-who: me\r\n").await.0, "another variant");
    same(&rig, "GET /a", "x-who: me\r\n").await;
    assert!(!both(&rig, "GET /a?b", "").await.0);
    same(&rig, "GET /a?b", "").await;
    let hits = cache.stats().hits.get();
    for fields in
        ["range: bytes=0-1\r\n", "if-none-match: \"a\"\r\n", "cache-control: no-cache\r\n"]
    {
        assert!(!both(&rig, "GET /a", fields).await.0, "{fields}");
    }
    // The last two were answered by the cache, too, and the first two pairs.
    assert_eq!(cache.stats().hits.get(), hits + 4);
    clock.advance(90_000_000);
    assert!(!both(&rig, "GET /a", "").await.0, "it is stale");
    rig.stop();
}

#[tokio::test]
async fn what_limits_would_speak_over_takes_the_whole_way() {
    let (rig, _, _) = caching("cache-control: max-age=60\r\nratelimit: \"o\";r=1;t=1\r\n", 1).await;
    for _ in 0..2 {
        assert!(!both(&rig, "GET /a", "").await.0);
    }
    rig.stop();
}

#[tokio::test]
async fn log_lines_are_the_same() {
    let text = "$remote_addr $request_method $request_uri $uri $args $host $server_protocol \
                $status $body_bytes_sent $scheme $route $http_x_who $sent_http_x_frame_options \
                $sent_http_content_length $server_port $cookie_a $upstream_addr";
    let format = FormatSpec::Template { text: text.to_owned(), escape: Escape::Hex };
    let quiet = RouteSpec { is_logged: false, ..fixed("quiet", "/quiet", 200, "x") };
    let routes = vec![quiet, fixed("one", "/", 200, "hello")];
    let spec = TableSpec {
        access: AccessSpec { format, skip: vec!["/health".to_owned()] },
        security_headers: true,
        ..table(routes, Vec::new())
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = log_at(&path);
    let mut options = options();
    options.access_log = Some(log.clone());
    let rig = Rig::start_behind(&spec, options, &With { is_logged: true, ..With::default() });
    let fields = "x-who: \"me\"\r\ncookie: a=b; c=d\r\n";
    for line in ["GET /a?b=c", "HEAD /a", "GET /health", "GET /quiet"] {
        assert!(both(&rig, line, fields).await.0, "{line}");
    }
    rig.stop();
    log.close().unwrap();
    let lines = std::fs::read_to_string(&path).unwrap();
    // An answer to HEAD is followed by one that shows its end.
    let lines: Vec<&str> = lines.lines().filter(|line| !line.contains("/next")).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for pair in lines.chunks(2) {
        assert_eq!(pair[0], pair[1]);
    }
    let port = rig_port(lines[0]);
    let expected = format!(
        "127.0.0.1 GET /a?b=c /a b=c a.test HTTP/1.1 200 5 http one \\x22me\\x22 DENY 5 {port} b -"
    );
    assert_eq!(lines[0], expected);
}

fn rig_port(line: &str) -> &str {
    line.split(' ').nth(14).unwrap()
}
