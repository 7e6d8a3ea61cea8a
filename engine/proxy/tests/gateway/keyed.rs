//! Keys that routes give to their answers: what makes answers differ and what does not, what a
//! purge or a change takes, and what a restart finds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use truststram_base::ManualClock;
use truststram_proxy::{
    Cache, CacheOptions, CacheRuleSpec, DiskSpec, GatewayOptions, Purge, RouteSpec, TableSpec,
};

use crate::cached::{WHOLE_WAY, asking, says};
use crate::direct::NOW_US;
use crate::rig::*;

/// Answers each request by another number, for a minute; some by language, and a change by where
/// what it made is.
fn numbered(head: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1_000);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let more = match head {
        _ if head.contains("/by-language") => "vary: accept-language\r\n",
        _ if head.contains("/unkept") => "cache-control: no-store\r\n",
        _ if head.contains("/changed") => "location: /far/moved?x=1\r\n",
        _ => "",
    };
    format!(
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n{more}content-length: 4\r\n\r\n{count}"
    )
}

pub fn keyed(name: &str, path: &str, parts: &[&str]) -> RouteSpec {
    let key = parts.iter().map(|&part| part.to_owned()).collect();
    let cache_rules = CacheRuleSpec { key, ..CacheRuleSpec::default() };
    RouteSpec { is_cached: true, cache_rules, ..route(name, path, to("g")) }
}

/// A gateway with these routes to a server that numbers its answers, and its cache.
struct Keyed {
    rig: Rig,
    cache: Arc<Cache>,
}

impl Keyed {
    async fn start(routes: Vec<RouteSpec>, folder: Option<&Path>) -> Self {
        let clock = Arc::new(ManualClock::at(NOW_US));
        let mut cache = Cache::new(CacheOptions::default(), clock.clone());
        if let Some(folder) = folder {
            let spec = DiskSpec { folder: folder.to_owned(), bytes_max: 64 << 20 };
            cache = cache.with_disk(spec).unwrap();
        }
        let cache = Arc::new(cache);
        let spec: TableSpec = table(routes, vec![group("g", &[says(numbered).await])]);
        let options = GatewayOptions { clock, ..options() };
        let with = With { cache: Some(cache.clone()), ..With::default() };
        Self { rig: Rig::start_behind(&spec, options, &with), cache }
    }

    async fn ask(&self, target: &str, fields: &str) -> Answer {
        ask(self.rig.plain, &asking(target, fields)).await
    }

    async fn body(&self, target: &str, fields: &str) -> String {
        let answer = self.ask(target, fields).await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        answer.body
    }

    /// Waits until so many answers are stored, the last of which a client has a moment before.
    async fn holds(&self, count: usize) {
        while self.cache.size().0 != count {
            tokio::task::yield_now().await;
        }
    }

    /// Whether both requests have one answer, directly and on the whole way.
    async fn is_one(&self, first: (&str, &str), second: (&str, &str)) -> bool {
        self.cache.purge(Purge::All);
        let kept = self.body(first.0, first.1).await;
        assert_eq!(self.body(first.0, first.1).await, kept, "{first:?}");
        let mut found = Vec::new();
        for way in ["", WHOLE_WAY] {
            found.push(self.body(second.0, &format!("{}{way}", second.1)).await == kept);
        }
        assert_eq!(found[0], found[1], "{first:?} {second:?}");
        found[0]
    }
}

/// A request for another host than `a.test`.
fn elsewhere(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: b.test\r\n\r\n")
}

