//! Owns the decision to read more than was asked for, and what was read that way.
//!
//! A scan of a table asks for single pages, forwards on the whole but back and forth nearby, as
//! the tree happened to grow. So places are judged by how often they are asked for: the third
//! time, a whole chunk of the file is read, and behind a chunk that is there the next ones are, the
//! more the longer that goes on. Single reads all over the file stay single reads.
//! Refuses to know files. Bound: [`WINDOW_COUNT`] buffers of [`WINDOW_BYTES_MAX`] bytes.

use std::ops::Range;

/// What the file is divided into here.
const CHUNK_BYTES: u64 = 128 << 10;
/// The most that is read at once.
pub(super) const WINDOW_BYTES_MAX: usize = 1 << 20;
/// Chunks of that.
const WINDOW_CHUNKS_MAX: u64 = WINDOW_BYTES_MAX as u64 / CHUNK_BYTES;
/// Buffers that are kept.
const WINDOW_COUNT: usize = 2;
/// Reads of a chunk after which it is read whole.
const READS_MIN: u32 = 3;
/// Chunks whose reads are counted.
const COUNTED_MAX: usize = 32;

/// What was read around places that were asked for.
#[derive(Default)]
pub(super) struct ReadAhead {
    /// The one used last is at the end.
    windows: Vec<Window>,
    /// How often chunks were read of late; the oldest is first.
    counts: Vec<(u64, u32)>,
    /// How many chunks are read at once when it goes on forwards.
    chunks: u64,
    /// Where the last read of more than a chunk ended that was not taken from here.
    large_end: u64,
}

#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn has(&self, offset: u64) -> bool {
        (self.start..self.end()).contains(&offset)
    }
}

impl ReadAhead {
    /// Fills `out` with what the file has from `offset` on, if all of it is here.
    pub(super) fn take(&mut self, offset: u64, out: &mut [u8]) -> bool {
        let (mut rest, mut offset) = (out, offset);
        while !rest.is_empty() {
            let Some(index) = self.windows.iter().rposition(|window| window.has(offset)) else {
                return false;
            };
            self.windows[index..].rotate_left(1);
            let Some(window) = self.windows.last() else { return false };
            let found = &window.bytes[(offset - window.start) as usize..];
            let (part, behind) = rest.split_at_mut(found.len().min(rest.len()));
            part.copy_from_slice(&found[..part.len()]);
            offset += part.len() as u64;
            rest = behind;
        }
        true
    }

    /// Notes a read that could not be taken from here and returns the part of a file of `length`
    /// bytes to read whole first, if that is worth it.
    pub(super) fn plan(&mut self, offset: u64, bytes: usize, length: u64) -> Option<Range<u64>> {
        let end = offset + bytes as u64;
        let missing = self.first_missing(offset, end)?;
        let chunk = missing / CHUNK_BYTES;
        let start = chunk * CHUNK_BYTES;
        let is_large = bytes as u64 >= CHUNK_BYTES;
        let goes_on = start.checked_sub(1).is_some_and(|before| self.has(before))
            || (is_large && self.large_end == offset);
        self.chunks = if goes_on { (self.chunks * 2).clamp(1, WINDOW_CHUNKS_MAX) } else { 1 };
        if is_large {
            self.large_end = end;
        }
        if !goes_on && (is_large || self.count(chunk) < READS_MIN) {
            return None;
        }
        let mut window_end = end.next_multiple_of(CHUNK_BYTES).min(length);
        let wanted_end = length.min(start + self.chunks * CHUNK_BYTES);
        while window_end < wanted_end && !self.has(window_end) {
            window_end = length.min(window_end + CHUNK_BYTES);
        }
        (window_end - start <= WINDOW_BYTES_MAX as u64).then_some(start..window_end)
    }

    /// A buffer for `window`, and where it starts. When that cannot be read, everything must be
    /// forgotten.
    pub(super) fn prepare(&mut self, window: Range<u64>) -> (u64, &mut [u8]) {
        // The memory of the buffer that was not used for the longest time.
        let is_full = self.windows.len() >= WINDOW_COUNT;
        let mut next = if is_full { self.windows.remove(0) } else { Window::default() };
        let bytes = usize::try_from(window.end - window.start).unwrap_or(WINDOW_BYTES_MAX);
        next.start = window.start;
        next.bytes.resize(bytes.min(WINDOW_BYTES_MAX), 0);
        let index = self.windows.len();
        self.windows.push(next);
        let next = &mut self.windows[index];
        (next.start, &mut next.bytes)
    }

