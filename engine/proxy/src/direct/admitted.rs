//! Owns what all requests have in common that are answered without Pingora's proxy, and what is
//! counted and logged once one is over.
//!
//! Refuses to know how they are answered. Bound: one request.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use pingora_http::RequestHeader;
use truststram_base::RequestId;

use super::caller::Caller;
use crate::app::App;
use crate::limit::InFlight;
use crate::live::Table;
use crate::proxying::Proxying;
use crate::route::compile::Route;
use crate::route::spec::Scheme;

/// A request that limits let through, or one that they refused.
pub(crate) struct Admitted {
    /// The table that it was found by.
    pub(crate) table: Arc<Table>,
    /// The place of the route that was reached.
    pub(super) place: Option<usize>,
    /// Held until it is over.
    pub(super) _in_flight: InFlight,
    pub(crate) id: RequestId,
    pub(super) began_us: u64,
    /// Whether the connection may stay open behind it.
    pub(super) keeps: bool,
    pub(super) scheme: Scheme,
    /// Who it is from, proxies in between left out.
    pub(crate) client: IpAddr,
    /// Whether the peer is a trusted proxy, whose own words are passed on.
    pub(super) is_trusted: bool,
}

/// What a log line needs beside the answer.
pub(crate) struct Record {
    pub(crate) request: RequestHeader,
    /// The head of the answer.
    pub(crate) head: Bytes,
}

/// What became of an answer.
pub(crate) struct Answered<'a> {
    /// 0 where there is none.
    pub(crate) status: u16,
    pub(crate) is_whole: bool,
    pub(crate) body_bytes_sent: usize,
    /// Its way to a server, where it was passed on.
    pub(crate) proxying: Option<&'a Proxying>,
}

impl Admitted {
    pub(crate) fn route(&self) -> Option<&Route> {
        self.table.routes.get(self.place?)
    }
}

impl App {
    /// Whether the request is logged.
    pub(super) fn logs(&self, admitted: &Admitted, path: &str) -> bool {
        self.access_log.is_some() && admitted.table.access.takes(admitted.route(), path)
    }

    /// Counts what is over, and logs it where there is a `record`.
    pub(super) fn over(
        &self,
        admitted: &Admitted,
        answered: &Answered<'_>,
        record: Option<&Record>,
        caller: &Caller,
    ) {
        let duration_us = self.clock.monotonic_us().saturating_sub(admitted.began_us);
        if answered.status != 0 {
            self.stats.answered(answered.status, duration_us);
            if let Some(route) = admitted.route() {
                route.stats.answered(answered.status, duration_us);
            }
        }
        if !answered.is_whole {
            self.stats.broken.add(1);
        }
        if let Some(record) = record {
            self.log_direct(admitted, answered, record, duration_us, caller.ends());
        }
    }
}
