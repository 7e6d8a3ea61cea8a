//! Where requests go, and what becomes of them on the way.

use truststram_proxy::{ActionSpec, EditSpec, PathSpec, RewriteSpec, Scheme, TableSpec};

use crate::connections::{client, connect, with_tls};
use crate::rig::*;

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn a_route_leads_to_the_router_a_server_or_an_answer() {
    let one = server("one", Manner::Echo).await;
    let mut local = route("local", "/api", ActionSpec::Local);
    local.rewrite = RewriteSpec::ReplacePrefix("/inner".to_owned());
    local.request_edits.set = vec![pair("x-tenant", "$host")];
    let mut proxied = route("proxied", "/up", to("g"));
    proxied.rewrite = RewriteSpec::ReplacePrefix(String::new());
    proxied.request_edits = EditSpec {
        remove: vec!["cookie".to_owned()],
        set: vec![pair("x-scheme", "$scheme")],
        add: Vec::new(),
    };
    proxied.response_edits.set = vec![pair("x-route", "proxied")];
    let moved = ActionSpec::Redirect { status: 308, to: "https://$host$request_uri".to_owned() };
    let mut moved = route("moved", "/old", moved);
    moved.scheme = Some(Scheme::Http);
    let gone = ActionSpec::Answer { status: 410, body: "gone".to_owned() };
    let mut gone = route("gone", "/", gone);
    gone.path = PathSpec::Exact("/gone".to_owned());
    gone.methods = vec!["GET".to_owned()];
    let routes = vec![local, proxied, moved, gone];
    let spec = TableSpec { security_headers: true, ..table(routes, vec![group("g", &[one])]) };
    let rig = Rig::start(&spec);

    let answer = ask(rig.plain, &get("/api/x?q=1")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "local GET /inner/x a.test"));
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));

    let request = "POST http://a.test//up/./b/%2e%2e/c%20d?q=1 HTTP/1.1\r\nhost: a.test\r\n\
                   cookie: a\r\nx-drop: 1\r\nconnection: x-drop\r\nx-forwarded-for: 6.6.6.6\r\n\
                   content-length: 2\r\n\r\nhi";
    let answer = ask(rig.plain, request).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with("one\nPOST /c%20d?q=1 HTTP/1.1\r\n"), "{}", answer.body);
    assert!(answer.body.ends_with("\r\n\r\nhi"), "{}", answer.body);
    let told = |name| header(&answer.body, name);
    assert_eq!(told("host"), Some("a.test"));
    assert_eq!(told("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(told("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(told("x-forwarded-proto"), Some("http"));
    assert_eq!(told("forwarded"), Some("for=127.0.0.1;host=\"a.test\";proto=http"));
    assert_eq!(told("x-scheme"), Some("http"));
    assert_eq!(told("x-request-id"), answer.header("x-request-id"));
    assert_eq!((told("cookie"), told("x-drop")), (None, None));
    assert_eq!(answer.header("x-route"), Some("proxied"));
    assert_eq!((answer.header("keep-alive"), answer.header("x-gone")), (None, None));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));

    let answer = ask(rig.plain, &get("/old/x?q")).await;
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://a.test/old/x?q")));
    let answer = ask(rig.plain, &get("/gone")).await;
    assert_eq!((answer.status, answer.body.as_str()), (410, "gone"));
    let answer = ask(rig.plain, &get("/gone").replace("GET", "PUT")).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    assert_eq!(ask(rig.plain, &get("/none")).await.status, 404);
    for bad in ["/up/../../etc", "/up/..%2f..%2fetc", "/up/%00", "/up\\..\\x"] {
        assert_eq!(ask(rig.plain, &get(bad)).await.status, 400, "{bad}");
    }
    // `/up/../api` is `/api` for everybody.
    assert_eq!(ask(rig.plain, &get("/up/../api")).await.body, "local GET /inner a.test");
    // A request is counted after its answer: the drain waits for that.
    let live = rig.live.clone();
    assert_eq!(rig.stop().connections_cut, 0);
    let mut counts = Vec::new();
    live.each_route(|name, stats| counts.push((name.to_owned(), stats.requests[1].get())));
    assert_eq!(counts[..2], [("local".to_owned(), 2), ("proxied".to_owned(), 1)]);
}

#[tokio::test]
async fn a_body_has_the_limit_of_its_route() {
    let one = server("one", Manner::Echo).await;
    let mut small = route("small", "/small", to("g"));
    small.body_bytes_max = Some(4);
    let mut local = route("local", "/local", ActionSpec::Local);
    local.body_bytes_max = Some(4);
    let routes = vec![small, local, route("usual", "/", to("g"))];
    let rig = Rig::start(&table(routes, vec![group("g", &[one])]));
    let check = async |path: &str, framing: &str, expected: u16| {
        let request = format!("PUT {path} HTTP/1.1\r\nhost: a\r\n{framing}");
        assert_eq!(ask(rig.plain, &request).await.status, expected, "{request}");
    };
    check("/small", "content-length: 4\r\n\r\n1234", 200).await;
    check("/small", "content-length: 5\r\n\r\n12345", 413).await;
    check("/small", "transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n", 413).await;
    check("/local", "content-length: 5\r\n\r\n12345", 413).await;
    check("/usual", "content-length: 5\r\n\r\n12345", 200).await;
    check("/usual", "content-length: 1001\r\n\r\n", 413).await;
    rig.stop();
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let one = server("one", Manner::Echo).await;
    let mut spec = table(vec![route("all", "/", to("g"))], vec![group("g", &[one])]);
    spec.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    let rig = Rig::start(&spec);
    let request = "GET / HTTP/1.1\r\nhost: a.test\r\nx-forwarded-for: 6.6.6.6, 192.0.2.1\r\n\
                   x-forwarded-proto: https\r\n\r\n";
    let answer = ask(rig.plain, request).await;
    let told = |name| header(&answer.body, name);
    assert_eq!(told("x-real-ip"), Some("192.0.2.1"));
    assert_eq!(told("x-forwarded-for"), Some("6.6.6.6, 192.0.2.1, 127.0.0.1"));
    assert_eq!(told("x-forwarded-proto"), Some("https"));
    rig.stop();
}

#[tokio::test]
async fn requests_without_tls_are_sent_to_it() {
    let upstream = server("one", Manner::Echo).await;
    let mut spec = with_tls(&["a"]);
    spec.routes = vec![route("up", "/up", to("g")), route("all", "/", to("g"))];
    spec.upstreams = vec![group("g", &[upstream])];
    spec.https_port = Some(443);
    let rig = Rig::start(&spec);
    for (path, port, expected) in [
        ("/up/a?b=c", 443, "https://a.test/up/a?b=c"),
        ("/", 8443, "https://a.test:8443/"),
        ("//x/../y", 443, "https://a.test/y"),
    ] {
        rig.live.replace(&TableSpec { https_port: Some(port), ..spec.clone() }).unwrap();
        let answer = ask(rig.plain, &get(path)).await;
        assert_eq!((answer.status, answer.header("location")), (308, Some(expected)));
    }
    let stays = ask(rig.plain, &get("/.well-known/acme-challenge/x")).await;
    assert_eq!(stays.status, 200);
    let mut stream = connect(&rig, &client(&[]), "a.test").await;
    assert_eq!(ask_on(&mut stream, &get("/up")).await.unwrap().status, 200);
    drop(stream);
    rig.stop();
}
