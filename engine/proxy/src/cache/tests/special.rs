//! Stale answers, requests that wait for each other, what the operator sets and purges.

use super::harness::{check, check_with, get, with};
use crate::cache::{CacheOptions, Purge};

const CC: &str = "cache-control";

#[test]
fn stale_answers_in_place_of_errors() {
    for (line, is_excused) in [
        ("max-age=2, stale-if-error=60", true),
        ("max-age=2", false),
        ("max-age=2, must-revalidate, stale-if-error=60", false),
        ("s-maxage=2, stale-if-error=60", false),
        ("max-age=2, proxy-revalidate, stale-if-error=60", false),
    ] {
        let down = [
            get(&[]).after(3).closes(),
            get(&[]).origin(503, &[], "down"),
            get(&[]).origin(500, &[], "down"),
        ];
        let excused = |step: super::harness::Step| {
            if is_excused { step.status(200).body("a") } else { step }
        };
        let mut steps = vec![get(&[]).origin(200, &[(CC, line), ("etag", "\"a\"")], "a")];
        steps.extend(down.map(excused));
        steps.truncate(if is_excused { 4 } else { 3 });
        check(line, &steps);
    }
    check(
        "404 is no excuse",
        &[
            get(&[]).origin(200, &[(CC, "max-age=2, stale-if-error=60")], "a"),
            get(&[]).after(3).origin(404, &[], "gone").body("gone"),
        ],
    );
    let options = CacheOptions { stale_if_error_s: 60, ..CacheOptions::default() };
    check_with(
        options,
        "as the operator says",
        &[
            get(&[]).origin(200, &[(CC, "max-age=2")], "a"),
            get(&[]).after(3).closes().status(200).body("a"),
            get(&[]).after(60).closes(),
        ],
    );
}

#[test]
fn stale_answers_while_it_is_validated() {
    let lines = [(CC, "max-age=2, stale-while-revalidate=60"), ("etag", "\"a\"")];
    with(CacheOptions::default(), async |bench| {
        bench.script(&get(&[]).origin(200, &lines, "first"));
        let first = bench.ask(&get(&[])).await;
        assert!(first.ends_with("first"), "{first}");
        bench.advance(3);
        bench.script(&get(&[]).origin(200, &lines, "second"));
        let stale = bench.ask(&get(&[])).await;
        assert!(stale.ends_with("first") && stale.contains("hit; ttl=-1"), "{stale}");
        bench.asked(2).await;
        bench.stored(2).await;
        let fresh = bench.ask(&get(&[])).await;
        assert!(fresh.ends_with("second"), "{fresh}");
        assert_eq!(bench.asked_count(), 2);
        assert_eq!(bench.cache.stats().stale.get(), 1);
    });
}

#[test]
fn of_many_requests_one_goes_to_the_origin() {
    with(CacheOptions::default(), async |bench| {
        let step = get(&[]);
        let (first, second, third, ()) =
            tokio::join!(bench.ask(&step), bench.ask(&step), bench.ask(&step), async {
                // The origin has no answer until it is asked.
                bench.asked(1).await;
                bench.script(&get(&[]).origin(200, &[(CC, "max-age=60")], "one"));
            });
        for answer in [first, second, third] {
            assert!(answer.ends_with("one"), "{answer}");
        }
        assert_eq!(bench.asked_count(), 1);
        assert_eq!(bench.cache.stats().stored.get(), 1);
    });
}

#[test]
fn the_operator_gives_lifetimes_and_purges() {
    let lifetimes_s = vec![(Some(200), 300), (Some(404), 5)];
    let options = CacheOptions { lifetimes_s, object_bytes_max: 8, ..CacheOptions::default() };
    check_with(
        options.clone(),
        "lifetimes",
        &[
            get(&[]).origin(200, &[], "a"),
            get(&[]).after(299).body("a"),
            get(&[]).after(1).origin(404, &[], "b"),
            get(&[]).after(4).status(404).body("b"),
            get(&[]).after(1).origin(200, &[(CC, "max-age=1")], "c"),
            get(&[]).after(2).origin(200, &[], "too long to be stored"),
            get(&[]).origin(200, &[(CC, "no-store")], "d"),
            get(&[]).origin(200, &[], "e"),
        ],
    );
    with(options, async |bench| {
        for path in ["/a/1", "/a/2", "/b"] {
            bench.script(&get(&[]).origin(200, &[("cache-tag", "x y")], "a"));
            bench.ask(&get(&[]).path(path)).await;
        }
        assert_eq!(bench.cache.size().0, 3);
        assert_eq!(bench.cache.purge(Purge::Prefix("h/a/")), 2);
        assert_eq!(bench.cache.purge(Purge::Tag("y")), 1);
        assert_eq!(bench.cache.size().0, 0);
    });
}
