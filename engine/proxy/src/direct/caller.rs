//! Owns who is at the other end of a connection, and what servers are told of them.
//!
//! Refuses to know requests. Bound: one connection.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderValue};
use pingora_core::protocols::IO;
use pingora_core::protocols::l4::socket::SocketAddr as AnySocketAddr;

use super::write::put;
use crate::connection::shared_of;
use crate::forwarded::{self, Origin};
use crate::logging::Ends;
use crate::route::spec::Scheme;

/// Who is at the other end of a connection.
pub(super) struct Caller {
    ends: Ends,
    /// Whether it may have proved who it is by its certificate.
    pub(super) is_known: bool,
    /// What servers are told of it, and the host for which they were told so.
    told: Mutex<(String, Vec<u8>)>,
}

impl Caller {
    pub(super) fn of(stream: &impl IO) -> Self {
        let inet = |address: &AnySocketAddr| address.as_inet().copied();
        let socket = stream.get_socket_digest();
        let socket = socket.as_deref();
        let digest = stream.get_proxy_digest();
        Self {
            ends: Ends {
                peer: socket.and_then(|socket| socket.peer_addr().and_then(inet)),
                server: socket.and_then(|socket| socket.local_addr().and_then(inet)),
                tls: stream.get_ssl_digest(),
            },
            is_known: digest.is_some_and(|digest| {
                shared_of(&digest).is_none_or(|shared| shared.names.get().is_some())
            }),
            told: Mutex::default(),
        }
    }

    /// Its address.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.ends.peer.map(|peer| peer.ip())
    }

    /// What servers are told of where a request comes from.
    pub(super) fn origin<'a>(&self, host: &'a HeaderValue) -> Option<Origin<'a>> {
        let (peer, scheme) = (self.client()?, self.scheme().name());
        let client = peer.to_canonical();
        // Requests of trusted peers are not answered here.
        Some(Origin { peer, client, is_trusted: false, scheme, host })
    }

    /// Writes that as the lines of a head; most connections ask for one host.
    pub(super) fn tell(&self, host: &str, bytes: &mut Vec<u8>) -> Option<()> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.1.is_empty() || told.0 != host {
            let value = HeaderValue::from_str(host).ok()?;
            told.1.clear();
            for (name, value) in forwarded::told(&HeaderMap::new(), &self.origin(&value)?) {
                put(&mut told.1, name.as_str().as_bytes(), value.as_bytes());
            }
            host.clone_into(&mut told.0);
        }
        bytes.extend_from_slice(&told.1);
        Some(())
    }

    pub(super) fn ends(&self) -> &Ends {
        &self.ends
    }

    pub(super) fn scheme(&self) -> Scheme {
        if self.ends.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }
}
