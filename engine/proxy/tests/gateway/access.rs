//! Who is let in: by route, by scope, by key; what a server behind the gateway is told of it.

use std::sync::Arc;

use http::Method;
use truststram_base::{Access, Role, Scope, Scopes, UserId};
use truststram_proxy::{
    AuthSpec, Authority, Cache, CacheOptions, CorsSpec, EditSpec, FreshKey, Guard, HolderSpec,
    KeyRecord, KeySecret, RouteAuth, RouteSpec, TableSpec, check, fresh,
};

use crate::before::{limits, rate, zone};
use crate::connections::{connect, key_file, showing, with_tls};
use crate::rig::{
    Answer, Manner, Rig, With, ask, ask_on, get, group, options, route, server, table, to,
};

/// What the paths of this router ask for.
fn access(_method: &Method, path: &str) -> Access {
    match path {
        "/open" => Access::Open,
        "/known" => Access::Known,
        _ => Access::AnyOf(Scopes::of(&[Scope::Data])),
    }
}

pub fn guard(failure_burst: u32) -> Guard {
    let authority = Arc::new(Authority::new("1r/m".parse().ok(), failure_burst));
    Guard { authority, access, is_required: false, rules: None }
}

pub fn key(guard: &Guard, user: &str, scopes: &[Scope]) -> FreshKey {
    let key = fresh(None).unwrap();
    guard.authority.keys().put(KeyRecord {
        id: key.id.clone(),
        user: UserId::new(user).unwrap(),
        scopes: Scopes::of(scopes),
        role: Some(Role::Viewer),
        expires_us: None,
        secrets: vec![KeySecret { sha256: key.secret_sha256, until_us: None }],
    });
    key
}

fn required(table: TableSpec) -> TableSpec {
    let open = vec!["/also".to_owned()];
    TableSpec { auth: AuthSpec { is_required: true, open, ..AuthSpec::default() }, ..table }
}

fn start(table: &TableSpec, guard: &Guard) -> Rig {
    let with = With { guard: Some(guard.clone()), ..With::default() };
    Rig::start_behind(table, options(), &with)
}

fn with(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n{headers}\r\n")
}

async fn bearing(rig: &Rig, path: &str, key: &str) -> Answer {
    ask(rig.plain, &with(path, &format!("authorization: Bearer {key}\r\n"))).await
}

#[tokio::test]
async fn paths_of_the_router_ask_for_scopes() {
    let guard = guard(100);
    let rig = start(&required(table(Vec::new(), Vec::new())), &guard);
    let (data, predict) = (key(&guard, "ada", &[Scope::Data]), key(&guard, "bob", &[]));
    for path in ["/open", "/also", "/also/this"] {
        assert_eq!(ask(rig.plain, &get(path)).await.status, 200, "{path}");
        assert_eq!(bearing(&rig, path, "wrong").await.status, 200, "{path} asks for nothing");
    }
    let answer = ask(rig.plain, &get("/data")).await;
    assert_eq!((answer.status, answer.body.as_str()), (401, "denied"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"truststram\""));
    let answer = bearing(&rig, "/data", &predict.text).await;
    assert_eq!((answer.status, answer.body.as_str()), (403, "forbidden"));
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.ends_with("error=\"insufficient_scope\", scope=\"data\""), "{challenge}");
    assert_eq!(bearing(&rig, "/known", &predict.text).await.status, 200);
    assert_eq!(bearing(&rig, "/data", &data.text).await.body, "local GET /data ");
    let in_other_header = with("/data", &format!("x-api-key: {}\r\n", data.text));
    assert_eq!(ask(rig.plain, &in_other_header).await.status, 200);
    let twice = format!("x-api-key: {0}\r\nauthorization: Bearer {0}\r\n", data.text);
    assert_eq!(ask(rig.plain, &with("/data", &twice)).await.status, 400);
    let wrong = bearing(&rig, "/data", &fresh(Some(&data.id)).unwrap().text).await;
    let unknown = bearing(&rig, "/data", &fresh(None).unwrap().text).await;
    assert_eq!((wrong.status, unknown.status), (401, 401));
    let without_id = |head: &str| -> Vec<String> {
        head.lines().filter(|line| !line.starts_with("x-request-id")).map(str::to_owned).collect()
    };
    assert_eq!(without_id(&wrong.head), without_id(&unknown.head), "nobody sees which it was");
    // Revoked, it is refused at once, on a connection that is open as well.
    guard.authority.keys().remove(&data.id);
    assert_eq!(bearing(&rig, "/data", &data.text).await.status, 401);
    rig.stop();
}

