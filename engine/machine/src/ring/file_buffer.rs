//! Owns a file read whole into node-bound memory.
//!
//! Refuses to know what the file holds. Bound: the limit that the caller gives.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use super::seam::Ring;
use crate::error::MachineError;
use crate::memory::NodeBuffer;

/// The bytes of a file.
#[derive(Debug)]
pub struct FileBuffer {
    buffer: NodeBuffer,
}

impl FileBuffer {
    /// The memory that holds them.
    pub fn memory(&self) -> &NodeBuffer {
        &self.buffer
    }
}

impl Deref for FileBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl AsRef<[u8]> for FileBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

/// Reads the file at `path` into memory of `node`.
///
/// # Errors
/// [`MachineError::TooLarge`] for more than `bytes_max` bytes, [`MachineError::NotAFile`], or what
/// the kernel said.
pub fn read_file(
    ring: &mut dyn Ring,
    path: &Path,
    node: Option<u32>,
    bytes_max: u64,
) -> Result<FileBuffer, MachineError> {
    let file = File::open(path).map_err(MachineError::file("open", path))?;
    let facts = file.metadata().map_err(MachineError::file("inspect", path))?;
    if !facts.is_file() {
        return Err(MachineError::NotAFile { path: path.to_owned() });
    }
    let bytes = facts.len();
    let too_large = || MachineError::TooLarge { path: path.to_owned(), bytes, bytes_max };
    if bytes > bytes_max {
        return Err(too_large());
    }
    let size = usize::try_from(bytes).map_err(|_| too_large())?;
    let mut buffer = NodeBuffer::new(size, node)?;
    ring.read_at(&file, &mut buffer, 0).map_err(MachineError::file("read", path))?;
    Ok(FileBuffer { buffer })
}
