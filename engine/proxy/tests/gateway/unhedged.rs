//! Routes that are said to ask a second server and never do: each is told with its reason.

use std::net::SocketAddr;
use std::time::Duration;

use truststram_proxy::{
    CompressionSpec, Encoding, GroupSpec, HedgeSpec, OverloadSpec, RouteAuth, RoutePriority,
    RouteSpec, TableSpec, unhedged,
};

use crate::rig::*;

fn hedged(count: u16) -> GroupSpec {
    let servers: Vec<SocketAddr> =
        (1..=count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
    let hedge = HedgeSpec { after: Duration::from_millis(9), budget_percent: 10 };
    GroupSpec { hedge: Some(hedge), ..group("g", &servers) }
}

/// What is told of the only route, as changed.
fn told(change: impl FnOnce(&mut TableSpec)) -> Option<String> {
    let mut spec = table(vec![route("all", "/", to("g"))], vec![hedged(3)]);
    change(&mut spec);
    let mut found = unhedged(&spec, true);
    assert!(found.len() < 2 && found.iter().all(|one| one.key == "routes[0].upstream"));
    found.pop().map(|one| one.message)
}

fn auth(is_required: bool) -> RouteAuth {
    RouteAuth { is_required: Some(is_required), ..RouteAuth::default() }
}

#[test]
fn a_route_that_never_asks_a_second_server_is_told_with_its_reason() {
    let check = |expected: &str, change: fn(&mut TableSpec)| {
        let found = told(change).unwrap_or_default();
        let what = "the `hedge` of group `g` never applies here, since ";
        assert!(found.starts_with(&format!("{what}{expected}")), "{expected}: {found}");
    };
    check("no second server", |spec| spec.upstreams[0] = hedged(1));
    check("no second server", |spec| {
        spec.upstreams[0].servers[0].drain = true;
        spec.upstreams[0].servers[1].backup = true;
    });
    check("only GET and HEAD", |spec| spec.routes[0].methods = vec!["POST".to_owned()]);
    check("the cache asks one", |spec| spec.routes[0].is_cached = true);
    check("requests that need credentials", |spec| spec.routes[0].auth = auth(true));
    check("requests that need credentials", |spec| spec.auth.is_required = true);
    check("requests of no route", |spec| {
        let other = RouteSpec { auth: auth(true), ..route("other", "/other", to("plain")) };
        spec.routes.push(other);
        spec.upstreams.push(GroupSpec { name: "plain".to_owned(), hedge: None, ..hedged(2) });
    });
    check("what may be compressed", |spec| {
        let encodings = vec![(Encoding::Gzip, 6)];
        spec.compression = CompressionSpec { encodings, ..CompressionSpec::default() };
    });
    check("what may have to wait", |spec| spec.overload = Some(overload()));
}

fn overload() -> OverloadSpec {
    crate::overload::spec(9, 9, Duration::from_secs(1))
}

#[test]
fn a_route_that_may_ask_a_second_server_is_not_told() {
    assert_eq!(told(|_| {}), None);
    assert_eq!(
        told(|spec| spec.routes[0].methods = vec!["POST".to_owned(), "GET".to_owned()]),
        None
    );
    assert_eq!(told(|spec| spec.upstreams[0].servers[0].backup = true), None);
    assert_eq!(told(|spec| spec.upstreams[0].hedge = None), None);
    assert_eq!(
        told(|spec| {
            spec.overload = Some(overload());
            spec.routes[0].priority = RoutePriority::High;
        }),
        None
    );
    let mut spec = table(vec![route("all", "/", to("g"))], vec![hedged(2)]);
    spec.routes[0].is_cached = true;
    assert_eq!(unhedged(&spec, false), []);
}
