//! Owns `import-nginx`.
//!
//! Refuses to convert; `crate::config::nginx` does. Bound: one nginx.conf with what it includes.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{Failure, output};
use crate::config::nginx;

#[derive(Debug, Args)]
pub(super) struct ImportNginxArguments {
    /// The nginx.conf.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the configuration here instead of to standard output. The file must not exist.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Give a configuration even if it lets in whom the nginx.conf keeps out.
    #[arg(long)]
    allow_weaker: bool,
}

pub(super) fn run(arguments: &ImportNginxArguments, json: bool) -> Result<(), Failure> {
    let converted =
        nginx::convert(&arguments.file).map_err(|error| Failure::Usage(error.into()))?;
    if !converted.weaker.is_empty() && !arguments.allow_weaker {
        let lines: Vec<String> = converted.weaker.iter().map(ToString::to_string).collect();
        let what = "what protects cannot be left out; change it, or give --allow-weaker";
        return Err(Failure::Refused(anyhow::anyhow!("{what}\n{}", lines.join("\n"))));
    }
    let toml = format!("# Converted from {}.\n\n{}", arguments.file.display(), converted.toml());
    if let Some(out) = &arguments.out {
        let failed = || format!("cannot write {}", out.display());
        let mut file = File::create_new(out).with_context(failed)?;
        file.write_all(toml.as_bytes()).with_context(failed)?;
    }
    if json {
        return output::json(&json!({
            "config": toml,
            "not_converted": converted.notes,
            "weaker": converted.weaker,
        }));
    }
    for note in converted.weaker.iter().chain(&converted.notes) {
        output::remark(&note.to_string());
    }
    if arguments.out.is_none() { output::text(&toml) } else { Ok(()) }
}
