//! Owns the facts about the host that `/admin/v1/status` shows.
//!
//! Refuses to know what follows from them. Bound: a handful of small files, read at start and
//! never on a request's path. A fact that the kernel does not give is `unknown` or 0.

use std::fs;
use std::path::Path;

use crate::system_calls;

/// What the host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Release of the kernel, for example `6.18.44`.
    pub kernel: String,
    /// Name of the processor model.
    pub processor: String,
    /// Widest vector instructions that may be used.
    pub simd: SimdLevel,
    /// The mode in force: `always`, `madvise` or `never`.
    pub transparent_huge_pages: String,
    /// Reserved huge pages of the default size.
    pub huge_pages_total: u64,
    /// Bytes of one page.
    pub page_bytes: usize,
    /// Memory of the host in bytes.
    pub memory_bytes: u64,
}

/// Levels of vector instructions, each of which includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SimdLevel {
    /// What every processor of the target has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, CD, DQ and VL: x86-64-v4.
    Avx512 {
        /// Int8 dot products.
        vnni: bool,
        /// bf16 dot products.
        bf16: bool,
    },
}

impl SimdLevel {
    /// The level of the processor that this runs on.
    #[cfg(target_arch = "x86_64")]
    pub fn of_host() -> Self {
        use std::arch::is_x86_feature_detected as has;
        if !(has!("avx2") && has!("fma")) {
            Self::Portable
        } else if has!("avx512f")
            && has!("avx512bw")
            && has!("avx512cd")
            && has!("avx512dq")
            && has!("avx512vl")
        {
            Self::Avx512 { vnni: has!("avx512vnni"), bf16: has!("avx512bf16") }
        } else {
            Self::Avx2
        }
    }

    /// The level of the processor that this runs on.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn of_host() -> Self {
        Self::Portable
    }

    /// The level as shown to operators.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 { .. } => "avx512",
        }
    }
}

impl HostFacts {
    /// The facts of this host.
    pub fn of_host() -> Self {
        host_facts(Path::new("/proc"), Path::new("/sys"))
    }
}

/// Reads the facts from the two file systems of the kernel; the processor is always the real one.
pub fn host_facts(proc_root: &Path, sysfs_root: &Path) -> HostFacts {
    let read = |root: &Path, path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let meminfo = read(proc_root, "meminfo");
    let huge = read(sysfs_root, "kernel/mm/transparent_hugepage/enabled");
    HostFacts {
        kernel: or_unknown(read(proc_root, "sys/kernel/osrelease").trim()),
        processor: or_unknown(field(&read(proc_root, "cpuinfo"), "model name").unwrap_or("")),
        simd: SimdLevel::of_host(),
        transparent_huge_pages: or_unknown(bracketed(&huge).unwrap_or("")),
        huge_pages_total: first_number(field(&meminfo, "HugePages_Total")),
        page_bytes: system_calls::page_bytes(),
        memory_bytes: first_number(field(&meminfo, "MemTotal")).saturating_mul(1_024),
    }
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

/// The value of the first `key : value` line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// The chosen one of `always [madvise] never`.
fn bracketed(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(chosen, _)| chosen)
}

fn first_number(text: Option<&str>) -> u64 {
    let word = text.and_then(|text| text.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_both_roots() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/sys/kernel/osrelease", "6.18.44-test\n");
        write("proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n");
        write("proc/meminfo", "MemTotal:       24592384 kB\nHugePages_Total:      12\n");
        write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
        let facts = host_facts(&root.path().join("proc"), &root.path().join("sys"));
        let expected = HostFacts {
            kernel: "6.18.44-test".to_owned(),
            processor: "AMD EPYC".to_owned(),
            simd: SimdLevel::of_host(),
            transparent_huge_pages: "madvise".to_owned(),
            huge_pages_total: 12,
            page_bytes: system_calls::page_bytes(),
            memory_bytes: 24_592_384 * 1_024,
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn missing_facts_are_unknown() {
        let root = tempfile::tempdir().unwrap();
        let facts = host_facts(root.path(), root.path());
        assert_eq!((facts.kernel.as_str(), facts.processor.as_str()), ("unknown", "unknown"));
        assert_eq!(facts.transparent_huge_pages, "unknown");
        assert_eq!((facts.huge_pages_total, facts.memory_bytes), (0, 0));
    }

    #[test]
    fn this_host_has_a_kernel_and_memory() {
        let facts = HostFacts::of_host();
        assert_ne!(facts.kernel, "unknown");
        assert!(facts.memory_bytes > 0 && facts.page_bytes >= 4_096);
    }

    #[test]
    fn levels_are_ordered() {
        let widest = SimdLevel::Avx512 { vnni: false, bf16: false };
        assert!(SimdLevel::Portable < SimdLevel::Avx2 && SimdLevel::Avx2 < widest);
    }
}
