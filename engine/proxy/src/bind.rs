//! Owns binding: every port is bound before any thread starts, so that a port in use is one of
//! the problems reported at start.
//!
//! Refuses to know what is served there. Bound: one socket per address; each network thread
//! accepts from a duplicate of its descriptor.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::ProxyError;

/// Connections that the kernel keeps for us before they are accepted (capped by
/// `net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// What the kernel takes of an answer beyond what it has sent, so that clients that read slowly do
/// not fill its memory with copies.
const UNSENT_BYTES: u32 = 64 << 10;

/// A bound and listening socket.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    asked: SocketAddr,
}

impl Bound {
    /// The address, with the port that the kernel chose where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address that was asked for.
    pub fn asked(&self) -> SocketAddr {
        self.asked
    }

    /// A socket that listens already.
    ///
    /// # Errors
    /// [`ProxyError::Bind`] where the kernel does not say at which address.
    pub fn listening(listener: TcpListener, asked: SocketAddr) -> Result<Self, ProxyError> {
        let found = listener.set_nonblocking(true).and_then(|()| listener.local_addr());
        let address = found.map_err(|source| ProxyError::Bind { address: asked, source })?;
        Ok(Self { listener, address, asked })
    }

    /// A second descriptor of the same socket, for another thread or a later program.
    ///
    /// # Errors
    /// [`ProxyError::Bind`] without a descriptor to give.
    pub fn duplicate(&self) -> Result<TcpListener, ProxyError> {
        self.listener
            .try_clone()
            .map_err(|source| ProxyError::Bind { address: self.address, source })
    }
}

/// Binds `address` and listens on it.
pub fn bind(address: SocketAddr) -> Result<Bound, ProxyError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AddrInUse => ProxyError::InUse { address },
        _ => ProxyError::Bind { address, source },
    };
    let listen = || -> std::io::Result<(TcpListener, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Without it a restart has to wait for the old connections' TIME_WAIT to pass.
        socket.set_reuse_address(true)?;
        // Connections inherit it. A kernel that refuses it serves all the same.
        let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    let (listener, bound) = listen().map_err(failed)?;
    Ok(Bound { listener, address: bound, asked: address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(first.address().port(), 0);
        let second = bind(first.address()).unwrap_err();
        assert!(matches!(second, ProxyError::InUse { address } if address == first.address()));
    }
}
