//! Owns who is at the other end of a connection, and what servers are told of them.
//!
//! Refuses to know requests. Bound: one connection.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderValue};
use pingora_core::protocols::IO;
use pingora_core::protocols::l4::socket::SocketAddr as AnySocketAddr;

use super::admitted::Admitted;
use super::plain::Plain;
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
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.ends.peer.map(|peer| peer.ip())
    }

    /// What servers are told of where a request comes from.
    pub(super) fn origin<'a>(
        &self,
        admitted: &Admitted,
        host: &'a HeaderValue,
    ) -> Option<Origin<'a>> {
        let (client, is_trusted) = (admitted.client, admitted.is_trusted);
        Some(Origin { peer: self.peer()?, client, is_trusted, scheme: self.scheme().name(), host })
    }

    /// Writes that as the lines of a head. Most connections ask for one host, and what is told of
    /// them is the same, unless the peer speaks for others.
    pub(super) fn tell(
        &self,
        admitted: &Admitted,
        plain: &Plain<'_>,
        bytes: &mut Vec<u8>,
    ) -> Option<()> {
        let host = plain.authority;
        if admitted.is_trusted {
            let value = HeaderValue::from_str(host).ok()?;
            let origin = self.origin(admitted, &value)?;
            for (name, value) in forwarded::told(plain.headers(), &origin) {
                put(bytes, name.as_str().as_bytes(), value.as_bytes());
            }
            return Some(());
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.1.is_empty() || told.0 != host {
            let value = HeaderValue::from_str(host).ok()?;
            told.1.clear();
            for (name, value) in forwarded::told(&HeaderMap::new(), &self.origin(admitted, &value)?)
            {
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
