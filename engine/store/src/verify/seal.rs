//! Owns the seal of a closed store: the length and checksum of every file in its directory.
//!
//! It is written when the store is closed and removed before anything changes, so that where it is
//! found, every byte of every file can be compared, used or not.
//!
//! ```text
//! truststram seal 1
//! <XXH3-128, hexadecimal> <bytes> <path below the directory, or of a tier's file>
//! ...
//! end <XXH3-128 of the lines before, hexadecimal>
//! ```
//!
//! Refuses to know what the files hold. Bound: the files of the directories that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{Finding, Problem};
use crate::disk::Disk;
use crate::error::{Damage, StoreError};
use crate::options::Tier;

/// The file's name.
pub(crate) const SEAL_FILE: &str = "seal";
const TITLE: &str = "truststram seal 1";
/// What belongs to a store, in its directory: files, and directories with all below them.
const FILES: [&str; 3] = ["datasets.redb", "decisions.redb", "meta.redb"];
const DIRECTORIES: [&str; 5] = ["fl", "log", "models", "plugins", "predictions"];
const DEPTH_MAX: usize = 8;
const PIECE_BYTES: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sum {
    bytes: u64,
    checksum: u128,
}

/// A seal that was broken, with what tells whether a file was written to since.
#[derive(Debug, Default)]
pub(crate) struct BrokenSeal {
    files: BTreeMap<String, (Sum, u64)>,
}

/// The seal of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seal {
    files: BTreeMap<String, Sum>,
}

impl Seal {
    pub(crate) fn file_count(&self) -> u64 {
        self.files.len() as u64
    }

