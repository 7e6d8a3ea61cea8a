//! Owns the thread that fetches the keys of issuers: at the start, by a timer, and when a token
//! names a key that is not known.
//!
//! Refuses to follow redirects, and to hold up a request: tokens of an issuer whose keys are not
//! there yet are refused. Bound: [`SET_BYTES_MAX`] and [`TIME_MAX`] for each set, one fetch of each
//! issuer at a time.

use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::connectors::http::v1::Connector;
use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use tokio::sync::watch;
use tokio::task::JoinSet;
use truststram_base::Clock;
use truststram_machine::Priority;

use super::fetched::{Fetched, Place};
use super::jwk;
use crate::background::{self, Background};
use crate::error::ProxyError;
use crate::gateway::Stop;
use crate::live::Live;

/// Longest set.
const SET_BYTES_MAX: usize = 256 << 10;
/// Longest time for all of it.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Starts the thread; it ends with `stop`.
pub(crate) fn start(
    live: &Arc<Live>,
    clock: &Arc<dyn Clock>,
    stop: &watch::Receiver<Stop>,
) -> Result<Background, ProxyError> {
    let (live, clock, stop) = (live.clone(), clock.clone(), stop.clone());
    background::start("token-issuers", Priority::Batch, move || async move {
        keep_all(&live, &clock, stop).await;
    })
}

async fn keep_all(live: &Live, clock: &Arc<dyn Clock>, mut stop: watch::Receiver<Stop>) {
    let mut changed = live.changes();
    loop {
        // Those of the table before end when the set is dropped.
        let mut kept = JoinSet::new();
        for set in live.table().auth.fetched() {
            kept.spawn(keep(set.clone(), clock.clone()));
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop != Stop::Serve) => return,
            seen = changed.changed() => if seen.is_err() { return },
        }
    }
}

async fn keep(set: Arc<Fetched>, clock: Arc<dyn Clock>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(set.due_in(clock.monotonic_us())) => {}
            () = set.wanted() => {}
        }
        if set.begin(clock.monotonic_us()) {
            refresh(&set).await;
        }
    }
}

/// Fetches the set once.
async fn refresh(set: &Fetched) {
    let fetched = tokio::time::timeout(TIME_MAX, fetch(&set.place)).await;
    let keys = fetched.unwrap_or_else(|_| Err(format!("took more than {TIME_MAX:?}")));
    let keys = keys.and_then(|text| jwk::parse_known(&text));
    if let Err(why) = &keys {
        let place = &set.place.authority;
        tracing::warn!(%place, %why, "the keys of an issuer of tokens cannot be had");
    }
    set.ended(keys.ok());
}

async fn fetch(place: &Place) -> Result<String, String> {
    let text = |error: Box<pingora_core::Error>| error.to_string();
    // This thread has nothing else to do while the resolver takes its time.
    let found = (place.host.as_str(), place.port).to_socket_addrs();
    let mut found = found.map_err(|error| format!("{}: {error}", place.host))?;
    // Without TLS, a name that leads elsewhere is not believed.
    let address = found.find(|address| place.is_tls || address.ip().is_loopback());
    let address = address.ok_or_else(|| format!("{} has no address here", place.host))?;
    let mut peer = HttpPeer::new(address, place.is_tls, place.host.clone());
    peer.options.alpn = ALPN::H1;
    let mut head = RequestHeader::build("GET", place.target.as_bytes(), None).map_err(text)?;
    for (name, value) in [
        ("host", place.authority.as_str()),
        ("accept", "application/jwk-set+json, application/json"),
        ("user-agent", "truststram"),
        ("connection", "close"),
    ] {
        head.insert_header(name, value).map_err(text)?;
    }
    let (mut session, _) = Connector::new(None).get_http_session(&peer).await.map_err(text)?;
    session.write_request_header(Box::new(head)).await.map_err(text)?;
    session.finish_body().await.map_err(text)?;
    let answer = session.read_resp_header_parts().await.map_err(text)?;
    if answer.status != http::StatusCode::OK {
        return Err(format!("answers {}", answer.status));
    }
    let mut body = Vec::new();
    while let Some(part) = session.read_body_bytes().await.map_err(text)? {
        if body.len() + part.len() > SET_BYTES_MAX {
            return Err(format!("is longer than {SET_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&part);
    }
    session.shutdown().await;
    String::from_utf8(body).map_err(|_| "is no text".to_owned())
}
