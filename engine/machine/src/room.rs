//! Owns how much memory there is and how much of it can still be had: by the kernel's own estimate
//! (`MemAvailable`) and by the limits of the control groups that the process is in.
//!
//! Refuses to know what to do about it. Bound: some small files per call; for background loops,
//! never on a request's path.

use std::fs;
use std::path::Path;

use crate::error::MachineError;

/// Memory in bytes, of the host or of the narrowest control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRoom {
    /// In all.
    pub total_bytes: u64,
    /// What can be had without swapping and without being killed.
    pub available_bytes: u64,
}

impl MemoryRoom {
    /// Reads `{proc_root}/meminfo`, and the control groups of `{proc_root}/self/cgroup` below
    /// `cgroup_root`. Groups without a limit, and those of version 1, are passed over.
    ///
    /// # Errors
    /// [`MachineError::File`] where there is no `meminfo`, [`MachineError::Unrecognised`] where it
    /// has another form.
    pub fn read(proc_root: &Path, cgroup_root: &Path) -> Result<Self, MachineError> {
        let path = proc_root.join("meminfo");
        let text = fs::read_to_string(&path).map_err(MachineError::file("read", &path))?;
        let bytes = |name| number_after(&text, name).map(|kib| kib.saturating_mul(1_024));
        let expected = "lines `MemTotal: <kB>` and `MemAvailable: <kB>`";
        let (Some(total_bytes), Some(available_bytes)) =
            (bytes("MemTotal:"), bytes("MemAvailable:"))
        else {
            return Err(MachineError::Unrecognised { path, expected });
        };
        let mut room = Self { total_bytes, available_bytes };
        let groups = fs::read_to_string(proc_root.join("self/cgroup")).unwrap_or_default();
        let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        for folder in Path::new(group).ancestors() {
            if let Some(group) = of_group(&cgroup_root.join(folder))
                && group.available_bytes < room.available_bytes
            {
                room = group;
            }
        }
        Ok(room)
    }

    /// The room on this host.
    ///
    /// # Errors
    /// As [`MemoryRoom::read`].
    pub fn of_host() -> Result<Self, MachineError> {
        Self::read(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
    }

    /// The share of it that is taken, 0 to 1.
    pub fn used_share(&self) -> f64 {
        1.0 - self.available_bytes as f64 / self.total_bytes.max(1) as f64
    }
}

/// A group with a limit; what it has of files that nobody uses can be had.
fn of_group(folder: &Path) -> Option<MemoryRoom> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let total_bytes: u64 = read("memory.max")?.trim().parse().ok()?;
    let current: u64 = read("memory.current")?.trim().parse().ok()?;
    let stat = read("memory.stat").unwrap_or_default();
    let used = current.saturating_sub(number_after(&stat, "inactive_file").unwrap_or(0));
    Some(MemoryRoom { total_bytes, available_bytes: total_bytes.saturating_sub(used) })
}

/// The number behind the word `name` at the start of a line.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().map(str::split_whitespace);
    let mut line = words.find_map(|mut line| (line.next() == Some(name)).then_some(line))?;
    line.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_room_counts() {
        let root = tempfile::tempdir().unwrap();
        let (proc_root, groups) = (root.path().join("proc"), root.path().join("cgroup"));
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let check = |total: u64, available: u64| {
            let room = MemoryRoom::read(&proc_root, &groups).unwrap();
            let expected = MemoryRoom { total_bytes: total, available_bytes: available };
            assert_eq!(room, expected);
        };
        MemoryRoom::read(&proc_root, &groups).unwrap_err();
        write("proc/meminfo", "MemTotal:   1000 kB\n");
        MemoryRoom::read(&proc_root, &groups).unwrap_err();
        write("proc/meminfo", "MemTotal:   1000 kB\nMemAvailable:   250 kB\n");
        check(1_024_000, 256_000);
        write("proc/self/cgroup", "0::/a/b\n");
        write("cgroup/a/b/memory.max", "max\n");
        write("cgroup/a/b/memory.current", "5000\n");
        check(1_024_000, 256_000);
        write("cgroup/a/memory.max", "10000\n");
        write("cgroup/a/memory.current", "9000\n");
        check(10_000, 1_000);
        write("cgroup/a/memory.stat", "anon 5\ninactive_file 3000\n");
        check(10_000, 4_000);
        let room = MemoryRoom::read(&proc_root, &groups).unwrap();
        assert!((room.used_share() - 0.6).abs() < 1e-12);
    }
}