    /// Empties the buffers, because the file changes.
    pub(super) fn forget(&mut self) {
        for window in &mut self.windows {
            window.bytes.clear();
        }
    }

    fn has(&self, offset: u64) -> bool {
        self.windows.iter().any(|window| window.has(offset))
    }

    fn first_missing(&self, offset: u64, end: u64) -> Option<u64> {
        let mut at = offset;
        while at < end {
            match self.windows.iter().find(|window| window.has(at)) {
                Some(window) => at = window.end(),
                None => return Some(at),
            }
        }
        None
    }

    /// Counts a read of `chunk`.
    fn count(&mut self, chunk: u64) -> u32 {
        if let Some((_, count)) = self.counts.iter_mut().find(|(counted, _)| *counted == chunk) {
            *count = count.saturating_add(1);
            return *count;
        }
        if self.counts.len() >= COUNTED_MAX {
            self.counts.remove(0);
        }
        self.counts.push((chunk, 1));
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4_096;

    /// What reads of single pages of a file of 1000 pages have read first, in pages; nothing for
    /// what is here already.
    fn reads(pages: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
        let mut ahead = ReadAhead::default();
        let mut reads = Vec::new();
        for page in pages {
            let mut out = [0; PAGE as usize];
            if ahead.take(page * PAGE, &mut out) {
                assert_eq!(out, [page as u8; PAGE as usize], "page {page}");
                continue;
            }
            let Some(window) = ahead.plan(page * PAGE, PAGE as usize, 1_000 * PAGE) else {
                continue;
            };
            reads.push((window.start / PAGE, window.end / PAGE));
            let (start, buffer) = ahead.prepare(window);
            for (page, bytes) in (start / PAGE..).zip(buffer.chunks_mut(PAGE as usize)) {
                bytes.fill(page as u8);
            }
            assert!(ahead.take(page * PAGE, &mut out) && out[0] == page as u8);
        }
        reads
    }

    #[test]
    fn places_that_are_asked_for_again_are_read_whole() {
        assert_eq!(reads((0..1_000).step_by(32)), [], "all over the file");
        assert_eq!(reads([40, 900, 41, 300, 42, 43, 50]), [(32, 64)]);
        assert_eq!(reads([991, 990, 999, 989]), [(960, 992)], "chunks are counted apart");
        assert_eq!(reads([993, 994, 999, 995]), [(992, 1_000)]);
        let forwards = [(0, 32), (32, 96), (96, 224), (224, 480)];
        assert_eq!(reads(0..384), forwards);
        // Back and forth, as a scan of a tree does.
        assert_eq!(reads((0..384).map(|page| page ^ 13)), forwards);
        assert_eq!(reads((0..100).rev()), [(96, 128), (64, 96), (32, 64), (0, 32)]);
    }

    #[test]
    fn large_reads_are_read_ahead_only_in_a_row() {
        let length = 64 * CHUNK_BYTES;
        let mut ahead = ReadAhead::default();
        let mut plan = |chunk: u64, chunks: u64| {
            let bytes = (chunks * CHUNK_BYTES) as usize;
            let window = ahead.plan(chunk * CHUNK_BYTES, bytes, length)?;
            Some(window.start / CHUNK_BYTES..window.end / CHUNK_BYTES)
        };
        assert_eq!(plan(10, 2), None);
        assert_eq!(plan(30, 2), None);
        assert_eq!(plan(32, 2), Some(32..34));
        assert_eq!(plan(34, 2), Some(34..38));
        assert_eq!(plan(36, 2), Some(36..44));
        assert_eq!(plan(38, 9), None, "more than a buffer holds");
        assert_eq!(plan(61, 2), None);
        assert_eq!(plan(63, 1), Some(63..64), "the file's end");
    }

    #[test]
    fn what_is_held_is_bounded_and_forgotten() {
        let mut ahead = ReadAhead::default();
        for start in 0..10 {
            let window = start * CHUNK_BYTES..(start + 100) * CHUNK_BYTES;
            let (_, buffer) = ahead.prepare(window);
            assert_eq!(buffer.len(), WINDOW_BYTES_MAX);
        }
        assert_eq!(ahead.windows.len(), WINDOW_COUNT);
        let mut out = [1; 2];
        let start = 9 * CHUNK_BYTES;
        assert!(ahead.take(start, &mut out) && out == [0; 2]);
        assert!(!ahead.take(start + WINDOW_BYTES_MAX as u64 - 1, &mut out));
        assert!(!ahead.take(u64::MAX - 1, &mut out));
        ahead.forget();
        assert!(!ahead.take(start, &mut out));
    }
}
