//! Compressed answers and bodies over real sockets.

use std::io::Read;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use truststram_base::SystemClock;
use truststram_proxy::{
    ActionSpec, Cache, CacheOptions, CompressionSpec, Encoding, RouteSpec, TableSpec,
};

use crate::rig::*;

fn compressing(spec: TableSpec) -> TableSpec {
    let encodings = vec![(Encoding::Zstd, 3), (Encoding::Brotli, 5), (Encoding::Gzip, 6)];
    let types = ["text/plain", "text/event-stream"].map(str::to_owned).to_vec();
    let compression = CompressionSpec { encodings, types, bytes_min: 100 };
    TableSpec { compression, ..spec }
}

fn text() -> String {
    "all work and no play ".repeat(1_000)
}

/// The head and the body, in which chunks are joined.
async fn ask_bytes(rig: &Rig, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let mut rest = &all[end..];
    if header(&head, "transfer-encoding").is_none() {
        return (head, rest.to_vec());
    }
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return (head, body);
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
}

fn request(method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n{lines}\r\n")
}

fn plain(encoding: Option<&str>, body: &[u8]) -> String {
    let mut text = String::new();
    match encoding {
        Some("gzip") => {
            flate2::read::GzDecoder::new(body).read_to_string(&mut text).unwrap();
        }
        Some("br") => {
            brotli::Decompressor::new(body, 4_096).read_to_string(&mut text).unwrap();
        }
        Some("zstd") => {
            zstd::stream::read::Decoder::new(body).unwrap().read_to_string(&mut text).unwrap();
        }
        _ => text = String::from_utf8(body.to_vec()).unwrap(),
    }
    text
}

#[tokio::test]
async fn answers_are_compressed_as_clients_accept_it() {
    let fixed = ActionSpec::Answer { status: 200, body: text() };
    let short = ActionSpec::Answer { status: 200, body: "short".to_owned() };
    let routes = vec![route("short", "/short", short), route("all", "/", fixed)];
    let rig = Rig::start(&compressing(table(routes, Vec::new())));
    for (accepted, expected) in [
        ("", None),
        ("accept-encoding: gzip\r\n", Some("gzip")),
        ("accept-encoding: gzip, br;q=0.9\r\n", Some("gzip")),
        ("accept-encoding: gzip, deflate, br, zstd\r\n", Some("zstd")),
        ("accept-encoding: *;q=0.5, zstd;q=0\r\n", Some("br")),
        ("accept-encoding: identity, gzip;q=0\r\n", None),
        ("accept-encoding: identity;q=0\r\n", None),
    ] {
        let (head, body) = ask_bytes(&rig, &request("GET", "/", accepted)).await;
        assert_eq!(header(&head, "content-encoding"), expected, "{accepted}");
        assert_eq!(header(&head, "vary"), Some("Accept-Encoding"), "{accepted}");
        assert_eq!(header(&head, "content-length").is_none(), expected.is_some(), "{head}");
        assert_eq!(plain(expected, &body), text(), "{accepted}");
        assert!(expected.is_none() || body.len() < 1_000);
        let (of_head, body) = ask_bytes(&rig, &request("HEAD", "/", accepted)).await;
        for name in ["content-encoding", "vary", "content-length"] {
            assert_eq!(header(&of_head, name), header(&head, name), "{name} {accepted}");
        }
        assert!(body.is_empty());
    }
    let (head, body) =
        ask_bytes(&rig, &request("GET", "/short", "accept-encoding: gzip\r\n")).await;
    assert_eq!((header(&head, "content-encoding"), header(&head, "vary")), (None, None));
    assert_eq!(body, b"short");
    let old = "GET / HTTP/1.0\r\nhost: a.test\r\naccept-encoding: gzip\r\n\r\n";
    let (head, body) = ask_bytes(&rig, old).await;
    assert_eq!(header(&head, "content-encoding"), None);
    assert_eq!(plain(None, &body), text());
    rig.stop();
}

