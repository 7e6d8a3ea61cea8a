//! Owns connections to servers that are open and have no request.
//!
//! Refuses to connect. Bound: so many for each listener and network thread, each for the time that
//! its group keeps connections; whoever was used the longest ago makes room.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::server::Server;

/// From one look at what waits to the next.
const LOOK: Duration = Duration::from_secs(1);

/// Which requests may have a connection: those of one group to one address.
pub(super) type For = (u64, SocketAddr);

struct Idle {
    whose: For,
    server: Server,
    until: Instant,
}

#[derive(Default)]
struct Waiting {
    idle: VecDeque<Idle>,
    /// Whether somebody closes those whose time is over.
    is_looked_at: bool,
}

/// Connections that wait, the one that was used last at the end.
pub(crate) struct Kept {
    most: usize,
    waiting: Mutex<Waiting>,
}

impl Kept {
    /// Keeps at most so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A queue is whole between any two of its operations.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last, if one is still open.
    pub(super) fn take(&self, whose: For) -> Option<Server> {
        loop {
            let mut waiting = self.waiting();
            let place = waiting.idle.iter().rposition(|idle| idle.whose == whose)?;
            let mut found = waiting.idle.remove(place)?;
            drop(waiting);
            if found.until > Instant::now() && found.server.is_quiet() {
                return Some(found.server);
            }
        }
    }

    /// Keeps a connection for the next request. Runs on an event loop.
    pub(super) fn put(self: &Arc<Self>, whose: For, server: Server, time: Duration) {
        if self.most == 0 {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.idle.len() >= self.most {
            waiting.idle.pop_front();
        }
        waiting.idle.push_back(Idle { whose, server, until: Instant::now() + time });
        if !std::mem::replace(&mut waiting.is_looked_at, true) {
            tokio::spawn(look(Arc::downgrade(self)));
        }
    }

    /// Closes what has waited long enough or was closed by its server; whether anything is left.
    fn close_old(&self) -> bool {
        let now = Instant::now();
        let mut waiting = self.waiting();
        waiting.idle.retain_mut(|idle| idle.until > now && idle.server.is_quiet());
        waiting.is_looked_at = !waiting.idle.is_empty();
        waiting.is_looked_at
    }
}

/// Looks again and again until nothing waits.
async fn look(kept: Weak<Kept>) {
    loop {
        tokio::time::sleep(LOOK).await;
        if !kept.upgrade().is_some_and(|kept| kept.close_old()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    struct Listener {
        listener: TcpListener,
        address: SocketAddr,
    }

    impl Listener {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            Self { listener, address }
        }

        /// A connection from both ends.
        async fn connection(&self) -> (Server, TcpStream) {
            let ours = TcpStream::connect(self.address).await.unwrap();
            let (theirs, _) = self.listener.accept().await.unwrap();
            (Server::of(ours), theirs)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_open_is_given_out_once_and_only_to_whom_it_is_for() {
        let server = Listener::new().await;
        let kept = Arc::new(Kept::new(2));
        let (whose, other) = ((1, server.address), (2, server.address));
        let mut theirs = Vec::new();
        for _ in 0..3 {
            let (ours, their) = server.connection().await;
            kept.put(whose, ours, Duration::from_secs(9));
            theirs.push(their);
        }
        // The first one made room.
        assert_eq!(theirs[0].read(&mut [0; 1]).await.unwrap(), 0);
        assert!(kept.take(other).is_none());
        assert!(kept.take(whose).is_some() && kept.take(whose).is_some());
        assert!(kept.take(whose).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_closed_or_speaks_unasked_is_not_given_out() {
        let server = Listener::new().await;
        let kept = Arc::new(Kept::new(8));
        let whose = (1, server.address);
        let (mut ours, theirs) = server.connection().await;
        drop(theirs);
        // Its end is here.
        assert!(ours.read(Duration::MAX / 4, |_| ()).await.is_err());
        kept.put(whose, ours, Duration::from_secs(9));
        assert!(kept.take(whose).is_none());
        let (mut ours, mut theirs) = server.connection().await;
        theirs.write_all(b"ab").await.unwrap();
        assert_eq!(ours.read(Duration::from_secs(9), <[u8]>::len).await.unwrap(), 2);
        // The look at it takes one of them.
        theirs.write_all(b"cd").await.unwrap();
        while ours.is_quiet() {
            tokio::task::yield_now().await;
        }
        kept.put(whose, ours, Duration::from_secs(9));
        assert!(kept.take(whose).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_too_long_is_closed() {
        let server = Listener::new().await;
        let kept = Arc::new(Kept::new(8));
        let whose = (1, server.address);
        let (ours, mut theirs) = server.connection().await;
        kept.put(whose, ours, Duration::from_millis(1_500));
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(!kept.waiting().is_looked_at && kept.take(whose).is_none());
        // The next one is looked at again.
        let (ours, mut theirs) = server.connection().await;
        kept.put(whose, ours, Duration::from_millis(1));
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
