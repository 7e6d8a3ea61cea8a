//! Owns the checksum that the sender of an artifact names: three headers and a parameter.
//!
//! Refuses to compute it. Bound: 32 bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};

use crate::filters::invalid;
use crate::problem::Problem;

const HEX: &str = "x-content-sha256";
/// RFC 9530: `sha-256=:base64:`.
const DIGEST: &str = "content-digest";
/// RFC 3230, which that replaced: `SHA-256=base64`.
const OLD_DIGEST: &str = "digest";

type Sha256 = [u8; 32];

/// The checksum, if any is named; all that are named must be the same.
pub(super) fn sha256(
    headers: &HeaderMap,
    parameter: Option<&str>,
) -> Result<Option<Sha256>, Problem> {
    let text = |name: &str| headers.get(name).map(HeaderValue::to_str);
    let mut found: Option<Sha256> = None;
    let mut name = |field: &str, named: Option<Sha256>, form: &str| {
        let Some(sha256) = named else {
            return Err(invalid(field, format!("must be {form}")));
        };
        if found.replace(sha256).is_some_and(|other| other != sha256) {
            return Err(invalid(field, "is not the checksum that is named elsewhere"));
        }
        Ok(())
    };
    let hex = "64 hexadecimal digits";
    if let Some(text) = parameter {
        name("sha256", of_hex(text), hex)?;
    }
    if let Some(value) = text(HEX) {
        name(HEX, value.ok().and_then(of_hex), hex)?;
    }
    if let Some(value) = text(DIGEST) {
        let value = value.ok().and_then(|value| algorithm(value, "sha-256"));
        let value = value.and_then(|value| value.strip_prefix(':')?.strip_suffix(':'));
        name(DIGEST, value.and_then(of_base64), "such as `sha-256=:base64:`")?;
    }
    if let Some(value) = text(OLD_DIGEST) {
        let value = value.ok().and_then(|value| algorithm(value, "sha-256"));
        name(OLD_DIGEST, value.and_then(of_base64), "such as `sha-256=base64`")?;
    }
    Ok(found)
}

/// The value of one of the algorithms that a header lists.
fn algorithm<'a>(list: &'a str, wanted: &str) -> Option<&'a str> {
    list.split(',').find_map(|entry| {
        let (name, value) = entry.trim().split_once('=')?;
        name.eq_ignore_ascii_case(wanted).then_some(value)
    })
}

/// Bytes of hexadecimal text.
pub(crate) fn of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

fn of_base64(text: &str) -> Option<Sha256> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn every_form_names_the_same_checksum() {
        let check = |name: &'static str, value: &str| {
            let headers = [(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())];
            sha256(&HeaderMap::from_iter(headers), None)
        };
        let hex = "ab".repeat(32);
        let base64 = STANDARD.encode([0xab; 32]);
        let expected = Some([0xab; 32]);
        assert_eq!(check(HEX, &hex.to_uppercase()).unwrap(), expected);
        assert_eq!(check(DIGEST, &format!("sha-512=:x:, sha-256=:{base64}:")).unwrap(), expected);
        assert_eq!(check(OLD_DIGEST, &format!("SHA-256={base64}")).unwrap(), expected);
        assert_eq!(sha256(&HeaderMap::new(), Some(&hex)).unwrap(), expected);
        assert_eq!(sha256(&HeaderMap::new(), None).unwrap(), None);
        for (name, value) in [(HEX, "ab"), (DIGEST, "sha-256=ab"), (OLD_DIGEST, "md5=x")] {
            assert!(check(name, value).unwrap_err().detail.starts_with(name));
        }
        let headers =
            [(HeaderName::from_static(HEX), HeaderValue::from_str(&"cd".repeat(32)).unwrap())];
        let problem = sha256(&HeaderMap::from_iter(headers), Some(&hex)).unwrap_err();
        assert!(problem.detail.contains("named elsewhere"), "{problem:?}");
    }
}
