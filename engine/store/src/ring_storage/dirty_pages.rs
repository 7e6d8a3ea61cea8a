//! Owns the pages that are written but not yet on their way to the disk.
//!
//! Refuses to know files. Bound: [`PAGE_COUNT_MAX`] pages, which the caller keeps by asking
//! [`DirtyPages::is_full`], and [`SPARE_COUNT_MAX`] pages kept for the next transaction.

use std::collections::BTreeMap;

use truststram_machine::ring::BLOCK_BYTES;

/// Bytes of a page here: a block of the disk, and a page of redb.
pub(super) const PAGE_BYTES: usize = BLOCK_BYTES;
/// Most pages that are held back: 16 MiB.
pub(super) const PAGE_COUNT_MAX: usize = 4_096;
/// Most pages whose memory is kept: 2 MiB.
const SPARE_COUNT_MAX: usize = 512;

pub(super) type Page = [u8; PAGE_BYTES];

/// Pages by their offset in the file.
#[derive(Default)]
pub(super) struct DirtyPages {
    pages: BTreeMap<u64, Box<Page>>,
    spare: Vec<Box<Page>>,
}

/// The part of a page that a range covers: the page's offset, where the part starts in the page,
/// and where it starts and ends in the range.
pub(super) struct Part {
    pub(super) page: u64,
    pub(super) start: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Part {
    pub(super) fn is_whole(&self) -> bool {
        self.to - self.from == PAGE_BYTES
    }

    fn in_page(&self) -> std::ops::Range<usize> {
        self.start..self.start + (self.to - self.from)
    }
}

/// Cuts the range of `bytes` bytes from `offset` on at the boundaries of pages.
pub(super) fn parts(offset: u64, bytes: usize) -> impl Iterator<Item = Part> {
    let mut from = 0;
    std::iter::from_fn(move || {
        if from == bytes {
            return None;
        }
        let at = offset + from as u64;
        let start = (at % PAGE_BYTES as u64) as usize;
        let to = bytes.min(from + PAGE_BYTES - start);
        let part = Part { page: at - start as u64, start, from, to };
        from = to;
        Some(part)
    })
}

impl DirtyPages {
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pages.len() >= PAGE_COUNT_MAX
    }

    /// Takes a page in; what it holds before its parts are put is not defined.
    pub(super) fn add(&mut self, page: u64) -> &mut Page {
        let memory = self.spare.pop().unwrap_or_else(|| Box::new([0; PAGE_BYTES]));
        self.pages.entry(page).or_insert(memory)
    }

    /// Puts `data` into the page that has the part; `false` if it is not there.
    pub(super) fn put(&mut self, part: &Part, data: &[u8]) -> bool {
        let Some(page) = self.pages.get_mut(&part.page) else { return false };
        page[part.in_page()].copy_from_slice(&data[part.from..part.to]);
        true
    }

    /// Lays the pages over `out`, which holds what the file has from `offset` on; returns whether
    /// they cover all of it.
    pub(super) fn lay_over(&self, offset: u64, out: &mut [u8]) -> bool {
        let mut covers = true;
        for part in parts(offset, out.len()) {
            match self.pages.get(&part.page) {
                Some(page) => out[part.from..part.to].copy_from_slice(&page[part.in_page()]),
                None => covers = false,
            }
        }
        covers
    }

    /// All pages in the order of the file, none longer than a file of `length` bytes.
    pub(super) fn sorted(&self, length: u64) -> Vec<(u64, &[u8])> {
        let within = |at: u64| usize::try_from(length.saturating_sub(at)).unwrap_or(PAGE_BYTES);
        self.pages.iter().map(|(&at, page)| (at, &page[..PAGE_BYTES.min(within(at))])).collect()
    }

    /// Forgets what lies behind a file of `length` bytes, as its end is cut off.
    pub(super) fn cut(&mut self, length: u64) {
        drop(self.pages.split_off(&length));
        let in_page = (length % PAGE_BYTES as u64) as usize;
        if let Some(page) = self.pages.get_mut(&(length - in_page as u64)) {
            page[in_page..].fill(0);
        }
    }

    /// Forgets all pages, which are in the file now.
    pub(super) fn clear(&mut self) {
        let pages = std::mem::take(&mut self.pages);
        let room = SPARE_COUNT_MAX.saturating_sub(self.spare.len());
        self.spare.extend(pages.into_values().take(room));
    }
}
