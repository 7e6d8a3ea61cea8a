//! Owns compiled components on disk, so that a restart or a swap back does not compile again.
//!
//! Refuses native code that anybody hands in: it reads only files that it wrote itself, named by
//! the hash of the component and that of the compiler, and each with a hash of its own. Bound:
//! [`FILES_MAX`] files; without a directory everything is compiled each time.
#![allow(unsafe_code, reason = "wasmtime gives compiled code back by an unsafe function only")]

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Files that are kept; beyond, the one written longest ago goes.
const FILES_MAX: usize = 64;
const DIGEST_BYTES: usize = 32;

/// See the module.
pub(crate) struct CompiledCache {
    directory: Option<PathBuf>,
    /// What the compiler and its settings hash to.
    compiler: u64,
}

impl CompiledCache {
    /// A cache in `directory`, which is made if need be, for nobody but this user.
    pub(crate) fn new(engine: &Engine, directory: Option<PathBuf>) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let directory = directory.filter(|directory| {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            if let Err(error) = &made {
                let path = directory.display();
                tracing::warn!(%path, %error, "compiled plugins are not kept");
            }
            made.is_ok()
        });
        Self { directory, compiler: hasher.finish() }
    }

    /// The component with these bytes, whose SHA-256 is `sha256`.
    pub(crate) fn component(
        &self,
        engine: &Engine,
        bytes: &[u8],
        sha256: &str,
    ) -> wasmtime::Result<Component> {
        let Some(directory) = &self.directory else { return Component::new(engine, bytes) };
        let path = directory.join(format!("{sha256}-{:016x}.cwasm", self.compiler));
        if let Some(component) = read(engine, &path) {
            return Ok(component);
        }
        let component = Component::new(engine, bytes)?;
        let written = component.serialize().map_err(|error| error.to_string());
        let written = written
            .and_then(|code| write(directory, &path, &code).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), error, "a compiled plugin is not kept");
        }
        Ok(component)
    }
}

/// The code in `path`, if the file is whole.
fn read(engine: &Engine, path: &Path) -> Option<Component> {
    let file = fs::read(path).ok()?;
    let (digest, code) = file.split_at_checked(DIGEST_BYTES)?;
    if Sha256::digest(code)[..] != *digest {
        tracing::warn!(path = %path.display(), "a compiled plugin is damaged; it is made anew");
        return None;
    }
    // SAFETY: `code` is what `Component::serialize` gave to `write` below, unchanged, as its hash
    // says; the name holds the hash of the compiler with its settings; and the directory is for
    // this user alone, who could replace the binary itself as well.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// Writes the file in one step, so that no half of it is ever read.
fn write(directory: &Path, path: &Path, code: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&Sha256::digest(code))?;
    file.write_all(code)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    make_room(directory)
}

fn make_room(directory: &Path) -> std::io::Result<()> {
    let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    let over = files.len().saturating_sub(FILES_MAX);
    files.iter().take(over).try_for_each(|(_, path)| fs::remove_file(path))
}
