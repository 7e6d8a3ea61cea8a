//! What becomes of `proxy_cache` and its family, for all locations and for one.

use super::*;

#[test]
fn the_cache_is_converted() {
    let all = in_http(
        "proxy_cache_path /c levels=1:2 keys_zone=k:1m max_size=64m inactive=5m;
         proxy_cache_valid 404 1m; proxy_cache_valid 200 302 10m; proxy_cache_valid any 1s;
         proxy_cache_use_stale error updating; proxy_cache_lock on; proxy_cache_lock_timeout 3s;
         server { listen 127.0.0.1:80; proxy_cache k; proxy_cache_bypass $http_x;
         location / { proxy_pass http://h; }
         location /n/ { proxy_cache off; proxy_pass http://h; } }",
    );
    let cache = &all.raw.cache;
    assert_eq!((cache.memory_mib, cache.disk_mib), (64, 64));
    assert_eq!((cache.lock, cache.lock_timeout_s), (true, 3));
    assert_eq!((cache.stale_if_error_s, cache.stale_while_revalidate_s), (300, 300));
    let lifetimes: Vec<_> = cache.lifetimes.iter().map(|one| (one.status, one.seconds)).collect();
    assert_eq!(lifetimes, [(Some(404), 60), (Some(200), 600), (Some(302), 600), (None, 1)]);
    assert!(route(&all, "server /").cache && !route(&all, "server /n/").cache);
    assert_eq!(route(&all, "server /").cache_bypass, ["header:x"]);
    assert_eq!(lines(&all), ["2 proxy_cache_path"]);
}

#[test]
fn one_cache_holds_for_all_cached_locations() {
    let all = in_http(
        "proxy_cache_path /c keys_zone=k:1m;
         server { listen 127.0.0.1:80; server_name s;
         location / { proxy_pass http://h; proxy_cache_valid 200 9s; }
         location /a/ { proxy_cache k; proxy_cache_valid 200 1m; proxy_pass http://h; }
         location /b/ { proxy_cache k; proxy_cache_valid 200 1m; proxy_cache_lock on;
         proxy_pass http://h; }
         location /c/ { proxy_cache k; proxy_no_cache $cookie_session; proxy_pass http://h; }
         location /d/ { proxy_cache k; proxy_cache_key $uri$cookie_user; proxy_pass http://h; } }",
    );
    let cached = |name| route(&all, name).cache;
    assert_eq!(
        ["s /", "s /a/", "s /b/", "s /c/", "s /d/"].map(cached),
        [false, true, true, true, true]
    );
    assert!(all.raw.cache.lock);
    assert_eq!(route(&all, "s /c/").cache_no_store, ["cookie:session"]);
    assert_eq!(route(&all, "s /d/").cache_key, ["path", "cookie:user"]);
    assert_eq!(lines(&all), ["2 proxy_cache_path", "4 proxy_cache_valid", "6 proxy_cache_lock"]);
    let why: Vec<&str> = all.notes.iter().map(|note| note.why.as_str()).collect();
    assert_eq!(why[1], "nothing is cached there");
    assert_eq!(why[2], "there is one cache: it holds for all cached routes");
}

#[test]
fn lifetimes_and_conditions_of_the_cache_are_those_of_their_location() {
    let all = in_http(
        "proxy_cache_path /c keys_zone=k:1m; proxy_cache k; proxy_cache_valid 5m;
         server { listen 127.0.0.1:80; server_name s; proxy_cache_methods GET HEAD;
         location / { proxy_pass http://h; proxy_cache_min_uses 1; }
         location /a/ { proxy_cache_valid 200 302 10m; proxy_cache_valid 404 1m;
         proxy_cache_valid any 30s; proxy_cache_valid 500 9s; proxy_cache_min_uses 3;
         proxy_cache_bypass $cookie_nocache $arg_nocache$http_x_no_cache;
         proxy_no_cache $http_pragma; proxy_pass http://h; }
         location /b/ { proxy_no_cache $skip; proxy_pass http://h; }
         location /c/ { proxy_cache_bypass a$cookie_b; proxy_cache_valid soon;
         proxy_pass http://h; }
         location /d/ { proxy_cache_valid soon 1m; proxy_cache_valid 200 x; proxy_pass http://h; }
         }",
    );
    let lifetimes = |name| {
        let lifetimes = route(&all, name).cache_lifetimes.iter();
        lifetimes.map(|one| (one.status, one.seconds)).collect::<Vec<_>>()
    };
    let usual = [200, 301, 302].map(|status| (Some(status), 300));
    assert_eq!(lifetimes("s /"), usual);
    let own = [(Some(200), 600), (Some(302), 600), (Some(404), 60), (None, 30)];
    assert_eq!(lifetimes("s /a/"), own);
    assert_eq!(lifetimes("s /d/"), []);
    assert!(all.raw.cache.lifetimes.is_empty());
    let one = route(&all, "s /a/");
    assert_eq!(one.cache_bypass, ["cookie:nocache", "arg:nocache", "header:x-no-cache"]);
    assert_eq!(one.cache_no_store, ["header:pragma"]);
    assert!(!route(&all, "s /b/").cache && !route(&all, "s /c/").cache);
    let toml = all.toml();
    assert!(toml.contains("[[routes.cache_lifetimes]]\nseconds = 30"), "{toml}");
    let noted: Vec<String> =
        all.notes.iter().map(|note| format!("{}: {}", note.directive, note.why)).collect();
    for part in [
        "proxy_cache_valid 500 9s: 500 has another time already",
        "proxy_no_cache $skip: the cache has no such condition: these answers are not cached",
        "proxy_cache_bypass a$cookie_b: the cache has no such condition: these answers are not",
        "proxy_cache_valid soon: nothing is cached there",
        "proxy_cache_valid soon 1m: `soon` is no status from 200 to 599, nor `any`",
        "proxy_cache_valid 200 x: is not a time of 0 s to 68 years",
    ] {
        assert!(noted.iter().any(|note| note.starts_with(part)), "{part}: {noted:#?}");
    }
    assert_eq!(noted.len(), 7, "{noted:#?}");
    assert_eq!((one.cache_min_uses, route(&all, "s /").cache_min_uses), (3, 1));
}

#[test]
fn keys_of_the_cache_become_parts() {
    let key = |text: &str| {
        let all = in_http(&format!(
            "proxy_cache_path /c keys_zone=k:1m; proxy_cache k; proxy_cache_key {text};
             server {{ listen 127.0.0.1:80; server_name s; location / {{ proxy_pass http://h; }} }}"
        ));
        let one = route(&all, "s /");
        let why = all.notes.iter().find(|note| note.directive.starts_with("proxy_cache_key"));
        match why {
            Some(note) => format!("{} {}", one.cache, note.why),
            None => format!("{} {}", one.cache, one.cache_key.join(" ")),
        }
    };
    for (text, expected) in [
        ("$scheme$proxy_host$request_uri", ""),
        ("$scheme$request_method$host$request_uri", ""),
        ("'$scheme://$http_host$uri$is_args$args'", ""),
        ("$host$uri$is_args$args", "host path query"),
        ("\"$host$request_uri|$cookie_user\"", "host path query cookie:user"),
        ("$uri", "path"),
        ("$host$uri", "host path"),
        ("$uri$arg_page${arg_sort}x$host", "host path arg:page arg:sort"),
        ("$request_uri$arg_page$http_x_lang$http_x_lang", "path query header:x-lang"),
    ] {
        assert_eq!(key(text), format!("true {expected}"), "{text}");
    }
    for (text, expected) in [
        ("$host$uri$is_args", "`$is_args` without `$args` is no part of keys"),
        ("$uri$is_args$arg_a", "`$is_args` without `$args` is no part of keys"),
        ("$uri$mobile", "`$mobile` is no part of keys"),
        ("$host$args", "needs `path`, without which all pages would have one answer"),
        ("$uri$http_cookie", "`header:cookie` cannot be part of a key: name one cookie: "),
        ("$uri$http_authorization", "`header:authorization` cannot be part of a key: "),
    ] {
        let found = key(text);
        assert!(found.starts_with(&format!("false {expected}")), "{text}: {found}");
        assert!(found.ends_with(": these answers are not cached"), "{text}: {found}");
    }
}
