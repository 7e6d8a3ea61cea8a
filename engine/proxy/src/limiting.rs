//! Owns the passage of a request through the limits of its listener.
//!
//! Refuses to wait and to write; the caller does. Bound: one decision for each request.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, Uri};
use pingora_proxy::Session;

use crate::limit::{InFlight, LimitHeaders, Limits, Outcome, Subject};

/// Makes the answer to a request that a limit refuses.
pub(crate) type TooMany = fn(&Uri, StatusCode) -> Response<Body>;

/// What requests of one listener must pass.
pub(crate) struct Gate {
    limits: Limits,
    policy: Option<HeaderValue>,
    status: StatusCode,
    too_many: TooMany,
}

/// Whether a request goes on.
pub(crate) enum Passage {
    Open { headers: LimitHeaders, in_flight: InFlight, wait_ms: u64 },
    Closed { headers: LimitHeaders, response: Response<Body> },
}

impl Gate {
    /// A gate, unless there is nothing to ask.
    pub(crate) fn new(limits: &Limits, status: u16, too_many: TooMany) -> Option<Self> {
        let policy = LimitHeaders::policy(limits);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
        (!limits.is_empty()).then(|| Self { limits: limits.clone(), policy, status, too_many })
    }

    pub(crate) fn pass(&self, session: &Session, now_ms: u64) -> Passage {
        let head = session.req_header();
        let client = session.client_addr().and_then(|address| address.as_inet());
        let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let subject = Subject {
            client: client.map(|inet| inet.ip()),
            headers: &head.headers,
            host: head.uri.authority().map(|host| host.as_str()).or(host).unwrap_or_default(),
            path: head.uri.path(),
        };
        let verdict = self.limits.by_rate(&subject, now_ms);
        let headers = LimitHeaders::of(&self.limits, self.policy.clone(), &verdict);
        let closed = |headers| {
            let response = (self.too_many)(&head.uri, self.status);
            Passage::Closed { headers, response }
        };
        let wait_ms = match verdict.outcome {
            Outcome::Rejected(_) if !self.limits.is_dry_run => return closed(headers),
            Outcome::Delayed(wait_ms) if !self.limits.is_dry_run => wait_ms,
            _ => 0,
        };
        match self.limits.enter(&subject) {
            Some(in_flight) => Passage::Open { headers, in_flight, wait_ms },
            None => closed(LimitHeaders::in_flight()),
        }
    }
}
