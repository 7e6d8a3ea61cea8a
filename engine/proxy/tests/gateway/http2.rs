//! HTTP/2 without TLS on both sides, as gRPC is spoken: the body, the answer and its trailers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use truststram_proxy::{ActionSpec, Protocol};

use crate::rig::*;

/// A server that echoes bodies and ends with a trailer.
async fn server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let path = request.uri().path().to_owned();
                        let mut body = request.into_body();
                        let mut whole = path.into_bytes();
                        while let Some(chunk) = body.data().await {
                            whole.extend_from_slice(&chunk.unwrap());
                        }
                        let mut send = respond.send_response(Response::new(()), false).unwrap();
                        send.send_data(Bytes::from(whole), false).unwrap();
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", HeaderValue::from_static("0"));
                        send.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_call_goes_through_with_its_trailers() {
    let mut calls = group("g", &[server().await]);
    calls.protocol = Protocol::H2c;
    let fixed = ActionSpec::Answer { status: 200, body: "fixed".to_owned() };
    let routes = vec![route("calls", "/pkg", to("g")), route("fixed", "/", fixed)];
    let mut options = options();
    options.h2c = true;
    let rig = Rig::start_with(&table(routes, vec![calls]), options);

    let stream = TcpStream::connect(rig.plain).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let driven = tokio::spawn(connection);
    for turn in 0..3 {
        let mut client = client.clone().ready().await.unwrap();
        let request = Request::post("http://a.test/pkg/call").body(()).unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        body.send_data(Bytes::from(format!(" {turn}")), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        let mut whole = Vec::new();
        while let Some(chunk) = body.data().await {
            whole.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(String::from_utf8(whole).unwrap(), format!("/pkg/call {turn}"));
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    }
    drop(client);
    drop(driven);
    // The same port still speaks HTTP/1.1.
    assert_eq!(ask(rig.plain, &get("/")).await.body, "fixed");
    rig.stop();
}
