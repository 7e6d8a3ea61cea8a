//! Which route takes which request, one row each.

use std::time::Duration;

use http::HeaderValue;

use super::*;
use crate::cache::CacheRuleSpec;
use crate::route::spec::{ActionSpec, EditSpec, RewriteSpec, Timeouts};

fn route(name: &str, hosts: &[&str], path: PathSpec) -> RouteSpec {
    let second = Duration::from_secs(1);
    RouteSpec {
        name: name.to_owned(),
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        path,
        methods: Vec::new(),
        headers: Vec::new(),
        scheme: None,
        action: ActionSpec::Local,
        rewrite: RewriteSpec::Keep,
        request_edits: EditSpec::default(),
        response_edits: EditSpec::default(),
        timeouts: Timeouts { connect: second, send: second, read: second, total: None },
        body_bytes_max: None,
        is_logged: true,
        is_cached: false,
        cache_rules: CacheRuleSpec::default(),
        auth: crate::auth::RouteAuth::default(),
        priority: Default::default(),
        limits: Default::default(),
    }
}

fn prefix(path: &str) -> PathSpec {
    PathSpec::Prefix(path.to_owned())
}

fn compiled(specs: &[RouteSpec]) -> (Routes, Vec<Fault>) {
    let mut faults = Vec::new();
    let (zones, limits) = (Zones::default(), LimitSpec::default());
    let made = Made { groups: &[], zones: &zones, limits: &limits };
    let routes = Routes::compile(specs, &made, |_| Arc::new(RouteStats::new()), &mut faults);
    (routes, faults)
}

#[test]
fn the_most_specific_route_wins() {
    let mut write = route("write", &[], prefix("/api"));
    write.methods = vec!["POST".to_owned()];
    let mut tenant = route("tenant", &[], prefix("/api"));
    tenant.headers = vec![("x-tenant".to_owned(), "~ ^a+$".to_owned())];
    let mut read = route("read", &["only.get"], prefix("/"));
    read.methods = vec!["GET".to_owned()];
    let mut secure = route("secure", &["s.test"], prefix("/"));
    secure.scheme = Some(Scheme::Https);
    let (routes, faults) = compiled(&[
        route("all", &[], prefix("/")),
        route("api", &[], prefix("/api")),
        write,
        tenant,
        route("deep", &[], prefix("/api/deep/")),
        route("exact", &[], PathSpec::Exact("/api/deep/x".to_owned())),
        route("digits", &[], PathSpec::Regex("^/api/[0-9]+$".to_owned())),
        route("host", &["A.test"], prefix("/api")),
        route("wild", &["*.test", "*.b.test"], prefix("/")),
        read,
        secure,
    ]);
    assert_eq!(faults, []);
    let check = |method: &str, host: &str, path: &str, expected: &str| {
        let mut headers = HeaderMap::new();
        let (path, tenant) = path.split_once('#').unwrap_or((path, ""));
        if !tenant.is_empty() {
            headers.insert("x-tenant", HeaderValue::from_str(tenant).unwrap());
        }
        let mut buffer = [0; HOST_BYTES_MAX];
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let asked = Asked {
            host: host_of(host, &mut buffer),
            path,
            method: &method,
            headers: &headers,
            scheme: Scheme::Http,
        };
        let name = match routes.find(&asked) {
            Found::Route(place) => routes.get(place).unwrap().name.clone(),
            other => format!("{other:?} {}", routes.allowed(&asked)).trim().to_owned(),
        };
        assert_eq!(name, expected, "{method} {host} {path}");
    };
    check("GET", "", "/", "all");
    check("GET", "x", "/apix", "all");
    check("GET", "x", "/api", "api");
    check("GET", "x", "/api/y", "api");
    check("POST", "x", "/api/y", "write");
    check("GET", "x", "/api/y#aaa", "tenant");
    check("GET", "x", "/api/y#b", "api");
    check("GET", "x", "/api/deep", "api");
    check("GET", "x", "/api/deep/", "deep");
    check("GET", "x", "/api/deep/x", "exact");
    check("GET", "x", "/api/12", "digits");
    check("GET", "a.TEST:80", "/api", "host");
    // The exact host has no route for this path, the suffix has one.
    check("GET", "a.test.", "/other", "wild");
    check("GET", "x.b.test", "/", "wild");
    check("HEAD", "only.get", "/", "read");
    // Nothing of this host fits, so that a route for all hosts takes it.
    check("PUT", "only.get", "/", "all");
    check("GET", "s.test", "/", "wild");
}

#[test]
fn another_method_is_said_to_be_one() {
    let mut only = route("only", &[], prefix("/a"));
    only.methods = vec!["GET".to_owned(), "PUT".to_owned()];
    let (routes, _) = compiled(&[only]);
    let headers = HeaderMap::new();
    let asked =
        |path, method| Asked { host: "", path, method, headers: &headers, scheme: Scheme::Http };
    assert_eq!(routes.find(&asked("/a", &Method::POST)), Found::WrongMethod);
    assert_eq!(routes.allowed(&asked("/a", &Method::POST)), "GET, PUT");
    assert_eq!(routes.find(&asked("/b", &Method::POST)), Found::Nothing);
}

#[test]
fn each_fault_is_named() {
    let mut bad = route("bad", &["a b", "*.ok.test"], PathSpec::Regex("(".to_owned()));
    bad.methods = vec!["G T".to_owned()];
    bad.headers = vec![("no name".to_owned(), "*".to_owned())];
    bad.action = ActionSpec::Upstream("none".to_owned());
    bad.rewrite = RewriteSpec::ReplacePrefix("/x".to_owned());
    let mut redirect = route("redirect", &[], prefix("/a/../b"));
    redirect.action = ActionSpec::Redirect { status: 200, to: "$what".to_owned() };
    let mut answer = route("answer", &[], prefix("/a/../b"));
    answer.action = ActionSpec::Answer { status: 99, body: String::new() };
    let (_, faults) = compiled(&[bad, redirect, answer, route("answer", &["a b"], prefix("/"))]);
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    for key in [
        "routes[0].methods",
        "routes[0].headers",
        "routes[0].upstream",
        "routes[0].path",
        "routes[1].status",
        "routes[1].redirect",
        "routes[2].status",
        "routes[2].path",
        "routes[3].name",
        "routes[3].hosts",
    ] {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
}

#[test]
fn a_cached_route_chooses_by_host_and_path_and_says_the_same_to_all() {
    let check = |change: &dyn Fn(&mut RouteSpec), expected: &[&str]| {
        let mut cached = route("cached", &[], prefix("/"));
        cached.is_cached = true;
        change(&mut cached);
        let (_, faults) = compiled(&[cached]);
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, expected);
    };
    let to = |value: &str| vec![("x-client".to_owned(), value.to_owned())];
    check(&|_| {}, &[]);
    check(&|route| route.response_edits.set = to("$host"), &[]);
    check(&|route| route.headers = to("1"), &["routes[0].cache"]);
    check(&|route| route.response_edits.set = to("$remote_addr"), &["routes[0].response_headers"]);
    check(&|route| route.response_edits.add = to("$request_id"), &["routes[0].response_headers"]);
}
