//! Owns the formats and their names.
//!
//! Refuses to know how a format is written. Bound: three formats.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::ExchangeError;

/// A file format for rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Apache Parquet, written with zstd.
    Parquet,
    /// Comma-separated values with a header, RFC 4180.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Parquet, Self::Csv, Self::JsonLines];

    /// The name, which is also the usual ending of its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
        }
    }

    /// The format that the ending of `path` says, in any case of letters.
    pub fn from_extension(path: &Path) -> Result<Self, ExchangeError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        extension.parse()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = ExchangeError;

    fn from_str(name: &str) -> Result<Self, ExchangeError> {
        match name.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Ok(Self::Parquet),
            "csv" => Ok(Self::Csv),
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            _ => Err(ExchangeError::UnknownFormat { name: name.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_endings() {
        let check = |path: &str, expected: Option<Format>| {
            assert_eq!(Format::from_extension(Path::new(path)).ok(), expected, "{path}");
        };
        check("a/b.parquet", Some(Format::Parquet));
        check("b.CSV", Some(Format::Csv));
        check("b.2026.jsonl", Some(Format::JsonLines));
        check("b.ndjson", Some(Format::JsonLines));
        check("b.json", None);
        check("csv", None);
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().ok(), Some(format));
        }
        let error = "xml".parse::<Format>().unwrap_err().to_string();
        assert_eq!(error, "`xml` is no format; it must be `parquet`, `csv` or `jsonl`");
    }
}
