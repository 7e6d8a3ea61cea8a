//! Owns what is done for upstream groups besides requests: names are looked up anew on a thread of
//! their own, for the resolver blocks, and servers are checked on another.
//!
//! Refuses to hold up a network thread. Bound: one check at a time per server, of
//! [`HEAD_BYTES_MAX`] read; names one after the other.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use truststram_base::Clock;
use truststram_machine::Priority;

use super::group::{Group, Server};
use super::spec::CheckSpec;
use crate::background::{self, Background};
use crate::error::ProxyError;
use crate::gateway::Stop;
use crate::live::Live;

/// From one look-up of all names to the next.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

/// What is read of the answer to a check.
const HEAD_BYTES_MAX: usize = 256;

/// Starts both threads; they end with `stop`.
pub(crate) fn start(
    live: &Arc<Live>,
    clock: &Arc<dyn Clock>,
    stop: &watch::Receiver<Stop>,
) -> Result<[Background; 2], ProxyError> {
    let (of_names, stop_of_names) = (live.clone(), stop.clone());
    let names = background::start("upstream-names", Priority::Batch, move || async move {
        keep_names(&of_names, stop_of_names).await;
    })?;
    let (of_checks, stop_of_checks, clock) = (live.clone(), stop.clone(), clock.clone());
    let checks = background::start("upstream-checks", Priority::Batch, move || async move {
        keep_checks(&of_checks, &clock, stop_of_checks).await;
    })?;
    Ok([names, checks])
}

async fn keep_names(live: &Live, mut stop: watch::Receiver<Stop>) {
    let mut changed = live.changes();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop != Stop::Serve) => return,
            seen = changed.changed() => if seen.is_err() { return },
            () = tokio::time::sleep(LOOK_UP_EVERY) => {}
        }
        let table = live.table();
        let servers = table.groups().iter().flat_map(|group| &group.servers);
        for server in servers.filter(|server| server.is_named) {
            // The resolver may take its time for each, and a drain does not wait for all.
            if *stop.borrow() != Stop::Serve {
                return;
            }
            look_up(server);
        }
    }
}

/// Looks up the name of a server; it keeps what it had where that fails.
pub(crate) fn look_up(server: &Server) {
    let name = &server.spec.address;
    match name.to_socket_addrs() {
        Ok(found) => {
            let mut found: Vec<SocketAddr> = found.collect();
            found.sort_unstable();
            found.dedup();
            server.found(found);
        }
        Err(error) => tracing::warn!(%name, %error, "a name of an upstream server is not found"),
    }
}

async fn keep_checks(live: &Live, clock: &Arc<dyn Clock>, mut stop: watch::Receiver<Stop>) {
    let mut changed = live.changes();
    loop {
        // Those of the table before end when the set is dropped.
        let mut checks = JoinSet::new();
        for group in live.table().groups() {
            let Some(check) = &group.spec.check else { continue };
            for place in 0..group.servers.len() {
                checks.spawn(keep_checking(group.clone(), place, check.clone(), clock.clone()));
            }
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop != Stop::Serve) => return,
            seen = changed.changed() => if seen.is_err() { return },
        }
    }
}

async fn keep_checking(group: Arc<Group>, place: usize, check: CheckSpec, clock: Arc<dyn Clock>) {
    let Some(server) = group.servers.get(place) else { return };
    loop {
        let asked = tokio::time::timeout(check.timeout, ask(server, &group, &check)).await;
        let passed = matches!(asked, Ok(Ok(true)));
        let now_us = clock.monotonic_us();
        let changed = server.state.health().checked(passed, check.rise, check.fall, now_us);
        if changed {
            let (group, server) = (group.name(), &server.spec.address);
            let state = if passed { "up" } else { "down" };
            tracing::warn!(group, server, state, "checks of an upstream server");
        }
        tokio::time::sleep(check.interval).await;
    }
}

async fn ask(server: &Server, group: &Group, check: &CheckSpec) -> std::io::Result<bool> {
    let Some(address) = server.address() else { return Ok(false) };
    let mut stream = TcpStream::connect(address).await?;
    let Some(path) = &check.path else { return Ok(true) };
    let host = group.spec.host.as_deref().unwrap_or(&server.spec.address);
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: truststram-check\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(HEAD_BYTES_MAX);
    while head.len() < HEAD_BYTES_MAX && !head.contains(&b'\n') {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(is_well(&head))
}

/// Whether an answer begins with a status of 200 to 399.
fn is_well(head: &[u8]) -> bool {
    let line = head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..5));
    matches!(line, Some([b' ', b'2' | b'3', digits @ ..]) if digits.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_passed_by_its_status() {
        let check = |head: &str, expected| assert_eq!(is_well(head.as_bytes()), expected, "{head}");
        check("HTTP/1.1 200 OK\r\n", true);
        check("HTTP/1.0 302 Found\r\n", true);
        check("HTTP/1.1 503 Busy\r\n", false);
        check("HTTP/1.1 20", false);
        check("SSH-2.0", false);
        check("", false);
    }
}
