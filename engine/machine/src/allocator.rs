//! Owns the settings of mimalloc, where it is the allocator: how long it keeps what was freed, and
//! that what it gives out lies in small pages.
//!
//! Refuses to know who allocates. Bound: two options and one look at the mappings of the process,
//! first in `main`; the environment (`MIMALLOC_PURGE_DELAY`, `MIMALLOC_ALLOW_THP`) goes first.
#![allow(unsafe_code, reason = "options of mimalloc and advice on its memory are unsafe calls")]

use std::ffi::{c_int, c_long};
use std::fs;
use std::ops::Range;
use std::ptr;

// Its library has the functions below; its `extended` feature names them and needs one more crate.
use libmimalloc_sys as _;

unsafe extern "C" {
    /// Sets an option of mimalloc.
    fn mi_option_set(option: c_int, value: c_long);
}

/// `mi_option_purge_delay` of mimalloc 3, in milliseconds.
const PURGE_DELAY: c_int = 15;
/// `mi_option_allow_thp` of mimalloc 3.
const ALLOW_THP: c_int = 43;

/// How long mimalloc keeps memory that was freed before the kernel gets it back. The store fills
/// and frees the same tables every few seconds under load: what the kernel got back in between, it
/// must clear again, page by page, while a request waits for the core.
const PURGE_DELAY_MS: c_long = 10_000;

/// Lets mimalloc keep freed memory for ten seconds instead of one, and ask for no huge pages.
///
/// A huge page is cleared whole when its first byte is touched: 0.1 ms where the memory is there,
/// several where a hypervisor must find it first. What grows with connections is touched by the
/// thread that all others wait for, and a prediction costs the same without them. Weights, which
/// are read again and again, are not the allocator's and keep theirs
/// ([`NodeBuffer`](crate::NodeBuffer)).
pub fn set_up_allocator() {
    let is_free = |name: &str| std::env::var_os(name).is_none();
    if is_free("MIMALLOC_PURGE_DELAY") {
        // SAFETY: it stores a number under an index that mimalloc checks.
        unsafe { mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) };
    }
    if is_free("MIMALLOC_ALLOW_THP") {
        // SAFETY: as above. It is read where memory is reserved.
        unsafe { mi_option_set(ALLOW_THP, 0) };
        // What it has reserved before is its alone: nobody else has asked for huge pages so early.
        let mappings = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        for Range { start, end } in asked_for_huge(&mappings) {
            let start = ptr::without_provenance_mut(start);
            // SAFETY: advice that never changes what memory holds, on whatever lies there now.
            unsafe { libc::madvise(start, end - start.addr(), libc::MADV_NOHUGEPAGE) };
        }
    }
}

/// The mappings for which the kernel was asked for huge pages, of the text of `smaps`.
fn asked_for_huge(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let is_huge = flags.split_ascii_whitespace().any(|flag| flag == "hg");
            found.extend(mapping.take().filter(|_| is_huge));
        } else if let Some(range) = addresses(line) {
            mapping = Some(range);
        }
    }
    found
}

/// The addresses with which the first line of a mapping begins.
fn addresses(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split_ascii_whitespace().next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;

    use super::*;

    unsafe extern "C" {
        fn mi_option_get(option: c_int) -> c_long;
        fn mi_malloc(bytes: usize) -> *mut c_void;
    }

    fn huge() -> Vec<Range<usize>> {
        asked_for_huge(&fs::read_to_string("/proc/self/smaps").unwrap())
    }

    /// Should a later mimalloc number its options anew, its defaults are found elsewhere.
    #[test]
    fn freed_memory_is_kept_longer_and_lies_in_small_pages() {
        // SAFETY: they read a number.
        let option = |option| unsafe { mi_option_get(option) };
        // SAFETY: memory that nobody frees.
        let reserve = || unsafe { mi_malloc(1 << 20) }.addr();
        let before = reserve();
        assert_eq!((option(PURGE_DELAY), option(ALLOW_THP)), (1_000, 1));
        // Without huge pages in the kernel there is nothing to take back.
        if std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            assert!(huge().iter().any(|range| range.contains(&before)), "{before:x}");
        }
        set_up_allocator();
        assert_eq!((option(PURGE_DELAY), option(ALLOW_THP)), (PURGE_DELAY_MS, 0));
        let behind = reserve();
        assert!(!huge().iter().any(|range| range.contains(&before) || range.contains(&behind)));
    }

    #[test]
    fn mappings_are_read_as_the_kernel_writes_them() {
        let smaps = "\
7f0000000000-7f0040000000 rw-p 00000000 00:00 0 \n\
Size:            1048576 kB\n\
VmFlags: rd wr mr mw me ac sd hg \n\
55d0a0000000-55d0a0001000 r-xp 00000000 fe:00 12 /usr/bin/truststram hg\n\
VmFlags: rd ex mr mw me \n\
odd-line\n\
VmFlags: hg\n\
7f1000000000-7f1000200000 rw-p 00000000 00:00 0\n\
VmFlags: hg rd wr\n";
        let expected = [0x7f00_0000_0000..0x7f00_4000_0000, 0x7f10_0000_0000..0x7f10_0020_0000];
        assert_eq!(asked_for_huge(smaps), expected);
        assert!(asked_for_huge("").is_empty());
    }
}
