//! Owns what tests of the cache make requests and answers from.
//!
//! Refuses to judge. Bound: the lines of a test.

use http::{HeaderMap, HeaderName};

/// Headers of these names and values, in this order.
pub fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    headers
}
