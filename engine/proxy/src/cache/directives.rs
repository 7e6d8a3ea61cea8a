//! Owns reading `Cache-Control` (RFC 9111, 5.2), `CDN-Cache-Control` (RFC 9213, a dictionary of
//! structured fields) and `Pragma`.
//!
//! Refuses to judge what they mean together. Bound: one pass over the header's bytes.

use http::{HeaderMap, HeaderName, header};

/// The greatest number of seconds that is told apart from greater ones (RFC 9111, 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// A directive that may name header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    /// It is not there.
    #[default]
    Absent,
    /// It holds for these fields.
    Fields(Vec<HeaderName>),
    /// It holds for the whole response.
    Whole,
}

/// What a `Cache-Control` says, in a request or in a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    /// Whether there is any directive, known or not.
    pub(crate) is_present: bool,
    pub(crate) no_store: bool,
    pub(crate) no_cache: Scope,
    pub(crate) private: Scope,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age_s: Option<u64>,
    pub(crate) s_maxage_s: Option<u64>,
    pub(crate) min_fresh_s: Option<u64>,
    /// With or without a limit.
    pub(crate) max_stale_s: Option<u64>,
    pub(crate) stale_while_revalidate_s: Option<u64>,
    pub(crate) stale_if_error_s: Option<u64>,
}

impl Directives {
    /// Those of `Cache-Control`; a request's `Pragma: no-cache` counts where there are none.
    pub(crate) fn of_request(headers: &HeaderMap) -> Self {
        let mut found = Self::of_response(headers);
        if !headers.contains_key(header::CACHE_CONTROL) {
            let lines = joined(headers, &header::PRAGMA);
            let mut items = Items(&lines);
            if items.any(|(name, _)| name.eq_ignore_ascii_case(b"no-cache")) {
                found.no_cache = Scope::Whole;
            }
        }
        found
    }

    /// Those of `Cache-Control`.
    pub(crate) fn of_response(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        if headers.contains_key(header::CACHE_CONTROL) {
            for (name, value) in Items(&joined(headers, &header::CACHE_CONTROL)) {
                found.is_present = true;
                found.take(&name.to_ascii_lowercase(), value.as_deref());
            }
        }
        found
    }

    /// Those of `CDN-Cache-Control`, if it is there and is a dictionary.
    pub(crate) fn targeted(headers: &HeaderMap) -> Option<Self> {
        if !headers.contains_key(CDN_CACHE_CONTROL) {
            return None;
        }
        let mut found = Self::default();
        for (key, value) in super::dictionary::parse(&joined(headers, &CDN_CACHE_CONTROL))? {
            found.is_present = true;
            // A directive with a value of the wrong type is ignored.
            match value {
                super::dictionary::Value::True => found.take(&key, None),
                super::dictionary::Value::Integer(number) => {
                    found.take(&key, Some(number.to_string().as_bytes()));
                }
                super::dictionary::Value::Other => {}
            }
        }
        found.is_present.then_some(found)
    }

    /// Takes a directive; of two of one name the first counts.
    fn take(&mut self, name: &[u8], value: Option<&[u8]>) {
        // What is no number means that the response is stale.
        let seconds = || Some(value.and_then(seconds_of).unwrap_or(0));
        match name {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache.widen(value),
            b"private" => self.private.widen(value),
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => self.max_age_s = self.max_age_s.or_else(seconds),
            b"s-maxage" => self.s_maxage_s = self.s_maxage_s.or_else(seconds),
            b"min-fresh" => self.min_fresh_s = self.min_fresh_s.or_else(seconds),
            b"max-stale" => {
                let any = value.is_none().then_some(SECONDS_MAX);
                self.max_stale_s = self.max_stale_s.or(any).or_else(seconds);
            }
            b"stale-while-revalidate" => {
                self.stale_while_revalidate_s = self.stale_while_revalidate_s.or_else(seconds);
            }
            b"stale-if-error" => {
                self.stale_if_error_s = self.stale_if_error_s.or_else(seconds);
            }
            _ => {}
        }
    }
}

impl Scope {
    fn widen(&mut self, value: Option<&[u8]>) {
        let Some(names) = value else {
            *self = Self::Whole;
            return;
        };
        let names: Vec<HeaderName> = names
            .split(|&byte| byte == b',')
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .collect();
        match self {
            Self::Absent if names.is_empty() => *self = Self::Whole,
            Self::Absent => *self = Self::Fields(names),
            Self::Fields(known) => known.extend(names),
            Self::Whole => {}
        }
    }
}