#[tokio::test]
async fn without_a_guard_or_a_rule_nobody_is_asked() {
    let guard = guard(100);
    let rig = start(&table(Vec::new(), Vec::new()), &guard);
    assert_eq!(ask(rig.plain, &get("/data")).await.status, 200);
    assert_eq!(bearing(&rig, "/data", "wrong").await.status, 200);
    // A reload asks, and asks no more.
    rig.live.replace(&required(table(Vec::new(), Vec::new()))).unwrap();
    assert_eq!(ask(rig.plain, &get("/data")).await.status, 401);
    rig.live.replace(&table(Vec::new(), Vec::new())).unwrap();
    assert_eq!(ask(rig.plain, &get("/data")).await.status, 200);
    rig.stop();
}

#[tokio::test]
async fn routes_ask_and_servers_are_told() {
    let guard = guard(100);
    let ada = key(&guard, "ada", &[]);
    let one = server("one", Manner::Echo).await;
    let asks = |name: &str, path: &str, is_required, forwards| RouteSpec {
        auth: RouteAuth { is_required, forwards, ..RouteAuth::default() },
        ..route(name, path, to("g"))
    };
    let fixed = truststram_proxy::ActionSpec::Answer { status: 200, body: "hello".to_owned() };
    let routes = vec![
        asks("usual", "/usual", None, false),
        asks("forwards", "/forwards", None, true),
        asks("open", "/free", Some(false), false),
        route("fixed", "/fixed", fixed),
    ];
    let spec = required(table(routes, vec![group("g", &[one])]));
    let rig = start(&spec, &guard);
    for path in ["/usual", "/forwards"] {
        assert_eq!(ask(rig.plain, &get(path)).await.status, 401, "{path}");
    }
    assert_eq!(ask(rig.plain, &get("/fixed")).await.body, "hello");
    let spoof = "x-authenticated-user: eve\r\n";
    let says =
        format!("x-api-key: {}\r\nauthorization: Basic b3du\r\n{spoof}cookie: a\r\n", ada.text);
    let told = ask(rig.plain, &with("/usual", &says)).await.body;
    assert!(told.to_ascii_lowercase().contains("x-authenticated-user: ada\r\n"), "{told}");
    assert!(!told.contains("eve") && !told.contains(&ada.text), "{told}");
    assert!(told.contains("Basic b3du") && told.contains("cookie: a"), "{told}");
    let says = format!("x-api-key: {}\r\nconnection: x-authenticated-user\r\n", ada.text);
    let told = ask(rig.plain, &with("/usual", &says)).await.body.to_ascii_lowercase();
    assert!(told.contains("x-authenticated-user: ada"), "{told}");
    assert!(!told.contains("connection: x-auth"), "{told}");
    let told = bearing(&rig, "/usual", &ada.text).await.body;
    assert!(!told.to_ascii_lowercase().contains("authorization"), "{told}");
    let told = bearing(&rig, "/forwards", &ada.text).await.body;
    assert!(told.contains(&ada.text) && told.contains("ada"), "{told}");
    // Where nobody is asked, the credential may be for the server; the name is ours all the same.
    let says = format!("authorization: Bearer theirs\r\n{spoof}");
    let told = ask(rig.plain, &with("/free", &says)).await.body;
    assert!(told.contains("Bearer theirs") && !told.contains("eve"), "{told}");
    rig.stop();
}

