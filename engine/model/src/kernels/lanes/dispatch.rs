//! Owns the way from a choice of instruction set to code compiled for it.
//!
//! Refuses to know what runs. Bound: a set that this host lacks falls back to the portable code,
//! which gives the same results.

use super::lane::Lanes;
use super::portable::Portable;
use crate::kernels::Isa;

/// A loop written once for all sets. `run` must be `#[inline(always)]`, for only then it is
/// compiled with the instructions of the set.
pub trait Kernel {
    /// What it gives.
    type Output;
    /// Runs it.
    fn run<L: Lanes>(self) -> Self::Output;
}

/// Runs a kernel with the instructions of `isa`.
#[inline]
pub fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    match isa.or_portable() {
        // SAFETY: `or_portable` gives only sets that this host has.
        Isa::Avx512 { .. } => return unsafe { super::Avx512::enter(kernel) },
        // SAFETY: as above.
        Isa::Avx2 => return unsafe { super::Avx2::enter(kernel) },
        Isa::Portable => {}
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = isa;
    kernel.run::<Portable>()
}
