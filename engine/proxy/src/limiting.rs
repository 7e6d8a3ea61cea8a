//! Owns the passage of a request through the limits of its listener or of its route.
//!
//! Refuses to wait and to answer; the caller does. Bound: one decision for each request.

use std::net::IpAddr;

use http::HeaderValue;
use pingora_http::RequestHeader;
use truststram_base::Identity;

use crate::head;
use crate::limit::{InFlight, LimitHeaders, Limits, Outcome, Subject};
use crate::route::table::{HOST_BYTES_MAX, host_of};

/// What requests of one listener or route must pass.
pub(crate) struct Gate {
    limits: Limits,
    policy: Option<HeaderValue>,
    /// The status of those that are refused.
    pub(crate) status: u16,
}

/// Whether a request goes on.
pub(crate) enum Passage {
    Open { in_flight: InFlight, wait_ms: u64 },
    Closed,
}

impl Gate {
    /// A gate, unless there is nothing to ask.
    pub(crate) fn new(limits: Limits, status: u16) -> Option<Self> {
        let policy = LimitHeaders::policy(&limits);
        (!limits.is_empty()).then_some(Self { limits, policy, status })
    }

    /// Decides about a request of `client`, and what its answer says of that.
    pub(crate) fn pass(
        &self,
        request: &RequestHeader,
        client: Option<IpAddr>,
        identity: Option<&Identity>,
        now_ms: u64,
    ) -> (LimitHeaders, Passage) {
        let (authority, path) = (head::authority(request), request.uri.path());
        let mut buffer = [0; HOST_BYTES_MAX];
        // As routes see it: a port or a last dot makes no other key. One too long stays itself.
        let host = match host_of(authority, &mut buffer) {
            "" => authority,
            host => host,
        };
        let subject = Subject { client, headers: &request.headers, host, path, identity };
        let verdict = self.limits.by_rate(&subject, now_ms);
        let headers = LimitHeaders::of(&self.limits, self.policy.clone(), &verdict);
        let wait_ms = match verdict.outcome {
            Outcome::Rejected(_) if !self.limits.is_dry_run => return (headers, Passage::Closed),
            Outcome::Delayed(wait_ms) if !self.limits.is_dry_run => wait_ms,
            _ => 0,
        };
        match self.limits.enter(&subject) {
            Some(in_flight) => (headers, Passage::Open { in_flight, wait_ms }),
            None => (LimitHeaders::in_flight(), Passage::Closed),
        }
    }
}
