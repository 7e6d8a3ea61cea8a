//! Canaries: exact shares, and the same version for the same user.

use std::sync::Arc;

use truststram_base::ModelVersion;
use truststram_machine::{ThreadSpec, spawn};

use super::harness::{House, id, options};
use crate::testing::one_node;
use crate::{LoadOptions, ModelError};

const V2: ModelVersion = ModelVersion(2);

fn house() -> House {
    let house = House::new(&options());
    house.load("m", 1, true);
    house.load("m", 2, false);
    house
}

fn version(house: &House, user: Option<&str>) -> u32 {
    house.engine.route(&id("m"), None, user).unwrap().version().0
}

#[test]
fn of_a_hundred_questions_in_a_row_exactly_the_share_goes_to_the_canary() {
    let house = house();
    for percent in [1, 5, 50, 99, 100] {
        house.engine.set_canary(&id("m"), Some((V2, percent))).unwrap();
        let versions: Vec<u32> = (0..300).map(|_| version(&house, None)).collect();
        for hundred in versions.windows(100) {
            let count = hundred.iter().filter(|version| **version == 2).count();
            assert_eq!(count, usize::from(percent));
        }
    }
    house.engine.set_canary(&id("m"), None).unwrap();
    assert!((0..100).all(|_| version(&house, None) == 1));
}

#[test]
fn the_share_is_exact_among_threads_and_names_have_no_part_in_it() {
    let house = house();
    house.engine.set_canary(&id("m"), Some((V2, 5))).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let engine = Arc::clone(&house.engine);
            let body = move |_| {
                let ask = |version| engine.route(&id("m"), version, None).unwrap().version();
                let named = [1, 2].map(ModelVersion);
                assert!(named.iter().all(|version| ask(Some(*version)) == *version));
                (0..25).filter(|_| ask(None) == V2).count()
            };
            spawn(ThreadSpec::default(), body).unwrap()
        })
        .collect();
    let counts = threads.into_iter().map(|thread| thread.join().unwrap());
    assert_eq!(counts.sum::<usize>(), 5);
}

#[test]
fn a_user_stays_with_a_version_and_growing_shares_keep_users() {
    let house = house();
    let users: Vec<String> = (0..2_000).map(|user| format!("user-{user}")).collect();
    let mut before = Vec::new();
    for percent in [5, 20, 100] {
        house.engine.set_canary(&id("m"), Some((V2, percent))).unwrap();
        let chosen = || users.iter().filter(|user| version(&house, Some(user.as_str())) == 2);
        let now: Vec<&String> = chosen().collect();
        assert!(chosen().eq(now.iter().copied()));
        assert!(before.iter().all(|user| now.contains(user)));
        let share = now.len() * 100 / users.len();
        assert!(share.abs_diff(usize::from(percent)) <= 2, "{share} of {percent}");
        before = now;
    }
}

#[test]
fn a_canary_ends_with_its_version_or_when_it_becomes_the_active_one() {
    let house = house();
    let set = |version, percent| {
        house.engine.set_canary(&id("m"), Some((ModelVersion(version), percent)))
    };
    for percent in [0, 101] {
        let refused = set(2, percent);
        assert!(matches!(refused, Err(ModelError::Options { option: "canary", .. })));
    }
    assert!(matches!(set(3, 5), Err(ModelError::NotLoaded { .. })));
    assert!(matches!(set(1, 5), Err(ModelError::Active { .. })));
    let other = one_node("", "Identity").to_bytes().unwrap();
    let options = LoadOptions { activate: false, ..LoadOptions::default() };
    house.load_with("m", 4, other, &options).unwrap();
    assert!(matches!(set(4, 5), Err(ModelError::Incomparable { .. })));
    set(2, 100).unwrap();
    house.engine.retire(&id("m"), V2).unwrap();
    assert_eq!(version(&house, None), 1);
    house.load("m", 3, false);
    set(3, 50).unwrap();
    house.engine.activate(&id("m"), ModelVersion(3)).unwrap();
    assert!((0..10).all(|_| version(&house, None) == 3));
    let canaries = house.engine.models().into_iter().filter_map(|info| info.canary_percent);
    assert_eq!(canaries.count(), 0);
}
