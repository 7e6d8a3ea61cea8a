//! Owns `content-encoding` of inference bodies: gzip and deflate, in both directions.
//!
//! Refuses other encodings. Bound: a body inflates to [`INFLATED_BYTES_MAX`] at most.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderMap, StatusCode, header};

use super::refusal::Refusal;

/// The most bytes that a compressed body may become.
const INFLATED_BYTES_MAX: u64 = 64 << 20;

/// How a body is compressed. What HTTP calls deflate is the zlib format (RFC 9110, 8.4.1.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    /// Its name in headers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::Gzip, Self::Deflate]
            .into_iter()
            .find(|known| name.eq_ignore_ascii_case(known.name()))
    }

    /// The encoding that the client would like its answer in, if there is one that is known.
    pub(crate) fn wanted(headers: &HeaderMap) -> Option<Self> {
        let names = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
        names.split(',').find_map(|entry| {
            let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
            Self::of_name(name.trim()).filter(|_| weight != Some(0.0))
        })
    }

    /// Compresses a body.
    pub(crate) fn compress(self, body: &[u8]) -> std::io::Result<Vec<u8>> {
        let level = Compression::fast();
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(body)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(body)?;
                encoder.finish()
            }
        }
    }
}

/// The body without its encoding.
pub(crate) fn plain(body: Bytes, headers: &HeaderMap) -> Result<Bytes, Refusal> {
    let Some(name) = headers.get(header::CONTENT_ENCODING) else { return Ok(body) };
    let name = name.to_str().unwrap_or_default().trim();
    if name.eq_ignore_ascii_case("identity") {
        return Ok(body);
    }
    let mut inflated = Vec::new();
    let limit = INFLATED_BYTES_MAX + 1;
    let read = match Encoding::of_name(name) {
        Some(Encoding::Gzip) => GzDecoder::new(&body[..]).take(limit).read_to_end(&mut inflated),
        Some(Encoding::Deflate) => {
            ZlibDecoder::new(&body[..]).take(limit).read_to_end(&mut inflated)
        }
        None => {
            let error = "the body's content-encoding must be gzip, deflate or identity";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
        }
    };
    match read {
        Err(error) => Err(Refusal::bad(format!("the body is not {name}: {error}"))),
        Ok(_) if inflated.len() as u64 > INFLATED_BYTES_MAX => {
            let error = format!("the body inflates to more than {INFLATED_BYTES_MAX} bytes");
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error))
        }
        Ok(_) => Ok(inflated.into()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn bodies_come_back() {
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let packed = Bytes::from(encoding.compress(b"body").unwrap());
            let headers = headers(header::CONTENT_ENCODING, encoding.name());
            assert_eq!(plain(packed, &headers).unwrap(), "body");
            assert!(plain(Bytes::from_static(b"body"), &headers).is_err());
        }
        let bomb = Encoding::Gzip.compress(&vec![0; (INFLATED_BYTES_MAX + 1) as usize]).unwrap();
        let error = plain(bomb.into(), &headers(header::CONTENT_ENCODING, "gzip")).unwrap_err();
        assert!(error.error().contains("inflates"), "{error:?}");
        let body = Bytes::from_static(b"body");
        assert_eq!(plain(body.clone(), &headers(header::CONTENT_ENCODING, "Identity")), Ok(body));
        assert!(plain(Bytes::new(), &headers(header::CONTENT_ENCODING, "br")).is_err());
    }

    #[test]
    fn the_first_known_encoding_is_wanted() {
        let check = |value: &str, expected: Option<Encoding>| {
            assert_eq!(Encoding::wanted(&headers(header::ACCEPT_ENCODING, value)), expected);
        };
        check("gzip", Some(Encoding::Gzip));
        check("br, deflate;q=0.5", Some(Encoding::Deflate));
        check("gzip;q=0, *", None);
        check("", None);
    }
}
