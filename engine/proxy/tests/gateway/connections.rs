//! How long a connection may wait, and how TLS is spoken.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use truststram_proxy::{CertificateSpec, Door, TableSpec, TlsSpec};

use crate::rig::*;

pub fn key_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

pub fn certificate(name: &str) -> CertificateSpec {
    let file = |ending| key_file(&format!("{name}.{ending}"));
    CertificateSpec { chain: file("pem"), key: file("key"), ocsp: None }
}

pub fn with_tls(names: &[&str]) -> TableSpec {
    let tls = TlsSpec {
        certificates: names.iter().map(|name| certificate(name)).collect(),
        only_13: false,
        tickets: true,
        client_ca: None,
        is_client_optional: false,
    };
    TableSpec { tls: Some(tls), hsts_s: 60, ..TableSpec::default() }
}

/// A client of TLS that trusts both certificates of the tests.
pub fn client(alpn: &[&str]) -> TlsConnector {
    showing(alpn, None)
}

/// The same with a certificate of its own.
pub fn showing(alpn: &[&str], own: Option<&str>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for name in ["a.pem", "b.pem"] {
        roots.add(CertificateDer::from_pem_file(key_file(name)).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = CertificateDer::from_pem_file(key_file(&format!("{name}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(key_file(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub async fn connect(rig: &Rig, client: &TlsConnector, name: &str) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(rig.tls).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    client.connect(name, stream).await.unwrap()
}

fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_certificate_is_chosen_by_name() {
    let rig = Rig::start(&with_tls(&["a", "b"]));
    let der = |name| CertificateDer::from_pem_file(key_file(name)).unwrap().to_vec();
    for (name, file) in [("a.test", "a.pem"), ("b.test", "b.pem"), ("x.b.test", "b.pem")] {
        let mut stream = connect(&rig, &client(&["http/1.1"]), name).await;
        assert_eq!(shown(&stream), der(file), "{name}");
        let answer = ask_on(&mut stream, &get("/x")).await.unwrap();
        assert_eq!(answer.body, "local GET /x ");
        let hsts = answer.header("strict-transport-security");
        assert_eq!(hsts, Some("max-age=60; includeSubDomains"));
    }
    let stream = connect(&rig, &client(&["h2", "http/1.1"]), "a.test").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    drop(stream);
    // Not said where TLS is not spoken.
    let answer = ask(rig.plain, &get("/x")).await;
    assert_eq!(answer.header("strict-transport-security"), None);
    // Who does not speak TLS is counted and gone.
    let mut stream = TcpStream::connect(rig.tls).await.unwrap();
    stream.write_all(get("/").as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let stats = rig.gateway.stats()[1].clone();
    rig.stop();
    assert_eq!(stats.handshake_failures.get(), 1);
}

#[tokio::test]
async fn a_session_is_resumed() {
    let rig = Rig::start(&with_tls(&["a"]));
    let client = client(&["http/1.1"]);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&rig, &client, "a.test").await;
        // The ticket comes with the answer.
        ask_on(&mut stream, &get("/")).await.unwrap();
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        // A reload keeps the keys of tickets.
        rig.live.replace(&with_tls(&["a"])).unwrap();
    }
    use rustls::HandshakeKind::{Full, Resumed};
    assert!(matches!(kinds[..], [Full, Resumed]), "{kinds:?}");
    rig.stop();
}

#[tokio::test]
async fn a_ticket_stands_for_no_certificate_of_a_client() {
    let rig = Rig::start(&with_tls(&["a"]));
    let client = client(&["http/1.1"]);
    let mut stream = connect(&rig, &client, "a.test").await;
    assert_eq!(ask_on(&mut stream, &get("/")).await.unwrap().status, 200);
    let mut strict = with_tls(&["a"]);
    strict.tls.as_mut().unwrap().client_ca = Some(key_file("a.pem"));
    rig.live.replace(&strict).unwrap();
    // The client has none to show, and what it kept of the session before does not help.
    let mut stream = connect(&rig, &client, "a.test").await;
    assert!(ask_on(&mut stream, &get("/")).await.is_none());
    rig.stop();
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut() {
    let mut options = options();
    options.head_timeout = Duration::from_millis(100);
    let rig = Rig::start_with(&TableSpec::default(), options);
    let mut silent = TcpStream::connect(rig.plain).await.unwrap();
    let mut half = TcpStream::connect(rig.plain).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(silent.read_to_end(&mut rest).await.unwrap(), 0);
    let _ = half.read_to_end(&mut rest).await;
    // A byte now and then does not help.
    let (mut read, mut write) = TcpStream::connect(rig.plain).await.unwrap().into_split();
    let drip = async {
        let mut beat = tokio::time::interval(Duration::from_millis(5));
        write.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        while write.write_all(b"x").await.is_ok() {
            beat.tick().await;
        }
    };
    tokio::select! {
        () = drip => {}
        _ = read.read_to_end(&mut rest) => {}
    }
    assert!(rig.gateway.stats()[0].heads_late.get() >= 2);
    rig.stop();
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_slow_answer_is_not() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut options = options();
    options.head_timeout = Duration::from_millis(50);
    options.keepalive = Duration::from_millis(200);
    let spec = table(vec![route("all", "/", to("g"))], vec![group("g", &[address])]);
    let rig = Rig::start_with(&spec, options);
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    stream.write_all(get("/").as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_message(&mut server).await.unwrap();
    // Longer than a head may take, which is over for this request.
    let mut beat = tokio::time::interval(Duration::from_millis(150));
    beat.tick().await;
    beat.tick().await;
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    assert_eq!(read_message(&mut stream).await.unwrap().1, "ok");
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0);
    assert_eq!(rig.gateway.stats()[0].heads_late.get(), 0);
    rig.stop();
}

#[tokio::test]
async fn a_drain_gives_open_requests_all_of_its_time() {
    let upstream = server("one", Manner::Silent).await;
    let rig = Rig::start(&table(vec![route("all", "/", to("g"))], vec![group("g", &[upstream])]));
    let mut stream = TcpStream::connect(rig.plain).await.unwrap();
    stream.write_all(get("/x").as_bytes()).await.unwrap();
    let stats = rig.gateway.stats()[0].clone();
    while stats.connections_open.get() != 1 || stats.connections_fresh.get() != 0 {
        tokio::task::yield_now().await;
    }
    let (limit, began) = (Duration::from_secs(1), std::time::Instant::now());
    let drained = rig.gateway.drain(limit).unwrap();
    assert_eq!(drained.connections_cut, 1);
    assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
}

#[tokio::test]
async fn whoever_was_accepted_before_a_drain_is_answered() {
    for round in 0..30 {
        let rig = Rig::start(&TableSpec::default());
        let mut streams = Vec::new();
        for _ in 0..8 {
            streams.push(TcpStream::connect(rig.plain).await.unwrap());
        }
        let stats = rig.gateway.stats()[0].clone();
        rig.doors.iter().for_each(Door::forget);
        let draining = Draining::begin(rig.gateway);
        // Those that wait in the kernel still are refused with the listener; nobody else is.
        for stream in &mut streams {
            let _ = ask_on(stream, &get("/x")).await;
        }
        assert_eq!(draining.end().await.connections_cut, 0);
        assert_eq!(stats.requests[1].get(), stats.connections_accepted.get(), "round {round}");
    }
}
