//! Owns what the origin is asked of a stored response, and what its answer does to that.
//!
//! Refuses to answer clients. Bound: two requests to the origin.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use pingora_core::Result;
use pingora_proxy::Session;

use super::asked::Asked;
use super::directives::Directives;
use super::fetch::{self, Origin, Response};
use super::freshness::Now;
use super::policy::Unstorable;
use super::serve::Cache;
use super::stored::Stored;
use super::vary::Variant;
use super::{conditional, date, policy};

/// What became of a fetch.
pub(super) enum Fetched {
    /// The stored response holds, by the origin's word of this status.
    Validated(Arc<Stored>, StatusCode),
    /// The stored one answers in place of an error.
    Excused(Arc<Stored>, Option<StatusCode>),
    New(Box<Response>),
}

impl Cache {
    /// Asks the origin, with the validators of `stored` if there is one; the client hears what the
    /// origin says before its final response.
    pub(super) async fn fetch(
        &self,
        asked: &Asked,
        directives: &Directives,
        stored: Option<&Arc<Stored>>,
        (origin, mut client): (&dyn Origin, Option<&mut Session>),
        asked_at: Now,
    ) -> Result<Fetched> {
        let (head, mut validates) = asked.conditional(stored);
        let timeout = self.options().read_timeout;
        let mut answered = fetch::ask(origin, head, timeout, client.as_deref_mut()).await;
        let is_of_another = |response: &Response| {
            let holds = |one: &Arc<Stored>| conditional::validates(&response.headers, &one.headers);
            response.status == StatusCode::NOT_MODIFIED && !stored.is_none_or(holds)
        };
        if validates && answered.as_ref().is_ok_and(is_of_another) {
            // It says nothing of the stored response, and has no body to answer with.
            validates = false;
            answered = fetch::ask(origin, asked.head.clone(), timeout, client).await;
        }
        let now = self.now();
        let excuse = || {
            let operator_s = self.options().stale_if_error_s;
            let serves = |one: &&Arc<Stored>| one.serves_for_error(directives, operator_s, now);
            stored.filter(serves).cloned()
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(error) => {
                self.stats.failed.add(1);
                return excuse().map(|stored| Fetched::Excused(stored, None)).ok_or(error);
            }
        };
        let status = response.status;
        if matches!(status.as_u16(), 500 | 502 | 503 | 504)
            && let Some(stored) = excuse()
        {
            return Ok(Fetched::Excused(stored, Some(status)));
        }
        date::settle(&mut response.headers, now.utc_s);
        let is_validated = validates && status == StatusCode::NOT_MODIFIED;
        match stored.filter(|stored| is_validated || self.is_described(asked, stored, &response)) {
            Some(stored) => {
                self.stats.validated.add(1);
                let newer = self.update(asked, stored, &response.headers, asked_at, now);
                Ok(Fetched::Validated(newer, status))
            }
            None => Ok(Fetched::New(Box::new(response))),
        }
    }

    /// Whether the answer to a HEAD is about the stored response; one that is about another one
    /// ends its use.
    fn is_described(&self, asked: &Asked, stored: &Stored, response: &Response) -> bool {
        let is_ok = response.status == StatusCode::OK && stored.status == StatusCode::OK;
        if asked.head.method != Method::HEAD || !is_ok {
            return false;
        }
        let (newer, length) = (&response.headers, stored.body.len());
        let describes = conditional::describes(newer, &stored.headers, length);
        if !describes {
            self.forget(&asked.key);
        }
        describes
    }

    /// The stored response with the headers of a 304, or of the answer to a HEAD.
    fn update(
        &self,
        asked: &Asked,
        stored: &Stored,
        newer: &HeaderMap,
        asked_at: Now,
        now: Now,
    ) -> Arc<Stored> {
        let headers = policy::updated_headers(&stored.headers, newer);
        let mut asked = asked.clone();
        asked.head.set_method(Method::GET);
        // What may no longer be stored still answers this request.
        match self.to_store(&asked, (stored.status, &headers), stored.body.clone(), asked_at, now) {
            Ok(updated) => {
                let updated = Arc::new(updated);
                self.keep(&asked, updated.clone());
                updated
            }
            Err(why) => {
                if why.is_of_response() {
                    self.forget(&asked.key);
                }
                let parts = (stored.status, headers, stored.body.clone());
                let (variant, terms) = (stored.variant.clone(), stored.terms.clone());
                Arc::new(Stored::new(parts, variant, terms, asked_at, now))
            }
        }
    }

    /// What is stored of a response to `asked`, if it may be.
    pub(super) fn to_store(
        &self,
        asked: &Asked,
        (status, headers): (StatusCode, &HeaderMap),
        body: Bytes,
        asked_at: Now,
        now: Now,
    ) -> Result<Stored, Unstorable> {
        if asked.is_unkept {
            return Err(Unstorable::Request);
        }
        let request = &asked.head.headers;
        let lifetime = |status| asked.rules.lifetime_s(status, &self.options().lifetimes_s);
        let terms = policy::terms(&asked.head.method, request, status, headers, lifetime, now);
        let mut terms = terms?;
        if body.len() > self.options().object_bytes_max {
            return Err(Unstorable::Useless);
        }
        terms.stale_while_revalidate_s =
            terms.stale_while_revalidate_s.or(self.options().refreshes_within_s());
        let variant = Variant::of(request, headers);
        let parts = (status, policy::stored_headers(headers), body);
        Ok(Stored::new(parts, variant, terms, asked_at, now))
    }
}
