//! Owns what a request presents: `Authorization: Bearer`, or `X-API-Key`.
//!
//! Refuses to judge it. Another scheme of `Authorization` is not for us. Bound: two headers.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::denied::Denied;

/// The other header that takes an API key.
pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The credential, if there is one.
pub(crate) fn credential(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let bearers = headers.get_all(AUTHORIZATION).iter().filter(|value| is_bearer(value));
    let mut found = None;
    for value in bearers.chain(headers.get_all(X_API_KEY)) {
        if found.is_some() {
            return Err(Denied::Several);
        }
        let text = value.to_str().map_err(|_| Denied::Invalid)?;
        found = Some(bearer_of(text).unwrap_or(text).trim());
    }
    Ok(found)
}

/// Whether a value of `Authorization` is of the scheme `Bearer`.
pub(crate) fn is_bearer(value: &HeaderValue) -> bool {
    let scheme = value.as_bytes().get(..SCHEME.len());
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

const SCHEME: &[u8] = b"bearer ";

fn bearer_of(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_at_checked(SCHEME.len())?;
    scheme.as_bytes().eq_ignore_ascii_case(SCHEME).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_credential_is_found_in_either_header() {
        let check = |headers: &[(&str, &str)], expected: Result<Option<&str>, Denied>| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                let name: HeaderName = name.parse().unwrap();
                map.append(name, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(credential(&map), expected, "{headers:?}");
        };
        check(&[], Ok(None));
        check(&[("authorization", "Bearer ts_a")], Ok(Some("ts_a")));
        check(&[("authorization", "bEaReR   ts_a ")], Ok(Some("ts_a")));
        check(&[("x-api-key", "ts_a")], Ok(Some("ts_a")));
        check(&[("authorization", "Basic YTpi"), ("x-api-key", "ts_a")], Ok(Some("ts_a")));
        check(&[("authorization", "Basic YTpi")], Ok(None));
        check(&[("authorization", "Bearer a"), ("x-api-key", "a")], Err(Denied::Several));
        check(&[("x-api-key", "a"), ("x-api-key", "a")], Err(Denied::Several));
        check(&[("authorization", "Bearer ")], Ok(Some("")));
    }
}