#[tokio::test]
async fn answers_differ_by_the_parts_of_the_key_alone() {
    let routes = vec![
        keyed("pages", "/pages", &["host", "path", "arg:page", "arg:sort"]),
        keyed("bought", "/bought", &["host", "path", "query", "without:utm_*"]),
        keyed("users", "/users", &["host", "path", "cookie:user", "header:x-lang"]),
    ];
    let kept = Keyed::start(routes, None).await;
    for (first, second, expected) in [
        (("/pages/a?page=1&x=1", ""), ("/pages/a?x=2&page=1", ""), true),
        (("/pages/a?page=1", ""), ("/pages/a?page=2", ""), false),
        (("/pages/a", ""), ("/pages/a?x=2", ""), true),
        (("/pages/a", ""), ("/pages/b", ""), false),
        // Servers may take the last, or read the name decoded.
        (("/pages/a?page=1", ""), ("/pages/a?page=1&page=2", ""), false),
        (("/pages/a?page=1", ""), ("/pages/a?page=1&p%61ge=2", ""), false),
        (("/bought?a=1&utm_source=x", ""), ("/bought?utm_medium=y&a=1", ""), true),
        (("/bought?a=1", ""), ("/bought?a=1&b=2", ""), false),
        (("/users?x=1", ""), ("/users?x=2", ""), true),
        (("/users", "cookie: user=1; a=b\r\n"), ("/users", "cookie: c=d; user=1\r\n"), true),
        (("/users", "cookie: user=1\r\n"), ("/users", "cookie: user=2\r\n"), false),
        (("/users", "cookie: user=1\r\n"), ("/users", "cookie: user=1; user=2\r\n"), false),
        (("/users", "cookie: user=1\r\n"), ("/users", ""), false),
        (("/users", "cookie: a=0, user=1\r\n"), ("/users", "cookie: a=0, user=2\r\n"), false),
        (("/pages/a?page[a]=1", ""), ("/pages/a?page[a]=2", ""), false),
        (("/users", "x-lang: de\r\n"), ("/users", "x-lang: en\r\n"), false),
        (("/users", "x-lang: de\r\n"), ("/users", "x-lang: de\r\nx-y: z\r\n"), true),
        // What `Vary` names counts beside the key.
        (
            ("/users/by-language", "accept-language: de\r\n"),
            ("/users/by-language", "accept-language: en\r\n"),
            false,
        ),
    ] {
        assert_eq!(kept.is_one(first, second).await, expected, "{first:?} {second:?}");
    }
    // A field that the server does not hear is no part.
    kept.cache.purge(Purge::All);
    let hidden = kept.body("/users", "x-lang: de\r\nconnection: x-lang\r\n").await;
    assert_ne!(kept.body("/users", "x-lang: de\r\n").await, hidden);
    kept.rig.stop();
}

#[tokio::test]
async fn hosts_may_share_answers_and_routes_never_do() {
    let only = |name: &str, host: &str| RouteSpec {
        hosts: vec![host.to_owned()],
        ..keyed(name, "/only", &["path"])
    };
    let routes = vec![
        keyed("shared", "/shared", &["path", "query"]),
        only("one", "a.test"),
        only("other", "b.test"),
    ];
    let kept = Keyed::start(routes, None).await;
    let other = async |target: &str| ask(kept.rig.plain, &elsewhere(target)).await.body;
    let first = kept.body("/shared?a", "").await;
    assert_eq!(other("/shared?a").await, first);
    assert_ne!(other("/shared?b").await, first);
    // One purge for whichever host takes it for both.
    assert_eq!(kept.cache.purge(Purge::Key("b.test/shared?a")), 1);
    assert_ne!(kept.body("/shared?a", "").await, first);
    let first = kept.body("/only", "").await;
    assert_ne!(other("/only").await, first);
    assert_eq!(kept.body("/only", "").await, first);
    kept.rig.stop();
}

#[tokio::test]
async fn one_place_is_purged_for_all_that_it_answers() {
    let users = &["host", "path", "arg:page", "cookie:user"];
    let routes = vec![keyed("users", "/users", users), keyed("far", "/far", &["path"])];
    let kept = Keyed::start(routes, None).await;
    let targets = ["/users/a?page=1", "/users/a?page=2", "/users/b"];
    let fields = ["", "cookie: user=1\r\n", "cookie: user=2\r\n"];
    let fill = async || {
        for target in targets {
            for fields in fields {
                kept.body(target, fields).await;
            }
        }
        kept.holds(9).await;
    };
    for (purge, removed) in [
        (Purge::Key("a.test/users/a?page=1&x=y"), 3),
        (Purge::Key("a.test/users/a"), 0),
        (Purge::Prefix("a.test/users/a"), 6),
        (Purge::Prefix("b.test/users/a"), 0),
        (Purge::Prefix("a.test/"), 9),
        (Purge::All, 9),
    ] {
        fill().await;
        assert_eq!(kept.cache.purge(purge), removed, "{purge:?}");
    }
    // What one user changes is changed for all, and where the answer says so.
    fill().await;
    kept.body("/far/moved", "").await;
    kept.body("/far/moved?y", "").await;
    let post = "POST /users/changed HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\r\n";
    kept.holds(10).await;
    assert_eq!(ask(kept.rig.plain, post).await.status, 200);
    assert_eq!(kept.cache.size().0, 9);
    let put = "PUT /users/b HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\
               cookie: user=1\r\n\r\n";
    assert_eq!(ask(kept.rig.plain, put).await.status, 200);
    assert_eq!(kept.cache.size().0, 6);
    kept.rig.stop();
}

#[tokio::test]
async fn what_is_for_one_with_credentials_is_not_kept() {
    let routes = vec![keyed("users", "/", &["host", "path", "cookie:user"])];
    let kept = Keyed::start(routes, None).await;
    let mine = "authorization: Basic YTpi\r\ncookie: user=1\r\n";
    let first = kept.body("/mine", mine).await;
    assert_ne!(kept.body("/mine", mine).await, first);
    assert_ne!(kept.body("/mine", "cookie: user=1\r\n").await, first);
    kept.rig.stop();
}