/// Digits as seconds; numbers beyond the greatest are the greatest.
pub(crate) fn seconds_of(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |sum: u64, byte: &u8| (sum * 10 + u64::from(byte - b'0')).min(SECONDS_MAX);
    Some(text.iter().fold(0, digit))
}

/// All lines of a header as one.
pub(crate) fn joined(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
    lines.join(&b", "[..])
}

/// `name`, `name=token` and `name="quoted"`, separated by commas.
pub(crate) struct Items<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = (&'a [u8], Option<Vec<u8>>);

    fn next(&mut self) -> Option<Self::Item> {
        let is_gap = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
        let start = self.0.iter().position(|byte| !is_gap(byte))?;
        let text = &self.0[start..];
        let end = text.iter().position(|byte| matches!(byte, b'=' | b','));
        let end = end.unwrap_or(text.len());
        let name = &text[..end];
        if text.get(end) != Some(&b'=') {
            self.0 = &text[end..];
            return Some((name.trim_ascii_end(), None));
        }
        let value = &text[end + 1..];
        if value.first() != Some(&b'"') {
            let end = value.iter().position(|&byte| byte == b',').unwrap_or(value.len());
            self.0 = &value[end..];
            return Some((name, Some(value[..end].trim_ascii_end().to_vec())));
        }
        let (mut unquoted, mut at) = (Vec::new(), 1);
        while let Some(&byte) = value.get(at) {
            match byte {
                b'"' => break,
                b'\\' => {
                    at += 1;
                    unquoted.extend(value.get(at));
                }
                _ => unquoted.push(byte),
            }
            at += 1;
        }
        let rest = value.get(at + 1..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
        self.0 = &rest[end..];
        Some((name, Some(unquoted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::CACHE_CONTROL, line.parse().unwrap());
        }
        Directives::of_response(&headers)
    }

    #[test]
    fn numbers_are_read_strictly() {
        let check = |line: &str, expected: Option<u64>| {
            assert_eq!(of(&[line]).max_age_s, expected, "{line}");
        };
        check("max-age=3600", Some(3_600));
        check("MaX-aGe=3600", Some(3_600));
        check("max-age=\"3600\"", Some(3_600));
        check("max-age=003600", Some(3_600));
        check("max-age=99999999999999999999", Some(SECONDS_MAX));
        check("max-age=3600, max-age=1", Some(3_600));
        check("extension=\"max-age=3600\"", None);
        check("extension=\"max-age=3600, \\\"max-age=2\", max-age=1", Some(1));
        check("max-age =3600", None);
        for wrong in [
            "max-age='3600'",
            "max-age=-3600",
            "max-age=3600.0",
            "max-age=100a",
            "max-age=a100",
            "max-age",
            "max-age=",
            "max-age= 100",
        ] {
            check(wrong, Some(0));
        }
    }

    #[test]
    fn fields_are_named_or_everything_is_meant() {
        assert_eq!(of(&["no-cache"]).no_cache, Scope::Whole);
        let named = of(&["private=\"Set-Cookie, a\", foo", "no-cache=b"]);
        let name = |name: &str| HeaderName::try_from(name).unwrap();
        assert_eq!(named.private, Scope::Fields(vec![name("set-cookie"), name("a")]));
        assert_eq!(named.no_cache, Scope::Fields(vec![name("b")]));
        assert_eq!(of(&["no-cache=\"b\", no-cache"]).no_cache, Scope::Whole);
        assert!(of(&["a,,no-store"]).no_store);
    }

    #[test]
    fn pragma_counts_in_requests_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(header::PRAGMA, "foo, no-cache".parse().unwrap());
        assert_eq!(Directives::of_request(&headers).no_cache, Scope::Whole);
        assert_eq!(Directives::of_response(&headers).no_cache, Scope::Absent);
        headers.insert(header::CACHE_CONTROL, "max-stale".parse().unwrap());
        let found = Directives::of_request(&headers);
        assert_eq!((found.no_cache, found.max_stale_s), (Scope::Absent, Some(SECONDS_MAX)));
    }
}
