//! Validation: what the origin is asked, what a 304 changes, what clients' conditions get.

use super::harness::{check, get, with};
use crate::cache::CacheOptions;

const CC: &str = "cache-control";

#[test]
fn stale_responses_are_validated() {
    for (name, value, condition) in [
        ("etag", "\"abc\"", "if-none-match"),
        ("etag", "W/\"abc\"", "if-none-match"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT", "if-modified-since"),
    ] {
        check(
            name,
            &[
                get(&[]).origin(200, &[(CC, "max-age=2"), (name, value), ("x", "1")], "a"),
                get(&[])
                    .after(3)
                    .origin(304, &[(CC, "max-age=5"), ("x", "2"), (name, value)], "")
                    .sends(&[(condition, value)])
                    .status(200)
                    .body("a")
                    .has(&[
                        ("x", "2"),
                        ("age", "0"),
                        ("cache-status", "fwd=stale; fwd-status=304"),
                    ]),
                get(&[]).after(4).body("a").has(&[("x", "2"), ("age", "4")]),
                get(&[]).after(2).origin(200, &[(CC, "max-age=2"), (name, value)], "b").body("b"),
                get(&[]).body("b"),
            ],
        );
    }
}

#[test]
fn a_304_changes_headers_but_not_how_the_body_is_encoded() {
    check(
        "update",
        &[
            get(&[]).origin(
                200,
                &[(CC, "max-age=1"), ("etag", "\"a\""), ("content-type", "text/a"), ("gone", "1")],
                "abc",
            ),
            get(&[])
                .after(2)
                .origin(
                    304,
                    &[
                        (CC, "max-age=60"),
                        ("etag", "\"a\""),
                        ("content-type", "text/b"),
                        ("content-encoding", "gzip"),
                        ("set-cookie", "a=b"),
                        ("new", "1"),
                    ],
                    "",
                )
                .status(200),
            get(&[]).body("abc").has(&[
                ("content-type", "text/b"),
                ("content-encoding", "-"),
                ("content-length", "3"),
                ("new", "1"),
                ("gone", "1"),
                ("set-cookie", "a=b"),
            ]),
        ],
    );
}

#[test]
fn a_304_of_another_response_is_not_believed() {
    for (kept, said, is_same) in [
        ("\"a\"", "\"b\"", false),
        ("W/\"a\"", "W/\"b\"", false),
        ("W/\"a\"", "\"a\"", true),
        ("\"a\"", "W/\"a\"", true),
    ] {
        with(CacheOptions::default(), async |bench| {
            let lines = [(CC, "max-age=2"), ("etag", kept)];
            bench.script(&get(&[]).origin(200, &lines, "old"));
            bench.ask(&get(&[])).await;
            bench.advance(3);
            bench.script(&get(&[]).origin(304, &[(CC, "max-age=60"), ("etag", said)], ""));
            bench.script(&get(&[]).origin(200, &[(CC, "max-age=60"), ("etag", said)], "new"));
            for answer in [bench.ask(&get(&[])).await, bench.ask(&get(&[])).await] {
                assert!(answer.ends_with(if is_same { "old" } else { "new" }), "{kept}: {answer}");
            }
            assert_eq!(bench.asked_count(), if is_same { 2 } else { 3 });
            if !is_same {
                let head = bench.head(2).to_ascii_lowercase();
                assert!(!head.contains("if-none-match"), "{head}");
            }
        });
    }
}

#[test]
fn an_answer_to_head_says_whether_what_is_stored_still_holds() {
    let first = || {
        let lines = [(CC, "max-age=2"), ("etag", "\"a\""), ("x", "1"), ("y", "1")];
        get(&[]).origin(200, &lines, "abc")
    };
    let asks = |lines| get(&[]).after(3).method("HEAD").origin(200, lines, "abc").body("");
    check(
        "the same",
        &[
            first(),
            asks(&[(CC, "max-age=60"), ("etag", "\"a\""), ("x", "2")]).has(&[
                ("x", "2"),
                ("y", "1"),
                ("content-length", "3"),
            ]),
            get(&[]).body("abc").has(&[("x", "2"), ("y", "1"), ("age", "0")]),
        ],
    );
    let second = || get(&[]).origin(200, &[], "d").sends(&[("if-none-match", "-")]);
    check("another tag", &[first(), asks(&[("etag", "\"b\"")]), second()]);
    let longer = get(&[]).after(3).method("HEAD").origin(200, &[], "abcd");
    check("another length", &[first(), longer.body(""), second()]);
    check(
        "an error says nothing",
        &[
            first(),
            get(&[]).after(3).method("HEAD").origin(404, &[], "").body(""),
            get(&[]).origin(304, &[], "").status(200).body("abc"),
        ],
    );
}

#[test]
fn no_cache_is_validated_each_time() {
    let lines = [(CC, "no-cache"), ("etag", "\"a\"")];
    check(
        "no-cache",
        &[
            get(&[]).origin(200, &lines, "a"),
            get(&[])
                .origin(304, &lines, "")
                .status(200)
                .body("a")
                .sends(&[("if-none-match", "\"a\"")]),
            get(&[]).origin(200, &[(CC, "no-store")], "b").body("b"),
            get(&[]).origin(200, &lines, "c").sends(&[("if-none-match", "-")]),
        ],
    );
}

#[test]
fn conditions_of_clients_are_answered() {
    let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
    let lines = [(CC, "max-age=60"), ("etag", "\"a\""), ("last-modified", modified)];
    check(
        "conditions",
        &[
            get(&[("if-none-match", "\"z\"")])
                .origin(200, &lines, "abc")
                .sends(&[("if-none-match", "\"z\"")]),
            get(&[("if-none-match", "\"a\"")]).status(304).body("").has(&[
                ("etag", "\"a\""),
                (CC, "max-age=60"),
                ("content-length", "-"),
            ]),
            get(&[("if-none-match", "W/\"a\", \"b\"")]).status(304),
            get(&[("if-none-match", "\"b\"")]).body("abc"),
            get(&[("if-modified-since", modified)]).status(304),
            get(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")]).body("abc"),
            get(&[("if-modified-since", modified), ("if-none-match", "\"b\"")]).body("abc"),
        ],
    );
    check(
        "a 304 that we did not ask for",
        &[
            get(&[("if-none-match", "\"a\"")]).origin(304, &lines, "").status(304),
            get(&[]).origin(200, &lines, "abc"),
        ],
    );
}

#[test]
fn parts_come_from_what_is_whole() {
    let lines = [(CC, "max-age=60"), ("etag", "\"a\"")];
    check(
        "ranges",
        &[
            get(&[("range", "bytes=1-2")]).origin(206, &[(CC, "max-age=60")], "bc"),
            get(&[]).origin(200, &lines, "0123456789"),
            get(&[("range", "bytes=1-2")])
                .status(206)
                .body("12")
                .has(&[("content-range", "bytes 1-2/10"), ("content-length", "2")]),
            get(&[("range", "bytes=-3")]).status(206).body("789"),
            get(&[("range", "bytes=7-")]).status(206).body("789"),
            get(&[("range", "bytes=10-")]).status(416).has(&[("content-range", "bytes */10")]),
            get(&[("range", "bytes=1-2"), ("if-range", "\"a\"")]).status(206),
            get(&[("range", "bytes=1-2"), ("if-range", "\"b\"")]).body("0123456789"),
            get(&[("range", "bytes=0-1,3-4")]).body("0123456789"),
            get(&[("range", "bytes=1-2")]).method("HEAD").body(""),
        ],
    );
}

#[test]
fn directives_of_requests() {
    let lines = [(CC, "max-age=60"), ("etag", "\"a\"")];
    let hit = || get(&[]).body("a");
    check(
        "requests",
        &[
            get(&[(CC, "only-if-cached")]).status(504),
            get(&[(CC, "no-store")]).origin(200, &lines, "x"),
            get(&[]).origin(200, &lines, "a"),
            get(&[(CC, "only-if-cached")]).body("a"),
            get(&[(CC, "max-age=10")]).after(10).body("a"),
            get(&[(CC, "max-age=9")])
                .origin(304, &lines, "")
                .status(200)
                .has(&[("cache-status", "fwd=request")]),
            hit(),
            get(&[(CC, "min-fresh=60")]).origin(304, &lines, "").status(200),
            get(&[(CC, "no-cache")]).origin(304, &lines, "").status(200),
            get(&[("pragma", "no-cache")]).origin(304, &lines, "").status(200),
            get(&[("pragma", "no-cache"), (CC, "max-age=60")]).body("a"),
            get(&[(CC, "max-stale=5")]).after(65).body("a").has(&[("cache-status", "ttl=-5")]),
            get(&[(CC, "max-stale=5")]).after(1).origin(304, &lines, "").status(200),
        ],
    );
}
