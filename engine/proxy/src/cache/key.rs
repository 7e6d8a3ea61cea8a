//! Owns the keys that routes give to their answers: what of a request is part of them, and which
//! places a stored key is for.
//!
//! Refuses to mix answers: a key ends with the parts that it is made of and with its route, so that
//! neither another route nor another configuration finds it. Values of headers and cookies are in
//! it as a hash, for keys are written to disk. Bound: the parts of the configuration.
//!
//! ```text
//! scheme://host/path?query LF parts LF route LF hash
//! ```
//!
//! What is no part is left out: `any` is no scheme. Keys of routes that say nothing have no LF.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, header};
use sha2::{Digest, Sha256};

use super::naming::{self, checked};
use super::query::Query;
use super::vary::{is_told, value_of};

const END: char = '\n';
const PARTS: &str =
    "scheme, host, path, query, arg:NAME, without:NAME, header:NAME and cookie:NAME";

/// What a key is made of beside the path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyRule {
    has_scheme: bool,
    has_host: bool,
    query: Query,
    fields: Vec<Field>,
    /// What its keys have behind the place.
    tail: Box<str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Field {
    Header(HeaderName),
    Cookie(String),
}

impl KeyRule {
    /// The rule of these parts for `route`.
    ///
    /// # Errors
    /// What is wrong with them, and what to do.
    pub(super) fn parse(parts: &[&str], route: &str) -> Result<Self, String> {
        let (mut has_path, mut is_whole) = (false, false);
        let (mut only, mut without, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        let (mut has_scheme, mut has_host) = (false, false);
        for &part in parts {
            match part.split_once(':') {
                None if part == "scheme" => has_scheme = true,
                None if part == "host" => has_host = true,
                None if part == "path" => has_path = true,
                None if part == "query" => is_whole = true,
                Some(("arg", name)) if is_word(name) => only.push(checked("arg", name)?),
                Some(("without", name)) if is_word(name) => without.push(name.to_owned()),
                Some(("cookie", name)) if is_word(name) => {
                    fields.push(Field::Cookie(checked("cookie", name)?));
                }
                Some(("header", name)) => fields.push(Field::Header(header(part, name)?)),
                _ => return Err(format!("`{part}` is none of {PARTS}")),
            }
        }
        if !has_path {
            return Err("needs `path`, without which all pages would have one answer".to_owned());
        }
        if let (true, Some(name)) = (is_whole, only.first()) {
            let what = format!("`arg:{name}` is in `query` already; leave out one of the two");
            return Err(what);
        }
        if let (false, Some(name)) = (is_whole, without.first()) {
            return Err(format!("`without:{name}` needs `query`, of which it is left out"));
        }
        let query = match (is_whole, only.is_empty()) {
            (true, _) => Query::Without(without),
            (false, true) => Query::Absent,
            (false, false) => Query::Only(only),
        };
        let tail = format!("{END}{}{END}{route}{END}", parts.join(" ")).into();
        Ok(Self { has_scheme, has_host, query, fields, tail })
    }

    /// The rule that says so at the end of a key, behind the place.
    fn of_tail(tail: &str) -> Option<Self> {
        let mut lines = tail.split(END);
        let parts: Vec<&str> = lines.next()?.split(' ').collect();
        Self::parse(&parts, lines.next()?).ok()
    }

    /// The key of a request.
    pub(super) fn key(&self, scheme: &str, place: (&str, &str), headers: &HeaderMap) -> Box<str> {
        let scheme = if self.has_scheme { scheme } else { ANY };
        let mut key = format!("{scheme}://");
        self.push_place(place, &mut key);
        key.push_str(&self.tail);
        if !self.fields.is_empty() {
            URL_SAFE_NO_PAD.encode_string(self.hash(headers), &mut key);
        }
        key.into()
    }

    /// Adds what of a host and a target is part of keys.
    fn push_place(&self, (host, target): (&str, &str), key: &mut String) {
        if self.has_host {
            // Writing to a `String` cannot fail.
            let _ = host.chars().try_for_each(|one| key.write_char(one.to_ascii_lowercase()));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        key.push_str(path);
        self.query.push(query, key);
    }

    fn hash(&self, headers: &HeaderMap) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut add = |value: &[u8]| {
            hasher.update((value.len() as u64).to_le_bytes());
            hasher.update(value);
        };
        for field in &self.fields {
            match field {
                Field::Header(name) => match value_of(headers, name) {
                    Some(value) => add(&value),
                    None => add(b"\n"),
                },
                Field::Cookie(name) => {
                    naming::cookies(headers, name).into_iter().for_each(&mut add);
                    // No cookie has such a byte.
                    add(b"\n");
                }
            }
        }
        hasher.finalize().into()
    }

    /// What the keys for `place`, a host and a target, begin with.
    pub(super) fn beginnings(&self, place: &str) -> Vec<String> {
        let schemes: &[&str] = if self.has_scheme { &["http", "https"] } else { &[ANY] };
        let begin = |scheme| {
            let mut key = format!("{scheme}://");
            self.push_place(split(place), &mut key);
            key.push_str(&self.tail);
            key
        };
        schemes.iter().map(begin).collect()
    }
}

/// In the place of a scheme that is no part.
const ANY: &str = "any";

/// Whether it may be the name of an argument or a cookie.
pub(super) fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=')
}