#[tokio::test]
async fn nobody_says_who_they_are_where_nobody_is_asked() {
    let one = server("one", Manner::Echo).await;
    let edits = EditSpec { set: vec![("x-a".to_owned(), "b".to_owned())], ..EditSpec::default() };
    let edited = RouteSpec { request_edits: edits, ..route("edited", "/edited", to("g")) };
    let said = |name: &str| (name.to_owned(), "eve".to_owned());
    let by_name = RouteSpec {
        headers: vec![("x-authenticated-user".to_owned(), "*".to_owned())],
        ..route("by-name", "/", truststram_proxy::ActionSpec::Local)
    };
    let kept = RouteSpec { is_cached: true, ..route("kept", "/kept", to("g")) };
    let set = EditSpec { set: vec![said("x-authenticated-user")], ..EditSpec::default() };
    let ours = RouteSpec { request_edits: set, ..route("ours", "/ours", to("g")) };
    let routes = vec![by_name, edited, kept, ours, route("up", "/", to("g"))];
    let spec = table(routes, vec![group("g", &[one])]);
    let cache = Cache::new(CacheOptions::default(), Arc::new(truststram_base::SystemClock::new()));
    let cache = Some(Arc::new(cache));
    for with_guard in [None, Some(guard(100))] {
        let with_all = With { guard: with_guard, cache: cache.clone(), ..With::default() };
        let rig = Rig::start_behind(&spec, options(), &with_all);
        let names =
            ["X-Authenticated-User", "x_authenticated_user", "X_Forwarded-For", "x_real_ip"];
        for (name, path) in
            names.iter().flat_map(|name| ["/up", "/edited", "/kept"].map(|path| (name, path)))
        {
            for more in ["", "te: trailers\r\n"] {
                let path = format!("{path}?{name}{}{}", more.len(), rig.plain.port());
                let told = ask(rig.plain, &with(&path, &format!("{name}: eve\r\n{more}"))).await;
                assert!(told.body.starts_with("one\nGET "), "{path}: {}", told.body);
                assert!(!told.body.contains("eve"), "{path}: {}", told.body);
            }
        }
        // What the configuration says is said.
        let told = ask(rig.plain, &with("/ours", "")).await.body;
        assert!(told.contains("eve"), "{told}");
        rig.stop();
    }
}

#[tokio::test]
async fn a_route_may_ask_where_nobody_else_does() {
    let guard = guard(100);
    let ada = key(&guard, "ada", &[Scope::Data]);
    let local = |name: &str, path: &str, is_required| RouteSpec {
        auth: RouteAuth { is_required, ..RouteAuth::default() },
        ..route(name, path, truststram_proxy::ActionSpec::Local)
    };
    let routes = vec![local("a", "/", None), local("b", "/data", Some(true))];
    let rig = start(&table(routes, Vec::new()), &guard);
    assert_eq!(ask(rig.plain, &get("/else")).await.status, 200);
    assert_eq!(ask(rig.plain, &get("/data")).await.status, 401);
    assert_eq!(ask(rig.plain, &get("/x/../data")).await.status, 401);
    assert_eq!(ask(rig.plain, &get("/d%61ta")).await.status, 401);
    assert_eq!(bearing(&rig, "/data", &ada.text).await.status, 200);
    rig.stop();
}

