//! Routes that need a client certificate, beside others of the same listener: on each way by which
//! a request may be answered.

use std::sync::Arc;

use http::Request;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use truststram_proxy::{ActionSpec, Cache, CacheOptions, RouteAuth, RouteSpec, TableSpec, check};

use crate::connections::{connect, key_file, showing, with_tls};
use crate::direct::origin;
use crate::rig::*;

fn needing(route: RouteSpec) -> RouteSpec {
    RouteSpec { auth: RouteAuth { needs_certificate: true, ..RouteAuth::default() }, ..route }
}

fn fixed(name: &str, path: &str) -> RouteSpec {
    route(name, path, ActionSpec::Answer { status: 200, body: name.to_owned() })
}

/// Asks for a certificate, and needs it for some of its routes.
async fn spec() -> TableSpec {
    let origin = origin("cache-control: max-age=60\r\n", 100).await;
    let routes = vec![
        needing(fixed("closed", "/closed")),
        needing(RouteSpec { is_cached: true, ..route("kept", "/kept", to("g")) }),
        needing(route("up", "/up", to("g"))),
        needing(route("local", "/local", ActionSpec::Local)),
        needing(RouteSpec { hosts: vec!["b.test".to_owned()], ..fixed("b", "/") }),
        fixed("open", "/"),
    ];
    let mut spec = TableSpec { tls: with_tls(&["a", "b"]).tls, ..table(routes, Vec::new()) };
    spec.upstreams = vec![group("g", &[origin])];
    let tls = spec.tls.as_mut().unwrap();
    (tls.client_ca, tls.is_client_optional) = (Some(key_file("ca.pem")), true);
    spec
}

async fn statuses(stream: &mut TlsStream<TcpStream>) -> Vec<u16> {
    let mut found = Vec::new();
    for path in ["/open", "/closed", "/kept", "/up", "/local"] {
        found.push(ask_on(stream, &get(path)).await.unwrap().status);
    }
    found
}

#[tokio::test]
async fn a_route_that_needs_a_certificate_is_closed_without() {
    let options = options();
    let cache = Arc::new(Cache::new(CacheOptions::default(), options.clock.clone()));
    let with = With { cache: Some(cache.clone()), ..With::default() };
    let rig = Rig::start_behind(&spec().await, options, &with);
    let (nobody, trainer) = ([200, 403, 403, 403, 403], [200; 5]);
    let [none, own] = [None, Some("trainer")].map(|own| showing(&["http/1.1"], own));
    // What the cache holds for those who may see it is for nobody else; the second connection of
    // each resumes its session.
    for _ in 0..2 {
        assert_eq!(statuses(&mut connect(&rig, &none, "a.test").await).await, nobody);
        assert_eq!(statuses(&mut connect(&rig, &own, "a.test").await).await, trainer);
    }
    assert_eq!(cache.stats().hits.get(), 1);
    // The same without TLS, where nobody has a certificate.
    let direct = rig.gateway.stats()[0].direct.get();
    for (path, status) in [("/open", 200), ("/closed", 403), ("/kept", 403)] {
        assert_eq!(ask(rig.plain, &get(path)).await.status, status, "{path}");
    }
    assert_eq!(rig.gateway.stats()[0].direct.get(), direct + 1);
    assert_eq!(ask(rig.plain, &get("/up")).await.body, "forbidden");
    // A certificate that others signed is not taken for none.
    let foreign = showing(&["http/1.1"], Some("a"));
    let stream = TcpStream::connect(rig.tls).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
    if let Ok(mut stream) = foreign.connect(name, stream).await {
        assert!(ask_on(&mut stream, &get("/open")).await.is_none());
    }
    rig.stop();
}

#[tokio::test]
async fn a_connection_by_another_name_opens_nothing() {
    let rig = Rig::start(&spec().await);
    for (own, expected) in [(None, [200, 403, 403]), (Some("trainer"), [200, 200, 200])] {
        let stream = connect(&rig, &showing(&["h2"], own), "a.test").await;
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let driven = tokio::spawn(connection);
        let mut found = Vec::new();
        for uri in ["https://a.test/open", "https://b.test/open", "https://a.test/up"] {
            let mut client = client.clone().ready().await.unwrap();
            let request = Request::get(uri).body(()).unwrap();
            found.push(client.send_request(request, true).unwrap().0.await.unwrap().status());
        }
        assert_eq!(found, expected);
        drop(client);
        driven.abort();
    }
    rig.stop();
}

#[tokio::test]
async fn where_nobody_can_show_one_it_cannot_be_needed() {
    let mut spec = spec().await;
    assert_eq!(check(&spec), []);
    spec.tls.as_mut().unwrap().client_ca = None;
    assert_eq!(check(&spec)[0].key, "routes[0].client_certificate");
    spec.tls = None;
    assert_eq!(check(&spec)[0].key, "routes[0].client_certificate");
}
