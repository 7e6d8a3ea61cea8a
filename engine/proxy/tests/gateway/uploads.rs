//! Bodies that clients have compressed, by HTTP/2: decoded while they arrive, refused where they
//! cannot be, and without harm to what else is under way on the connection.

use std::io::Read;

use bytes::Bytes;
use h2::client::{SendRequest, handshake};
use http::Request;
use tokio::net::TcpStream;

use crate::compression::gzip;
use crate::rig::*;

/// Sends a body in parts; the status, `accept-encoding` and the body of the answer. Unless it
/// `ends`, the answer comes before the end of the body.
async fn send(
    client: &SendRequest<Bytes>,
    encoding: &str,
    body: &[u8],
    ends: bool,
) -> (u16, Option<String>, String) {
    let mut client = client.clone().ready().await.unwrap();
    let request = Request::post("http://a.test/streamed").header("content-encoding", encoding);
    let (answer, mut parts) = client.send_request(request.body(()).unwrap(), false).unwrap();
    for part in body.chunks(7_000) {
        // One that was answered early takes no more.
        let _ = parts.send_data(Bytes::copy_from_slice(part), false);
    }
    if ends {
        let _ = parts.send_data(Bytes::new(), true);
    }
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let known = answer.headers().get("accept-encoding");
    let known = known.map(|value| value.to_str().unwrap().to_owned());
    let (mut body, mut whole) = (answer.into_body(), Vec::new());
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        whole.extend_from_slice(&chunk);
    }
    drop(parts);
    (status, known, String::from_utf8(whole).unwrap())
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let level = flate2::Compression::default();
    flate2::read::ZlibEncoder::new(plain, level).read_to_end(&mut body).unwrap();
    body
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(plain, 3).unwrap()
}

/// Bytes that do not become fewer.
fn text(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(at) >> 9) as u8).collect()
}

#[tokio::test]
async fn compressed_bodies_are_read_while_they_arrive() {
    let mut options = options();
    options.h2c = true;
    let rig = Rig::start_with(&table(Vec::new(), Vec::new()), options);
    let stream = TcpStream::connect(rig.plain).await.unwrap();
    let (client, connection) = handshake(stream).await.unwrap();
    let driven = tokio::spawn(connection);
    let (fits, is_long) = (text(90_000), text(200_000));
    let (status, _, said) = send(&client, "identity", &fits, true).await;
    assert_eq!((status, said.as_str()), (200, "local POST /streamed false 90000"));
    for (encoding, encode) in
        [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd), ("deflate", deflate)]
    {
        let whole = encode(&fits);
        let (status, _, said) = send(&client, encoding, &whole, true).await;
        let expected = "local POST /streamed false 90000";
        assert_eq!((status, said.as_str()), (200, expected), "{encoding}");
        // What reads it has enough before the body ends, and says so.
        let (status, _, said) = send(&client, encoding, &encode(&is_long), false).await;
        assert!(status == 200 && said.contains("length limit exceeded"), "{encoding}: {said}");
        let (status, _, said) = send(&client, encoding, &whole[..whole.len() - 9], true).await;
        assert_eq!((status, said.as_str()), (400, "malformed"), "{encoding}, cut");
        let (status, _, said) = send(&client, encoding, b"not at all compressed", true).await;
        assert_eq!((status, said.as_str()), (400, "malformed"), "{encoding}, plain");
        // One inside another.
        let both = format!("{encoding}, gzip");
        let (status, _, said) = send(&client, &both, &gzip(&whole), true).await;
        assert_eq!((status, said.as_str()), (200, expected), "{both}");
    }
    let (status, known, _) = send(&client, "x", b"x", true).await;
    assert_eq!((status, known.as_deref()), (415, Some("gzip, br, zstd, deflate")));
    // Two at once, each by its own decoder.
    let (one, two) = (gzip(&fits), zstd(&fits[..50_000]));
    let both = tokio::join!(send(&client, "gzip", &one, true), send(&client, "zstd", &two, true));
    assert_eq!((both.0.0, both.0.2.as_str()), (200, "local POST /streamed false 90000"));
    assert_eq!((both.1.0, both.1.2.as_str()), (200, "local POST /streamed false 50000"));
    drop(client);
    drop(driven);
    rig.stop();
}