#[tokio::test]
async fn attempts_that_fail_too_often_are_told_to_wait() {
    let guard = guard(2);
    let ada = key(&guard, "ada", &[Scope::Data]);
    let rig = start(&required(table(Vec::new(), Vec::new())), &guard);
    for _ in 0..3 {
        assert_eq!(bearing(&rig, "/data", "wrong").await.status, 401);
    }
    let answer = bearing(&rig, "/data", "wrong").await;
    assert_eq!((answer.status, answer.body.as_str()), (429, "too-many-requests"));
    let wait_s: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=63).contains(&wait_s), "{wait_s}");
    // Who has a key is let in all the same.
    assert_eq!(bearing(&rig, "/data", &ada.text).await.status, 200);
    let stats = guard.authority.stats();
    assert_eq!([&stats.invalid, &stats.limited, &stats.by_key].map(|c| c.get()), [3, 1, 1]);
    rig.stop();
}

#[tokio::test]
async fn limits_count_by_key_and_by_user() {
    let guard = guard(100);
    let by = |key: &str| TableSpec {
        limits: limits(vec![zone("z", key, Some("1r/m"))], rate("z", 1)),
        ..required(table(Vec::new(), Vec::new()))
    };
    let rig = start(&by("api-key"), &guard);
    let keys = [(); 2].map(|()| key(&guard, "ada", &[Scope::Data]));
    for key in &keys {
        for expected in [200, 200, 429] {
            assert_eq!(bearing(&rig, "/data", &key.text).await.status, expected);
        }
    }
    // Who says nothing has no key to be counted by, and is refused.
    assert_eq!(ask(rig.plain, &get("/data")).await.status, 401);
    rig.stop();
    let rig = start(&by("user"), &guard);
    for (key, expected) in [(0, 200), (1, 200), (0, 429), (1, 429)] {
        assert_eq!(bearing(&rig, "/data", &keys[key].text).await.status, expected, "{key}");
    }
    rig.stop();
}

#[tokio::test]
async fn a_certificate_stands_for_whom_the_configuration_says() {
    let guard = guard(100);
    let holder = |name: &str, user: &str, scopes: &[Scope]| HolderSpec {
        name: name.to_owned(),
        user: UserId::new(user).unwrap(),
        scopes: Scopes::of(scopes),
        role: None,
    };
    let holders = vec![
        holder("spiffe://a.test/trainer", "by uri", &[Scope::Data]),
        holder("trainer", "by common name", &[]),
    ];
    let one = server("one", Manner::Echo).await;
    let routes =
        vec![route("up", "/up", to("g")), route("local", "/", truststram_proxy::ActionSpec::Local)];
    let mut spec = table(routes, vec![group("g", &[one])]);
    spec.auth = AuthSpec { is_required: true, holders, ..AuthSpec::default() };
    spec.tls = with_tls(&["a"]).tls;
    spec.tls.as_mut().unwrap().client_ca = Some(key_file("ca.pem"));
    let rig = start(&spec, &guard);
    let trainer = showing(&["http/1.1"], Some("trainer"));
    // The second connection resumes the session of the first, and is of the same client.
    for _ in 0..2 {
        let mut stream = connect(&rig, &trainer, "a.test").await;
        assert_eq!(ask_on(&mut stream, &get("/data")).await.unwrap().status, 200);
        let told = ask_on(&mut stream, &get("/up")).await.unwrap().body.to_ascii_lowercase();
        assert!(told.contains("x-authenticated-user: by uri\r\n"), "{told}");
    }
    // What is presented goes before the certificate, also where it is not good.
    let ada = key(&guard, "ada", &[]);
    let mut stream = connect(&rig, &trainer, "a.test").await;
    let says = |key: &str| with("/data", &format!("x-api-key: {key}\r\n"));
    assert_eq!(ask_on(&mut stream, &says(&ada.text)).await.unwrap().status, 403);
    assert_eq!(ask_on(&mut stream, &says("wrong")).await.unwrap().status, 401);
    // A certificate of the same authority that is not listed is nobody's.
    let stranger = showing(&["http/1.1"], Some("stranger"));
    let mut stream = connect(&rig, &stranger, "a.test").await;
    assert_eq!(ask_on(&mut stream, &get("/data")).await.unwrap().status, 401);
    assert_eq!(ask(rig.plain, &get("/data")).await.status, 401);
    let counts = [&guard.authority.stats().by_certificate, &guard.authority.stats().missing];
    assert_eq!(counts.map(|count| count.get()), [4, 2]);
    rig.stop();
}

