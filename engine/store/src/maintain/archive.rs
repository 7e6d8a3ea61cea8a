//! Owns the manifest of a backup and its two forms: a directory, or a tar file of it.
//!
//! `manifest.json` names each file with its size and SHA-256, so that a backup can be checked
//! without this program: `jq -r '.files[] | "\(.sha256)  \(.path)"' manifest.json | sha256sum -c`.
//! Refuses to know what the files hold. Bound: [`FILE_COUNT_MAX`] files.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BackupProgress;
use super::month::failed;
use crate::error::{BackupProblem, StoreError};

/// The manifest's name in a backup.
pub(super) const MANIFEST: &str = "manifest.json";
/// Most files of a backup.
const FILE_COUNT_MAX: usize = 1_000_000;
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
const PIECE_BYTES: usize = 1 << 20;

/// The form of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupFormat {
    /// A directory.
    Directory,
    /// One tar file.
    Tar,
}

/// What a backup has.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The layout of the manifest.
    pub(super) manifest: u32,
    /// The format of the store's files.
    pub(super) format: u64,
    /// When it was made, microseconds UTC.
    pub(super) created_us: i64,
    /// Predictions in it.
    pub(super) rows: u64,
    pub(super) files: Vec<ManifestFile>,
}

/// One file of a backup.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ManifestFile {
    /// Below the backup, with `/` between the parts.
    pub(super) path: String,
    pub(super) bytes: u64,
    /// Lower-case hexadecimal.
    pub(super) sha256: String,
}

/// Told of progress; says whether to go on.
pub(super) type OnProgress<'a> = &'a mut dyn FnMut(&BackupProgress) -> bool;

/// Copies `from` to `to` and syncs it; its size and SHA-256.
pub(super) fn copy_stream(
    mut from: impl Read,
    to: &mut impl Write,
    mut on_bytes: impl FnMut(u64) -> bool,
) -> io::Result<Option<(u64, String)>> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut bytes = 0;
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            break;
        }
        hash.update(&piece[..count]);
        to.write_all(&piece[..count])?;
        bytes += count as u64;
        if !on_bytes(count as u64) {
            return Ok(None);
        }
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some((bytes, sha256)))
}

/// Copies a file; `None` if it was ended.
pub(super) fn copy_file(
    from: &Path,
    to: &Path,
    on_bytes: impl FnMut(u64) -> bool,
) -> Result<Option<(u64, String)>, StoreError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
    }
    let source = File::open(from).map_err(failed("open", from))?;
    let mut target = File::create_new(to).map_err(failed("create", to))?;
    let copied = copy_stream(source, &mut target, on_bytes).map_err(failed("copy", from))?;
    target.sync_all().map_err(failed("sync", to))?;
    Ok(copied)
}

/// The size and SHA-256 of a file.
pub(super) fn sum_of(path: &Path) -> Result<(u64, String), StoreError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let sum = copy_stream(file, &mut io::sink(), |_| true).map_err(failed("read", path))?;
    Ok(sum.unwrap_or_default())
}

impl Manifest {
    /// Writes it into the backup in `directory`.
    pub(super) fn write(&self, directory: &Path) -> Result<(), StoreError> {
        let path = directory.join(MANIFEST);
        let mut file = File::create_new(&path).map_err(failed("create", &path))?;
        let mut write = || -> io::Result<()> {
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        write().map_err(failed("write", &path))
    }

    /// Reads and checks that of the backup at `path`.
    pub(super) fn read(from: impl Read, path: &Path) -> Result<Self, StoreError> {
        let problem = |problem| StoreError::Backup { path: path.to_owned(), problem };
        let manifest: Self = serde_json::from_reader(from.take(MANIFEST_BYTES_MAX))
            .map_err(|_| problem(BackupProblem::Manifest))?;
        let is_sound = manifest.manifest == 1
            && manifest.files.len() <= FILE_COUNT_MAX
            && manifest.files.iter().all(|file| is_below(&file.path));
        if is_sound { Ok(manifest) } else { Err(problem(BackupProblem::Manifest)) }
    }
}

/// Whether the path leads to a place below where it begins, and nowhere else.
pub(super) fn is_below(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Packs the finished backup in `directory` into the file `tar`.
pub(super) fn pack(directory: &Path, manifest: &Manifest, tar: &Path) -> Result<(), StoreError> {
    let file = File::create_new(tar).map_err(failed("create", tar))?;
    let mut builder = tar::Builder::new(io::BufWriter::with_capacity(PIECE_BYTES, file));
    let mut add = |name: &str| {
        let path = directory.join(name);
        builder.append_path_with_name(&path, name).map_err(failed("pack", &path))
    };
    // First, so that what follows can be checked as it is unpacked.
    add(MANIFEST)?;
    manifest.files.iter().try_for_each(|file| add(&file.path))?;
    let finish = || {
        let buffered = builder.into_inner()?;
        buffered.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    };
    finish().map_err(failed("write", tar))
}
