//! Plain requests that are passed on by the connection's own task, beside the same requests by way
//! of Pingora's proxy: servers are told the same, and clients get the same.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use truststram_proxy::{
    AccessSpec, EditSpec, Escape, FormatSpec, RealIp, RewriteSpec, RouteSpec, TableSpec,
};

use crate::direct::{WHOLE_WAY, asking};
use crate::rig::*;

/// What a server says to a path, and whether it ends the connection behind that.
type Says = (&'static str, &'static str, bool);

/// Answers by their path; every answer is written byte for byte as it stands here.
const ANSWERS: [Says; 21] = [
    ("/length", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello", false),
    ("/lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nhi", false),
    ("/none", "HTTP/1.1 200 Fine by me\r\ncontent-length: 0\r\n\r\n", false),
    (
        "/chunks",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\n\
         x: 1\r\n\r\n",
        false,
    ),
    (
        "/both",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n1\r\na\r\n\
         0\r\n\r\n",
        false,
    ),
    ("/to-the-end", "HTTP/1.1 200 OK\r\ncontent-type: text/x\r\n\r\nas long as it is", true),
    ("/old", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", true),
    ("/old-end", "HTTP/1.0 200 OK\r\n\r\nhi", true),
    ("/no-content", "HTTP/1.1 204 No Content\r\nx-b: 1\r\n\r\n", false),
    ("/not-modified", "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n", false),
    (
        "/dated",
        "HTTP/1.1 404 No\r\ndate: Mon, 21 Sep 2026 14:13:20 GMT\r\n\
         content-length: 0\r\n\r\n",
        false,
    ),
    (
        "/hops",
        "HTTP/1.1 200 OK\r\nconnection: keep-alive, x-gone\r\nx-gone: 1\r\n\
         keep-alive: timeout=5\r\nproxy-connection: a\r\n\
         x-request-id: its-own\r\nserver: s\r\ncontent-length: 1\r\n\r\na",
        false,
    ),
    ("/close", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\na", true),
    ("/failed", "HTTP/1.1 503 No\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno", false),
    (
        "/hints",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
        false,
    ),
    ("/bytes", "HTTP/1.1 200 OK\r\nx-c: \u{e4}\r\ncontent-length: 1\r\n\r\na", false),
    // What is no answer.
    ("/bad/lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", true),
    ("/bad/length", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nab", true),
    ("/bad/line", "HTTP/9 hello\r\n\r\n", true),
    ("/bad/head", "HTTP/1.1 200 OK\r\nx: 1\r\n", true),
    ("/bad/nothing", "", true),
];

/// A server that says what stands in [`ANSWERS`], two bytes at a time for paths with `?slow`.
async fn scripted() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                while let Some((head, _)) = read_message(&mut stream).await {
                    let target = head.split(' ').nth(1).unwrap();
                    let path = target.split('?').next().unwrap();
                    let (_, says, ends) = ANSWERS.iter().find(|says| says.0 == path).unwrap();
                    let mut says = says.as_bytes();
                    if head.starts_with("HEAD") {
                        let end = says.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
                        says = &says[..end + 4];
                    }
                    let step = if target.ends_with("?slow") { 2 } else { says.len().max(1) };
                    for part in says.chunks(step) {
                        stream.write_all(part).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    if *ends {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// The answer on a connection that the client leaves behind it, byte for byte.
async fn raw(rig: &Rig, request: &str) -> String {
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !is_whole(&read, request.starts_with("HEAD")) {
        if stream.read_buf(&mut read).await.unwrap() == 0 {
            break;
        }
    }
    // Another request says where the answer ends, and that its framing was read as it was meant.
    let next = "GET /next HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    // An answer that is a refusal ends the connection.
    let _ = stream.write_all(next.as_bytes()).await;
    let _ = stream.read_to_end(&mut read).await;
    read.iter().map(|&byte| char::from(byte)).collect()
}

/// Whether an answer is there to its end.
fn is_whole(read: &[u8], to_head: bool) -> bool {
    let text: String = read.iter().map(|&byte| char::from(byte)).collect();
    let text = match text.split_once("HTTP/1.1 200 OK") {
        Some((before, rest)) if before.starts_with("HTTP/1.1 1") => rest,
        _ => &text,
    };
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    if to_head || head.contains(" 204 ") || head.contains(" 304 ") {
        return true;
    }
    match header(head, "content-length") {
        Some(length) => body.len() >= length.parse().unwrap(),
        None => body.ends_with("0\r\n\r\n"),
    }
}

/// The lines of an answer in order, without what is of one answer alone, and the bodies' bytes.
fn lines(answer: &str) -> (Vec<String>, String) {
    // What comes before the answer itself stays one line.
    let (before, answer) = match answer.split_once("HTTP/1.1 200 OK") {
        Some((before, _)) if before.starts_with("HTTP/1.1 1") => {
            (Some(before.to_owned()), &answer[before.len()..])
        }
        _ => (None, answer),
    };
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut lines: Vec<String> = head
        .lines()
        .map(|line| match line.split_once(": ") {
            Some((name, value)) => match name.to_ascii_lowercase().as_str() {
                "x-request-id" => format!("its id of {} bytes", value.len()),
                "date" => "a date".to_owned(),
                name => format!("{name}: {value}"),
            },
            // Pingora repeats the version of the server, where ours is to stand (RFC 9110, 2.5).
            None => line.replace("HTTP/1.0", "HTTP/1.1"),
        })
        .collect();
    lines[1..].sort();
    lines.extend(before);
    let is_chunked = lines.iter().any(|line| line == "transfer-encoding: chunked");
    let rest = rest.split("HTTP/1.1 200 OK").next().unwrap();
    (lines, if is_chunked { whole(rest) } else { rest.to_owned() })
}

/// What chunks hold; how it was cut is not compared.
fn whole(mut chunks: &str) -> String {
    let mut found = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        found.push_str(&rest[..size]);
        chunks = rest[size..].strip_prefix("\r\n").unwrap();
        if size == 0 {
            found.push('.');
            break;
        }
    }
    found
}

fn passed(rig: &Rig) -> u64 {
    rig.gateway.stats()[0].passed.get()
}

pub fn through(address: SocketAddr) -> TableSpec {
    let next = fixed_next();
    let mut one = group("g", &[address]);
    // A server that answers badly is asked again.
    one.servers[0].max_fails = 0;
    table(vec![next, route("all", "/", to("g"))], vec![one])
}

fn fixed_next() -> RouteSpec {
    let next = truststram_proxy::ActionSpec::Answer { status: 200, body: "next".to_owned() };
    route("next", "/next", next)
}

#[tokio::test]
async fn answers_come_back_the_same() {
    let rig = Rig::start(&TableSpec { security_headers: true, ..through(scripted().await) });
    for (path, _, _) in ANSWERS.iter().filter(|says| !says.0.starts_with("/bad")) {
        // The server cuts its answer to HEAD behind its first head.
        let head = (*path != "/hints").then(|| format!("HEAD {path}"));
        for line in [format!("GET {path}"), format!("GET {path}?slow")].into_iter().chain(head) {
            let before = passed(&rig);
            let direct = raw(&rig, &asking(&line, "")).await;
            assert_eq!(passed(&rig), before + 1, "{line}");
            let pingora = raw(&rig, &asking(&line, WHOLE_WAY)).await;
            assert_eq!(passed(&rig), before + 1, "{line}");
            assert_eq!(lines(&direct), lines(&pingora), "{line}");
            assert!(direct.ends_with("next"), "{line}: {direct}");
        }
    }
    rig.stop();
}

#[tokio::test]
async fn what_is_no_answer_is_a_bad_gateway() {
    let rig = Rig::start(&through(scripted().await));
    for (path, _, _) in ANSWERS.iter().filter(|says| says.0.starts_with("/bad")) {
        let line = format!("GET {path}");
        let direct = raw(&rig, &asking(&line, "")).await;
        let pingora = raw(&rig, &asking(&line, WHOLE_WAY)).await;
        assert_eq!(lines(&direct), lines(&pingora), "{line}");
        assert!(direct.starts_with("HTTP/1.1 502 "), "{line}: {direct}");
        assert!(!direct.contains("next"), "{line}");
    }
    let stats = rig.gateway.stats()[0].clone();
    rig.stop();
    assert_eq!((stats.passed.get(), stats.broken.get()), (5, 10));
}

#[tokio::test]
async fn servers_are_told_the_same() {
    let address = server("s", Manner::Echo).await;
    let edits = EditSpec {
        remove: vec!["cookie".to_owned()],
        set: vec![("x-uri".to_owned(), "$host $uri $args $remote_addr $scheme".to_owned())],
        add: vec![("x-more".to_owned(), "$request_id".to_owned())],
    };
    let answers = EditSpec {
        set: vec![("x-path".to_owned(), "$request_uri".to_owned())],
        ..EditSpec::default()
    };
    let edited = RouteSpec {
        request_edits: edits,
        response_edits: answers,
        rewrite: RewriteSpec::ReplacePrefix("/inner/".to_owned()),
        ..route("edited", "/edited", to("named"))
    };
    let mut named = group("named", &[address]);
    named.host = Some("inner.test:81".to_owned());
    let routes = vec![fixed_next(), edited, route("all", "/", to("g"))];
    let rig = Rig::start(&table(routes, vec![named, group("g", &[address])]));
    let fields = [
        "",
        "connection: keep-alive\r\n",
        "X-Forwarded-For: 192.0.2.1\r\nx-forwarded-proto: https\r\nforwarded: for=x\r\n\
         x-real-ip: 1.1.1.1\r\nX-Forwarded-Host: b\r\nx-request-id: mine\r\n",
        "Authorization: Basic YQ==\r\nif-none-match: \"a\"\r\nrange: bytes=0-1\r\npragma: x\r\n\
         cache-control: no-cache\r\nX-API-Key: a\r\n",
        "accept: a\r\nAccept: b\r\ncookie: a=b\r\nx-\u{e4}: 1\r\n",
        "x-bytes: \u{e4}\r\nx-empty:\r\n",
    ];
    for path in ["/a/b?c=d&e", "/", "/edited/x?y", "/edited"] {
        for fields in fields {
            let is_odd = fields.contains("x-\u{e4}");
            told_the_same(&rig, &format!("GET {path}"), fields, !is_odd).await;
        }
    }
    rig.stop();
}

/// The server is told the same both ways, and answers with it; whether the first is passed on
/// directly.
async fn told_the_same(rig: &Rig, line: &str, fields: &str, is_direct: bool) {
    let before = passed(rig);
    let direct = raw(rig, &asking(line, fields)).await;
    assert_eq!(passed(rig), before + u64::from(is_direct), "{line} {fields}");
    let pingora = raw(rig, &asking(line, &format!("{fields}{WHOLE_WAY}"))).await;
    let told = |answer: &str| {
        let (head, body) = lines(answer);
        let told = body.split_once('\n').map_or("", |(_, told)| told);
        let mut told: Vec<String> = told
            .lines()
            .map(|line| match line.to_ascii_lowercase().split_once(": ") {
                Some(("x-more" | "x-request-id", id)) => format!("id of {}", id.len()),
                _ => line.to_ascii_lowercase(),
            })
            .collect();
        told.sort();
        (head.into_iter().filter(|line| !line.contains("length")).collect(), told)
    };
    let (direct, pingora): ((Vec<_>, _), (Vec<_>, _)) = (told(&direct), told(&pingora));
    assert_eq!(direct, pingora, "{line} {fields}");
}

#[tokio::test]
async fn servers_are_told_the_same_of_clients_of_trusted_proxies() {
    let address = server("s", Manner::Echo).await;
    let set = vec![("x-who".to_owned(), "$remote_addr".to_owned())];
    let edits = EditSpec { set, ..EditSpec::default() };
    let edited = RouteSpec { request_edits: edits, ..route("edited", "/edited", to("g")) };
    let routes = vec![fixed_next(), edited, route("all", "/", to("g"))];
    let spec = table(routes, vec![group("g", &[address])]);
    let trusted = ["127.0.0.0/8", "10.0.0.0/8"].map(str::to_owned).to_vec();
    for real_ip in [RealIp::XForwardedFor, RealIp::XRealIp, RealIp::Forwarded] {
        let trusted_proxies = trusted.clone();
        let rig = Rig::start(&TableSpec { real_ip, trusted_proxies, ..spec.clone() });
        for path in ["/a?b", "/edited"] {
            for fields in [
                "",
                "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.1.1.1\r\nx-forwarded-proto: https\r\n",
                "x-forwarded-for: 2001:db8::1\r\nX-Forwarded-For: 10.0.0.9\r\n\
                 x-forwarded-host: b\r\n",
                "x-forwarded-for: nobody\r\nx-real-ip: 198.51.100.7\r\n",
                "Forwarded: for=\"[2001:db8::2]\";proto=https, for=10.0.0.1\r\n",
                "forwarded: for=\"a, for=192.0.2.9\r\nx-request-id: mine\r\n",
            ] {
                told_the_same(&rig, &format!("GET {path}"), fields, true).await;
            }
        }
        rig.stop();
    }
}

#[tokio::test]
async fn log_lines_are_the_same() {
    let text = "$remote_addr $request_method $request_uri $status $body_bytes_sent $route \
                $sent_http_content_length $upstream_addr $upstream_status $http_x_who";
    let format = FormatSpec::Template { text: text.to_owned(), escape: Escape::Hex };
    let access = AccessSpec { format, skip: vec!["/no-content".to_owned()] };
    let trusted_proxies = vec!["127.0.0.1".to_owned()];
    let spec = TableSpec { access, trusted_proxies, ..through(scripted().await) };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let mut options = options();
    options.access_log = Some(log_at(&path));
    let with = With { is_logged: true, ..With::default() };
    let rig = Rig::start_behind(&spec, options, &with);
    for path in ["/length", "/chunks", "/to-the-end", "/no-content", "/bad/nothing", "/failed"] {
        let whose = "x-forwarded-for: 192.0.2.1\r\n";
        for way in ["", WHOLE_WAY] {
            let request = asking(&format!("GET {path}"), &format!("x-who: me\r\n{whose}{way}"));
            let mut stream = TcpStream::connect(rig.plain).await.unwrap();
            ask_on(&mut stream, &request).await.unwrap();
        }
    }
    rig.stop();
    let written = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.len(), 10, "{written}");
    for pair in lines.chunks(2) {
        assert_eq!(pair[0], pair[1]);
    }
    assert!(lines[0].starts_with("192.0.2.1 GET "), "{}", lines[0]);
    assert!(lines[0].contains(" 200 5 all 5 127.0.0.1:"), "{}", lines[0]);
}
