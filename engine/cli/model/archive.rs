//! Owns a folder as one stream: a tar file that is made while it is read.
//!
//! Refuses to hold files in memory. The same folder is the same stream each time, so that it can be
//! hashed before it is sent. Bound: [`FILES_MAX`] files.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

/// Most files of a folder.
const FILES_MAX: usize = 10_000;
/// The blocks that tar files consist of, in bytes.
const BLOCK_BYTES: u64 = 512;

/// A piece of the stream.
enum Piece {
    /// A header, or the zeros at an end.
    Bytes(io::Cursor<Vec<u8>>),
    /// A file that is opened once its turn has come, and its size.
    Later(PathBuf, u64),
    /// A file, and what is yet to come of it.
    Open(File, u64),
}

/// The stream.
pub(super) struct Archive {
    pieces: VecDeque<Piece>,
    bytes: u64,
}

impl Archive {
    /// The tar file of all that is in `folder`, by name; what begins with a dot is left out.
    pub(super) fn of_folder(folder: &Path) -> Result<Self, anyhow::Error> {
        let mut files = Vec::new();
        list(folder, Path::new(""), &mut files)?;
        if files.is_empty() {
            return Err(anyhow!("{} has no files in it", folder.display()));
        }
        let mut archive = Self { pieces: VecDeque::new(), bytes: 0 };
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header
                .set_path(&name)
                .with_context(|| format!("{} cannot be named in a tar file", name.display()))?;
            header.set_size(bytes);
            header.set_mode(0o644);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_cksum();
            archive.push_bytes(header.as_bytes().to_vec());
            archive.bytes += bytes;
            archive.pieces.push_back(Piece::Later(folder.join(&name), bytes));
            let padding = bytes.next_multiple_of(BLOCK_BYTES) - bytes;
            archive.push_bytes(vec![0; usize::try_from(padding).unwrap_or_default()]);
        }
        // Two blocks of zeros end a tar file.
        archive.push_bytes(vec![0; 1024]);
        Ok(archive)
    }

    fn push_bytes(&mut self, bytes: Vec<u8>) {
        self.bytes += bytes.len() as u64;
        self.pieces.push_back(Piece::Bytes(io::Cursor::new(bytes)));
    }

    /// How long the stream is.
    pub(super) fn length(&self) -> u64 {
        self.bytes
    }
}

/// The files below `folder/below`, by name, with their sizes; links are followed.
fn list(folder: &Path, below: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<(), anyhow::Error> {
    let path = folder.join(below);
    let cannot = || format!("cannot read {}", path.display());
    let entries: Result<Vec<_>, _> = fs::read_dir(&path).with_context(cannot)?.collect();
    let mut names: Vec<_> =
        entries.with_context(cannot)?.into_iter().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names.into_iter().filter(|name| !name.to_string_lossy().starts_with('.')) {
        let inside = below.join(name);
        let full = folder.join(&inside);
        let facts =
            fs::metadata(&full).with_context(|| format!("cannot read {}", full.display()))?;
        if facts.is_dir() {
            // A link that leads back up would never end; nothing else nests this deep.
            if inside.components().count() > 16 {
                return Err(anyhow!("{} is nested too deep", full.display()));
            }
            list(folder, &inside, files)?;
        } else if files.len() == FILES_MAX {
            let folder = folder.display();
            return Err(anyhow!("{folder} has more than {FILES_MAX} files; is it a model?"));
        } else {
            files.push((inside, facts.len()));
        }
    }
    Ok(())
}

impl Read for Archive {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self.pieces.front_mut() {
                None => return Ok(0),
                Some(Piece::Bytes(bytes)) => bytes.read(out)?,
                Some(later @ Piece::Later(..)) => {
                    if let Piece::Later(path, bytes) = later {
                        *later = Piece::Open(File::open(path)?, *bytes);
                    }
                    continue;
                }
                Some(Piece::Open(file, left)) => {
                    let room = out.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let read = file.read(&mut out[..room])?;
                    if read == 0 && room > 0 {
                        let words = "a file became shorter while it was read";
                        return Err(io::Error::new(ErrorKind::UnexpectedEof, words));
                    }
                    *left -= read as u64;
                    read
                }
            };
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_tar_file_of_the_stated_length() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        fs::create_dir(folder.path().join("1_Pooling")).unwrap();
        write("model.safetensors", &[7; 1_000]);
        write("config.json", b"{}");
        write("1_Pooling/config.json", &[b' '; 512]);
        write(".hidden", b"x");
        write("empty", b"");
        let archive = Archive::of_folder(folder.path()).unwrap();
        let bytes = archive.length();
        let mut whole = Vec::new();
        { archive }.read_to_end(&mut whole).unwrap();
        assert_eq!((whole.len() as u64, &whole[257..262]), (bytes, &b"ustar"[..]));
        let mut found = Vec::new();
        for entry in tar::Archive::new(&whole[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.push((entry.path().unwrap().display().to_string(), content.len()));
        }
        let expected = [
            ("1_Pooling/config.json", 512),
            ("config.json", 2),
            ("empty", 0),
            ("model.safetensors", 1_000),
        ];
        assert_eq!(found, expected.map(|(name, bytes)| (name.to_owned(), bytes)));
        let empty = tempfile::tempdir().unwrap();
        assert!(Archive::of_folder(empty.path()).is_err());
    }
}
