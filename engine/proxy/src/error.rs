//! Owns what can go wrong before a request exists: binding ports and starting threads.
//!
//! Refuses to know request errors; those are answered by the router. Bound: one enum.

use std::net::SocketAddr;

use truststram_base::Kind;
use truststram_machine::MachineError;

use crate::route::spec::Fault;

/// Why the gateway could not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Another process listens there.
    #[error("{address} is in use by another process; stop it or choose another port")]
    InUse {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The address cannot be bound for another reason.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The folder of the cache cannot be made.
    #[error("cannot make the folder of the cache {}: {source}", .folder.display())]
    CacheFolder {
        /// The folder.
        folder: std::path::PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The first table has a fault.
    #[error("{}: {}", .0.key, .0.message)]
    Table(Fault),
    /// A network thread could not start or ended badly.
    #[error("network thread: {0}")]
    Thread(#[from] MachineError),
    /// A network thread's event loop could not be built.
    #[error("cannot start an event loop: {0}")]
    EventLoop(std::io::Error),
}

impl ProxyError {
    /// What the error means to its receiver.
    pub fn kind(&self) -> Kind {
        match self {
            Self::InUse { .. } => Kind::Conflict,
            Self::Bind { .. } | Self::CacheFolder { .. } | Self::Table(_) => Kind::Invalid,
            Self::Thread(error) => error.kind(),
            Self::EventLoop(_) => Kind::Internal,
        }
    }
}
