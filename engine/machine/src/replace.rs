//! Owns the writing of a file in the place of another, so that a crash leaves the one or the other.
//!
//! Refuses to know what is written. Bound: one temporary file beside it, `.tmp` behind its name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `bytes` so that `path` holds the old ones or all of the new ones, whatever happens
/// meanwhile, and the new ones durably once this returns. A left-over temporary file is
/// overwritten.
///
/// # Errors
/// What the kernel said.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_old_file_is_replaced_and_never_changed_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.b");
        replace_file(&path, b"old").unwrap();
        let mut old = File::open(&path).unwrap();
        fs::write(folder.path().join("a.b.tmp"), b"left over, and longer").unwrap();
        replace_file(&path, b"new").unwrap();
        let mut found = String::new();
        old.read_to_string(&mut found).unwrap();
        assert_eq!((found.as_str(), fs::read(&path).unwrap().as_slice()), ("old", &b"new"[..]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace_file(&folder.path().join("none/a"), b"x").is_err());
    }
}
