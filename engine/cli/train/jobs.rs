//! Owns what is done to the training jobs of a running server.
//!
//! Refuses to judge a description: the server does. Bound: one job.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use truststram_machine::replace_file;

use super::{JobArgument, JobCommand, TrainArguments};
use crate::cli::client::ServerArgument;
use crate::cli::{Failure, output, progress};

const JOBS: &str = "/api/v1/training/jobs";

pub(super) fn run(command: &JobCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        JobCommand::Jobs(server) => list(server, as_json),
        JobCommand::Show(JobArgument { job, server }) => {
            show(&server.get(&format!("{JOBS}/{job}"))?, as_json)
        }
        JobCommand::Watch(JobArgument { job, server }) => watch(*job, server, as_json),
        JobCommand::Cancel(job) => act(job, "cancel", as_json),
        JobCommand::Resume(job) => act(job, "resume", as_json),
        JobCommand::Report { job: JobArgument { job, server }, output } => {
            report(*job, server, output)
        }
    }
}

/// Has a server train what a description says.
pub(super) fn create(
    spec: &Path,
    arguments: &TrainArguments,
    server: &ServerArgument,
    as_json: bool,
) -> Result<(), Failure> {
    let place = spec.display();
    let text = fs::read_to_string(spec).with_context(|| format!("cannot read {place}"))?;
    let mut body: Value =
        toml::from_str(&text).map_err(|error| Failure::Usage(anyhow!("{place}: {error}")))?;
    if let Some(cores) = arguments.cores {
        body["cores"] = json!(cores);
    }
    let job = server.post(JOBS, &body)?;
    let Some(id) = job["id"].as_u64().filter(|_| !arguments.detach) else {
        return show(&job, as_json);
    };
    watch(id, server, as_json)?;
    match &arguments.report {
        Some(path) => report(id, server, path),
        None => Ok(()),
    }
}

fn act(job: &JobArgument, action: &str, as_json: bool) -> Result<(), Failure> {
    let path = format!("{JOBS}/{}/{action}", job.job);
    show(&job.server.post(&path, &json!({}))?, as_json)
}

fn report(job: u64, server: &ServerArgument, path: &Path) -> Result<(), Failure> {
    let page = server.fetch(&format!("{JOBS}/{job}/report"))?;
    Ok(replace_file(path, &page).with_context(|| format!("cannot write {}", path.display()))?)
}

/// Shows how a job gets on, to its end.
fn watch(job: u64, server: &ServerArgument, as_json: bool) -> Result<(), Failure> {
    let bar = match as_json {
        true => indicatif::ProgressBar::hidden(),
        false => progress::steps("training", 0),
    };
    let mut name = String::new();
    for line in server.lines(&format!("{JOBS}/{job}/events"))? {
        let line = line.context("the server has gone; `truststram train watch` goes on")?;
        if let Some(event) = line.strip_prefix("event: ") {
            event.clone_into(&mut name);
        }
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let data: Value = serde_json::from_str(data)?;
        if as_json {
            output::json(&json!({ "event": name, "data": data }))?;
            continue;
        }
        let progress = if data["progress"].is_object() { &data["progress"] } else { &data };
        if let (Some(step), Some(steps)) = (progress["step"].as_u64(), progress["steps"].as_u64()) {
            bar.set_length(steps);
            bar.set_position(step);
            bar.set_message(words(progress));
        }
        if let (Some(texts), Some(all)) = (data["texts"].as_u64(), data["of"].as_u64()) {
            bar.set_length(all);
            bar.set_position(texts);
            bar.set_message("texts");
        }
        if name == "batch_size" {
            bar.println(format!(
                "memory runs short: {} rows at a time instead of {}",
                data["to"], data["from"]
            ));
        }
    }
    bar.finish_and_clear();
    let job = server.get(&format!("{JOBS}/{job}"))?;
    if !as_json {
        show(&job, false)?;
    }
    match job["state"].as_str() {
        Some("failed") => {
            Err(Failure::Failed(anyhow!("{}", job["detail"].as_str().unwrap_or("it failed"))))
        }
        _ => Ok(()),
    }
}

/// A line of figures.
fn words(progress: &Value) -> String {
    let figure = |name: &str, key: &str, decimals: usize| {
        let value = progress[key].as_f64();
        value.map_or(String::new(), |value| format!(" {name} {value:.decimals$}"))
    };
    format!(
        "epoch {}{}{}{}{}",
        progress["epoch"],
        figure("loss", "loss", 4),
        figure("held-out", "held_out_loss", 4),
        figure("accuracy", "held_out_accuracy", 4),
        figure("rows/s", "samples_per_second", 0),
    )
}

fn list(server: &ServerArgument, as_json: bool) -> Result<(), Failure> {
    let found = server.get(JOBS)?;
    if as_json {
        return output::json(&found);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| value.as_u64().map_or(String::new(), |value| value.to_string());
    let row = |job: &Value| {
        let (progress, result) = (&job["progress"], &job["result"]);
        let accuracy = result["accuracy"].as_f64().or(progress["held_out_accuracy"].as_f64());
        vec![
            number(&job["id"]),
            text(&job["state"]),
            text(&job["model"]),
            number(&result["version"]),
            text(&job["dataset"]),
            format!("{}/{}", progress["step"], progress["steps"]),
            accuracy.map_or(String::new(), |value| format!("{value:.4}")),
            text(&job["created"]),
        ]
    };
    let rows: Vec<Vec<String>> = found["jobs"].as_array().into_iter().flatten().map(row).collect();
    let heads = ["job", "state", "model", "version", "data set", "step", "accuracy", "made"];
    output::text(&output::table(&heads, &rows))
}

fn show(job: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::json(job);
    }
    let mut rows = Vec::new();
    let mut add = |prefix: &str, value: &Value| {
        for (key, value) in value.as_object().into_iter().flatten() {
            let text = match value {
                Value::Null | Value::Object(_) => continue,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            rows.push(vec![format!("{prefix}{}", key.replace('_', " ")), text]);
        }
    };
    add("", job);
    add("", &job["progress"]);
    add("result ", &job["result"]);
    output::text(&output::table(&["training job", ""], &rows))
}
