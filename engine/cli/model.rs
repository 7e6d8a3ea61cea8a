//! Owns `model list` and `model show`.
//!
//! Refuses to change models. Bound: the registry of one server.

use serde_json::Value;

use super::client::ServerArgument;
use super::{Failure, output};

#[derive(Debug, clap::Subcommand)]
pub(super) enum ModelCommand {
    /// List the registered models.
    List {
        #[command(flatten)]
        server: ServerArgument,
    },
    /// Show one model and its versions.
    Show {
        /// The model's id.
        id: String,
        #[command(flatten)]
        server: ServerArgument,
    },
}

pub(super) fn run(command: &ModelCommand, json: bool) -> Result<(), Failure> {
    match command {
        ModelCommand::List { server } => {
            let answer = server.get("/api/v1/models")?;
            if json { output::json(&answer) } else { output::text(&list(&answer)) }
        }
        ModelCommand::Show { id, server } => {
            let answer = server.get(&format!("/api/v1/models/{id}"))?;
            if json { output::json(&answer) } else { output::text(&show(&answer)) }
        }
    }
}

fn list(answer: &Value) -> String {
    let models = answer["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |model: &Value| {
        let active = model["versions"].as_array().into_iter().flatten();
        let active = active.clone().find(|version| version["active"] == true);
        let version = active.unwrap_or(&Value::Null);
        vec![
            cell(&model["id"]),
            cell(&model["active_version"]),
            cell(&version["architecture"]),
            cell(&version["feature_count"]),
            version["classes"].as_array().map_or(0, Vec::len).to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = models.iter().map(row).collect();
    output::table(&["id", "active version", "architecture", "features", "classes"], &rows)
}

fn show(model: &Value) -> String {
    let versions = model["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |version: &Value| {
        let metrics = version["metrics"].as_object().into_iter().flatten();
        let metrics: Vec<String> =
            metrics.map(|(name, value)| format!("{name}={}", cell(value))).collect();
        vec![
            cell(&version["version"]),
            cell(&version["active"]),
            cell(&version["architecture"]),
            cell(&version["feature_count"]),
            cell(&version["created"]),
            metrics.join(" "),
        ]
    };
    let rows: Vec<Vec<String>> = versions.iter().map(row).collect();
    let heads = ["version", "active", "architecture", "features", "created", "metrics"];
    format!("model {}\n{}", cell(&model["id"]), output::table(&heads, &rows))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(decimal) => format!("{decimal:.4}"),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}
