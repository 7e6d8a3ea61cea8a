//! Owns an allocator that counts: tests prove with it that a path takes no memory.
//!
//! Refuses to serve memory itself, the standard library's does. Bound: one counter per thread,
//! which takes no memory itself.
#![allow(unsafe_code, reason = "the trait of allocators is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Made when the thread is made and without a destructor, so that the allocator may use it at
    /// any time.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// For `#[global_allocator]` in a test of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// How often this thread took or resized memory so far.
    pub fn allocations_of_this_thread() -> u64 {
        ALLOCATIONS.get()
    }

    fn count() {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    }
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the rules of this trait, which are the system's as well.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        Self::count();
        // SAFETY: as in `alloc`.
        unsafe { System.realloc(start, layout, bytes) }
    }
}
