//! Owns the choice of the instruction set, made once at start.
//!
//! Refuses to know kernels. Bound: the three that are worth a kernel of their own; the portable
//! one gives the same results everywhere.

use std::sync::LazyLock;

/// What this host has, asked once.
static HOST: LazyLock<Isa> = LazyLock::new(Isa::detect);

/// A set of instructions that kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Whatever the compiler's target has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ, VL, and with them VNNI and BF16 where `vnni` and `bf16` say so.
    Avx512 {
        /// 8-bit dot products.
        vnni: bool,
        /// bf16 dot products.
        bf16: bool,
    },
}

impl Isa {
    /// The widest that this host has. Asks the processor; do it once.
    #[cfg(target_arch = "x86_64")]
    pub fn detect() -> Self {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        if avx512 {
            let vnni = is_x86_feature_detected!("avx512vnni");
            let bf16 = is_x86_feature_detected!("avx512bf16");
            return Self::Avx512 { vnni, bf16 };
        }
        match is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            true => Self::Avx2,
            false => Self::Portable,
        }
    }

    /// The widest that this host has.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn detect() -> Self {
        Self::Portable
    }

    /// The same if this host has it, else the portable one.
    #[inline]
    pub fn or_portable(self) -> Self {
        let has = match (self, *HOST) {
            (Self::Portable, _) => true,
            (Self::Avx2, host) => host != Self::Portable,
            (Self::Avx512 { vnni, bf16 }, Self::Avx512 { vnni: has_vnni, bf16: has_bf16 }) => {
                (has_vnni || !vnni) && (has_bf16 || !bf16)
            }
            (Self::Avx512 { .. }, _) => false,
        };
        if has { self } else { Self::Portable }
    }

    /// For the status page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 { vnni: true, bf16: true } => "avx512 vnni bf16",
            Self::Avx512 { vnni: true, bf16: false } => "avx512 vnni",
            Self::Avx512 { vnni: false, .. } => "avx512",
        }
    }
}
