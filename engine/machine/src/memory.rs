//! Owns memory that is bound to a NUMA node: an anonymous mapping per buffer.
//!
//! The allocator may hand out pages that another node touched before, so weights do not go
//! through it. Refuses to know what the bytes mean. Bound: the size given at creation; the pages
//! go back to the kernel on drop.
#![allow(unsafe_code, reason = "owns raw mappings; the standard library has no mmap")]

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use crate::error::MachineError;
use crate::system_calls;
use crate::thread::Degraded;

/// Buffers of at least this many bytes ask for huge pages: the size of one on x86-64.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Zeroed bytes in pages of their own, starting at a page boundary.
pub struct NodeBuffer {
    start: NonNull<u8>,
    bytes: usize,
    mapped_bytes: usize,
    bound: bool,
    degraded: Option<Degraded>,
}

// SAFETY: the mapping belongs to this value alone and is no thread's property; shared access is
// read-only by `Deref`.
unsafe impl Send for NodeBuffer {}
// SAFETY: as above.
unsafe impl Sync for NodeBuffer {}

impl NodeBuffer {
    /// Maps `bytes` zeroed bytes that will come from `node`, or from wherever they are touched
    /// first. A kernel that refuses the binding leaves the buffer unbound, see
    /// [`NodeBuffer::degraded`].
    ///
    /// # Errors
    /// [`MachineError::System`] when the kernel has no such amount of memory.
    pub fn new(bytes: usize, node: Option<u32>) -> Result<Self, MachineError> {
        let map_error = |source| MachineError::System { call: "mmap", source };
        // A mapping has at least one page, also for an empty buffer.
        let mapped_bytes = bytes
            .max(1)
            .checked_next_multiple_of(system_calls::page_bytes())
            .ok_or_else(|| map_error(io::ErrorKind::OutOfMemory.into()))?;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice; it replaces none.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapped_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let start = match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => start,
            _ => return Err(map_error(io::Error::last_os_error())),
        };
        let mut buffer = Self { start, bytes, mapped_bytes, bound: false, degraded: None };
        if let Some(node) = node {
            match system_calls::bind_memory(start.as_ptr(), mapped_bytes, node) {
                Ok(()) => buffer.bound = true,
                Err(error) => buffer.degraded = Some(Degraded::new("mbind", &error)),
            }
        }
        if buffer.asks_for_huge_pages() {
            // SAFETY: advice on our own mapping that never changes what it holds. A kernel
            // without huge pages answers EINVAL, and small pages serve as well.
            unsafe { libc::madvise(start.as_ptr().cast(), mapped_bytes, libc::MADV_HUGEPAGE) };
        }
        Ok(buffer)
    }

    /// Whether all pages come from the node that was asked for.
    pub fn is_bound(&self) -> bool {
        self.bound
    }

    /// Whether the kernel was asked to use huge pages.
    pub fn asks_for_huge_pages(&self) -> bool {
        self.bytes >= HUGE_PAGE_BYTES
    }

    /// Why the buffer is not bound although a node was asked for.
    pub fn degraded(&self) -> Option<Degraded> {
        self.degraded
    }

    /// The node that holds the first page, once something was written to it; `None` when the
    /// kernel does not say.
    pub fn resident_node(&self) -> Option<u32> {
        system_calls::node_of_address(self.start.as_ptr()).ok()
    }
}

impl Deref for NodeBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `bytes` bytes from `start` are mapped, zeroed by the kernel and ours until drop.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl DerefMut for NodeBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes this the only access.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for NodeBuffer {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this size, and no borrow of it is left. The
        // call fails only for addresses that were never mapped.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped_bytes) };
    }
}

impl fmt::Debug for NodeBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuffer")
            .field("bytes", &self.bytes)
            .field("bound", &self.bound)
            .field("degraded", &self.degraded)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    #[test]
    fn buffers_are_zeroed_writable_and_page_aligned() {
        for bytes in [0, 1, 4_096, 4_097, HUGE_PAGE_BYTES, HUGE_PAGE_BYTES + 1] {
            let mut buffer = NodeBuffer::new(bytes, None).unwrap();
            assert_eq!(buffer.len(), bytes);
            assert!(buffer.iter().all(|&byte| byte == 0));
            assert_eq!(buffer.as_ptr().addr() % system_calls::page_bytes(), 0);
            buffer.fill(7);
            assert!(buffer.iter().all(|&byte| byte == 7));
            assert!(!buffer.is_bound() && buffer.degraded().is_none());
        }
    }

    #[test]
    fn bound_buffers_live_on_their_node() {
        let host = Topology::of_host().unwrap();
        for node in host.nodes.iter().filter(|node| node.memory_bytes > 0) {
            let mut buffer = NodeBuffer::new(HUGE_PAGE_BYTES, Some(node.id)).unwrap();
            buffer.fill(1);
            // Containers may refuse memory policies; then the refusal must be on record.
            match buffer.degraded() {
                None => assert_eq!(buffer.resident_node(), Some(node.id)),
                Some(degraded) => assert!(degraded.errno > 0 && !buffer.is_bound()),
            }
            assert_eq!(buffer.is_bound(), buffer.degraded().is_none());
        }
    }

    #[test]
    fn a_node_that_does_not_exist_leaves_the_buffer_unbound() {
        for node in [1_023, 1_024, u32::MAX] {
            let mut buffer = NodeBuffer::new(10, Some(node)).unwrap();
            assert!(!buffer.is_bound());
            assert_eq!(buffer.degraded().map(|degraded| degraded.what), Some("mbind"));
            buffer.fill(1);
        }
    }

    #[test]
    fn too_much_memory_is_an_error() {
        for bytes in [usize::MAX, 1 << 60] {
            let error = NodeBuffer::new(bytes, None).unwrap_err();
            assert!(matches!(error, MachineError::System { call: "mmap", .. }), "{error}");
        }
    }

    #[test]
    fn buffers_cross_threads() {
        let mut buffer = NodeBuffer::new(100, None).unwrap();
        std::thread::scope(|scope| scope.spawn(|| buffer.fill(3)).join().unwrap());
        assert_eq!(buffer[99], 3);
    }
}
