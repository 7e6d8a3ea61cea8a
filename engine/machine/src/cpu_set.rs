//! Owns sets of logical processors and the kernel's way to write them, such as `0-3,8,10-11`.
//!
//! Refuses to know which processors exist. Bound: numbers up to [`CPU_MAX`], the largest that an
//! x86-64 kernel can be built for.

use std::fmt;
use std::str::FromStr;

use crate::error::MachineError;

/// The largest number of a logical processor.
pub const CPU_MAX: u32 = 8_191;

/// A set of logical processors, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(Vec<u32>);

impl CpuSet {
    /// Whether `cpu` is in the set.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.binary_search(&cpu).is_ok()
    }

    /// The processors that are in both sets.
    pub fn intersect(&self, other: &Self) -> Self {
        self.iter().filter(|&cpu| other.contains(cpu)).collect()
    }

    /// The processors, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// How many processors the set has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set has no processor.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let mut cpus: Vec<u32> = cpus.into_iter().collect();
        cpus.sort_unstable();
        cpus.dedup();
        Self(cpus)
    }
}

impl FromStr for CpuSet {
    type Err = MachineError;

    /// Reads the kernel's list format. An empty text is the empty set: so sysfs describes a node
    /// that has memory only.
    fn from_str(text: &str) -> Result<Self, MachineError> {
        let text = text.trim();
        let mut cpus = Vec::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
                _ => return Err(MachineError::CpuList { part: part.to_owned(), max: CPU_MAX }),
            }
        }
        Ok(cpus.into_iter().collect())
    }
}

fn number(text: &str) -> Option<u32> {
    // `u32::from_str` would also take a plus sign, which no list of the kernel has.
    let text = text.trim();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| digits && number <= CPU_MAX)
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, run) in self.0.chunk_by(|a, b| a + 1 == *b).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match run {
                [single] => write!(f, "{comma}{single}")?,
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does() {
        let check = |text: &str, expected: Option<&str>| {
            let written = text.parse::<CpuSet>().ok().map(|set| set.to_string());
            assert_eq!(written.as_deref(), expected, "{text:?}");
        };
        check("0-3,8,10-11\n", Some("0-3,8,10-11"));
        check("", Some(""));
        check("\n", Some(""));
        check("7", Some("7"));
        check("0-1", Some("0-1"));
        check("3,1,2,1", Some("1-3"));
        check("4-4", Some("4"));
        check("8191", Some("8191"));
        check("8192", None);
        check("0-4294967295", None);
        check("3-1", None);
        check("1,", None);
        check(",", None);
        check("-3", None);
        check("+3", None);
        check("a", None);
        check("1-2-3", None);
    }

    #[test]
    fn sets_intersect() {
        let check = |a: &str, b: &str, expected: &str| {
            let (a, b): (CpuSet, CpuSet) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(a.intersect(&b).to_string(), expected);
            assert_eq!(b.intersect(&a).to_string(), expected);
        };
        check("0-7", "2-3,6,9", "2-3,6");
        check("0-3", "4-7", "");
        check("0-3", "", "");
    }
}
