//! Owns the reading of pressure stall information (Documentation/accounting/psi.rst of the
//! kernel): how much time threads lose waiting for a resource.
//!
//! Refuses to know what to do about it. Bound: one small file per call; for background loops,
//! never on a request's path.

use std::fs;
use std::path::Path;

use crate::error::MachineError;

/// What threads wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A processor.
    Cpu,
    /// Memory to be reclaimed or read back.
    Memory,
    /// Block devices.
    Io,
}

/// Shares of the last ten seconds, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pressure {
    /// At least one thread waited.
    pub some_avg10: f64,
    /// All threads that had work waited; 0 where the kernel does not say (processors, before
    /// Linux 5.13).
    pub full_avg10: f64,
}

impl Pressure {
    /// Reads `{proc_root}/pressure/{cpu,memory,io}`.
    ///
    /// # Errors
    /// [`MachineError::File`] when the kernel keeps no such figures (kind `NotFound`),
    /// [`MachineError::Unrecognised`] when they have another form.
    pub fn read(proc_root: &Path, resource: Resource) -> Result<Self, MachineError> {
        let name = match resource {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::Io => "io",
        };
        let path = proc_root.join("pressure").join(name);
        let text = fs::read_to_string(&path).map_err(MachineError::file("read", &path))?;
        let expected = "a line `some avg10=<percent>`";
        let some_avg10 =
            avg10(&text, "some").ok_or(MachineError::Unrecognised { path, expected })?;
        Ok(Self { some_avg10, full_avg10: avg10(&text, "full").unwrap_or(0.0) })
    }

    /// The pressure on this host.
    ///
    /// # Errors
    /// As [`Pressure::read`].
    pub fn of_host(resource: Resource) -> Result<Self, MachineError> {
        Self::read(Path::new("/proc"), resource)
    }
}

/// The first average of `some avg10=10.24 avg60=7.46 avg300=4.05 total=23263026`.
fn avg10(text: &str, kind: &str) -> Option<f64> {
    let mut words = text.lines().map(str::split_whitespace);
    let mut line = words.find_map(|mut line| (line.next() == Some(kind)).then_some(line))?;
    let percent: f64 = line.find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
    percent.is_finite().then_some(percent)
}

#[cfg(test)]
mod tests {
    use truststram_base::Kind;

    use super::*;

    #[test]
    fn both_lines_are_read() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("pressure")).unwrap();
        let check = |text: &str, expected: Option<(f64, f64)>| {
            fs::write(root.path().join("pressure/memory"), text).unwrap();
            let read = Pressure::read(root.path(), Resource::Memory).ok();
            let read = read.map(|pressure| (pressure.some_avg10, pressure.full_avg10));
            assert_eq!(read, expected, "{text:?}");
        };
        let some = "some avg10=10.24 avg60=7.46 avg300=4.05 total=23263026\n";
        let full = "full avg10=1.50 avg60=0.00 avg300=0.00 total=7\n";
        check(&format!("{some}{full}"), Some((10.24, 1.5)));
        check(some, Some((10.24, 0.0)));
        check(full, None);
        check("some avg10=NaN", None);
        check("some avg60=1.0", None);
        check("", None);
    }

    #[test]
    fn a_kernel_without_the_figures_says_so() {
        let root = tempfile::tempdir().unwrap();
        let error = Pressure::read(root.path(), Resource::Io).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
    }
}
