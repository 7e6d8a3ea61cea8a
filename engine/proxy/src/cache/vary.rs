//! Owns secondary keys: the request headers that chose a response (RFC 9111, 4.1).
//!
//! Refuses to negotiate. Bound: one value for each header that `Vary` names.

use http::{HeaderMap, HeaderName, header};

use super::directives::joined;

/// The headers that chose a response, with the values that they had, normalised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variant(Vec<(HeaderName, Option<Vec<u8>>)>);

fn names(response: &HeaderMap) -> Vec<Vec<u8>> {
    let lines = joined(response, &header::VARY);
    let names = lines.split(|&byte| byte == b',').map(|name| name.trim_ascii().to_vec());
    names.filter(|name| !name.is_empty()).collect()
}

/// What the origin hears from the gateway, not from the client.
const TOLD: [&str; 6] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// Whether the origin hears this field from the gateway.
pub(super) fn is_told(name: &[u8]) -> bool {
    TOLD.iter().any(|told| name.eq_ignore_ascii_case(told.as_bytes()))
}

/// Whether no later request can match: a star, or what a client's request does not say.
pub(crate) fn is_star(response: &HeaderMap) -> bool {
    names(response).iter().any(|name| name == b"*" || is_told(name))
}

impl Variant {
    /// What chose `response` for `request`.
    pub(crate) fn of(request: &HeaderMap, response: &HeaderMap) -> Self {
        let mut names: Vec<HeaderName> =
            names(response).iter().filter_map(|name| HeaderName::from_bytes(name).ok()).collect();
        names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        Self(names.into_iter().map(|name| (value_of(request, &name), name)).map(swap).collect())
    }

    /// Whether `request` would be answered by the same response.
    pub(crate) fn matches(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|(name, value)| value_of(request, name) == *value)
    }

    /// Names and values.
    pub(super) fn values(&self) -> Vec<(String, Option<Vec<u8>>)> {
        self.0.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    /// What [`Variant::values`] gave; `None` where it did not.
    pub(super) fn from_values(values: &[(String, Option<Vec<u8>>)]) -> Option<Self> {
        let pairs = values.iter().map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value.clone()))
        });
        pairs.collect::<Option<Vec<_>>>().map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        let each = |(name, value): &(HeaderName, Option<Vec<u8>>)| {
            64 + name.as_str().len() + value.as_ref().map_or(0, Vec::len)
        };
        self.0.iter().map(each).sum()
    }
}

fn swap<A, B>((one, other): (A, B)) -> (B, A) {
    (other, one)
}

/// The value with lines joined and without white space around commas; where case means nothing,
/// in lower case.
pub(super) fn value_of(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    if !request.contains_key(name) {
        return None;
    }
    let lines = joined(request, name);
    let parts: Vec<&[u8]> = lines.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).collect();
    let mut value = parts.join(&b","[..]);
    if [header::ACCEPT_LANGUAGE, header::ACCEPT_ENCODING].contains(name) {
        value.retain(|byte| *byte != b' ');
        value.make_ascii_lowercase();
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::headers;

    #[test]
    fn what_chose_the_response_must_be_the_same() {
        let check = |vary: &[&str], first: &[(&str, &str)], second: &[(&str, &str)], same: bool| {
            let lines: Vec<_> = vary.iter().map(|value| ("vary", *value)).collect();
            let variant = Variant::of(&headers(first), &headers(&lines));
            assert_eq!(variant.matches(&headers(second)), same, "{vary:?} {first:?} {second:?}");
        };
        check(&["Foo"], &[("foo", "1")], &[("foo", "1")], true);
        check(&["Foo"], &[("foo", "1")], &[("foo", "2")], false);
        check(&["Foo"], &[("foo", "1")], &[], false);
        check(&["Foo"], &[], &[("foo", "1")], false);
        check(&["Foo"], &[], &[], true);
        check(&["Foo"], &[], &[("foo", "")], false);
        check(
            &["Foo, Bar", "Baz"],
            &[("baz", "1"), ("bar", "2")],
            &[("bar", "2"), ("baz", "1")],
            true,
        );
        check(&["Foo"], &[("foo", "1"), ("foo", "2")], &[("foo", "1,  2")], true);
        check(&["Foo"], &[("foo", "1, 2")], &[("foo", "2, 1")], false);
        check(
            &["accept-language"],
            &[("accept-language", "EN, de")],
            &[("accept-language", "en,de")],
            true,
        );
    }

    #[test]
    fn a_star_matches_nothing() {
        for lines in [&["*"][..], &["*, *"], &["Foo, *"], &["*,Foo"], &[", *"], &["Foo", "*"]] {
            let lines: Vec<_> = lines.iter().map(|value| ("vary", *value)).collect();
            assert!(is_star(&headers(&lines)), "{lines:?}");
        }
        assert!(!is_star(&headers(&[("vary", "foo*")])));
    }
}
