//! Owns `truststram model`: the models of a running server listed, shown, compared, imported, put
//! to use and removed.
//!
//! Refuses to touch a data directory behind a server's back: it asks the server. Bound: one model
//! at a time.

mod archive;
mod diff;
mod import;
mod optimize;
mod show;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(super) use optimize::read_model;

use super::client::{ServerArgument, encoded};
use super::{Failure, output};

#[derive(Debug, clap::Subcommand)]
pub(super) enum ModelCommand {
    /// List the registered models.
    List {
        #[command(flatten)]
        server: ServerArgument,
    },
    /// Show one model and its versions, or all that is known of one version.
    Show {
        /// The model's id.
        id: String,
        /// The version to show.
        #[arg(long)]
        version: Option<u32>,
        #[command(flatten)]
        server: ServerArgument,
    },
    /// Register a model: a .safetensors or .onnx file, a Hugging Face folder, or a tar file of one.
    ///
    /// The server checks it and answers it to those who name its version; with `--activate` to
    /// everybody.
    Import(import::ImportArguments),
    /// Make another version of a model file that is smaller or faster, and report what it costs.
    Optimize(optimize::OptimizeArguments),
    /// Make a version the one that answers those who name none.
    Activate(Target),
    /// Have a version answer a share of those who name none.
    Canary {
        #[command(flatten)]
        target: Target,
        /// The share in whole percent, 1 to 100; 0 ends the canary.
        #[arg(long, default_value_t = 5)]
        percent: u8,
    },
    /// Have a version asked the same as the active one, only to compare.
    Shadow(Target),
    /// Go back to the version that was active before the present one.
    Rollback {
        /// The model's id.
        id: String,
        #[command(flatten)]
        server: ServerArgument,
    },
    /// Have a version answer no more; it is kept.
    Retire(Target),
    /// Remove a version and its file for good.
    Remove(Target),
    /// Compare two versions of a model: what they take and give, size, figures, operators.
    Diff {
        /// The model's id.
        id: String,
        /// One version.
        a: u32,
        /// The other version.
        b: u32,
        #[command(flatten)]
        server: ServerArgument,
    },
}

/// A version of a model on a server.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The model's id.
    id: String,
    /// The version.
    version: u32,
    #[command(flatten)]
    server: ServerArgument,
}

pub(super) fn run(command: &ModelCommand, json: bool) -> Result<(), Failure> {
    let change = |target: &Target, action: &str, body: &Value| {
        let path = format!("{}/{action}", version_path(&target.id, target.version));
        show::version(&target.server.post(&path, body)?, json)
    };
    match command {
        ModelCommand::List { server } => show::models(&server.get("/api/v1/models")?, json),
        ModelCommand::Show { id, version: None, server } => {
            show::model(&server.get(&path(id))?, json)
        }
        ModelCommand::Show { id, version: Some(version), server } => {
            show::version(&server.get(&version_path(id, *version))?, json)
        }
        ModelCommand::Import(arguments) => import::run(arguments, json),
        ModelCommand::Optimize(arguments) => optimize::run(arguments, json),
        ModelCommand::Activate(target) => change(target, "activate", &json!({})),
        ModelCommand::Canary { target, percent } => {
            change(target, "canary", &json!({ "percent": percent }))
        }
        ModelCommand::Shadow(target) => change(target, "shadow", &json!({})),
        ModelCommand::Rollback { id, server } => {
            let answer = server.post(&format!("{}/rollback", path(id)), &json!({}))?;
            show::version(&answer, json)
        }
        ModelCommand::Retire(target) => change(target, "retire", &json!({})),
        ModelCommand::Remove(target) => {
            let answer = target.server.delete(&version_path(&target.id, target.version))?;
            show::version(&answer, json)
        }
        ModelCommand::Diff { id, a, b, server } => {
            let [a, b] = [a, b].map(|&version| server.get(&version_path(id, version)));
            let differences = diff::compare(&a?, &b?);
            if json { output::json(&differences) } else { output::text(&diff::table(&differences)) }
        }
    }
}

/// A hash as the server takes it, lower-case hexadecimal.
fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn path(id: &str) -> String {
    format!("/api/v1/models/{}", encoded(id))
}

fn version_path(id: &str, version: u32) -> String {
    format!("{}/versions/{version}", path(id))
}
