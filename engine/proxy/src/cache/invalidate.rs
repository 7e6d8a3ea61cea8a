//! Owns which keys a successful unsafe request makes invalid (RFC 9111, 4.4).
//!
//! Refuses other hosts than that of the request. Bound: three keys.

use http::{HeaderMap, Method, StatusCode, Uri, header};

/// The key of a response: its host, in lower case, and its path with the query.
pub(crate) fn key_of(host: &str, path_and_query: &str) -> Box<str> {
    let mut key = host.to_ascii_lowercase();
    key.push_str(path_and_query);
    key.into()
}

/// The key of the response to a request by `scheme`, as it is stored.
pub(super) fn stored_key(scheme: &str, host: &str, path_and_query: &str) -> Box<str> {
    let mut key = String::with_capacity(scheme.len() + 3 + host.len() + path_and_query.len());
    key.extend([scheme, "://", host]);
    key[scheme.len()..].make_ascii_lowercase();
    key.push_str(path_and_query);
    key.into()
}

/// The keys that are no longer valid.
pub(crate) fn keys(
    method: &Method,
    host: &str,
    path_and_query: &str,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<Box<str>> {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method);
    if is_safe || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut keys = vec![key_of(host, path_and_query)];
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let place = response.get(name).and_then(|value| value.to_str().ok());
        keys.extend(place.and_then(|place| named(host, path_and_query, place)));
    }
    keys
}

/// The key of a reference, if it is on the same host.
fn named(host: &str, base: &str, reference: &str) -> Option<Box<str>> {
    let reference = reference.split('#').next().unwrap_or_default();
    if let Some(rest) = reference.strip_prefix("//") {
        return named(host, base, &format!("http://{rest}"));
    }
    if reference.starts_with('/') {
        return Some(key_of(host, reference));
    }
    if reference.contains("://") {
        let uri: Uri = reference.parse().ok()?;
        let is_same = uri.authority()?.as_str().eq_ignore_ascii_case(host);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        return is_same.then(|| key_of(host, path));
    }
    if reference.is_empty() {
        return None;
    }
    let base = base.split('?').next().unwrap_or_default();
    let folder = base.rfind('/').map_or("/", |slash| &base[..=slash]);
    Some(key_of(host, &format!("{folder}{reference}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_forgotten() {
        let check = |method: &str, status: u16, location: &str, expected: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            let (method, status) = (method.parse().unwrap(), StatusCode::from_u16(status).unwrap());
            let found = keys(&method, "H:1", "/a/b?c", status, &headers);
            assert_eq!(found.iter().map(|key| &**key).collect::<Vec<_>>(), expected, "{location}");
        };
        check("POST", 201, "/x?y#z", &["h:1/a/b?c", "h:1/x?y"]);
        check("M-SEARCH", 200, "http://h:1/x", &["h:1/a/b?c", "h:1/x"]);
        check("PUT", 204, "http://other/x", &["h:1/a/b?c"]);
        check("DELETE", 302, "//H:1/x", &["h:1/a/b?c", "h:1/x"]);
        check("PATCH", 200, "d", &["h:1/a/b?c", "h:1/a/d"]);
        check("POST", 500, "/x", &[]);
        check("POST", 404, "/x", &[]);
        check("GET", 200, "/x", &[]);
        check("OPTIONS", 200, "/x", &[]);
    }
}
