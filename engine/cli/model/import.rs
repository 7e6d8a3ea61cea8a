//! Owns `model import`: a file or folder to a running server, hashed first and streamed then.
//!
//! Refuses to look inside: the server checks what it is. Bound: one buffer at a time.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use truststram_base::limits::MODEL_FILE_BYTES_MAX;

use super::archive::Archive;
use super::{hex, path, show};
use crate::cli::client::{ServerArgument, Upload, encoded};
use crate::cli::{Failure, progress as bars};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ImportArguments {
    /// A .safetensors or .onnx file, a Hugging Face folder, or a tar file of one.
    path: PathBuf,
    /// The model's id; the model is made if need be.
    #[arg(long)]
    id: String,
    /// The version; the one after the newest if absent.
    #[arg(long)]
    version: Option<u32>,
    /// Make it the version that answers those who name none.
    #[arg(long)]
    activate: bool,
    /// Keep it in memory however long nobody asks for it.
    #[arg(long)]
    keep_warm: bool,
    /// Whose it is.
    #[arg(long)]
    owner: Option<String>,
    /// A word to find it by; may be given more than once.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// What people call it; the id if absent.
    #[arg(long)]
    name: Option<String>,
    /// What its owner says of it: a JSON object.
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    #[command(flatten)]
    server: ServerArgument,
}

/// The artifact as a stream, and its length.
fn open(path: &Path) -> Result<(Box<dyn Read>, u64), anyhow::Error> {
    let cannot = || format!("cannot read {}", path.display());
    if std::fs::metadata(path).with_context(cannot)?.is_dir() {
        let archive = Archive::of_folder(path)?;
        let bytes = archive.length();
        return Ok((Box::new(archive), bytes));
    }
    let file = File::open(path).with_context(cannot)?;
    let bytes = file.metadata().with_context(cannot)?.len();
    Ok((Box::new(file), bytes))
}

pub(super) fn run(arguments: &ImportArguments, json: bool) -> Result<(), Failure> {
    if let Some(tag) = arguments.tags.iter().find(|tag| tag.contains(',')) {
        return Err(Failure::Usage(anyhow!("the tag `{tag}` has a comma in it")));
    }
    let (artifact, bytes) = open(&arguments.path)?;
    if bytes > MODEL_FILE_BYTES_MAX {
        let path = arguments.path.display();
        let max = MODEL_FILE_BYTES_MAX;
        return Err(Failure::Failed(anyhow!("{path} is {bytes} bytes, more than {max}")));
    }
    let mut hash = Sha256::new();
    let bar = progress("reading", bytes, json);
    io::copy(&mut bar.wrap_read(artifact), &mut hash)
        .with_context(|| format!("cannot read {}", arguments.path.display()))?;
    bar.finish_and_clear();
    let sha256 = hex(hash);
    // The second time it is sent; if it changed meanwhile, the server sees it by the checksum.
    let (artifact, bytes) = open(&arguments.path)?;
    let bar = progress("sending", bytes, json);
    let upload = Upload { artifact: Box::new(bar.wrap_read(artifact)), bytes, sha256 };
    let (method, path) = target(arguments);
    let answer = arguments.server.upload(method, &path, upload);
    bar.finish_and_clear();
    show::version(&answer?, json)
}

/// The method and address that the version is sent to.
fn target(arguments: &ImportArguments) -> (&'static str, String) {
    let mut query = format!("?activate={}&keep_warm={}", arguments.activate, arguments.keep_warm);
    let tags = arguments.tags.join(",");
    let fields = [
        ("owner", arguments.owner.as_deref()),
        ("name", arguments.name.as_deref()),
        ("metadata", arguments.metadata.as_deref()),
        ("tags", Some(tags.as_str()).filter(|tags| !tags.is_empty())),
    ];
    for (field, value) in fields {
        if let Some(value) = value {
            query.push_str(&format!("&{field}={}", encoded(value)));
        }
    }
    let versions = format!("{}/versions", path(&arguments.id));
    match arguments.version {
        Some(version) => ("PUT", format!("{versions}/{version}{query}")),
        None => ("POST", format!("{versions}{query}")),
    }
}

/// A bar of bytes for people.
fn progress(label: &'static str, bytes: u64, json: bool) -> ProgressBar {
    if json { ProgressBar::hidden() } else { bars::bytes(label, bytes) }
}
