//! Tunnels (WebSocket) of clients that were let in by a credential: they end with it.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use truststram_base::{Credential, Identity, ManualClock, Scopes, UserId};
use truststram_proxy::{GatewayOptions, Guard, RouteAuth, RouteSpec};

use crate::access::{guard, key};
use crate::direct::NOW_US;
use crate::hedging::Held;
use crate::rig::*;

const SECOND_US: i64 = 1_000_000;

/// A gateway with the routes `/asks`, which needs a credential, and `/`, and a server that the test
/// speaks for.
struct Tunnels {
    rig: Rig,
    server: Held,
    guard: Guard,
    clock: Arc<ManualClock>,
}

impl Tunnels {
    async fn start() -> Self {
        let (clock, guard) = (Arc::new(ManualClock::at(NOW_US)), guard(100));
        let server = Held::new().await;
        let auth = RouteAuth { is_required: Some(true), ..RouteAuth::default() };
        let routes =
            vec![RouteSpec { auth, ..route("asks", "/asks", to("g")) }, route("all", "/", to("g"))];
        let spec = table(routes, vec![group("g", &[server.address()])]);
        let options = GatewayOptions { clock: clock.clone(), ..options() };
        let with = With { guard: Some(guard.clone()), ..With::default() };
        Self { rig: Rig::start_behind(&spec, options, &with), server, guard, clock }
    }

    /// A tunnel from end to end.
    async fn open(&self, path: &str, key: &str) -> (TcpStream, TcpStream) {
        let mut client = TcpStream::connect(self.rig.plain).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             authorization: Bearer {key}\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut server = self.server.asked().await;
        let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                      upgrade: websocket\r\n\r\n";
        server.write_all(answer.as_bytes()).await.unwrap();
        assert!(read_message(&mut client).await.unwrap().0.starts_with("HTTP/1.1 101 "));
        (client, server)
    }
}

/// Says something at one end that must arrive at the other.
async fn passes(from: &mut TcpStream, to: &mut TcpStream) {
    let mut read = [0; 5];
    from.write_all(b"hello").await.unwrap();
    to.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello");
}

/// Says something at one end that must not arrive, for both ends are over.
async fn ends(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"hello").await.unwrap();
    for end in [to, from] {
        assert_eq!(end.read(&mut [0; 5]).await.unwrap_or(0), 0);
    }
}

#[tokio::test]
async fn a_tunnel_ends_with_the_key_that_opened_it() {
    let tunnels = Tunnels::start().await;
    let (ada, bob) = (key(&tunnels.guard, "ada", &[]), key(&tunnels.guard, "bob", &[]));
    let (mut one, mut of_one) = tunnels.open("/asks", &ada.text).await;
    let (mut two, mut of_two) = tunnels.open("/asks", &ada.text).await;
    let (mut other, mut of_other) = tunnels.open("/asks", &bob.text).await;
    let (mut open, mut of_open) = tunnels.open("/", &ada.text).await;
    tunnels.clock.advance(2 * SECOND_US);
    passes(&mut one, &mut of_one).await;
    passes(&mut of_two, &mut two).await;
    tunnels.guard.authority.keys().remove(&ada.id);
    tunnels.clock.advance(2 * SECOND_US);
    // Whoever speaks first.
    ends(&mut one, &mut of_one).await;
    ends(&mut of_two, &mut two).await;
    // Neither that of another key nor one that needed none.
    passes(&mut other, &mut of_other).await;
    passes(&mut of_open, &mut open).await;
    drop((other, of_other, open, of_open));
    tunnels.rig.stop();
}

#[tokio::test]
async fn a_tunnel_ends_with_the_token_that_opened_it() {
    let tunnels = Tunnels::start().await;
    let ada = key(&tunnels.guard, "ada", &[]);
    let identity = Identity {
        user: UserId::new("ada").unwrap(),
        key: Some(ada.id.as_str().into()),
        scopes: Scopes::of(&[]),
        role: None,
        by: Credential::Key,
    };
    let signers = tunnels.guard.authority.signers();
    signers.replace(&[[7; 32]]);
    let token = signers.issue(&identity, identity.scopes, None, NOW_US, 60).unwrap();
    let (mut client, mut server) = tunnels.open("/asks", &token).await;
    tunnels.clock.advance(50 * SECOND_US);
    passes(&mut client, &mut server).await;
    tunnels.clock.advance(200 * SECOND_US);
    ends(&mut client, &mut server).await;
    tunnels.rig.stop();
}