/// A server that answers every request with `lines` and the text.
async fn answering(lines: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Some((head, _)) = read_message(&mut stream).await {
                    let body = if head.starts_with("HEAD") { String::new() } else { text() };
                    let length = text().len();
                    let head =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{lines}\r\n");
                    if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn upstream_and_cached_answers_are_compressed_too() {
    let of_server = "content-type: text/plain\r\netag: \"a\"\r\naccept-ranges: bytes\r\n\
                     vary: origin\r\ncache-control: max-age=60\r\n";
    let upstream = answering(of_server).await;
    let kept = RouteSpec { is_cached: true, ..route("kept", "/kept", to("g")) };
    let routes = vec![kept, route("all", "/", to("g"))];
    let spec = compressing(table(routes, vec![group("g", &[upstream])]));
    let cache = Cache::new(CacheOptions::default(), Arc::new(SystemClock::new()));
    let rig = Rig::start_behind(
        &spec,
        options(),
        &With { cache: Some(Arc::new(cache)), ..With::default() },
    );
    for path in ["/", "/kept", "/kept"] {
        for accepted in ["br", "gzip", "identity"] {
            let lines = format!("accept-encoding: {accepted}\r\n");
            let (head, body) = ask_bytes(&rig, &request("GET", path, &lines)).await;
            let encoding = Some(accepted).filter(|name| *name != "identity");
            assert_eq!(header(&head, "content-encoding"), encoding, "{path} {head}");
            assert_eq!(plain(encoding, &body), text(), "{path} {accepted}");
            let tag = if encoding.is_some() { "W/\"a\"" } else { "\"a\"" };
            assert_eq!(header(&head, "etag"), Some(tag));
            assert_eq!(header(&head, "accept-ranges").is_some(), encoding.is_none());
            assert!(head.to_lowercase().contains("vary: origin"), "{head}");
            assert!(head.contains("Accept-Encoding"), "{head}");
            let (of_head, _) = ask_bytes(&rig, &request("HEAD", path, &lines)).await;
            assert_eq!(header(&of_head, "content-encoding"), encoding, "{path} {of_head}");
        }
    }
    // A part is a part of the plain answer, and what is known is not sent again.
    let lines = "accept-encoding: gzip\r\nrange: bytes=0-2\r\n";
    let (head, body) = ask_bytes(&rig, &request("GET", "/kept", lines)).await;
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert_eq!((header(&head, "content-encoding"), body.as_slice()), (None, &b"all"[..]));
    let lines = "accept-encoding: gzip\r\nif-none-match: W/\"a\"\r\n";
    let (head, body) = ask_bytes(&rig, &request("GET", "/kept", lines)).await;
    assert!(head.starts_with("HTTP/1.1 304") && body.is_empty(), "{head}");
    rig.stop();
}

#[tokio::test]
async fn events_go_out_as_they_come() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let spec = table(vec![route("all", "/", to("g"))], vec![group("g", &[address])]);
    let rig = Rig::start(&compressing(spec));
    let mut client = TcpStream::connect(rig.plain).await.unwrap();
    let ask = request("GET", "/", "accept-encoding: gzip\r\n");
    client.write_all(ask.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_message(&mut server).await.unwrap();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    server.write_all(head.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        server.write_all(chunk.as_bytes()).await.unwrap();
        // The next event is sent only once this one has arrived.
        loop {
            assert!(client.read_buf(&mut raw).await.unwrap() > 0);
            let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            if unchunked(&raw[end + 4..]).ends_with(event) {
                break;
            }
        }
    }
    server.write_all(b"0\r\n\r\n").await.unwrap();
    client.read_to_end(&mut raw).await.unwrap();
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    assert_eq!(unchunked(&raw[end + 4..]), "data: 1\n\ndata: 2\n\n");
    rig.stop();
}

/// What can be read of a gzip body in chunks that may not be whole.
fn unchunked(mut rest: &[u8]) -> String {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let Some(chunk) = rest.get(line + 2..line + 2 + size).filter(|_| size > 0) else { break };
        body.extend_from_slice(chunk);
        rest = rest.get(line + 4 + size..).unwrap_or_default();
    }
    let (mut text, mut byte) = (Vec::new(), [0]);
    let mut decoder = flate2::read::GzDecoder::new(body.as_slice());
    while decoder.read(&mut byte).is_ok_and(|count| count > 0) {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::read::GzEncoder::new(plain, flate2::Compression::best());
    let mut body = Vec::new();
    encoder.read_to_end(&mut body).unwrap();
    body
}

async fn send_to(rig: &Rig, path: &str, encoding: &str, body: &[u8]) -> (u16, String, String) {
    let length = body.len();
    let lines = format!("content-encoding: {encoding}\r\ncontent-length: {length}\r\n");
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    let head = request("POST", path, &lines);
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let (head, body) = read_message(&mut stream).await.unwrap();
    (head.split(' ').nth(1).unwrap().parse::<u16>().unwrap(), head, body)
}

#[tokio::test]
async fn compressed_bodies_are_read_within_the_limit() {
    let rig = Rig::start(&table(Vec::new(), Vec::new()));
    let send = async |encoding: &str, body: &[u8]| send_to(&rig, "/echo", encoding, body).await;
    let (status, _, said) = send("gzip", &gzip(b"hello")).await;
    assert_eq!((status, said.as_str()), (200, "local POST /echo  hello"));
    let (status, head, _) = send("compress", b"x").await;
    let known = Some("gzip, br, zstd, deflate");
    assert_eq!((status, header(&head, "accept-encoding")), (415, known));
    // As clients of inference servers compress.
    let mut deflated = Vec::new();
    let level = flate2::Compression::default();
    flate2::read::ZlibEncoder::new(&b"hello"[..], level).read_to_end(&mut deflated).unwrap();
    assert_eq!(send("deflate", &deflated).await.2, "local POST /echo  hello");
    assert_eq!(send("gzip", b"no gzip").await.0, 400);
    // The limit of the rig is 1,000 bytes.
    assert_eq!(send("gzip", &gzip(&[b'a'; 1_000])).await.0, 200);
    assert_eq!(send("gzip", &gzip(&[b'a'; 1_001])).await.0, 413);
    assert_eq!(send("gzip", &gzip(&vec![0; 2_000_000])[..900]).await.0, 413);
    rig.stop();
}

#[tokio::test]
async fn compressed_bodies_are_read_while_they_arrive() {
    let rig = Rig::start(&table(Vec::new(), Vec::new()));
    let send = async |encoding: &str, body: &[u8]| send_to(&rig, "/streamed", encoding, body).await;
    let text: Vec<u8> = (0..90_000_u32).map(|at| (at.wrapping_mul(at) >> 9) as u8).collect();
    assert_eq!(send("identity", &text).await.2, "local POST /streamed true 90000");
    assert_eq!(send("gzip", &gzip(&text)).await.2, "local POST /streamed false 90000");
    // What reads it limits it; a body that is out of all proportion is refused before.
    let said = send("gzip", &gzip(&vec![1; 200_000])).await;
    assert!(said.0 == 200 && said.2.contains("length limit exceeded"), "{}", said.2);
    let (status, _, body) = send("gzip", b"no gzip").await;
    assert_eq!((status, body.as_str()), (400, "malformed"));
    let whole = gzip(&text);
    assert_eq!(send("gzip", &whole[..whole.len() - 9]).await.0, 400);
    let (status, head, _) = send("x", b"x").await;
    let known = Some("gzip, br, zstd, deflate");
    assert_eq!((status, header(&head, "accept-encoding")), (415, known));
    // In chunks, to a client that waits until it may send.
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    let lines = "content-encoding: gzip\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n";
    stream.write_all(request("POST", "/streamed", lines).as_bytes()).await.unwrap();
    assert!(read_message(&mut stream).await.unwrap().0.starts_with("HTTP/1.1 100 "));
    for part in whole.chunks(10_000) {
        stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await.unwrap();
        stream.write_all(&[part, b"\r\n"].concat()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let (_, body) = read_message(&mut stream).await.unwrap();
    assert_eq!(body, "local POST /streamed false 90000");
    rig.stop();
}
