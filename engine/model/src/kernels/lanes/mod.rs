//! Sixteen numbers at a time, the same on every instruction set.
//!
//! Owns the trait that kernels are written against and its three implementations. Each operation
//! rounds as IEEE 754 says, so a kernel gives the same bits on all of them.
//! Refuses to know any kernel. Bound: sixteen lanes, whatever the width of the registers.

mod dispatch;
mod lane;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_avx2;
#[cfg(target_arch = "x86_64")]
mod x86_avx512;

pub use dispatch::{Kernel, dispatch};
pub use lane::{COUNT, Lanes};
#[cfg(target_arch = "x86_64")]
use x86_avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use x86_avx512::Avx512;
