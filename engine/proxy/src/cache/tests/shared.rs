//! One client's conditions, directives and cookies do nothing to the answers of others.

use super::harness::{check, check_with, get, with};
use crate::cache::CacheOptions;

const CC: &str = "cache-control";

#[test]
fn answers_to_conditions_and_ranges_are_not_those_of_others() {
    for (status, condition) in
        [(412, ("if-match", "\"x\"")), (416, ("range", "bytes=99-")), (417, ("expect", "more"))]
    {
        check(
            condition.0,
            &[
                get(&[condition]).origin(status, &[(CC, "max-age=60")], "no"),
                get(&[]).origin(200, &[(CC, "max-age=60")], "yes").body("yes"),
            ],
        );
    }
    let lines = [(CC, "max-age=2"), ("etag", "\"a\"")];
    check(
        "an unmet condition removes nothing",
        &[
            get(&[]).origin(200, &lines, "a"),
            get(&[("if-match", "\"x\"")]).after(3).origin(412, &[], "no"),
            get(&[]).origin(304, &lines, "").status(200).body("a"),
        ],
    );
}

#[test]
fn what_one_client_may_not_store_stays_for_others() {
    let lines = [(CC, "max-age=60"), ("etag", "\"a\"")];
    for request in [&[(CC, "no-cache, no-store")][..], &[(CC, "no-cache"), ("authorization", "x")]]
    {
        for (status, text) in [(200, "b"), (304, "")] {
            check(
                &format!("{request:?} {status}"),
                &[
                    get(&[]).origin(200, &lines, "a"),
                    get(request).origin(status, &lines, text).status(200),
                    get(&[]).body("a"),
                ],
            );
        }
    }
}

#[test]
fn a_refresh_has_no_conditions_of_a_client() {
    with(CacheOptions::default(), async |bench| {
        let lines = [(CC, "max-age=2, stale-while-revalidate=60")];
        bench.script(&get(&[]).origin(200, &lines, "first"));
        bench.ask(&get(&[])).await;
        bench.advance(3);
        bench.script(&get(&[]).origin(200, &lines, "second"));
        let conditions = [
            ("if-none-match", "\"z\""),
            ("if-modified-since", "{now-60}"),
            ("if-match", "\"z\""),
            ("if-unmodified-since", "{now-60}"),
        ];
        bench.ask(&get(&conditions)).await;
        bench.asked(2).await;
        let head = bench.head(1);
        assert!(!head.to_ascii_lowercase().contains("\r\nif-"), "{head}");
        bench.stored(2).await;
    });
}

#[test]
fn a_guess_hands_nobody_the_cookie_of_another() {
    let cookie = ("set-cookie", "session=1");
    let second = || get(&[]).after(3).origin(200, &[], "b").has(&[("set-cookie", "-")]);
    let old = ("last-modified", "{now-1000}");
    check("heuristic", &[get(&[]).origin(200, &[cookie, old], "a"), second()]);
    check("validated", &[get(&[]).origin(200, &[cookie, ("etag", "\"a\"")], "a"), second()]);
    let options = CacheOptions { lifetimes_s: vec![(Some(200), 60)], ..CacheOptions::default() };
    check_with(options, "the operator", &[get(&[]).origin(200, &[cookie], "a"), second()]);
}

#[test]
fn what_the_gateway_tells_the_origin_chooses_no_variant() {
    for name in ["X-Real-IP", "x-forwarded-for", "Accept, Forwarded", "x-request-id"] {
        let lines = [(CC, "max-age=60"), ("vary", name)];
        let first = get(&[]).origin(200, &lines, "a");
        check(name, &[first, get(&[]).origin(200, &lines, "b").body("b")]);
    }
}