#[tokio::test]
async fn a_restart_finds_keys_of_the_same_parts_and_route() {
    let dir = tempfile::tempdir().unwrap();
    let start = async |name: &str, parts: &[&str]| {
        let kept = Keyed::start(vec![keyed(name, "/", parts)], Some(dir.path())).await;
        while kept.cache.disk().unwrap().files < dir.path().read_dir().unwrap().count() {
            tokio::task::yield_now().await;
        }
        kept
    };
    let stop = |kept: Keyed| {
        kept.rig.stop();
        drop(kept.cache);
    };
    let parts = &["path", "arg:a", "cookie:secret"];
    let cookie = "cookie: secret=hunter2\r\n";
    let first = start("one", parts).await;
    let body = first.body("/a?a=1", cookie).await;
    stop(first);
    for entry in dir.path().read_dir().unwrap() {
        let file = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!file.windows(7).any(|seven| seven == b"hunter2"));
    }
    let second = start("one", parts).await;
    assert_eq!(second.body("/a?b=2&a=1", cookie).await, body);
    assert_ne!(second.body("/a?a=1", "").await, body);
    stop(second);
    // Neither for other parts nor for another route.
    for (name, parts) in [("one", &["path", "arg:a"][..]), ("other", parts)] {
        let next = start(name, parts).await;
        assert_ne!(next.body("/a?a=1", cookie).await, body, "{name} {parts:?}");
        stop(next);
    }
    // A purge takes it from disk, and what memory had from there.
    let last = start("one", parts).await;
    assert_eq!(last.body("/a?a=1", cookie).await, body);
    assert!(last.cache.purge(Purge::Key("any.test/a?a=1")) >= 2);
    assert_ne!(last.body("/a?a=1", cookie).await, body);
    stop(last);
}

#[tokio::test]
async fn bad_parts_are_refused_with_their_route() {
    let kept = Keyed::start(vec![keyed("a", "/", &["path"])], None).await;
    let routes = vec![keyed("a", "/", &["host", "path", "header:authorization"])];
    let spec = table(routes, vec![group("g", &[nobody().await])]);
    let faults = kept.rig.live.replace(&spec).unwrap_err();
    assert_eq!(faults[0].key, "routes[0].cache_key");
    assert!(faults[0].message.contains("leave it out"), "{}", faults[0].message);
    kept.rig.stop();
}

/// A route whose answers are kept from the third request on; `x-fresh` goes past them.
fn rare() -> RouteSpec {
    let cache_rules = CacheRuleSpec {
        uses_min: 3,
        bypass: vec!["header:x-fresh".to_owned()],
        ..CacheRuleSpec::default()
    };
    RouteSpec { is_cached: true, cache_rules, ..route("rare", "/", to("g")) }
}

#[tokio::test]
async fn what_goes_past_an_answer_on_disk_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = Keyed::start(vec![rare()], Some(dir.path())).await;
    for _ in 0..3 {
        first.body("/a", "").await;
    }
    first.holds(1).await;
    first.rig.stop();
    drop(first.cache);
    for way in ["", WHOLE_WAY] {
        let next = Keyed::start(vec![rare()], Some(dir.path())).await;
        while next.cache.disk().unwrap().files == 0 {
            tokio::task::yield_now().await;
        }
        let fresh = next.body("/a", &format!("x-fresh: 1\r\n{way}")).await;
        next.holds(1).await;
        assert_eq!(next.body("/a", way).await, fresh, "{way}");
        next.rig.stop();
        drop(next.cache);
    }
}

#[tokio::test]
async fn what_is_asked_for_rarely_is_not_kept() {
    let kept = Keyed::start(vec![rare()], None).await;
    let check = async |target: &str, fields: &str, expected: &str| {
        let answer = kept.ask(target, fields).await;
        let found = answer.header("cache-status").unwrap();
        assert_eq!(found, format!("truststram; {expected}"), "{target} {fields}");
    };
    let rare = "fwd=uri-miss; detail=min-uses";
    for way in ["", WHOLE_WAY] {
        kept.cache.purge(Purge::All);
        let (one, other) = (format!("/one?{}", way.len()), format!("/other?{}", way.len()));
        check(&one, way, rare).await;
        check(&other, way, rare).await;
        check(&one, way, rare).await;
        check(&one, way, "fwd=uri-miss; stored").await;
        check(&one, way, "hit; ttl=60").await;
        check(&other, way, rare).await;
        // What goes past what is kept counts, and replaces it.
        check(&other, &format!("x-fresh: 1\r\n{way}"), "fwd=bypass; stored").await;
        check(&other, way, "hit; ttl=60").await;
        check(&other, &format!("x-fresh: 1\r\n{way}"), "fwd=bypass; stored").await;
    }
    // What is not to be kept anyway is not said to be rare.
    check("/unkept", "", "fwd=uri-miss").await;
    check("/new", "x-fresh: 1\r\n", "fwd=bypass; detail=min-uses").await;
    kept.rig.stop();
}
