//! Owns which answers are compressed, and how.
//!
//! Refuses levels and types that mean nothing. Bound: one list of types.

use http::{HeaderMap, StatusCode, header};

use crate::route::spec::Fault;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// Its name in headers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The coding that a header calls so.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("br") => Some(Self::Brotli),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }
}

/// Which answers are compressed. The default compresses none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompressionSpec {
    /// Codings with their levels, those that are preferred first.
    pub encodings: Vec<(Encoding, u32)>,
    /// Media types, such as `text/html`, `text/*` or `*`.
    pub types: Vec<String>,
    /// Smallest body.
    pub bytes_min: u64,
}

/// The same, checked.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub(crate) encodings: Vec<(Encoding, u32)>,
    types: Vec<String>,
    bytes_min: u64,
}

impl Compiled {
    pub(crate) fn compile(spec: &CompressionSpec, faults: &mut Vec<Fault>) -> Self {
        for (index, (encoding, level)) in spec.encodings.iter().enumerate() {
            let most = match encoding {
                Encoding::Gzip => 9,
                Encoding::Brotli => 11,
                Encoding::Zstd => 19,
            };
            if !(1..=most).contains(level) {
                let message = format!("levels of {} are 1 to {most}", encoding.name());
                faults.push(Fault::new("compression", message));
            }
            if spec.encodings[..index].iter().any(|(other, _)| other == encoding) {
                let message = format!("has `{}` twice", encoding.name());
                faults.push(Fault::new("compression.encodings", message));
            }
        }
        let is_type = |text: &str| {
            text == "*" || text.split('/').filter(|part| !part.is_empty()).count() == 2
        };
        for bad in spec.types.iter().filter(|text| !is_type(text)) {
            let message = format!("`{bad}` is not a media type such as `text/html` or `text/*`");
            faults.push(Fault::new("compression.types", message));
        }
        Self {
            encodings: spec.encodings.clone(),
            types: spec.types.iter().map(|text| text.to_ascii_lowercase()).collect(),
            bytes_min: spec.bytes_min,
        }
    }

    /// Whether an answer may be compressed, for those who accept it.
    pub(crate) fn takes(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let has_part = status.is_informational()
            || matches!(status.as_u16(), 204 | 205 | 206 | 304)
            || headers.contains_key(header::CONTENT_RANGE);
        let is_encoded =
            headers.get_all(header::CONTENT_ENCODING).iter().any(|value| value != "identity");
        if self.encodings.is_empty() || has_part || is_encoded {
            return false;
        }
        let fixed = headers.get_all(header::CACHE_CONTROL).iter().any(|line| {
            let mut words = line.as_bytes().split(|&byte| byte == b',');
            words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
        });
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        !fixed && length.is_none_or(|length| length >= self.bytes_min) && self.has_type(headers)
    }

    fn has_type(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media = value.unwrap_or_default().split(';').next().unwrap_or_default();
        let media = media.trim().to_ascii_lowercase();
        // What gRPC says after its body would be lost.
        !media.is_empty()
            && !media.starts_with("application/grpc")
            && self.types.iter().any(|known| match known.strip_suffix('*') {
                Some(start) => media.starts_with(start),
                None => media == *known,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_plain_answers_of_known_types_are_taken() {
        let types = ["text/html", "application/*"].map(str::to_owned).to_vec();
        let spec = CompressionSpec { encodings: vec![(Encoding::Gzip, 6)], types, bytes_min: 100 };
        let compiled = Compiled::compile(&spec, &mut Vec::new());
        let takes = |status: u16, lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "text/html; charset=utf-8".parse().unwrap());
            for (name, value) in lines {
                headers.insert(*name, value.parse().unwrap());
            }
            compiled.takes(StatusCode::from_u16(status).unwrap(), &headers)
        };
        assert!(takes(200, &[]));
        assert!(takes(404, &[("content-length", "100")]));
        assert!(!takes(200, &[("content-length", "99")]));
        assert!(takes(200, &[("content-type", "Application/JSON")]));
        assert!(!takes(200, &[("content-type", "image/png")]));
        assert!(!takes(200, &[("content-type", "")]));
        assert!(!takes(200, &[("content-encoding", "br")]));
        assert!(takes(200, &[("content-encoding", "identity")]));
        assert!(!takes(200, &[("cache-control", "public, No-Transform")]));
        assert!(!takes(200, &[("content-range", "bytes 0-1/2")]));
        for status in [101, 204, 205, 206, 304] {
            assert!(!takes(status, &[]), "{status}");
        }
        let none =
            Compiled::compile(&CompressionSpec { encodings: Vec::new(), ..spec }, &mut Vec::new());
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, "text/html".parse().unwrap())]);
        assert!(!none.takes(StatusCode::OK, &headers));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let spec = CompressionSpec {
            encodings: vec![(Encoding::Gzip, 10), (Encoding::Gzip, 1)],
            types: ["text", "/x", "*"].map(str::to_owned).to_vec(),
            bytes_min: 0,
        };
        let mut faults = Vec::new();
        Compiled::compile(&spec, &mut faults);
        let texts: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(texts[..2], ["levels of gzip are 1 to 9", "has `gzip` twice"]);
        assert_eq!(texts.len(), 4);
    }
}
