//! Owns what is changed of an answer's head before it goes to the client.
//!
//! Refuses to know where the answer is from beyond that. Bound: the fields of one head.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use crate::answering::{X_REQUEST_ID, facts};
use crate::app::App;
use crate::cache::{date_of, set_date_aside};
use crate::context::RequestContext;
use crate::dated::keep_date;
use crate::head;
use crate::live::Table;
use crate::route::edit::Headers;
use crate::route::spec::Scheme;

impl App {
    /// Adds what every answer of this table has, then what the route changes.
    pub(crate) fn dress(
        &self,
        session: &Session,
        (status, headers): (StatusCode, &mut impl Headers),
        ctx: &RequestContext,
    ) {
        let Some(table) = &ctx.table else { return };
        dress(table, head::scheme(session), (status, &mut *headers));
        if let Some(cors) = table.cors.as_ref().filter(|_| !self.is_behind) {
            cors.write(&session.req_header().headers, headers);
        }
        if let Some(route) = ctx.route()
            && !route.response_edits.is_empty()
        {
            route.response_edits.apply(headers, &facts(session, ctx));
        }
    }

    /// Makes of the server's head what the client gets.
    pub(crate) fn prepare_response(
        &self,
        session: &Session,
        response: &mut ResponseHeader,
        ctx: &RequestContext,
    ) {
        if response.status.is_informational() {
            return;
        }
        remove_hop_by_hop(response);
        // A name and a value that are both legal.
        let _ = response.insert_header(X_REQUEST_ID, ctx.id_header());
        self.dress(session, (response.status, response), ctx);
        ctx.limited.write(response);
        if self.is_behind {
            set_date_aside(response);
        } else {
            keep_date(session, date_of(&response.headers, self.utc_s()));
        }
    }

    /// The time of day in seconds.
    pub(crate) fn utc_s(&self) -> i64 {
        self.clock.utc_us().div_euclid(1_000_000)
    }
}

/// Adds what every answer of this table has.
pub(crate) fn dress(
    table: &Table,
    scheme: Scheme,
    (status, headers): (StatusCode, &mut impl Headers),
) {
    // A 304 leaves the fields as they are that it does not have, in browsers too.
    if table.security_headers && status != StatusCode::NOT_MODIFIED {
        protect(headers);
    }
    if let Some(hsts) = table.hsts.as_ref().filter(|_| scheme == Scheme::Https) {
        headers.set(&header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
}

/// Adds the same, and what pages of other origins are told in answer to a request without one.
pub(crate) fn dress_plain(
    table: &Table,
    scheme: Scheme,
    (status, headers): (StatusCode, &mut impl Headers),
) {
    dress(table, scheme, (status, &mut *headers));
    if let Some(cors) = &table.cors {
        cors.write(&HeaderMap::new(), headers);
    }
}

/// Adds what keeps browsers from the usual tricks, where the answer does not say it itself.
fn protect(headers: &mut impl Headers) {
    for (name, value) in
        [(header::X_FRAME_OPTIONS, "DENY"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")]
    {
        if !headers.has(&name) {
            headers.set(&name, HeaderValue::from_static(value));
        }
    }
}

/// Removes what is meant for the connection to the server alone (RFC 9110 section 7.6.1); framing
/// is Pingora's.
pub(crate) fn remove_hop_by_hop(response: &mut ResponseHeader) {
    let named = head::named_by_connection(&response.headers);
    for name in named.iter().filter(|name| !matches!(**name, header::TRANSFER_ENCODING)) {
        response.remove_header(name);
    }
    response.remove_header(&header::CONNECTION);
    for name in ["keep-alive", "proxy-connection", "upgrade"] {
        response.remove_header(name);
    }
}
