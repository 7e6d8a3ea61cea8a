//! What lines look like, and that nothing breaks out of them.

use http::HeaderValue;
use pingora_http::{RequestHeader, ResponseHeader};
use truststram_base::RequestId;

use super::*;
use crate::proxying::Attempt;

fn request(target: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
    let mut head = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
    for (name, value) in headers {
        head.append_header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap()).unwrap();
    }
    head
}

fn logged<'a>(request: &'a RequestHeader, answer: &'a ResponseHeader) -> Logged<'a> {
    Logged {
        request,
        target: request.raw_path(),
        path: "/p",
        host: "a.test",
        scheme: "http",
        answer: Some(&answer.headers),
        status: 200,
        body_bytes_sent: 7,
        duration_us: 1_234_567,
        utc_us: 784_111_777_050_000,
        now_us: 9_000,
        client: Some([127, 0, 0, 1].into()),
        peer: Some(([127, 0, 0, 1], 99).into()),
        server: Some(([127, 0, 0, 1], 80).into()),
        tls: None,
        id: RequestId(255),
        identity: None,
        route: Some("r"),
        is_proxied: false,
        upstream: None,
        attempts: Vec::new(),
    }
}

fn line(text: &str, escape: Escape, logged: &Logged<'_>) -> String {
    let format = FormatSpec::Template { text: text.to_owned(), escape };
    let mut faults = Vec::new();
    let access = Access::compile(&AccessSpec { format, skip: Vec::new() }, &mut faults);
    assert_eq!(faults, []);
    access.line(logged)
}

#[test]
fn combined_is_what_nginx_writes() {
    let answer = ResponseHeader::build(200, None).unwrap();
    let plain = request("/a?b=c", &[]);
    assert_eq!(
        line(COMBINED, Escape::Hex, &logged(&plain, &answer)),
        "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b=c HTTP/1.1\" 200 7 \"-\" \"-\""
    );
    let odd = request(
        "/a",
        &[
            ("authorization", "Basic YW5uOng="),
            ("referer", "say \"hi\"\\"),
            ("user-agent", "caf\u{e9}\t"),
        ],
    );
    assert_eq!(
        line(COMBINED, Escape::Hex, &logged(&odd, &answer)),
        "127.0.0.1 - ann [06/Nov/1994:08:49:37 +0000] \"GET /a HTTP/1.1\" 200 7 \
         \"say \\x22hi\\x22\\x5C\" \"caf\\xC3\\xA9\\x09\""
    );
}

#[test]
fn variables_have_the_values_of_nginx() {
    let mut answer = ResponseHeader::build(200, None).unwrap();
    answer.insert_header("x-b", "1").unwrap();
    let head = request(
        "/a?x=1&y=2",
        &[("x-a", "1"), ("x-a", "2"), ("cookie", "s=5; t=6"), ("host", "A.test:80")],
    );
    let mut one = logged(&head, &answer);
    let attempt =
        Attempt { began_us: 1_000, status: 502, end_us: Some(2_000), ..Attempt::default() };
    let last = Attempt {
        began_us: 3_000,
        connect_us: Some(0),
        header_us: Some(1_500),
        status: 200,
        ..Attempt::default()
    };
    one.attempts = vec![("10.0.0.1:1", attempt), ("10.0.0.2:1", last)];
    for (text, expected) in [
        ("$request_time", "1.234"),
        ("$msec", "784111777.050"),
        ("$time_iso8601", "1994-11-06T08:49:37+00:00"),
        ("$http_x_a|$http_x_none|$sent_http_x_b", "1, 2|-|1"),
        ("$cookie_t|$cookie_u|$arg_y|$arg_z", "6|-|2|-"),
        ("$host$uri$is_args$args", "a.test/p?x=1&y=2"),
        ("${request_method}s", "GETs"),
        ("$request_uri", "/a?x=1&y=2"),
        ("$upstream_addr", "10.0.0.1:1, 10.0.0.2:1"),
        ("$upstream_status", "502, 200"),
        ("$upstream_connect_time", "-, 0.000"),
        ("$upstream_header_time", "-, 0.001"),
        ("$upstream_response_time", "0.002, 0.006"),
        ("$ssl_protocol|$server_port|$remote_port", "-|80|99"),
        ("$route $request_id", "r 000000000000000000000000000000ff"),
        ("$upstream_cache_status", "-"),
    ] {
        assert_eq!(line(text, Escape::Hex, &one), expected, "{text}");
    }
    one.status = 0;
    one.attempts.clear();
    assert_eq!(line("$status $upstream_addr", Escape::Hex, &one), "499 -");
}

#[test]
fn texts_for_json_are_escaped_as_json_needs() {
    let answer = ResponseHeader::build(200, None).unwrap();
    let head = request("/a", &[("referer", "say \"hi\"\\\t")]);
    let text = "{\"r\": \"$http_referer\", \"n\": \"$http_none\"}";
    let written = line(text, Escape::Json, &logged(&head, &answer));
    let read: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!((&read["r"], &read["n"]), (&"say \"hi\"\\\t".into(), &"".into()));
    let bare = line("[$http_referer]", Escape::Nothing, &logged(&head, &answer));
    assert_eq!(bare, "[say \"hi\"\\\t]");
}

#[test]
fn what_the_cache_did_has_the_name_that_nginx_gives_it() {
    let head = request("/a", &[]);
    for (status, expected) in [
        ("truststram; hit; ttl=1", "HIT"),
        ("other; fwd=miss, truststram; hit; ttl=-1", "STALE"),
        ("truststram; fwd=uri-miss; stored", "MISS"),
        ("truststram; fwd=stale; fwd-status=304", "REVALIDATED"),
        ("truststram; fwd=stale; stored", "EXPIRED"),
        ("truststram; fwd=request", "BYPASS"),
        ("truststram; hit, other; hit", "-"),
    ] {
        let mut answer = ResponseHeader::build(200, None).unwrap();
        answer.insert_header("cache-status", status).unwrap();
        let found = line("$upstream_cache_status", Escape::Hex, &logged(&head, &answer));
        assert_eq!(found, expected, "{status}");
    }
}

#[test]
fn what_is_no_format_is_refused() {
    let fault = |text: &str, skip: &[&str]| {
        let format = FormatSpec::Template { text: text.to_owned(), escape: Escape::Hex };
        let skip = skip.iter().map(|&path| path.to_owned()).collect();
        let mut faults = Vec::new();
        Access::compile(&AccessSpec { format, skip }, &mut faults);
        let texts = faults.iter().map(|fault| format!("{}: {}", fault.key, fault.message));
        texts.collect::<Vec<_>>().join("\n")
    };
    let key = "gateway.access_log_format: ";
    let unknown = fault("$nothing", &[]);
    assert!(unknown.starts_with(&format!("{key}`$nothing` is not a variable; known: $args, ")));
    assert!(fault("plain", &[]).starts_with(&format!("{key}is neither \"json\"")));
    assert!(fault("a$uri\n", &[]).starts_with(&format!("{key}must be one line")));
    assert!(fault("$uri", &["health"]).starts_with("gateway.access_log_skip: `health` is not"));
    for text in ["$http_", "$", "$cookie_", "${uri", "$upstream_http_x"] {
        assert!(unknown_variable(text).is_some() && !fault(text, &[]).is_empty(), "{text}");
    }
    assert_eq!(unknown_variable(COMBINED), None);
}
