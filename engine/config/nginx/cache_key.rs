//! Owns `proxy_cache_key`: the parts of a key of ours that tell apart what a key of nginx does.
//!
//! Refuses variables whose values no part has: their answers would be mixed. What stands between
//! variables is the same for all requests of a location and left out. Bound: a part for each
//! variable.

use truststram_proxy::CacheRuleSpec;

use super::cache::condition;
use super::passing::check_route;

/// Parts that keys of a route have where it says nothing.
const USUAL: [&str; 4] = ["scheme", "host", "path", "query"];

/// The parts for a key of these variables; none where they are the usual ones.
///
/// # Errors
/// Why there are none.
pub(super) fn cache_key(variables: &[String]) -> Result<Vec<String>, String> {
    let mut parts: Vec<String> = Vec::new();
    for name in variables {
        let of_name: &[&str] = match name.as_str() {
            "scheme" => &["scheme"],
            "host" | "http_host" | "proxy_host" | "server_name" => &["host"],
            "uri" | "document_uri" => &["path"],
            "request_uri" => &["path", "query"],
            "args" | "query_string" => &["query"],
            // What GET is answered answers HEAD too, as it does in nginx; the sign before a query
            // is there where that is.
            "is_args" | "request_method" => &[],
            _ => {
                let part =
                    condition(name).ok_or_else(|| format!("`${name}` is no part of keys"))?;
                parts.push(part);
                continue;
            }
        };
        parts.extend(of_name.iter().map(|&part| part.to_owned()));
    }
    let has_query = parts.iter().any(|part| part == "query");
    if !has_query && variables.iter().any(|name| name == "is_args") {
        return Err("`$is_args` without `$args` is no part of keys".to_owned());
    }
    if has_query {
        parts.retain(|part| !part.starts_with("arg:"));
    }
    let place = |part: &String| USUAL.iter().position(|usual| usual == part);
    parts.sort_by_key(|part| place(part).unwrap_or(USUAL.len()));
    let mut seen = Vec::new();
    parts.retain(|part| {
        let is_new = !seen.contains(part);
        seen.push(part.clone());
        is_new
    });
    if parts == USUAL {
        return Ok(Vec::new());
    }
    check_route(|route| {
        route.is_cached = true;
        route.cache_rules = CacheRuleSpec { key: parts.clone(), ..CacheRuleSpec::default() };
    })?;
    Ok(parts)
}
