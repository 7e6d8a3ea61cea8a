//! Owns the reading of a body that a client has compressed.
//!
//! Refuses one that grows beyond the limit of bodies, or out of all proportion. Bound: the limit,
//! and zstd's window of 8 MiB.

use std::io::{self, Read};

use bytes::Bytes;
use http::{HeaderMap, header};

use super::options::Encoding;

/// Codings of one body, one upon the other.
const CODINGS_MAX: usize = 2;
/// A body that is larger than this may be so many times as large as what came.
const FREE_BYTES: usize = 1 << 20;
const RATIO_MAX: usize = 200;
/// As RFC 8878 recommends for decoders.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// What became of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// It was not compressed.
    Plain,
    Whole(Bytes),
    TooLarge,
    /// By a coding that is not known.
    Unknown,
    Damaged,
}

/// What a body may be encoded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As answers may be.
    Known(Encoding),
    /// RFC 1950, as clients of inference servers send it.
    Deflate,
}

/// The codings that `Content-Encoding` names, the last one outermost; `None` where one is not known
/// or there are too many.
pub(crate) fn codings(headers: &HeaderMap) -> Option<Vec<Coding>> {
    let mut codings = Vec::new();
    for line in headers.get_all(header::CONTENT_ENCODING) {
        for name in line.to_str().unwrap_or("?").split(',').map(str::trim) {
            if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                continue;
            }
            let is_deflate = name.eq_ignore_ascii_case("deflate");
            let known = Encoding::of_name(name).map(Coding::Known);
            codings.push(known.or(is_deflate.then_some(Coding::Deflate))?);
        }
    }
    (codings.len() <= CODINGS_MAX).then_some(codings)
}

/// What reads `source`, which is encoded by `coding`.
pub(super) fn reader<'a>(
    coding: Coding,
    source: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match coding {
        Coding::Known(Encoding::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Coding::Known(Encoding::Brotli) => Box::new(brotli::Decompressor::new(source, 4 << 10)),
        Coding::Known(Encoding::Zstd) => {
            let mut decoder = zstd::stream::read::Decoder::new(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Coding::Deflate => Box::new(flate2::read::ZlibDecoder::new(source)),
    })
}

/// Most bytes that may come of `coded` ones.
pub(super) fn in_proportion(coded: usize) -> usize {
    coded.saturating_mul(RATIO_MAX).max(FREE_BYTES)
}

/// Decodes `body` as `Content-Encoding` says, into at most `bytes_max`.
pub(crate) fn decode(headers: &HeaderMap, body: &Bytes, bytes_max: usize) -> Decoded {
    let Some(codings) = codings(headers) else { return Decoded::Unknown };
    if codings.is_empty() {
        return Decoded::Plain;
    }
    let mut body = body.clone();
    for coding in codings.into_iter().rev() {
        match read(coding, &body, bytes_max.min(in_proportion(body.len()))) {
            Ok(Some(plain)) => body = plain.into(),
            Ok(None) => return Decoded::TooLarge,
            Err(_) => return Decoded::Damaged,
        }
    }
    Decoded::Whole(body)
}

/// The decoded bytes; `None` where there are more than `most`.
fn read(coding: Coding, body: &[u8], most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut plain = Vec::new();
    reader(coding, body)?.take(most as u64 + 1).read_to_end(&mut plain)?;
    Ok((plain.len() <= most).then_some(plain))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::encoder::Encoder;
    use super::*;

    pub(in crate::compress) fn encoded(coding: Encoding, plain: &[u8]) -> Bytes {
        let mut encoder = Encoder::new(coding, 9).unwrap();
        let first = encoder.push(&plain[..plain.len() / 2], true, false).unwrap();
        let last = encoder.push(&plain[plain.len() / 2..], false, true).unwrap();
        [first, last].concat().into()
    }

    fn said(names: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, names.parse().unwrap())])
    }

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd];

    #[test]
    fn what_was_encoded_is_read() {
        let plain: Vec<u8> =
            (0..100_000_u32).map(|index| (index.wrapping_mul(index) >> 7) as u8).collect();
        for coding in ALL {
            let body = encoded(coding, &plain);
            let read = |most| decode(&said(coding.name()), &body, most);
            assert_eq!(read(100_000), Decoded::Whole(plain.clone().into()), "{coding:?}");
            assert_eq!(read(99_999), Decoded::TooLarge, "{coding:?}");
            let cut = body.slice(..body.len() - 5);
            assert_eq!(decode(&said(coding.name()), &cut, 1 << 20), Decoded::Damaged, "{coding:?}");
        }
        let twice = encoded(Encoding::Brotli, &encoded(Encoding::Gzip, &plain));
        assert_eq!(
            decode(&said("gzip, br"), &twice, 1 << 20),
            Decoded::Whole(plain.clone().into())
        );
        assert_eq!(decode(&said("identity"), &twice, 1), Decoded::Plain);
        let mut deflated = Vec::new();
        let level = flate2::Compression::default();
        flate2::read::ZlibEncoder::new(&plain[..], level).read_to_end(&mut deflated).unwrap();
        let deflated = decode(&said("deflate"), &deflated.into(), 1 << 20);
        assert_eq!(deflated, Decoded::Whole(plain.clone().into()));
        for unknown in ["compress", "gzip, gzip, gzip", "x"] {
            assert_eq!(decode(&said(unknown), &twice, 1 << 20), Decoded::Unknown, "{unknown}");
        }
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let zeros = vec![0; 64 << 20];
        for coding in ALL {
            let bomb = encoded(coding, &zeros);
            assert!(bomb.len() < 128 << 10, "{coding:?}: {}", bomb.len());
            assert_eq!(
                decode(&said(coding.name()), &bomb, 1 << 30),
                Decoded::TooLarge,
                "{coding:?}"
            );
            let twice = encoded(coding, &bomb);
            let names = format!("{0}, {0}", coding.name());
            assert_eq!(decode(&said(&names), &twice, 1 << 20), Decoded::TooLarge, "{coding:?}");
        }
    }
}
