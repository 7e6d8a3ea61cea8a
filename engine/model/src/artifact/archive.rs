//! Owns the files in a tar file of a folder.
//!
//! Refuses what is not a plain file or a folder, and paths that lead out. Bound:
//! [`FILE_COUNT_MAX`] files, each a part of the archive's own bytes: nothing is copied.

use std::io::Cursor;
use std::path::Component;

use crate::error::ModelError;

/// Most files of a folder.
const FILE_COUNT_MAX: usize = 1_024;

fn wrong(found: impl ToString, expected: &str) -> ModelError {
    let (found, expected) = (found.to_string(), expected.to_owned());
    ModelError::Container { part: "tar file", found, expected }
}

/// The files by their paths within the folder, whose own name is left out where all have it.
pub fn files(bytes: &[u8]) -> Result<Vec<(String, &[u8])>, ModelError> {
    let damaged = |error: std::io::Error| wrong(error, "a whole tar file");
    let mut archive = tar::Archive::new(Cursor::new(bytes));
    let mut files: Vec<(String, &[u8])> = Vec::new();
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        let path = entry.path().map_err(damaged)?.into_owned();
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() {
            let found = format!("with {}, which is a {kind:?}", path.display());
            return Err(wrong(found, "plain files and folders"));
        }
        if files.len() == FILE_COUNT_MAX {
            return Err(wrong("of more than 1024 files", "the folder of one model"));
        }
        let mut name = String::new();
        for part in path.components() {
            match part {
                Component::CurDir => {}
                Component::Normal(part) => {
                    let separator = if name.is_empty() { "" } else { "/" };
                    let part = part.to_str().ok_or_else(|| wrong("with a name", "one in UTF-8"))?;
                    name.extend([separator, part]);
                }
                _ => return Err(wrong(path.display(), "paths within the folder")),
            }
        }
        let from = usize::try_from(entry.raw_file_position()).unwrap_or(usize::MAX);
        let size = usize::try_from(entry.size()).unwrap_or(usize::MAX);
        let part = from.checked_add(size).and_then(|to| bytes.get(from..to));
        let part = part.ok_or_else(|| wrong(format!("cut off in {name}"), "a whole tar file"))?;
        files.push((name, part));
    }
    let folder = files.first().and_then(|(name, _)| Some(name.split_once('/')?.0.to_owned()));
    if let Some(folder) = folder
        && files
            .iter()
            .all(|(name, _)| name.split_once('/').is_some_and(|(first, _)| first == folder))
    {
        for (name, _) in &mut files {
            name.drain(..=folder.len());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn check(entries: &[(&str, &[u8])], expected: &[&str]) {
        let bytes = tar(entries);
        let files = files(&bytes).unwrap();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, expected);
        assert!(files.iter().zip(entries).all(|(file, entry)| file.1 == entry.1));
    }

    #[test]
    fn the_folder_of_all_files_is_left_out() {
        check(
            &[("config.json", b"{}"), ("1_Pooling/config.json", b"[]")],
            &["config.json", "1_Pooling/config.json"],
        );
        check(
            &[("m/config.json", b"{}"), ("m/1_Pooling/config.json", b"[]")],
            &["config.json", "1_Pooling/config.json"],
        );
        check(&[], &[]);
    }

    #[test]
    fn damaged_and_dangerous_archives_are_refused() {
        let whole = tar(&[("config.json", &[7; 2_000])]);
        for length in [100, 600, 1_500] {
            assert!(files(&whole[..length]).is_err(), "{length} bytes");
        }
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_link(&mut link, "config.json", "/etc/passwd").unwrap();
        assert!(files(&builder.into_inner().unwrap()).is_err());
        assert!(files(b"no archive at all, but long enough").is_err());
    }
}
