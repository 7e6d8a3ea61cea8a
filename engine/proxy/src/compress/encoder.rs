//! Owns the encoders, behind one face.
//!
//! Refuses to hold back what must go out: a flush gives all that came in. Bound: the window of one
//! encoder; what it gives is taken after each piece.

use std::io::{self, Write};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::write::GzEncoder;

use super::options::Encoding;

/// Brotli's window, as a power of two: as large as gzip's and zstd's at these levels.
const BROTLI_WINDOW: u32 = 19;
const BROTLI_BUFFER_BYTES: usize = 4 << 10;

/// An encoder of one body.
pub(super) enum Encoder {
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    /// The body is at its end.
    Over,
}

impl Encoder {
    pub(super) fn new(encoding: Encoding, level: u32) -> io::Result<Self> {
        Ok(match encoding {
            Encoding::Gzip => {
                let level = flate2::Compression::new(level);
                Self::Gzip(Box::new(GzEncoder::new(Vec::new(), level)))
            }
            Encoding::Brotli => {
                let (buffer, window) = (BROTLI_BUFFER_BYTES, BROTLI_WINDOW);
                Self::Brotli(Box::new(CompressorWriter::new(Vec::new(), buffer, level, window)))
            }
            Encoding::Zstd => {
                let level = i32::try_from(level).unwrap_or(0);
                Self::Zstd(Box::new(zstd::stream::write::Encoder::new(Vec::new(), level)?))
            }
        })
    }

    /// What goes out for `piece`; with `is_end` all that is left, with `is_flushed` all so far.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        is_flushed: bool,
        is_end: bool,
    ) -> io::Result<Bytes> {
        let ready = match self {
            Self::Gzip(encoder) => {
                encoder.write_all(piece)?;
                if is_end {
                    encoder.try_finish()?;
                } else if is_flushed {
                    encoder.flush()?;
                }
                std::mem::take(encoder.get_mut())
            }
            Self::Brotli(encoder) => {
                encoder.write_all(piece)?;
                if is_flushed && !is_end {
                    encoder.flush()?;
                }
                std::mem::take(encoder.get_mut())
            }
            Self::Zstd(encoder) => {
                encoder.write_all(piece)?;
                if is_flushed && !is_end {
                    encoder.flush()?;
                }
                std::mem::take(encoder.get_mut())
            }
            Self::Over => Vec::new(),
        };
        if !is_end {
            return Ok(ready.into());
        }
        let last = match std::mem::replace(self, Self::Over) {
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Gzip(_) | Self::Over => Vec::new(),
        };
        Ok([ready, last].concat().into())
    }
}
