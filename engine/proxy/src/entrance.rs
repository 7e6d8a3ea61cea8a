//! Owns the accept loop of one listener on one network thread: who comes in, at which address, and
//! how it ends.
//!
//! Refuses to know what is served. Bound: the drain ends when its time is over, whatever is open.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use pingora_core::apps::HttpServerApp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::accepted::{Site, serve};
use crate::bind::Bound;
use crate::error::ProxyError;
use crate::gateway::Stop;
use crate::stats::GatewayStats;

/// How long a drain waits for connections that have asked nothing yet.
const FRESH_GRACE: Duration = Duration::from_secs(1);
/// Without descriptors `accept` fails at once, again and again: let connections end before the next
/// try.
const FAILED_REST: Duration = Duration::from_millis(100);

/// What an address leads to.
pub(crate) struct Endpoint {
    pub(crate) door: watch::Receiver<Option<Arc<Bound>>>,
    pub(crate) site: Site,
}

/// The connections that came by one address. Each holds a receiver, so that the sender knows when
/// the last one is gone.
struct Guests {
    closing: watch::Sender<bool>,
    seen: watch::Receiver<bool>,
}

impl Guests {
    fn new() -> Self {
        let (closing, seen) = watch::channel(false);
        Self { closing, seen }
    }

    fn accept(&self, site: &Site, stream: TcpStream, peer: SocketAddr) {
        site.stats.connections_accepted.add(1);
        tokio::spawn(serve(site, stream, peer, self.seen.clone()));
    }

    /// Has them end with what is under way.
    fn send_away(self) -> watch::Sender<bool> {
        self.closing.send_replace(true);
        self.closing
    }
}

/// The socket of this thread at the door's present address.
fn listener(
    door: &mut watch::Receiver<Option<Arc<Bound>>>,
) -> Result<Option<TcpListener>, ProxyError> {
    let bound = door.borrow_and_update().clone();
    let Some(bound) = bound else { return Ok(None) };
    TcpListener::from_std(bound.duplicate()?).map(Some).map_err(ProxyError::EventLoop)
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}

/// Ends when the door has another address.
async fn moved(door: &mut watch::Receiver<Option<Arc<Bound>>>) {
    if door.changed().await.is_err() {
        // Nobody is left who could give it another.
        pending().await
    }
}

impl Endpoint {
    /// Serves until it is told to stop; returns how many connections were still open at the end.
    pub(crate) async fn run(self, mut stop: watch::Receiver<Stop>) -> Result<usize, ProxyError> {
        let Self { mut door, site } = self;
        let mut open = listener(&mut door)?;
        let mut guests = Guests::new();
        let mut sent_away: Vec<watch::Sender<bool>> = Vec::new();
        let limit = loop {
            tokio::select! {
                accepted = accept(open.as_ref()) => match accepted {
                    Ok((stream, peer)) => guests.accept(&site, stream, peer),
                    Err(error) => {
                        site.stats.accept_failures.add(1);
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(FAILED_REST).await;
                    }
                },
                () = moved(&mut door) => match listener(&mut door) {
                    Ok(new) => {
                        let old = std::mem::replace(&mut open, new);
                        // Those that wait in the kernel were let in already, as they see it.
                        while let Some(Ok((stream, peer))) =
                            accept(old.as_ref()).now_or_never()
                        {
                            guests.accept(&site, stream, peer);
                        }
                        let before = std::mem::replace(&mut guests, Guests::new());
                        sent_away.retain(|closing| !closing.is_closed());
                        sent_away.push(before.send_away());
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot listen at the new address yet");
                        tokio::time::sleep(FAILED_REST).await;
                        door.mark_changed();
                    }
                },
                _ = stop.changed() => match *stop.borrow_and_update() {
                    Stop::Serve => {}
                    Stop::Drain(limit) => break limit,
                    Stop::Cut => break Duration::ZERO,
                },
            }
        };
        drop(open);
        let begins = Instant::now();
        // Who was just accepted has not been heard yet, and might not be able to ask again.
        tokio::select! {
            () = all_asked(&site.stats) => {}
            () = tokio::time::sleep(limit.min(FRESH_GRACE)) => {}
            _ = stop.wait_for(|stop| *stop == Stop::Cut) => {}
        }
        site.turns.is_stopping.store(true, Ordering::Relaxed);
        sent_away.push(guests.send_away());
        site.turns.proxy.http_cleanup().await;
        let all_gone = async {
            for closing in &sent_away {
                closing.closed().await;
            }
        };
        tokio::select! {
            () = all_gone => {}
            () = tokio::time::sleep_until(begins + limit) => {}
            _ = stop.wait_for(|stop| *stop == Stop::Cut) => {}
        }
        Ok(sent_away.iter().map(watch::Sender::receiver_count).sum())
    }
}

/// Ends when no connection is left that has asked nothing.
async fn all_asked(stats: &GatewayStats) {
    while stats.connections_fresh.get() > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
