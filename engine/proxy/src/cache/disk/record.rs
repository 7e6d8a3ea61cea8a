//! Owns the form of a stored response in a file: a fixed part, a head, the body.
//!
//! Refuses what was not written whole. Bound: heads of [`HEAD_BYTES_MAX`].

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::super::freshness::Now;
use super::super::policy::Terms;
use super::super::stored::Stored;
use super::super::vary::Variant;

/// What files begin with; the last letter is the version of the form.
const MAGIC: &[u8; 8] = b"tscacheA";
/// Magic, length of the head, length of the body, checksum of both.
pub(super) const FIXED_BYTES: usize = 8 + 4 + 8 + 8;
const HEAD_BYTES_MAX: usize = 1 << 20;

/// Everything but the body.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) key: String,
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    variant: Vec<(String, Option<Vec<u8>>)>,
    terms: Terms,
    /// Its age at the time below.
    age_ms: u64,
    utc_s: i64,
}

impl Head {
    /// Names and values of the fields.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()))
    }
}

/// The lengths and the checksum.
pub(super) struct Fixed {
    pub(super) head_bytes: usize,
    pub(super) body_bytes: u64,
    checksum: u64,
}

/// The response of `key` as the bytes of a file.
pub(super) fn encode(key: &str, stored: &Stored, now: Now) -> Option<Vec<u8>> {
    let headers = stored.headers.iter();
    let head = Head {
        key: key.to_owned(),
        status: stored.status.as_u16(),
        headers: headers.map(|(name, value)| (name.to_string(), value.as_bytes().into())).collect(),
        variant: stored.variant.values(),
        terms: stored.terms.clone(),
        age_ms: stored.age_ms(now),
        utc_s: now.utc_s,
    };
    let head = postcard::to_allocvec(&head).ok().filter(|head| head.len() <= HEAD_BYTES_MAX)?;
    let mut bytes = Vec::with_capacity(FIXED_BYTES + head.len() + stored.body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&u32::try_from(head.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(&(stored.body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&checksum(&head, &stored.body).to_le_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(&stored.body);
    Some(bytes)
}

fn checksum(head: &[u8], body: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(head);
    hasher.update(body);
    hasher.digest()
}

/// Reads the fixed part.
pub(super) fn fixed(bytes: &[u8]) -> Option<Fixed> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (head, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_first_chunk::<8>()?;
    let (checksum, _) = rest.split_first_chunk::<8>()?;
    let head_bytes = usize::try_from(u32::from_le_bytes(*head)).ok()?;
    let fixed = Fixed {
        head_bytes,
        body_bytes: u64::from_le_bytes(*body),
        checksum: u64::from_le_bytes(*checksum),
    };
    (head_bytes <= HEAD_BYTES_MAX).then_some(fixed)
}

/// Reads a head.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    postcard::from_bytes(bytes).ok()
}

/// Reads a whole file as the response of `key`; `None` where it is none.
pub(super) fn decode(key: &str, bytes: Bytes, now: Now) -> Option<Stored> {
    let fixed = fixed(&bytes)?;
    let body_at = FIXED_BYTES.checked_add(fixed.head_bytes)?;
    if bytes.len().checked_sub(body_at)? as u64 != fixed.body_bytes {
        return None;
    }
    let body = bytes.slice(body_at..);
    if checksum(&bytes[FIXED_BYTES..body_at], &body) != fixed.checksum {
        return None;
    }
    let head = head(&bytes[FIXED_BYTES..body_at])?;
    if head.key != key {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for (name, value) in &head.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    // A clock that went back makes nothing younger.
    let since_s = u64::try_from(now.utc_s.saturating_sub(head.utc_s)).unwrap_or(0);
    let age_ms = head.age_ms.saturating_add(since_s.saturating_mul(1_000));
    let parts = (StatusCode::from_u16(head.status).ok()?, headers, body);
    let variant = Variant::from_values(&head.variant)?;
    Some(Stored::restored(parts, variant, head.terms, age_ms, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in crate::cache) fn sample() -> Stored {
        let mut headers = HeaderMap::new();
        headers.append("vary", HeaderValue::from_static("accept-language"));
        headers.append("x-a", HeaderValue::from_bytes(b"\xff").unwrap());
        headers.append("x-a", HeaderValue::from_static("2"));
        let mut request = HeaderMap::new();
        request.append("accept-language", HeaderValue::from_static("de"));
        let variant = Variant::of(&request, &headers);
        let terms = Terms {
            lifetime_s: 60,
            no_cache: false,
            must_revalidate: true,
            stale_while_revalidate_s: Some(3),
            stale_if_error_s: None,
        };
        let parts = (StatusCode::OK, headers, Bytes::from_static(b"body"));
        Stored::new(parts, variant, terms, Now::default(), Now::default())
    }

    #[test]
    fn a_response_is_read_as_it_was_and_has_aged() {
        let stored = sample();
        let written = Now { utc_s: 1_000, monotonic_ms: 5_000 };
        let bytes = Bytes::from(encode("http://a/b", &stored, written).unwrap());
        let later = Now { utc_s: 1_010, monotonic_ms: 0 };
        let read = decode("http://a/b", bytes.clone(), later).unwrap();
        assert_eq!(
            (read.status, &read.headers, &read.body),
            (stored.status, &stored.headers, &stored.body)
        );
        assert_eq!((&read.variant, &read.terms), (&stored.variant, &stored.terms));
        assert_eq!(read.age_ms(later), 15_000);
        let back = Now { utc_s: 1, monotonic_ms: 0 };
        assert_eq!(decode("http://a/b", bytes.clone(), back).unwrap().age_ms(back), 5_000);
        assert!(decode("http://a/c", bytes, later).is_none());
    }

    #[test]
    fn what_is_cut_or_changed_is_no_response() {
        let whole = encode("http://a/b", &sample(), Now::default()).unwrap();
        for end in 0..whole.len() {
            assert!(
                decode("http://a/b", Bytes::copy_from_slice(&whole[..end]), Now::default())
                    .is_none()
            );
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert!(decode("http://a/b", changed.into(), Now::default()).is_none(), "{place}");
        }
    }
}
