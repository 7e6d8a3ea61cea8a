//! Owns which routes never ask a second server although their group has `hedge`, and why, as far as
//! that is known before any request comes.
//!
//! Refuses to judge requests; `decide` does, by the same conditions. Bound: one pass over the
//! routes.

use http::Method;

use crate::live::Table;
use crate::overload::RoutePriority;
use crate::route::compile::{Action, Route};
use crate::route::spec::Fault;
use crate::upstream::group::Group;

impl Table {
    /// Those routes by their keys; `has_cache` says whether routes that are to be cached are.
    pub(crate) fn unhedged(&self, has_cache: bool) -> Vec<Fault> {
        let routes = self.routes.all().iter().enumerate();
        let never = routes.filter_map(|(index, route)| {
            let Action::Upstream(group) = &route.action else { return None };
            group.spec.hedge.as_ref()?;
            let why = self.why_unhedged(route, group, has_cache)?;
            let name = group.name();
            let message = format!("the `hedge` of group `{name}` never applies here, since {why}");
            Some(Fault::new(format!("routes[{index}].upstream"), message))
        });
        never.collect()
    }

    fn why_unhedged(&self, route: &Route, group: &Group, has_cache: bool) -> Option<&'static str> {
        let asks = route.auth.is_required.unwrap_or(self.auth.is_required);
        let gates = [self.gate.as_ref(), route.gate.as_ref()];
        let holds = self.overload.as_ref().is_some_and(|spec| spec.in_flight_max > 0);
        Some(match () {
            () if !has_second(group) => "no second server of the group may be asked",
            () if !route.methods.is_empty() && !route.methods.iter().any(is_asked_twice) => {
                "only GET and HEAD are asked twice"
            }
            () if route.is_cached && has_cache => {
                "the cache asks one server: `cache` would have to go"
            }
            () if route.auth.needs_certificate => {
                "requests that need a certificate are asked once: `client_certificate` would have \
                 to go"
            }
            () if asks => "requests that need credentials are asked once: `auth` would have to go",
            () if self.asks_anybody => {
                "requests of no route are asked twice where some route needs credentials: `auth`"
            }
            () if !self.compression.encodings.is_empty() => {
                "what may be compressed is asked once: `compression.encodings`"
            }
            () if holds && route.priority != RoutePriority::High => {
                "what may have to wait is asked once: `overload.in_flight_max` is set, and \
                 `priority` is not \"high\""
            }
            () if gates.iter().flatten().any(|gate| gate.may_wait()) => {
                "what may have to wait is asked once: `limit_requests` would need `nodelay`"
            }
            () => return None,
        })
    }
}

fn is_asked_twice(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether there are two servers of which one could be asked beside the other.
fn has_second(group: &Group) -> bool {
    let taking = group.servers.iter().filter(|server| !server.spec.drain);
    let mut counts = [0; 2];
    taking.for_each(|server| counts[usize::from(server.spec.backup)] += 1);
    counts.iter().any(|count| *count > 1)
}
