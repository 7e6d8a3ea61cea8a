//! Owns the wrapping of processor instructions as methods of lanes.
//!
//! Refuses to know which instructions. Bound: one expression per method.

/// Methods that only compute.
macro_rules! operations {
    ($($name:ident($($arguments:tt)*) -> $out:ty = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name($($arguments)*) -> $out {
            // SAFETY: values of this type are made only inside `enter`, so the host has the set.
            unsafe { $body }
        })*
    };
}

/// Methods that read or write memory.
macro_rules! accesses {
    ($($name:ident($($arguments:tt)*) $(-> $out:ty)? = $body:expr;)*) => {
        $(#[inline(always)]
        unsafe fn $name($($arguments)*) $(-> $out)? {
            // SAFETY: the host has the set, and the caller promises that the memory is accessible.
            unsafe { $body }
        })*
    };
}

pub(super) use {accesses, operations};