/// The name of a header that may be part of a key.
fn header(part: &str, name: &str) -> Result<HeaderName, String> {
    let parsed: HeaderName = name.parse().map_err(|_| format!("`{part}` is none of {PARTS}"))?;
    let why = match parsed {
        header::AUTHORIZATION | header::PROXY_AUTHORIZATION => {
            "answers to who has credentials are kept only where they are for all; leave it out"
        }
        header::COOKIE => "name one cookie: `cookie:NAME`",
        header::HOST => "write `host`",
        _ if is_told(parsed.as_str().as_bytes()) => {
            "servers hear it from the gateway, not from the client; leave it out"
        }
        _ => return Ok(parsed),
    };
    Err(format!("`{part}` cannot be part of a key: {why}"))
}

/// A host and what is behind it.
fn split(place: &str) -> (&str, &str) {
    place.split_at(place.find('/').unwrap_or(place.len()))
}

/// Whether a route has made this key.
pub(super) fn is_own(key: &str) -> bool {
    key.contains(END)
}

/// What all keys of its route for its place begin with, if a route has made `key`, and what of that
/// is behind the place.
pub(super) fn beginning_of(key: &str) -> Option<(&str, &str)> {
    let begin = &key[..=key.rfind(END)?];
    Some((begin, &begin[begin.find(END)?..]))
}

/// The rule by which a route has made `key`, and what all of its keys for the place begin with.
pub(super) fn rule_of(key: &str) -> Option<(KeyRule, &str)> {
    let (begin, tail) = beginning_of(key)?;
    Some((KeyRule::of_tail(tail.strip_prefix(END)?)?, begin))
}

/// The key without its scheme, and what a route has put behind that.
fn parts_of(key: &str) -> (&str, Option<&str>) {
    let place = key.split_once("://").map_or(key, |(_, place)| place);
    place.split_once(END).map_or((place, None), |(place, tail)| (place, Some(tail)))
}

/// Whether what is stored by `key` answers for `place`, a host and a target.
pub(super) fn is_for(key: &str, place: &str) -> bool {
    let path = |place| split(place).1.split('?').next();
    match parts_of(key) {
        (of_key, None) => of_key == place,
        (of_key, Some(_)) if path(of_key) != path(place) => false,
        (_, Some(_)) => rule_of(key)
            .is_some_and(|(rule, begin)| rule.beginnings(place).iter().any(|one| one == begin)),
    }
}

