//! Counts of days: what is refused, what changes with the day, and what is given away to be kept.

use http::HeaderMap;

use super::*;

const NOON_US: i64 = 20_000 * DAY_US + DAY_US / 2;

fn zone(bytes_max: usize) -> Arc<DayZone> {
    Arc::new(DayZone::new("daily", "path".parse().unwrap(), bytes_max))
}

fn limits(zones: &[(&Arc<DayZone>, u64)]) -> Limits {
    let part = |&(zone, at_most): &(&Arc<DayZone>, u64)| DayUse { zone: zone.clone(), at_most };
    Limits { days: zones.iter().map(part).collect(), ..Limits::default() }
}

fn take(limits: &Limits, path: &str, utc_us: i64) -> Taken {
    let headers = HeaderMap::new();
    let subject = Subject { client: None, headers: &headers, host: "h", path, identity: None };
    limits.by_day(&subject, utc_us)
}

fn kept(key: &str, day: u32, count: u64) -> DayCount {
    DayCount { key: key.as_bytes().into(), day, count, is_first: false }
}

fn first(key: &str, day: u32, count: u64) -> DayCount {
    DayCount { is_first: true, ..kept(key, day, count) }
}

#[test]
fn a_day_has_so_many_and_the_next_day_again() {
    let zone = zone(1 << 20);
    let two = limits(&[(&zone, 2)]);
    let over = |utc_us| take(&two, "/a", utc_us).is_over;
    assert_eq!([NOON_US; 3].map(over), [false, false, true]);
    assert!(!take(&two, "/b", NOON_US).is_over);
    let late = take(&two, "/a", NOON_US + DAY_US / 2 - 1);
    assert_eq!((late.is_over, late.used[0], late.left_s), (true, Some(2), 1));
    assert!(!over(NOON_US + DAY_US / 2));
    // A clock that goes back over midnight gives nothing anew.
    assert!(!over(NOON_US));
    assert!(over(NOON_US));
    assert_eq!(zone.used(b"/a", 20_001), 2);
    assert_eq!((zone.stats().passed.get(), zone.stats().rejected.get()), (5, 3));
}

#[test]
fn what_one_zone_refuses_no_other_counts() {
    let (wide, narrow) = (zone(1 << 20), zone(1 << 20));
    let both = limits(&[(&wide, 9), (&narrow, 1)]);
    assert_eq!(take(&both, "/a", NOON_US).used[..2], [Some(1), Some(1)]);
    let refused = take(&both, "/a", NOON_US);
    assert_eq!((refused.is_over, &refused.used[..2]), (true, &[Some(1), Some(1)][..]));
    assert_eq!(wide.used(b"/a", 20_000), 1);
    // A dry run refuses nothing.
    let dry = Limits { is_dry_run: true, ..both };
    assert!(!take(&dry, "/a", NOON_US).is_over);
    assert_eq!(narrow.stats().rejected_dry_run.get(), 1);
}

#[test]
fn changes_are_given_away_once_and_found_again() {
    let before = zone(1 << 20);
    let many = limits(&[(&before, 100)]);
    for path in ["/a", "/b", "/a"] {
        take(&many, path, NOON_US);
    }
    let mut changes = before.changes();
    changes.sort_by(|one, other| one.key.cmp(&other.key));
    assert_eq!(changes, [first("/a", 20_000, 2), first("/b", 20_000, 1)]);
    assert_eq!(before.changes(), []);
    take(&many, "/b", NOON_US);
    assert_eq!(before.changes(), [kept("/b", 20_000, 2)]);
    // After a restart one goes on from there, also where requests came first.
    let after = zone(1 << 20);
    let many = limits(&[(&after, 3)]);
    take(&many, "/b", NOON_US);
    after.restore(&kept("/a", 20_000, 2));
    after.restore(&kept("/b", 20_000, 2));
    assert_eq!(after.changes(), [first("/b", 20_000, 3)]);
    assert!(take(&many, "/b", NOON_US).is_over);
    assert_eq!([(); 2].map(|()| take(&many, "/a", NOON_US).is_over), [false, true]);
}

#[test]
fn memory_is_bounded_and_days_that_are_over_make_room_first() {
    let small = zone(64 << 10);
    let many = limits(&[(&small, 100)]);
    for turn in 0..10_000 {
        take(&many, &format!("/{turn}"), NOON_US);
    }
    let held = small.key_count();
    assert!(held < 1_000 && small.stats().full.get() as usize == 10_000 - held, "{held}");
    let full = small.stats().full.get();
    for turn in 0..held / 2 {
        take(&many, &format!("/{turn}"), NOON_US + DAY_US);
    }
    assert_eq!(small.stats().full.get(), full);
    assert!(small.key_count() <= held);
}
