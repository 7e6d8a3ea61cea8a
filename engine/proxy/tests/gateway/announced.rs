//! Connections for which a proxy speaks by the PROXY protocol.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use truststram_proxy::TableSpec;

use crate::rig::*;

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let upstream = server("one", Manner::Echo).await;
    let spec = table(vec![route("all", "/", to("g"))], vec![group("g", &[upstream])]);
    let trusted = |networks: &[&str]| TableSpec {
        trusted_proxies: networks.iter().map(|&text| text.to_owned()).collect(),
        ..spec.clone()
    };
    let with = With { has_proxy_header: true, ..With::default() };
    let rig = Rig::start_behind(&trusted(&["127.0.0.0/8"]), options(), &with);
    let said = async |before: &[u8]| {
        let mut stream = TcpStream::connect(rig.plain).await.unwrap();
        let request = get("/").replace("host:", "connection: close\r\nhost:");
        // What is refused may be closed before all of it is sent.
        let _ = stream.write_all(&[before, request.as_bytes()].concat()).await;
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        String::from_utf8(all).unwrap()
    };
    let first = said(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\n").await.to_lowercase();
    assert!(first.contains("x-real-ip: 192.0.2.7"), "{first}");
    assert!(first.contains("x-forwarded-for: 192.0.2.7"), "{first}");
    let block = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\0\0\0\0\0\x50\0\x50";
    let second = said(block).await.to_lowercase();
    assert!(second.contains("x-real-ip: 1.2.3.4"), "{second}");
    let third = said(b"PROXY UNKNOWN\r\n").await.to_lowercase();
    assert!(third.contains("x-real-ip: 127.0.0.1"), "{third}");
    assert_eq!(said(b"").await, "");
    assert_eq!(said(b"PROXY TCP4 x\r\n").await, "");
    assert_eq!(rig.gateway.stats()[0].proxy_headers_bad.get(), 2);
    // Whoever is not trusted speaks for nobody.
    rig.live.replace(&trusted(&["10.0.0.0/8"])).unwrap();
    assert!(said(b"").await.to_lowercase().contains("x-real-ip: 127.0.0.1"));
    let refused = said(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\n").await;
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 400"), "{refused}");
    rig.stop();
}
