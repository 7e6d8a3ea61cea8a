//! What is stored and how long it is used again: lifetimes, statuses, methods, variants.

use super::harness::{check, get};

const CC: &str = "cache-control";

/// Whether a response with these headers answers a second request three seconds later.
fn reuses(status: u16, headers: &[(&'static str, &str)], expected: bool) {
    let what = format!("{status} {headers:?}");
    let second = get(&[]).after(3);
    let second = if expected {
        second.status(status).body("first").has(&[("cache-status", "hit")])
    } else {
        second.origin(200, &[], "second").body("second")
    };
    check(&what, &[get(&[]).origin(status, headers, "first").body("first"), second]);
}

#[test]
fn lifetimes() {
    reuses(200, &[(CC, "max-age=3600")], true);
    reuses(200, &[(CC, "max-age=2")], false);
    reuses(200, &[(CC, "max-age=0")], false);
    reuses(200, &[(CC, "s-maxage=3600, max-age=1")], true);
    reuses(200, &[(CC, "max-age=3600, s-maxage=1")], false);
    reuses(200, &[("expires", "{now+60}")], true);
    reuses(200, &[("expires", "{now-60}")], false);
    reuses(200, &[("expires", "0")], false);
    reuses(200, &[(CC, "max-age=3600"), ("expires", "{now-60}")], true);
    reuses(200, &[(CC, "max-age=1"), ("expires", "{now+60}")], false);
    reuses(200, &[(CC, "max-age=3600"), ("age", "7200")], false);
    reuses(200, &[(CC, "max-age=3600"), ("age", "1800")], true);
    reuses(200, &[(CC, "max-age=3600"), ("age", "abc")], true);
    reuses(200, &[("expires", "{now+60}"), ("date", "{now-7200}"), ("age", "0")], true);
    reuses(200, &[("expires", "{now+60}"), ("date", "{now-7200}"), ("age", "7300")], false);
    reuses(200, &[("expires", "{now-60}"), ("date", "{now-7200}")], false);
    reuses(200, &[(CC, "max-age=3600"), ("date", "{now-7200}")], false);
    reuses(200, &[(CC, "max-age=2147483649")], true);
    reuses(200, &[(CC, "extension=\"max-age=3600\"")], false);
    reuses(200, &[(CC, "extension=\"max-age=1\", max-age=3600")], true);
    reuses(200, &[], false);
    reuses(200, &[("last-modified", "{now-1000}")], true);
    reuses(200, &[("last-modified", "{now-10}")], false);
}

#[test]
fn statuses() {
    for status in [200, 203, 299, 301, 302, 307, 308, 400, 404, 410, 499, 500, 503, 599] {
        reuses(status, &[(CC, "max-age=3600")], true);
    }
    for status in [200, 203, 404, 405, 410, 414, 501] {
        reuses(status, &[("last-modified", "{now-1000}")], true);
    }
    for status in [201, 202, 403, 502, 599] {
        reuses(status, &[("last-modified", "{now-1000}")], false);
    }
    reuses(599, &[(CC, "public"), ("last-modified", "{now-1000}")], true);
    reuses(404, &[(CC, "must-understand, no-store, max-age=60")], true);
    reuses(599, &[(CC, "must-understand, no-store, max-age=60")], false);
    reuses(206, &[(CC, "max-age=60"), ("content-range", "bytes 0-4/9")], false);
}

#[test]
fn directives_that_forbid() {
    for forbidding in ["no-store", "private", "PRIVATE", "no-cache", "No-Cache"] {
        reuses(200, &[(CC, forbidding), (CC, "max-age=3600")], false);
    }
    reuses(200, &[("vary", "*"), (CC, "max-age=3600")], false);
    reuses(200, &[("pragma", "no-cache"), (CC, "max-age=3600")], true);
    reuses(200, &[("set-cookie", "a=b"), (CC, "max-age=3600")], true);
}

#[test]
fn targeted_directives_come_first() {
    const CDN: &str = "cdn-cache-control";
    reuses(200, &[(CDN, "max-age=3600"), (CC, "no-store")], true);
    reuses(200, &[(CDN, "no-store"), (CC, "max-age=3600")], false);
    reuses(200, &[(CDN, "max-age=1"), (CC, "max-age=3600"), ("expires", "{now+60}")], false);
    reuses(200, &[(CDN, "max-age=\"1\""), (CC, "max-age=3600")], false);
    reuses(200, &[(CDN, "max-age=1, &"), (CC, "max-age=3600")], true);
    reuses(200, &[(CDN, "max-age =1"), (CC, "max-age=3600")], true);
    reuses(200, &[(CDN, "max-age=3600"), ("age", "7200")], false);
    reuses(200, &[(CDN, "max-age=99999999999")], true);
    reuses(200, &[(CDN, "foobar, max-age=3600"), ("expires", "0")], true);
    reuses(200, &[(CDN, "max-age= 100"), (CC, "max-age=1")], false);
    reuses(200, &[(CDN, "MaX-aGe=3600"), (CC, "max-age=1")], false);
    reuses(200, &[(CDN, "max-age=0"), ("expires", "{now+60}")], false);
    for forbidding in ["private", "no-cache"] {
        reuses(200, &[(CDN, forbidding), (CC, "max-age=60"), ("expires", "{now+60}")], false);
    }
}

#[test]
fn authorized_requests_share_only_what_is_said_to_be_public() {
    let who = [("authorization", "Basic eDp5")];
    for (line, is_shared) in [
        ("max-age=3600", false),
        ("max-age=3600, public", true),
        ("max-age=3600, must-revalidate", true),
        ("s-maxage=3600", true),
    ] {
        let second = get(&who);
        let second = if is_shared { second.body("a") } else { second.origin(200, &[], "b") };
        check(line, &[get(&who).origin(200, &[(CC, line)], "a"), second]);
    }
}

#[test]
fn other_methods_go_past_and_make_invalid() {
    let fresh = [(CC, "max-age=3600")];
    for method in ["POST", "PUT", "DELETE", "M-SEARCH"] {
        let change = get(&[]).method(method);
        check(
            method,
            &[
                get(&[]).origin(200, &fresh, "a"),
                change.clone().origin(500, &[], ""),
                get(&[]).body("a"),
                change.origin(200, &[], ""),
                get(&[]).origin(200, &fresh, "b").body("b"),
            ],
        );
        check(
            method,
            &[
                get(&[]).path("/x?y").origin(200, &fresh, "a"),
                get(&[]).method(method).origin(201, &[("location", "http://h/x?y")], ""),
                get(&[]).path("/x?y").origin(200, &fresh, "b"),
                get(&[]).method(method).origin(201, &[("content-location", "/x?y")], ""),
                get(&[]).path("/x?y").origin(200, &fresh, "c"),
                get(&[]).method(method).origin(201, &[("location", "http://other/x?y")], ""),
                get(&[]).path("/x?y").body("c"),
            ],
        );
    }
    check(
        "HEAD and OPTIONS",
        &[
            get(&[]).origin(200, &fresh, "a"),
            get(&[]).method("OPTIONS").origin(200, &[], ""),
            get(&[])
                .method("HEAD")
                .has(&[("content-length", "1"), ("cache-status", "hit")])
                .body(""),
            get(&[]).path("/b").method("HEAD").origin(200, &fresh, ""),
            get(&[]).path("/b").origin(200, &fresh, "b").body("b"),
        ],
    );
}

#[test]
fn variants() {
    let vary = [(CC, "max-age=3600"), ("vary", "Foo, Bar")];
    check(
        "vary",
        &[
            get(&[("foo", "1"), ("bar", "2")]).origin(200, &vary, "12"),
            get(&[("bar", "2"), ("foo", "1")]).body("12"),
            get(&[("foo", "1")]).origin(200, &vary, "1").has(&[("cache-status", "fwd=vary-miss")]),
            get(&[("foo", "1")]).body("1"),
            get(&[("foo", "1"), ("bar", "2"), ("baz", "3")]).body("12"),
            get(&[]).origin(200, &vary, "none"),
            get(&[]).body("none"),
        ],
    );
}

#[test]
fn what_answers_carry() {
    check(
        "headers",
        &[
            get(&[])
                .origin(
                    200,
                    &[
                        (CC, "max-age=3600, no-cache=\"secret\", private=\"own\""),
                        ("cdn-cache-control", "max-age=3600"),
                        ("connection", "hop"),
                        ("hop", "1"),
                        ("keep-alive", "1"),
                        ("proxy-authenticate", "x"),
                        ("x-kept", "2"),
                        ("age", "10"),
                    ],
                    "a",
                )
                .has(&[("x-kept", "2"), ("cdn-cache-control", "max-age=3600")]),
            get(&[]).after(5).body("a").has(&[
                ("x-kept", "2"),
                ("hop", "-"),
                ("keep-alive", "-"),
                ("proxy-authenticate", "-"),
                // Caches between this one and the client may read it too (RFC 9213, 3.1).
                ("cdn-cache-control", "max-age=3600"),
                ("age", "15"),
                ("cache-status", "truststram; hit; ttl=3585"),
            ]),
        ],
    );
    check(
        "fields",
        &[
            get(&[]).origin(
                200,
                &[(CC, "max-age=60, no-cache=\"a, b\""), ("a", "1"), ("c", "2")],
                "",
            ),
            get(&[]).has(&[("a", "-"), ("c", "2")]),
        ],
    );
}

#[test]
fn keys_have_the_query() {
    let fresh = [(CC, "max-age=3600")];
    check(
        "query",
        &[
            get(&[]).path("/a?b").origin(200, &fresh, "1"),
            get(&[]).path("/a?c").origin(200, &fresh, "2"),
            get(&[]).path("/a").origin(200, &fresh, "3"),
            get(&[]).path("/a?b").body("1"),
        ],
    );
}
