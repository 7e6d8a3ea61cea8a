//! Keys that are good, and all that are not; attempts that fail too often.

mod tokens;

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use truststram_base::{Access, Role, Scope, Scopes, UserId};

use super::*;

const NOW: i64 = 1_700_000_000_000_000;

fn record(key: &FreshKey) -> KeyRecord {
    KeyRecord {
        id: key.id.clone(),
        user: UserId::new("ada").unwrap(),
        scopes: Scopes::of(&[Scope::Predict]),
        role: Some(Role::Viewer),
        expires_us: None,
        secrets: vec![KeySecret { sha256: key.secret_sha256, until_us: None }],
    }
}

fn authority() -> Authority {
    Authority::new("5r/s".parse().ok(), 10)
}

fn bearing(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(X_API_KEY, HeaderValue::from_str(text).unwrap());
    headers
}

fn user(authority: &Authority, text: &str, now_us: i64) -> Result<String, Denied> {
    let found = authority.identify(&bearing(text), &[], &AuthRules::default(), now_us)?;
    Ok(found.map_or_else(String::new, |identity| identity.user.as_str().to_owned()))
}

#[test]
fn a_key_is_good_until_it_expires_or_is_removed() {
    let (authority, key) = (authority(), fresh(None).unwrap());
    let other = fresh(Some(&key.id)).unwrap();
    authority.keys().put(KeyRecord { expires_us: Some(NOW + 5), ..record(&key) });
    assert_eq!(authority.keys().last_used_us(&key.id), None);
    assert_eq!(user(&authority, &key.text, NOW), Ok("ada".to_owned()));
    assert_eq!(authority.keys().last_used_us(&key.id), Some(NOW));
    assert_eq!(user(&authority, &other.text, NOW), Err(Denied::Invalid), "another secret");
    assert_eq!(user(&authority, &fresh(None).unwrap().text, NOW), Err(Denied::Invalid));
    assert_eq!(user(&authority, &key.text[..91], NOW), Err(Denied::Mistyped));
    assert_eq!(user(&authority, "else", NOW), Err(Denied::Invalid));
    assert_eq!(user(&authority, "", NOW), Err(Denied::Invalid));
    assert_eq!(user(&authority, &key.text, NOW + 5), Err(Denied::Invalid), "expired");
    let nothing = authority.identify(&HeaderMap::new(), &[], &AuthRules::default(), NOW);
    assert_eq!(nothing, Ok(None));
    authority.keys().remove(&key.id);
    assert_eq!(user(&authority, &key.text, NOW), Err(Denied::Invalid), "removed");
    assert_eq!(authority.keys().count(), 0);
}

#[test]
fn two_secrets_are_good_while_a_key_changes() {
    let (authority, old) = (authority(), fresh(None).unwrap());
    let new = fresh(Some(&old.id)).unwrap();
    authority.keys().put(record(&old));
    user(&authority, &old.text, NOW).unwrap();
    let secret = |key: &FreshKey, until_us| KeySecret { sha256: key.secret_sha256, until_us };
    let secrets = vec![secret(&new, None), secret(&old, Some(NOW + 10))];
    authority.keys().put(KeyRecord { secrets, ..record(&old) });
    assert_eq!(authority.keys().last_used_us(&old.id), Some(NOW), "it is the same key");
    for (text, now_us, expected) in [
        (&old.text, NOW + 9, Ok("ada".to_owned())),
        (&new.text, NOW + 9, Ok("ada".to_owned())),
        (&old.text, NOW + 10, Err(Denied::Invalid)),
        (&new.text, NOW + 10, Ok("ada".to_owned())),
    ] {
        assert_eq!(user(&authority, text, now_us), expected, "{}", now_us - NOW);
    }
}

#[test]
fn an_empty_slot_is_no_key_whose_hash_is_zero() {
    let (authority, key) = (authority(), fresh(None).unwrap());
    let secrets = vec![KeySecret { sha256: [0; 32], until_us: None }];
    authority.keys().put(KeyRecord { secrets, ..record(&key) });
    assert_eq!(user(&authority, &key.text, NOW), Err(Denied::Invalid));
}

#[test]
fn attempts_that_fail_are_limited_by_address() {
    let authority = authority();
    let from = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let one = from("2001:db8::1");
    for _ in 0..11 {
        assert_eq!(authority.refused(Denied::Invalid, one, 0), Denied::Invalid);
    }
    // Of one network, whatever its last half is; nothing is accounted that is refused.
    let neighbour = from("2001:db8::2");
    assert_eq!(authority.refused(Denied::Mistyped, neighbour, 0), Denied::TooMany(201));
    assert_eq!(authority.refused(Denied::Invalid, from("192.0.2.1"), 0), Denied::Invalid);
    assert_eq!(authority.refused(Denied::Invalid, one, 201), Denied::Invalid);
    // What presents nothing, or has too few rights, is no attempt.
    assert_eq!(authority.refused(Denied::Missing, one, 201), Denied::Missing);
    let forbidden = Denied::Forbidden(Access::Role(Role::Admin));
    assert_eq!(authority.refused(forbidden.clone(), one, 201), forbidden);
    let stats = authority.stats();
    let counts = [&stats.missing, &stats.invalid, &stats.forbidden, &stats.limited];
    assert_eq!(counts.map(|count| count.get()), [1, 13, 1, 1]);
}

#[test]
fn refusals_are_answered_as_rfc_6750_says() {
    let check = |denied: Denied, status: u16, challenge: Option<&str>| {
        let refusal = denied.refusal();
        let found = refusal.challenge.as_deref();
        assert_eq!((refusal.status, found), (status, challenge), "{denied:?}");
    };
    let realm = "Bearer realm=\"truststram\"";
    check(Denied::Missing, 401, Some(realm));
    let invalid = "the credential is not valid: unknown, revoked or expired";
    let error = format!("{realm}, error=\"invalid_token\", error_description=\"{invalid}\"");
    check(Denied::Invalid, 401, Some(&error));
    let scope = format!("{realm}, error=\"insufficient_scope\", scope=\"predict data\"");
    let scopes = Scopes::of(&[Scope::Data, Scope::Predict]);
    check(Denied::Forbidden(Access::AnyOf(scopes)), 403, Some(&scope));
    let role = format!("{realm}, error=\"insufficient_scope\"");
    check(Denied::Forbidden(Access::Role(Role::Admin)), 403, Some(&role));
    check(Denied::TooMany(5), 429, None);
    let several = Denied::Several.refusal();
    assert_eq!(several.status, 400);
    assert!(several.challenge.unwrap().contains("error=\"invalid_request\""));
}