    /// Reads the seal of `directory`, if it has one.
    pub(crate) fn read(disk: &dyn Disk, directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join(SEAL_FILE);
        let fail = |source| StoreError::Io { action: "read", path: path.clone(), source };
        if !disk.exists(&path).map_err(fail)? {
            return Ok(None);
        }
        let file = disk.open_to_read(&path).map_err(fail)?;
        let bytes = usize::try_from(file.length().map_err(fail)?).unwrap_or(usize::MAX);
        let mut text = vec![0; bytes];
        file.read(0, &mut text).map_err(fail)?;
        match Self::parse(&text) {
            Some(seal) => Ok(Some(seal)),
            None => Err(StoreError::Corrupt {
                path,
                table: "",
                key: String::new(),
                damage: Damage::Checksum,
            }),
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (lines, last) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let checked = &text[..lines.len() + 1];
        if last != format!("end {:032x}", xxh3_128(checked.as_bytes())) {
            return None;
        }
        let mut files = BTreeMap::new();
        for line in lines.strip_prefix(TITLE)?.lines().skip(1) {
            let (checksum, rest) = line.split_once(' ')?;
            let (bytes, path) = rest.split_once(' ')?;
            let checksum = u128::from_str_radix(checksum, 16).ok()?;
            files.insert(path.to_owned(), Sum { bytes: bytes.parse().ok()?, checksum });
        }
        Some(Self { files })
    }

    /// Seals `directory` as it is. Files that were not written to since `before` was broken are not
    /// read again: months that are over, mostly.
    pub(crate) fn write(
        disk: &dyn Disk,
        directory: &Path,
        tiers: &[Tier],
        before: &BrokenSeal,
    ) -> Result<(), StoreError> {
        let mut text = format!("{TITLE}\n");
        for (name, sum) in sums(disk, directory, tiers, before)? {
            text.push_str(&format!("{:032x} {} {name}\n", sum.checksum, sum.bytes));
        }
        let checksum = xxh3_128(text.as_bytes());
        text.push_str(&format!("end {checksum:032x}\n"));
        let path = directory.join(SEAL_FILE);
        let write = || {
            let file = disk.open(&path)?;
            file.set_len(0)?;
            file.write_and_sync(0, text.as_bytes())?;
            disk.sync_dir(directory)
        };
        write().map_err(|source| StoreError::Io { action: "write", path: path.clone(), source })
    }

    /// Breaks the seal of `directory`, durably, before anything in it changes.
    pub(crate) fn remove(disk: &dyn Disk, directory: &Path) -> Result<BrokenSeal, StoreError> {
        let path = directory.join(SEAL_FILE);
        // One that cannot be read says nothing; `verify` reports it.
        let seal = Self::read(disk, directory).ok().flatten().unwrap_or_default();
        let stamped = |(name, sum): (String, Sum)| {
            let stamp = disk.stamp(&directory.join(&name))?;
            Some((name, (sum, stamp)))
        };
        let files = seal.files.into_iter().filter_map(stamped).collect();
        let remove = || {
            if disk.exists(&path)? {
                disk.remove(&path)?;
                disk.sync_dir(directory)?;
            }
            Ok(())
        };
        let failed = |source| StoreError::Io { action: "remove", path: path.clone(), source };
        remove().map_err(failed)?;
        Ok(BrokenSeal { files })
    }

    /// What in `directory` is not as it was.
    pub(crate) fn compare(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        tiers: &[Tier],
    ) -> Result<Vec<Finding>, StoreError> {
        let now = sums(disk, directory, tiers, &BrokenSeal::default())?;
        let finding = |name: &str, problem| Finding {
            path: directory.join(name),
            table: "",
            key: String::new(),
            problem,
        };
        let mut findings = Vec::new();
        for (name, sum) in &self.files {
            match now.get(name) {
                None => findings.push(finding(name, Problem::Missing)),
                Some(found) if found != sum => findings.push(finding(name, Problem::Changed)),
                Some(_) => {}
            }
        }
        let unknown = now.keys().filter(|name| !self.files.contains_key(*name));
        findings.extend(unknown.map(|name| finding(name, Problem::Unknown)));
        Ok(findings)
    }
}

fn sums(
    disk: &dyn Disk,
    directory: &Path,
    tiers: &[Tier],
    known: &BrokenSeal,
) -> Result<BTreeMap<String, Sum>, StoreError> {
    let mut names = Vec::new();
    for name in FILES {
        if exists(disk, &directory.join(name))? {
            names.push(name.to_owned());
        }
    }
    for name in DIRECTORIES {
        collect(disk, directory, name, DEPTH_MAX, &mut names)?;
    }
    // Their paths begin at the root, so that joining them to the directory changes nothing.
    for tier in tiers {
        collect(disk, directory, &tier.directory.to_string_lossy(), DEPTH_MAX, &mut names)?;
    }
    let mut sums = BTreeMap::new();
    for name in names {
        let path = directory.join(&name);
        let sum = match known.files.get(&name) {
            Some((sum, stamp)) if disk.stamp(&path) == Some(*stamp) => sum.clone(),
            _ => sum_of(disk, &path)?,
        };
        sums.insert(name, sum);
    }
    Ok(sums)
}

fn exists(disk: &dyn Disk, path: &Path) -> Result<bool, StoreError> {
    let fail = |source| StoreError::Io { action: "find", path: path.to_owned(), source };
    disk.exists(path).map_err(fail)
}

/// The files below `name`; what cannot be listed is a file.
fn collect(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    depth: usize,
    names: &mut Vec<String>,
) -> Result<(), StoreError> {
    let path: PathBuf = directory.join(name);
    if depth == 0 || !exists(disk, &path)? {
        return Ok(());
    }
    match disk.list(&path) {
        Ok(below) => below.iter().try_for_each(|entry| {
            collect(disk, directory, &format!("{name}/{entry}"), depth - 1, names)
        }),
        Err(_) => {
            names.push(name.to_owned());
            Ok(())
        }
    }
}

fn sum_of(disk: &dyn Disk, path: &Path) -> Result<Sum, StoreError> {
    let fail = |source| StoreError::Io { action: "read", path: path.to_owned(), source };
    let file = disk.open_to_read(path).map_err(fail)?;
    let bytes = file.length().map_err(fail)?;
    let mut hash = Xxh3::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < bytes {
        let count = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        file.read(at, &mut piece[..count]).map_err(fail)?;
        hash.update(&piece[..count]);
        at += count as u64;
    }
    Ok(Sum { bytes, checksum: hash.digest128() })
}
