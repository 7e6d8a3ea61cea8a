//! Owns keys and signatures of plugins on disk.
//!
//! Refuses to write over a key. Bound: one file each.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde_json::json;

use super::read;
use crate::cli::{Failure, output};

/// Where the signature of a component is.
pub(super) fn beside(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// Makes a key pair and says the public one.
pub(super) fn make(file: &Path, json: bool) -> Result<(), Failure> {
    let (private, public) = truststram_policy::make_key()
        .ok_or_else(|| anyhow!("the system has no random numbers to give"))?;
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut opened| opened.write_all(&private))
        .with_context(|| format!("cannot write {}", file.display()))?;
    if json {
        return output::json(&json!({ "private_key": file, "public_key": public }));
    }
    output::text(&format!(
        "{}: keep it secret. Servers trust it by:\n\n[policy]\ntrusted_keys = [\"{public}\"]\n",
        file.display()
    ))
}

/// Signs a component.
pub(super) fn sign(component: &Path, key: &Path, json: bool) -> Result<(), Failure> {
    let signature = truststram_policy::sign(&read(key)?, &read(component)?)
        .ok_or_else(|| anyhow!("{} is no key that `plugin key` made", key.display()))?;
    let file = beside(component);
    std::fs::write(&file, format!("{signature}\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    if json {
        return output::json(&json!({ "signature": signature, "file": file }));
    }
    output::text(&format!("{}\n", file.display()))
}
