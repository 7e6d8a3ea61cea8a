//! Keys in a store: what is made is there again, and what is wrong changes nothing.

use std::path::Path;
use std::sync::Arc;

use truststram_base::{Scope, SystemClock};
use truststram_store::StoreOptions;

use super::*;

const NOW: i64 = 1_700_000_000_000_000;

fn open(directory: &Path) -> Store {
    let clock = Arc::new(SystemClock::new());
    Store::open(directory, StoreOptions::default(), clock).unwrap()
}

fn new(name: &str, scopes: &[&str], role: Option<&str>) -> NewKey {
    NewKey {
        name: name.to_owned(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        role: role.map(str::to_owned),
        ..NewKey::default()
    }
}

#[test]
fn keys_outlive_the_process_and_their_secrets_are_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let key = NewKey { expires_in_s: Some(60), ..new("app", &["predict", "data"], Some("viewer")) };
    let made = change(&store, &KeyChange::Create(key), NOW).unwrap();
    let text = made.shown["key"].as_str().unwrap().to_owned();
    store.close().unwrap();
    let store = open(directory.path());
    let records = load(&store).unwrap();
    assert_eq!(records, [made.record.unwrap()]);
    assert_eq!(records[0].scopes, Scopes::of(&[Scope::Predict, Scope::Data]));
    assert_eq!(records[0].expires_us, Some(NOW + 60_000_000));
    assert_eq!(records[0].user.as_str(), "app");
    let listed = list(&store, |_| Some(NOW), |_, _| Value::Null).unwrap();
    let listed = &listed["keys"][0];
    assert_eq!((&listed["name"], &listed["role"]), (&"app".into(), &"viewer".into()));
    assert_eq!(listed["last_used_at"], "2023-11-14T22:13:20.000000Z");
    assert!(!listed.to_string().contains(&text[20..84]), "{listed}");
    let secret = &text.as_bytes()[20..84];
    let meta = std::fs::read(directory.path().join("meta.redb")).unwrap();
    assert!(!meta.windows(secret.len()).any(|bytes| bytes == secret), "the secret is on disk");
    let revoked = change(&store, &KeyChange::Revoke(made.id.clone()), NOW).unwrap();
    assert_eq!(revoked.record, None);
    assert_eq!(load(&store).unwrap(), []);
    let again = change(&store, &KeyChange::Revoke(made.id), NOW);
    assert_eq!(again.err().unwrap().kind(), Kind::NotFound);
}

#[test]
fn the_secret_before_is_good_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let made = change(&store, &KeyChange::Create(new("app", &["all"], None)), NOW).unwrap();
    let first = made.record.unwrap();
    let rotate = |overlap_s| {
        let change = change(&store, &KeyChange::Rotate(made.id.clone(), overlap_s), NOW);
        change.unwrap().record.unwrap()
    };
    let second = rotate(10);
    assert_eq!(second.secrets.len(), 2);
    assert_eq!(second.secrets[1].sha256, first.secrets[0].sha256);
    assert_eq!(second.secrets[1].until_us, Some(NOW + 10_000_000));
    let third = rotate(20);
    assert_eq!(third.secrets.len(), 2);
    assert_eq!(third.secrets[1].sha256, second.secrets[0].sha256);
    let fourth = rotate(0);
    assert_eq!(fourth.secrets.len(), 1, "the one before is good no more");
    assert_eq!(load(&store).unwrap(), [fourth]);
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let check = |key: NewKey, part: &str| {
        let error = change(&store, &KeyChange::Create(key), NOW).err().unwrap();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains(part), "{error}");
    };
    check(new("", &["predict"], None), "name must be");
    check(new("a\n", &["predict"], None), "name must be");
    check(new("a", &["fly"], None), "`fly` is no scope; known: predict models:read");
    check(new("a", &[], Some("root")), "`root` is no role; known: viewer");
    check(new("a", &[], None), "could do nothing");
    let long = Some(u64::MAX);
    check(NewKey { expires_in_s: long, ..new("a", &["data"], None) }, "expires_in_s must be");
    check(NewKey { user: long.map(|_| String::new()), ..new("a", &["data"], None) }, "user is");
    assert_eq!(load(&store).unwrap(), []);
    let body = Some(b"{}".to_vec());
    store.change_access(&[(format!("{PREFIX}0123"), body)]).unwrap();
    assert_eq!(load(&store).err().unwrap().kind(), Kind::Corrupt);
}