#[tokio::test]
async fn pages_of_other_origins_read_what_they_may() {
    let guard = guard(100);
    let one = server("one", Manner::Echo).await;
    let routes = vec![
        RouteSpec {
            auth: RouteAuth { is_required: Some(false), ..RouteAuth::default() },
            ..route("up", "/up", to("g"))
        },
        route("local", "/", truststram_proxy::ActionSpec::Local),
    ];
    let mut spec = required(table(routes, vec![group("g", &[one])]));
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    spec.cors = CorsSpec {
        origins: texts(&["https://app.test"]),
        methods: texts(&["GET"]),
        headers: texts(&["authorization"]),
        credentials: true,
        max_age_s: 5,
    };
    let rig = start(&spec, &guard);
    let asks = |origin: &str| {
        format!(
            "OPTIONS /data HTTP/1.1\r\nhost: a.test\r\norigin: {origin}\r\n\
             access-control-request-method: GET\r\n\r\n"
        )
    };
    // A preflight has no credential, and needs none.
    let answer = ask(rig.plain, &asks("https://app.test")).await;
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://app.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET"),
        ("access-control-allow-headers", "authorization"),
        ("access-control-max-age", "5"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let answer = ask(rig.plain, &asks("https://evil.test")).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("vary"), Some("Origin"));
    // The page reads what it is refused for, and what a server says.
    let from_page = |path: &str| with(path, "origin: https://app.test\r\n");
    for (path, status) in [("/data", 401), ("/up", 200)] {
        let answer = ask(rig.plain, &from_page(path)).await;
        let told = answer.header("access-control-allow-origin");
        assert_eq!((answer.status, told), (status, Some("https://app.test")), "{path}");
    }
    let answer = ask(rig.plain, &get("/up")).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("vary"), Some("Origin"));
    rig.stop();
}

#[tokio::test]
async fn answers_that_are_kept_are_told_to_the_page_that_asks() {
    let one = server("one", Manner::Echo).await;
    let kept = RouteSpec { is_cached: true, ..route("kept", "/", to("g")) };
    let mut spec = table(vec![kept], vec![group("g", &[one])]);
    spec.cors = CorsSpec {
        origins: vec!["https://a.test".to_owned(), "https://b.test".to_owned()],
        ..CorsSpec::default()
    };
    let options = options();
    let kept = CacheOptions { lifetimes_s: vec![(Some(200), 60)], ..CacheOptions::default() };
    let cache = Some(Arc::new(Cache::new(kept, options.clock.clone())));
    let rig = Rig::start_behind(&spec, options, &With { cache, ..With::default() });
    for (origin, hit) in [("https://a.test", false), ("https://b.test", true)] {
        let answer = ask(rig.plain, &with("/x", &format!("origin: {origin}\r\n"))).await;
        let status = answer.header("cache-status").unwrap();
        assert_eq!(status.contains("hit"), hit, "{status}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
    rig.stop();
}

#[test]
fn what_one_may_see_is_not_kept_for_all() {
    let kept = |is_required| RouteSpec {
        is_cached: true,
        auth: RouteAuth { is_required, ..RouteAuth::default() },
        ..route("kept", "/", truststram_proxy::ActionSpec::Local)
    };
    let faults = |table: TableSpec| -> Vec<String> {
        check(&table).into_iter().map(|fault| fault.key).collect()
    };
    assert_eq!(faults(table(vec![kept(Some(true))], Vec::new())), ["routes[0].cache"]);
    assert_eq!(faults(required(table(vec![kept(None)], Vec::new()))), ["routes[0].cache"]);
    assert_eq!(faults(required(table(vec![kept(Some(false))], Vec::new()))), [""; 0]);
}
