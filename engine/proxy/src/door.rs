//! Owns the address of one listener, which may be exchanged for another while it serves.
//!
//! Refuses to bind: it is given sockets that listen, so that nothing is let go before the new one
//! is there. Bound: one socket, and its duplicate for each network thread.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::bind::Bound;

/// See the module. Its clones are the same door, whose socket stays open as long as there are any.
#[derive(Clone, Debug)]
pub struct Door(watch::Sender<Option<Arc<Bound>>>);

impl Door {
    /// A door at this address; without one, nobody comes in.
    pub fn new(bound: Option<Bound>) -> Self {
        Self(watch::Sender::new(bound.map(Arc::new)))
    }

    /// Where it is now.
    pub fn bound(&self) -> Option<Arc<Bound>> {
        self.0.borrow().clone()
    }

    /// The address of the socket, with the port that the kernel chose where 0 was asked for.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.borrow().as_ref().map(|bound| bound.address())
    }

    /// Lets people in at another address. What has come by the one before is answered; its
    /// connections end with the request that is under way.
    pub fn exchange(&self, bound: Option<Arc<Bound>>) {
        self.0.send_replace(bound);
    }

    /// Holds the socket no longer, so that it is closed once the network threads stop accepting.
    pub fn forget(&self) {
        self.0.send_if_modified(|bound| {
            *bound = None;
            false
        });
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<Arc<Bound>>> {
        self.0.subscribe()
    }
}
