//! Owns what a request says of its sender, in headers.
//!
//! ```text
//! x-fl-client       the client's number, 0 before it has one
//! x-fl-time         when it was signed, microseconds UTC
//! x-fl-nonce        16 bytes of its own, hexadecimal
//! x-fl-signature    Ed25519 signature, hexadecimal
//! x-content-sha256  SHA-256 of the body, hexadecimal; may be left out where there is none
//! ```
//!
//! Refuses to check signatures: it knows no keys. Bound: one head.

use http::request::Parts;
use sha2::{Digest, Sha256};
use truststram_base::Kind;

use crate::ports::Signed;
use crate::problem::Problem;
use crate::versions::digest::of_hex;

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

/// Reads who has signed a request whose body is still to come.
pub(super) fn of_head(parts: &Parts) -> Result<Signed, Problem> {
    let denied = |name: &str, form: &str| {
        let detail = format!("the header `{name}` must be {form}; every request is signed");
        Problem::new(Kind::Denied, detail)
    };
    let client = header(parts, "x-fl-client").and_then(|text| text.parse().ok());
    let time = header(parts, "x-fl-time").and_then(|text| text.parse().ok());
    let nonce = header(parts, "x-fl-nonce").and_then(of_hex);
    let signature = header(parts, "x-fl-signature").and_then(of_hex::<64>);
    let body_sha256 = match header(parts, "x-content-sha256") {
        Some(text) => of_hex(text),
        None => Some(Sha256::digest([]).into()),
    };
    Ok(Signed {
        client: client.ok_or_else(|| denied("x-fl-client", "the client's number"))?,
        time_us: time.ok_or_else(|| denied("x-fl-time", "microseconds UTC"))?,
        nonce: nonce.ok_or_else(|| denied("x-fl-nonce", "32 hexadecimal digits"))?,
        signature: signature
            .ok_or_else(|| denied("x-fl-signature", "128 hexadecimal digits"))?
            .to_vec(),
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        body_sha256: body_sha256
            .ok_or_else(|| denied("x-content-sha256", "64 hexadecimal digits"))?,
    })
}

/// Reads who has signed a request with this body.
pub(super) fn of_whole(parts: &Parts, body: &[u8]) -> Result<Signed, Problem> {
    let signed = of_head(parts)?;
    if Sha256::digest(body)[..] != signed.body_sha256 {
        let detail = "the body is not the one of `x-content-sha256`";
        return Err(Problem::new(Kind::Denied, detail));
    }
    Ok(signed)
}

/// The client that the path names, which must be the one that signed.
pub(super) fn is_of(signed: &Signed, client: &str) -> Result<(), Problem> {
    match client.parse() == Ok(signed.client) {
        true => Ok(()),
        false => {
            Err(Problem::new(Kind::Denied, "the path names another client than the signature"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let headers = [
            ("x-fl-client", "7".to_owned()),
            ("x-fl-time", "12".to_owned()),
            ("x-fl-nonce", "0a".repeat(16)),
            ("x-fl-signature", "ff".repeat(64)),
        ];
        let parts = |without: &str| {
            let mut request = http::Request::builder().uri("/a?b=1").method("POST");
            for (name, value) in headers.iter().filter(|(name, _)| *name != without) {
                request = request.header(*name, value);
            }
            request.body(()).unwrap().into_parts().0
        };
        let signed = of_head(&parts("")).unwrap();
        assert_eq!((signed.client, signed.time_us, signed.path.as_str()), (7, 12, "/a?b=1"));
        assert_eq!(signed.nonce, [10; 16]);
        for (name, _) in &headers {
            let problem = of_head(&parts(name)).unwrap_err();
            assert_eq!(problem.status, 401);
            assert!(problem.detail.contains(name), "{}", problem.detail);
        }
        of_whole(&parts(""), b"").unwrap();
        of_whole(&parts(""), b"x").unwrap_err();
        is_of(&signed, "7").unwrap();
        is_of(&signed, "8").unwrap_err();
    }
}