/// Whether it answers for anything that begins with `prefix`; what may do so counts, too.
pub(super) fn is_below(key: &str, prefix: &str) -> bool {
    let (of_key, tail) = parts_of(key);
    let Some(rule) = tail.and_then(KeyRule::of_tail) else { return of_key.starts_with(prefix) };
    let ((host, target), (of_host, of_target)) = (split(of_key), split(prefix));
    let is_host = match of_target {
        "" => host.starts_with(of_host),
        _ => host == of_host,
    };
    let is_target = match of_target.split_once('?') {
        // What the key leaves out may have been there.
        Some((path, _)) if !rule.query.is_whole() => target.split('?').next() == Some(path),
        _ => target.starts_with(of_target),
    };
    (is_host || !rule.has_host) && is_target
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::headers;

    fn rule(parts: &[&str]) -> KeyRule {
        KeyRule::parse(parts, "shop all").unwrap()
    }

    #[test]
    fn a_key_has_the_parts_that_its_route_names() {
        for (parts, expected) in [
            (&["host", "path", "query"][..], "any://h:1/A?b=1&c&b=2"),
            (&["scheme", "path"], "http:///A"),
            (&["host", "path", "arg:B"], "any://h:1/A?b=1&b=2"),
            (&["path", "arg:d"], "any:///A"),
            (&["path", "query", "without:b"], "any:///A?c"),
        ] {
            let key = rule(parts).key("http", ("H:1", "/A?b=1&c&b=2"), &HeaderMap::new());
            assert_eq!(*key, format!("{expected}\n{}\nshop all\n", parts.join(" ")));
        }
    }

    #[test]
    fn values_of_headers_and_cookies_are_told_apart_by_a_hash() {
        let one = rule(&["path", "header:x-a", "cookie:b"]);
        let key = |lines: &[(&str, &str)]| one.key("http", ("h", "/"), &headers(lines));
        let keys = [
            key(&[]),
            key(&[("x-a", "")]),
            key(&[("x-a", "secret")]),
            key(&[("cookie", "b=secret")]),
            key(&[("cookie", "b=")]),
            key(&[("cookie", "b=1; b=2")]),
            key(&[("cookie", "b=1")]),
            key(&[("x-a", "1, 2"), ("cookie", "b=1")]),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(one), "{index}");
            assert!(!one.contains("secret") && one.len() == keys[0].len(), "{one}");
        }
        assert_eq!(keys[7], key(&[("x-a", "1"), ("cookie", "a=0;b=1"), ("x-a", "2")]));
        // What one server reads as `b` and another does not is another answer.
        for cookie in ["B=1", "a=0, b=1, c=2", "b[x]=1", "b=\"1; c\""] {
            let other = key(&[("cookie", cookie)]);
            assert!(!keys.contains(&other), "{cookie}");
        }
        assert_eq!(keys[6], key(&[("cookie", "c=9"), ("cookie", "b=1"), ("y", "z")]));
    }

    #[test]
    fn bad_parts_are_named_with_what_to_do() {
        for (parts, expected) in [
            (&["path", "ip"][..], "`ip` is none of scheme, host, path, "),
            (&["path", "arg:"], "`arg:` is none of "),
            (&["path", "arg:f[a]"], "`arg:f[a]` is never found: write `arg:f`, "),
            (&["path", "cookie:a_*"], "`cookie:a_*` is never found: "),
            (&["path", "header:a b"], "`header:a b` is none of "),
            (&["host", "query"], "needs `path`, "),
            (&["path", "query", "arg:a"], "`arg:a` is in `query` already; "),
            (&["path", "without:a"], "`without:a` needs `query`, "),
            (&["path", "header:Authorization"], "`header:Authorization` cannot be part of a key: "),
            (&["path", "header:cookie"], "`header:cookie` cannot be part of a key: name one "),
            (&["path", "header:x-real-ip"], "`header:x-real-ip` cannot be part of a key: servers "),
        ] {
            let found = KeyRule::parse(parts, "r").unwrap_err();
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn a_key_is_for_all_places_that_it_answers_for() {
        let check = |parts: &[&str], place: &str, expected: bool| {
            let lines = headers(&[("cookie", "b=1")]);
            let key = rule(parts).key("https", ("h", "/a/b?c=1&d=2"), &lines);
            assert_eq!(is_for(&key, place), expected, "{parts:?} {place}");
            let (_, begin) = rule_of(&key).unwrap();
            assert!(key.starts_with(begin) && begin.ends_with('\n'));
        };
        check(&["scheme", "host", "path", "query"], "h/a/b?c=1&d=2", true);
        check(&["scheme", "host", "path", "query"], "h/a/b?c=1", false);
        check(&["host", "path", "cookie:b"], "h/a/b?any", true);
        check(&["host", "path", "cookie:b"], "i/a/b", false);
        check(&["path"], "i/a/b", true);
        check(&["path"], "i/a", false);
        check(&["path", "arg:c"], "i/a/b?d=3&c=1", true);
        check(&["path", "arg:c"], "i/a/b?c=2", false);
        check(&["path", "query", "without:d"], "i/a/b?d=3&c=1", true);
        assert!(is_for("http://h/a?b", "h/a?b") && !is_for("http://h/a?b", "h/a"));
    }

    #[test]
    fn a_prefix_takes_all_that_may_begin_so() {
        let check = |parts: &[&str], prefix: &str, expected: bool| {
            let key = rule(parts).key("https", ("h", "/a/b?c=1&d=2"), &HeaderMap::new());
            assert_eq!(is_below(&key, prefix), expected, "{parts:?} {prefix}");
        };
        check(&["host", "path", "query"], "h/a/b?c=1", true);
        check(&["host", "path", "query"], "h/a/b?d", false);
        check(&["host", "path"], "h/a/b?d", true);
        check(&["host", "path"], "h/a?d", false);
        check(&["host", "path"], "h/a", true);
        check(&["host", "path"], "i/a", false);
        check(&["host", "path"], "h", true);
        check(&["host", "path"], "i", false);
        check(&["path"], "i/a", true);
        check(&["path"], "i/b", false);
        check(&["path"], "i", true);
        check(&["path", "arg:d"], "i/a/b?c", true);
        assert!(is_below("http://h/a?b", "h/a") && !is_below("http://h/a?b", "h/b"));
    }
}
