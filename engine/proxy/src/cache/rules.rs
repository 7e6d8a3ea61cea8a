//! Owns what one route says of the answers that are kept of it: how long those of a status are
//! fresh, what they are found by, which requests go past what is kept, and whose answers are not
//! kept.
//!
//! Refuses to look up and to keep. Bound: the lists of the configuration.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode};

use super::invalidate::stored_key;
use super::key::{KeyRule, is_word};
use super::naming::{self, checked, is_like, value};
use super::options::{Lifetimes, lifetime_of};

/// What a route says of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheRuleSpec {
    /// As [`CacheOptions::lifetimes_s`](super::CacheOptions::lifetimes_s), in its place; none: that
    /// counts.
    pub lifetimes_s: Lifetimes,
    /// Requests that are not answered by what is kept, though their answers are kept: those that
    /// have one of these, neither empty nor `0`: `header:NAME`, `cookie:NAME`, `arg:NAME`.
    pub bypass: Vec<String>,
    /// Requests whose answers are not kept, in the same words.
    pub no_store: Vec<String>,
    /// What answers are found by: `path`, and of `scheme`, `host`, `query` or `arg:NAME`,
    /// `without:NAME`, `header:NAME`, `cookie:NAME` what makes them differ; empty for scheme, host,
    /// path and query.
    pub key: Vec<String>,
    /// From which request for its key on an answer is kept; 0 and 1: from the first.
    pub uses_min: u32,
}

/// The same, compiled.
#[derive(Debug, Default)]
pub(crate) struct CacheRules {
    lifetimes_s: Lifetimes,
    bypass: Vec<Condition>,
    no_store: Vec<Condition>,
    key: Option<KeyRule>,
    pub(super) uses_min: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Condition {
    Header(HeaderName),
    Cookie(String),
    Argument(String),
}

impl Condition {
    fn parse(text: &str) -> Result<Self, String> {
        let parsed = match text.split_once(':') {
            Some(("header", name)) => name.parse().ok().map(Self::Header),
            Some(("cookie", name)) if is_word(name) => Some(Self::Cookie(checked("cookie", name)?)),
            Some(("arg", name)) if is_word(name) => Some(Self::Argument(checked("arg", name)?)),
            _ => None,
        };
        parsed.ok_or_else(|| format!("`{text}` is none of header:NAME, cookie:NAME and arg:NAME"))
    }

    /// Whether a request has it for some server, and it is neither empty nor `0`.
    fn holds(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        let says = |value: &[u8]| !value.is_empty() && value != b"0";
        match self {
            Self::Header(name) => headers.get_all(name).iter().any(|value| says(value.as_bytes())),
            Self::Cookie(name) => {
                naming::cookies(headers, name).into_iter().any(|cookie| says(value(cookie)))
            }
            Self::Argument(name) => {
                let mut pairs = query.unwrap_or_default().split(['&', ';']).map(str::as_bytes);
                pairs.any(|pair| is_like(pair, name) && says(value(pair)))
            }
        }
    }
}

impl CacheRules {
    /// Compiles `spec`, which is that of the route of this name.
    ///
    /// # Errors
    /// The keys of the route whose value means nothing, and why.
    pub(crate) fn compile(
        spec: &CacheRuleSpec,
        route: &str,
    ) -> Result<Arc<Self>, Vec<(&'static str, String)>> {
        let mut faults = Vec::new();
        let mut parse = |key, texts: &[String]| {
            let mut found = Vec::new();
            for text in texts {
                match Condition::parse(text) {
                    Ok(condition) => found.push(condition),
                    Err(why) => faults.push((key, why)),
                }
            }
            found
        };
        let bypass = parse(".cache_bypass", &spec.bypass);
        let no_store = parse(".cache_no_store", &spec.no_store);
        let parts: Vec<&str> = spec.key.iter().map(String::as_str).collect();
        let key = (!parts.is_empty()).then(|| KeyRule::parse(&parts, route)).transpose();
        let key = key.unwrap_or_else(|why| {
            faults.push((".cache_key", why));
            None
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        let (lifetimes_s, uses_min) = (spec.lifetimes_s.clone(), spec.uses_min);
        Ok(Arc::new(Self { lifetimes_s, bypass, no_store, key, uses_min }))
    }

    /// What the answer to a request by `scheme`, to this host and target, is found by.
    pub(super) fn key<'a>(
        &self,
        scheme: &str,
        (host, target): (&str, &str),
        headers: impl Fn() -> &'a HeaderMap,
    ) -> Box<str> {
        match &self.key {
            Some(rule) => rule.key(scheme, (host, target), headers()),
            None => stored_key(scheme, host, target),
        }
    }

    /// Whether a request goes past what is kept; `query` is that of its target.
    pub(crate) fn bypasses<'a>(
        &self,
        headers: impl Fn() -> &'a HeaderMap,
        query: Option<&str>,
    ) -> bool {
        self.bypass.iter().any(|one| one.holds(headers(), query))
    }

    /// Whether the answer to a request is not kept.
    pub(super) fn forbids(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        self.no_store.iter().any(|one| one.holds(headers, query))
    }

    /// Seconds that an answer of this status is fresh where it does not say it itself; `usual_s`
    /// counts where the route says nothing of any.
    pub(super) fn lifetime_s(&self, status: StatusCode, usual_s: &Lifetimes) -> Option<u64> {
        let own = &self.lifetimes_s;
        lifetime_of(if own.is_empty() { usual_s } else { own }, status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_as_in_nginx() {
        let headers = HeaderMap::from_iter([
            ("x-a".parse().unwrap(), "1".parse().unwrap()),
            ("x-zero".parse().unwrap(), "0".parse().unwrap()),
            ("cookie".parse().unwrap(), "s=; t=abc; u=0; x=0, v_w=1".parse().unwrap()),
        ]);
        for (text, expected) in [
            ("header:X-A", true),
            ("header:x-zero", false),
            ("header:x-b", false),
            ("cookie:t", true),
            ("cookie:s", false),
            ("cookie:u", false),
            ("arg:fresh", true),
            ("arg:none", false),
            ("arg:empty", false),
            // Where servers may differ, they hold.
            ("cookie:v.w", true),
            ("arg:late", true),
            ("arg:page", true),
            ("arg:coded", true),
        ] {
            let condition = Condition::parse(text).unwrap();
            let query = Some("fresh=1&empty=&late=0&late=1&x=1;page=2&c%6fded[a]=1");
            assert_eq!(condition.holds(&headers, query), expected, "{text}");
        }
        for text in
            ["x-a", "header:", "header:a b", "cookie:", "arg:a=b", "ip", "query:a", "arg:a[b]"]
        {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lifetimes_of_a_route_stand_in_the_place_of_all_others() {
        let usual = vec![(Some(200), 60), (Some(404), 5)];
        let seconds = |own: Lifetimes, status| {
            let rules = CacheRules { lifetimes_s: own, ..CacheRules::default() };
            rules.lifetime_s(StatusCode::from_u16(status).unwrap(), &usual)
        };
        assert_eq!(seconds(Vec::new(), 200), Some(60));
        assert_eq!(seconds(vec![(Some(200), 9)], 200), Some(9));
        assert_eq!(seconds(vec![(Some(200), 9)], 404), None);
        assert_eq!(seconds(vec![(None, 1), (Some(200), 9)], 200), Some(9));
        assert_eq!(seconds(vec![(None, 1), (Some(200), 9)], 404), Some(1));
    }
}
