//! Owns the restoring of a backup into a new directory.
//!
//! Every file is compared with the manifest as it is copied, and the directory appears only when
//! all are there. Refuses to overwrite anything. Bound: one file at a time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use super::archive::{MANIFEST, Manifest, ManifestFile, OnProgress, copy_file, copy_stream};
use super::backup::sync_parent;
use super::month::failed;
use super::{BackupProgress, BackupReport};
use crate::database_file::unfinished;
use crate::error::{BackupProblem, StoreError};

/// Restores the backup `from`, a directory or a tar file, to `to`, which must not exist or be
/// empty.
///
/// # Errors
/// [`StoreError::Backup`] if it is no backup, a file differs from the manifest, or something is at
/// `to`; nothing is left there then.
pub fn restore(
    from: &Path,
    to: &Path,
    on_progress: &mut dyn FnMut(&BackupProgress) -> bool,
) -> Result<BackupReport, StoreError> {
    let is_free = match fs::read_dir(to) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !to.exists(),
    };
    if !is_free {
        return Err(StoreError::Backup { path: to.to_owned(), problem: BackupProblem::Exists });
    }
    let directory = unfinished(to);
    let remove = || {
        let _ = fs::remove_dir_all(&directory);
    };
    remove();
    let restored = if from.is_dir() {
        from_directory(from, &directory, on_progress)
    } else {
        from_tar(from, &directory, on_progress)
    };
    let finished = restored.and_then(|manifest| {
        if to.exists() {
            fs::remove_dir(to).map_err(failed("replace the empty", to))?;
        }
        fs::rename(&directory, to).map_err(failed("rename", &directory))?;
        sync_parent(to)?;
        Ok(manifest)
    });
    remove();
    let manifest = finished?;
    Ok(BackupReport {
        files: manifest.files.len() as u64,
        bytes: manifest.files.iter().map(|file| file.bytes).sum(),
        rows: manifest.rows,
        path: to.to_owned(),
    })
}

fn from_directory(
    from: &Path,
    to: &Path,
    on_progress: OnProgress<'_>,
) -> Result<Manifest, StoreError> {
    let problem = |problem| StoreError::Backup { path: from.to_owned(), problem };
    let Ok(file) = File::open(from.join(MANIFEST)) else {
        return Err(problem(BackupProblem::NoManifest));
    };
    let manifest = Manifest::read(file, from)?;
    let mut on_bytes = counted(&manifest, on_progress);
    fs::create_dir_all(to).map_err(failed("create", to))?;
    for file in &manifest.files {
        let source = from.join(&file.path);
        if !source.is_file() {
            return Err(problem(BackupProblem::Changed { name: file.path.clone() }));
        }
        match copy_file(&source, &to.join(&file.path), &mut on_bytes)? {
            None => return Err(problem(BackupProblem::Ended)),
            Some(found) => compare(from, file, &found)?,
        }
    }
    Ok(manifest)
}

fn from_tar(from: &Path, to: &Path, on_progress: OnProgress<'_>) -> Result<Manifest, StoreError> {
    let problem = |problem| StoreError::Backup { path: from.to_owned(), problem };
    let file = File::open(from).map_err(failed("open", from))?;
    let mut archive = tar::Archive::new(std::io::BufReader::with_capacity(1 << 20, file));
    let mut entries = archive.entries().map_err(failed("read", from))?;
    let first = entries.next().and_then(Result::ok);
    let first = first.filter(|entry| entry.path().is_ok_and(|path| path == Path::new(MANIFEST)));
    let Some(first) = first else { return Err(problem(BackupProblem::NoManifest)) };
    let manifest = Manifest::read(first, from)?;
    let mut missing: HashMap<&str, &ManifestFile> =
        manifest.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut on_bytes = counted(&manifest, on_progress);
    for entry in entries {
        let mut entry = entry.map_err(failed("read", from))?;
        let name = entry.path().map_err(failed("read", from))?.to_string_lossy().into_owned();
        // Only what the manifest names, which lies below.
        let Some(file) = missing.remove(name.as_str()) else {
            return Err(problem(BackupProblem::Changed { name }));
        };
        let path = to.join(&file.path);
        let parent = path.parent().unwrap_or(to);
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
        let mut target = File::create_new(&path).map_err(failed("create", &path))?;
        let copied = copy_stream(&mut entry, &mut target, &mut on_bytes);
        match copied.map_err(failed("unpack", &path))? {
            None => return Err(problem(BackupProblem::Ended)),
            Some(found) => compare(from, file, &found)?,
        }
        target.sync_all().map_err(failed("sync", &path))?;
    }
    match missing.into_keys().next() {
        None => Ok(manifest),
        Some(name) => Err(problem(BackupProblem::Changed { name: name.to_owned() })),
    }
}

fn counted<'a>(
    manifest: &Manifest,
    on_progress: OnProgress<'a>,
) -> impl FnMut(u64) -> bool + use<'a> {
    let bytes_total = manifest.files.iter().map(|file| file.bytes).sum();
    let mut progress = BackupProgress { bytes: 0, bytes_total };
    move |count| {
        progress.bytes += count;
        on_progress(&progress)
    }
}

fn compare(
    backup: &Path,
    file: &ManifestFile,
    (bytes, sha256): &(u64, String),
) -> Result<(), StoreError> {
    if *bytes == file.bytes && *sha256 == file.sha256 {
        return Ok(());
    }
    let problem = BackupProblem::Changed { name: file.path.clone() };
    Err(StoreError::Backup { path: backup.to_owned(), problem })
}
