//! Containment against PostgreSQL's documented examples, and terms against containment.

use super::json::Number;
use super::*;

/// A seeded source of numbers below a bound.
pub(crate) fn random_from(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) % below
    }
}

/// A random document of few different keys and scalars, so that documents often meet.
pub(crate) fn random_json(random: &mut impl FnMut(u64) -> u64, depth: u32) -> String {
    let scalars = ["1", "1.0", "10e-1", "-0", "0", "2", "true", "false", "null", "\"a\"", "\"1\""];
    match if depth == 0 { 2 } else { random(4) } {
        0 => random_object(random, depth),
        1 => {
            let elements: Vec<String> =
                (0..random(4)).map(|_| random_json(random, depth - 1)).collect();
            format!("[{}]", elements.join(","))
        }
        _ => scalars[random(11) as usize].to_owned(),
    }
}

/// As [`random_json`], an object at the root.
pub(crate) fn random_object(random: &mut impl FnMut(u64) -> u64, depth: u32) -> String {
    let members: Vec<String> = (0..random(4))
        .map(|_| {
            let key = ["a", "b", "c"][random(3) as usize];
            format!("\"{key}\":{}", random_json(random, depth.saturating_sub(1)))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn documents_contain_as_in_postgresql() {
    let check = |document: &str, pattern: &str, expected: bool| {
        let found = JsonPattern::new(pattern).unwrap().is_contained_in(document).unwrap();
        assert_eq!(found, expected, "{document} @> {pattern}");
    };
    // From PostgreSQL's manual, 8.14.3 "jsonb Containment and Existence".
    check(r#""foo""#, r#""foo""#, true);
    check("[1, 2, 3]", "[1, 3]", true);
    check("[1, 2, 3]", "[3, 1]", true);
    check("[1, 2, 3]", "[1, 2, 2]", true);
    let product = r#"{"product": "PostgreSQL", "version": 9.4, "jsonb": true}"#;
    check(product, r#"{"version": 9.4}"#, true);
    check("[1, 2, [1, 3]]", "[1, 3]", false);
    check("[1, 2, [1, 3]]", "[[1, 3]]", true);
    check(r#"{"foo": {"bar": "baz"}}"#, r#"{"bar": "baz"}"#, false);
    check(r#"{"foo": {"bar": "baz"}}"#, r#"{"foo": {}}"#, true);
    check(r#"["foo", "bar"]"#, r#""bar""#, true);
    check(r#""bar""#, r#"["bar"]"#, false);
    let site = r#"{"site_name": "x", "tags": [{"term": "paris"}, {"term": "food"}]}"#;
    check(site, r#"{"tags": [{"term": "paris"}, {"term": "food"}]}"#, true);
    check(site, r#"{"tags": [{"term": "paris", "other": 1}]}"#, false);
    // In the manner of its regression tests, jsonb.sql.
    let letters = r#"{"a": "b", "b": 1, "c": null}"#;
    check(letters, r#"{"a": "b"}"#, true);
    check(letters, r#"{"a": "b", "c": null}"#, true);
    check(letters, r#"{"a": "b", "g": null}"#, false);
    check(letters, r#"{"g": null}"#, false);
    check(letters, r#"{"a": "c"}"#, false);
    check(letters, r#"{"a": "b", "c": "q"}"#, false);
    check("[1, 2]", "[1, 2, 2]", true);
    check("[1, 1, 2]", "[1, 2, 2]", true);
    check("[[1, 2]]", "[[1, 2, 2]]", true);
    // Empty containers, kinds, and the root's special case.
    for (document, pattern, expected) in [
        ("{}", "{}", true),
        ("[]", "[]", true),
        ("{}", "[]", false),
        ("[]", "{}", false),
        (r#"{"a": 1}"#, "{}", true),
        ("[1]", "[]", true),
        ("[]", "1", false),
        ("[[1]]", "1", false),
        ("1", "1", true),
        ("1", "[]", false),
        ("null", "null", true),
        ("[null]", "null", true),
        ("[]", "null", false),
        (r#"{"a": [1, 2]}"#, r#"{"a": 1}"#, false),
        (r#"{"a": [1, 2]}"#, r#"{"a": []}"#, true),
        (r#"{"a": [1, 2]}"#, r#"{"a": {}}"#, false),
        (r#"{"a": {}}"#, r#"{"a": null}"#, false),
        ("[[], {}]", "[[]]", true),
        ("[{}]", "[[]]", false),
        (r#"[{"a": 1, "b": 2}]"#, r#"[{"a": 1}, {"b": 2}]"#, true),
        (r#"[{"a": 1}, {"b": 2}]"#, r#"[{"a": 1, "b": 2}]"#, false),
        (r#"{"a": 1, "a": 2}"#, r#"{"a": 2}"#, true),
        (r#"{"a": 1, "a": 2}"#, r#"{"a": 1}"#, false),
        (r#"{"\u0061": "\u00e9"}"#, r#"{"a": "é"}"#, true),
        (r#"["1"]"#, "[1]", false),
        ("[true]", "[1]", false),
    ] {
        check(document, pattern, expected);
    }
}

#[test]
fn numbers_are_one_by_value_to_the_last_digit() {
    let check = |a: &str, b: &str, expected: bool| {
        let (a, b) = (Number::new(a).unwrap(), Number::new(b).unwrap());
        assert_eq!(a == b, expected, "{a:?} {b:?}");
        assert_eq!(a.to_string() == b.to_string(), expected, "{a} {b}");
    };
    for (a, b, expected) in [
        ("1", "1.0", true),
        ("1", "1e0", true),
        ("1", "10E-1", true),
        ("1", "0.01e+2", true),
        ("100", "1e2", true),
        ("0", "-0", true),
        ("0", "0.000e7", true),
        ("1", "-1", false),
        ("1", "10", false),
        ("0.1", "0.10", true),
        ("0.1", "0.01", false),
        // One number in 64-bit floats, two in PostgreSQL.
        ("9007199254740992", "9007199254740993", false),
        ("0.1", "0.1000000000000000055", false),
        ("18446744073709551616", "18446744073709551617", false),
        ("18446744073709551616", "18446744073709551616.0", true),
    ] {
        check(a, b, expected);
    }
    assert_eq!(Number::new("1e100001"), None);
    assert_eq!(Number::new("1e99999999999999999999"), None);
    assert!(Number::new("1e-100000").is_some());
}

#[test]
fn what_is_beyond_a_bound_is_refused() {
    let refused = |text: &str| JsonPattern::new(text).unwrap_err().to_string();
    assert!(refused("").starts_with("is not JSON"));
    assert!(refused("{\"a\":1").starts_with("is not JSON"));
    assert!(refused("[01]").starts_with("is not JSON"));
    assert!(refused("{} {}").starts_with("is not JSON"));
    assert!(refused("[1e999999]").contains("power"));
    assert!(refused(&format!("{}{}", "[".repeat(66), "]".repeat(66))).contains("deeper"));
    assert!(refused(&format!("{}{}", "[".repeat(8_000), "]".repeat(8_000))).contains("deeper"));
    assert!(refused(&format!("\"{}\"", "a".repeat(DOCUMENT_BYTES_MAX))).contains("longer"));
    assert!(refused(&format!("[{}1]", "1,".repeat(PATTERN_NODES_MAX))).contains("values"));
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    assert!(JsonPattern::new(&deep).unwrap().is_contained_in(&deep).unwrap());
    assert!(matches!(Json::parse_object("[]"), Err(JsonProblem::NotAnObject)));
}

#[test]
fn what_is_contained_has_no_term_that_the_document_lacks() {
    let (mut contained, mut refuted) = (0, 0);
    for seed in 0..20_000 {
        let mut random = random_from(seed);
        let document = Json::parse(&random_object(&mut random, 3)).unwrap();
        let pattern = Json::parse(&random_object(&mut random, 2)).unwrap();
        let is_covered = terms(&pattern).is_subset(&terms(&document));
        if contains(&document, &pattern) {
            assert!(is_covered, "seed {seed}: {document:?} @> {pattern:?}");
            contained += usize::from(!terms(&pattern).is_empty());
        } else {
            refuted += usize::from(!is_covered);
        }
        assert!(contains(&document, &document) && contains(&pattern, &pattern));
    }
    // Both happen often, or the loop above shows nothing.
    assert!(contained > 100 && refuted > 1_000, "{contained} {refuted}");
}

#[test]
fn documents_are_read_as_serde_json_reads_them() {
    fn same(json: &Json, value: &serde_json::Value) -> bool {
        match (json, value) {
            (Json::Null, serde_json::Value::Null) => true,
            (Json::Bool(a), serde_json::Value::Bool(b)) => a == b,
            (Json::Number(a), serde_json::Value::Number(b)) => {
                Number::new(&b.to_string()).is_some_and(|b| *a == b)
            }
            (Json::String(a), serde_json::Value::String(b)) => a == b,
            (Json::Array(a), serde_json::Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Json::Object(a), serde_json::Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
            }
            _ => false,
        }
    }
    for seed in 0..2_000 {
        let text = random_json(&mut random_from(seed), 4);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(same(&Json::parse(&text).unwrap(), &value), "seed {seed}: {text}");
        let pattern = JsonPattern::try_from(&value).unwrap();
        assert!(pattern.is_contained_in(&text).unwrap(), "seed {seed}: {text}");
    }
}
