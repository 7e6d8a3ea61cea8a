//! Owns an accepted connection until it is known what it speaks: the header of the PROXY protocol,
//! TLS, and which HTTP.
//!
//! Refuses to know requests. Bound: a head's time for each of the three, and little room while the
//! connection is idle.

use std::net::SocketAddr;
use std::sync::Arc;

use pingora_core::apps::ServerApp;
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::tls::TlsStream;
use pingora_core::protocols::{ALPN, GetProxyDigest, Peek, Ssl};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::auth::names_of_certificate;
use crate::connection::{Connection, H2_PREFACE, shared_of};
use crate::direct::{self, Turns};
use crate::head_timer::{HeadLimits, Turn};
use crate::live::Live;
use crate::proxy_protocol;
use crate::stats::GatewayStats;
use crate::watched::Watched;

/// What is served there.
pub(crate) struct Site {
    pub(crate) turns: Arc<Turns>,
    /// Whether a connection may be one of HTTP/2 without TLS.
    pub(crate) h2c: bool,
    pub(crate) stats: Arc<GatewayStats>,
    pub(crate) limits: HeadLimits,
    /// Whose certificates are shown, where TLS is spoken.
    pub(crate) certificates: Option<Arc<Live>>,
    /// Whose trusted proxies say for whom they connect, where they do.
    pub(crate) announcing: Option<Arc<Live>>,
}

/// Serves one connection to its end.
pub(crate) fn serve(
    site: &Site,
    mut stream: TcpStream,
    mut peer: SocketAddr,
    closing: watch::Receiver<bool>,
) -> impl Future<Output = ()> + use<> {
    let (turns, stats, limits) = (site.turns.clone(), site.stats.clone(), site.limits);
    let h2c = site.h2c;
    let announcing = site.announcing.clone();
    // Certificates are those of the moment in which it was accepted.
    let certificates = site.certificates.as_ref().map(|live| live.table().tls().cloned());
    let mut counted = OpenConnection::new(stats.clone());
    async move {
        if announcing.is_some_and(|live| live.table().trusted.contains(peer.ip())) {
            match tokio::time::timeout(limits.head, proxy_protocol::read(&mut stream)).await {
                Ok(Ok(source)) => peer = source.unwrap_or(peer),
                Ok(Err(_)) | Err(_) => return stats.proxy_headers_bad.add(1),
            }
        }
        let connection = Connection::new(stream, peer, limits, stats.clone());
        let turn = connection.turn().clone();
        counted.goes_by(turn.clone());
        let Some(config) = certificates else {
            let mut stream = Box::new(Watched::new(connection, turn.clone()));
            if h2c && begins_h2(&mut stream).await {
                turns.proxy.process_new(stream, &closing).await;
            } else {
                direct::serve(&turns, stream, turn, closing).await;
            }
            return;
        };
        // Kept apart, so that a connection does not hold the room of its handshake.
        let shaken = match config {
            Some(config) => Box::pin(shake(config, connection, turn.clone())).await,
            None => None,
        };
        match shaken {
            Some(stream) if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) => {
                turns.proxy.process_new(stream, &closing).await;
            }
            Some(stream) => direct::serve(&turns, stream, turn, closing).await,
            None => stats.handshake_failures.add(1),
        }
    }
}

/// Speaks TLS with the client; `None` where that fails.
async fn shake(
    config: Arc<ServerConfig>,
    connection: Connection,
    turn: Arc<Turn>,
) -> Option<Box<Watched<TlsStream<Connection>>>> {
    let stream = Acceptor::from_server_config(config).tls_handshake(connection).await.ok()?;
    let shown = stream.get_ssl().and_then(|tls| tls.peer_certificate_der());
    if let (Some(shown), Some(digest)) = (shown, stream.get_proxy_digest())
        && let Some(shared) = shared_of(&digest)
    {
        // The connection is new, so that nobody has said it before.
        let _ = shared.names.set(names_of_certificate(shown));
    }
    Some(Box::new(Watched::new(stream, turn)))
}

/// Whether what comes first is the preface of HTTP/2; it is read again.
async fn begins_h2(stream: &mut Watched<Connection>) -> bool {
    let mut first = [0; H2_PREFACE.len()];
    matches!(stream.try_peek(&mut first).await, Ok(true)) && first == *H2_PREFACE
}

/// A connection that is counted, from the moment in which it is accepted.
struct OpenConnection {
    stats: Arc<GatewayStats>,
    turn: Option<Arc<Turn>>,
}

impl OpenConnection {
    fn new(stats: Arc<GatewayStats>) -> Self {
        // In this order an open connection that is not fresh has asked something.
        stats.connections_fresh.raise(1);
        stats.connections_open.raise(1);
        Self { stats, turn: None }
    }

    /// What says from now on whether it has asked something.
    fn goes_by(&mut self, turn: Arc<Turn>) {
        self.turn = Some(turn);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.stats.connections_open.lower(1);
        if self.turn.as_ref().is_none_or(|turn| turn.is_fresh()) {
            self.stats.connections_fresh.lower(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_takes_little_room() {
        fn size<F: Future>(
            _: impl Fn(&Site, TcpStream, SocketAddr, watch::Receiver<bool>) -> F,
        ) -> usize {
            size_of::<F>()
        }
        let bytes = size(serve);
        assert!(bytes <= 1_536, "{bytes} bytes");
    }
}
