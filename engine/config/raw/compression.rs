//! Owns the keys of the compression of answers.
//!
//! Refuses to judge values; `plan` does. Bound: one flat section.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The compression of public answers, for clients that accept it. A reload changes all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// Codings, those that are preferred first, such as `["zstd", "br", "gzip"]`; none compresses
    /// nothing.
    pub encodings: Vec<String>,
    /// How much gzip tries, 1 to 9.
    pub gzip_level: u32,
    /// How much brotli tries, 1 to 11.
    pub brotli_level: u32,
    /// How much zstd tries, 1 to 19.
    pub zstd_level: u32,
    /// Media types that are compressed, such as "text/html", "text/*" or "*".
    pub types: Vec<String>,
    /// Smallest body in bytes that is compressed, where its length is known.
    pub bytes_min: u64,
}

impl Default for Compression {
    fn default() -> Self {
        let types = [
            "text/html",
            "text/plain",
            "text/css",
            "text/xml",
            "text/javascript",
            "application/json",
            "application/problem+json",
            "application/javascript",
            "application/rss+xml",
            "application/atom+xml",
            "image/svg+xml",
        ];
        Self {
            encodings: Vec::new(),
            gzip_level: 6,
            brotli_level: 5,
            zstd_level: 3,
            types: types.map(str::to_owned).to_vec(),
            bytes_min: 1_000,
        }
    }
}
