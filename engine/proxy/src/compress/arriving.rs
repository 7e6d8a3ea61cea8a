//! Owns the reading of a body that a client has compressed while it arrives: a piece at a time, of
//! what has come so far.
//!
//! Refuses one that grows out of all proportion; how large it may be is for who reads it. Bound:
//! the chunk that came last, a piece of [`PIECE_BYTES`], and the windows of two decoders.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};

use super::decode::{Coding, Decoded, in_proportion, reader};

/// Most that is decoded at a time.
const PIECE_BYTES: usize = 64 << 10;

/// What there is of the body now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Bytes(Bytes),
    /// The next chunk is needed first.
    Wanting,
    End,
}

#[derive(Default)]
struct Input {
    chunk: Bytes,
    is_over: bool,
}

/// What a decoder reads from; empty, it says that it would have to wait.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<Input>>);

impl Feed {
    fn input(&self) -> MutexGuard<'_, Input> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Feed {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut input = self.input();
        if input.chunk.is_empty() && !input.is_over {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = room.len().min(input.chunk.len());
        room[..count].copy_from_slice(&input.chunk[..count]);
        input.chunk.advance(count);
        Ok(count)
    }
}

/// A body that is decoded as it arrives.
pub(crate) struct Arriving {
    feed: Feed,
    decoder: Box<dyn Read + Send>,
    came_bytes: usize,
    made_bytes: usize,
}

impl Arriving {
    /// A body that is encoded by `codings`, the last one outermost.
    ///
    /// # Errors
    /// Where a decoder cannot be had.
    pub(crate) fn new(codings: &[Coding]) -> io::Result<Self> {
        let feed = Feed::default();
        let mut decoder: Box<dyn Read + Send> = Box::new(feed.clone());
        for coding in codings.iter().rev() {
            decoder = reader(*coding, decoder)?;
        }
        Ok(Self { feed, decoder, came_bytes: 0, made_bytes: 0 })
    }

    /// Takes the next chunk, once that was asked for.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.came_bytes = self.came_bytes.saturating_add(chunk.len());
        self.feed.input().chunk = chunk;
    }

    /// There are no more chunks.
    pub(crate) fn end(&mut self) {
        self.feed.input().is_over = true;
    }

    /// What there is now.
    ///
    /// # Errors
    /// Why it cannot be read any further.
    pub(crate) fn next(&mut self) -> Result<Piece, Decoded> {
        let mut room = vec![0; PIECE_BYTES];
        let count = loop {
            match self.decoder.read(&mut room) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Piece::Wanting);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Decoded::Damaged),
            }
        };
        if count == 0 {
            let input = self.feed.input();
            return match (input.chunk.is_empty(), input.is_over) {
                (false, _) => Err(Decoded::Damaged),
                (true, true) => Ok(Piece::End),
                (true, false) => Ok(Piece::Wanting),
            };
        }
        self.made_bytes = self.made_bytes.saturating_add(count);
        if self.made_bytes > in_proportion(self.came_bytes) {
            return Err(Decoded::TooLarge);
        }
        room.truncate(count);
        Ok(Piece::Bytes(room.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::tests::encoded;
    use super::super::options::Encoding;
    use super::*;

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd];

    /// What comes of `body` in chunks of `size`, and how it ends.
    fn arrive(codings: &[Coding], body: &Bytes, size: usize) -> (Vec<u8>, Result<(), Decoded>) {
        let mut arriving = Arriving::new(codings).unwrap();
        let (mut rest, mut plain) = (body.clone(), Vec::new());
        loop {
            match arriving.next() {
                Ok(Piece::Bytes(piece)) => {
                    assert!(piece.len() <= PIECE_BYTES);
                    plain.extend_from_slice(&piece);
                }
                Ok(Piece::Wanting) if rest.is_empty() => arriving.end(),
                Ok(Piece::Wanting) => arriving.push(rest.split_to(size.min(rest.len()))),
                Ok(Piece::End) => return (plain, Ok(())),
                Err(why) => return (plain, Err(why)),
            }
        }
    }

    #[test]
    fn what_arrives_in_pieces_is_read() {
        let plain: Vec<u8> =
            (0..300_000_u32).map(|index| (index.wrapping_mul(index) >> 9) as u8).collect();
        for coding in ALL {
            let body = encoded(coding, &plain);
            let codings = [Coding::Known(coding)];
            for size in [1, 7, 4_096, body.len()] {
                let (read, end) = arrive(&codings, &body, size);
                assert!(read == plain && end == Ok(()), "{coding:?} by {size}: {end:?}");
                let cut = body.slice(..body.len() - 5);
                let (_, end) = arrive(&codings, &cut, size);
                assert_eq!(end, Err(Decoded::Damaged), "{coding:?} by {size}, cut");
            }
            let twice = encoded(Encoding::Zstd, &body);
            let codings = [Coding::Known(coding), Coding::Known(Encoding::Zstd)];
            let (read, end) = arrive(&codings, &twice, 1_000);
            assert!(read == plain && end == Ok(()), "{coding:?} twice: {end:?}");
            let other = Bytes::from_static(b"neither this nor that, and not at all compressed");
            let (_, end) = arrive(&codings[..1], &other, 9);
            assert_eq!(end, Err(Decoded::Damaged), "{coding:?}");
        }
    }

    #[test]
    fn deflate_and_members_one_after_the_other() {
        let level = flate2::Compression::default();
        let mut deflated = Vec::new();
        flate2::read::ZlibEncoder::new(&b"hello"[..], level).read_to_end(&mut deflated).unwrap();
        let (read, end) = arrive(&[Coding::Deflate], &deflated.into(), 1);
        assert_eq!((read.as_slice(), end), (&b"hello"[..], Ok(())));
        let [one, two] = [b"hello", b"again"].map(|text| encoded(Encoding::Gzip, text));
        let both = Bytes::from([one, two].concat());
        let (read, end) = arrive(&[Coding::Known(Encoding::Gzip)], &both, 3);
        assert_eq!((read.as_slice(), end), (&b"helloagain"[..], Ok(())));
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let zeros = vec![0; 64 << 20];
        for coding in ALL {
            let bomb = encoded(coding, &zeros);
            let (read, end) = arrive(&[Coding::Known(coding)], &bomb, 1 << 20);
            assert_eq!(end, Err(Decoded::TooLarge), "{coding:?}");
            assert!(read.len() <= in_proportion(bomb.len()), "{coding:?}: {}", read.len());
        }
    }
}
