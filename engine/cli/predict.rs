//! Owns `predict`: rows or texts from a file or standard input to a running server, answers as a
//! table.
//!
//! Refuses to predict by itself. Bound: an input of [`INPUT_BYTES_MAX`], asked in batches.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use truststram_base::limits::BATCH_ITEM_COUNT_MAX;

use super::client::ServerArgument;
use super::{Failure, output};

const INPUT_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct PredictArguments {
    /// The file to read; `-` or nothing is standard input.
    file: Option<PathBuf>,
    /// The model to ask.
    #[arg(long, default_value = "digits")]
    model: String,
    /// The version to ask; the active one if absent.
    #[arg(long)]
    model_version: Option<u32>,
    /// Who asks, kept with the predictions.
    #[arg(long)]
    user: Option<String>,
    /// The form of the input; told from its first character if absent.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Answer only after the records are on disk.
    #[arg(long)]
    durable: bool,
    #[command(flatten)]
    server: ServerArgument,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A list of numbers, a list of such lists, or a list of texts.
    Json,
    /// One row a line, numbers separated by commas.
    Csv,
    /// One text a line, for models that take texts.
    Text,
}

pub(super) fn run(arguments: &PredictArguments, as_json: bool) -> Result<(), Failure> {
    let text = input(arguments.file.as_ref())?;
    let rows = rows(&text, arguments.format).map_err(Failure::Usage)?;
    let mut answers = Vec::with_capacity(rows.len());
    let query = if arguments.durable { "?durable=true" } else { "" };
    for batch in rows.chunks(BATCH_ITEM_COUNT_MAX) {
        let items: Vec<Value> = batch.iter().map(|data| request(arguments, data)).collect();
        let path = format!("/api/v1/predict/batch{query}");
        let answer = arguments.server.post(&path, &Value::Array(items))?;
        answers.extend(answer["predictions"].as_array().cloned().unwrap_or_default());
    }
    let failed = answers.iter().filter(|answer| answer.get("error").is_some()).count();
    if as_json {
        output::json(&json!({ "predictions": answers }))?;
    } else {
        output::text(&table(&answers))?;
    }
    if failed > 0 {
        return Err(Failure::Failed(anyhow!("{failed} of {} rows have no answer", answers.len())));
    }
    Ok(())
}

fn input(file: Option<&PathBuf>) -> Result<String, Failure> {
    let mut text = String::new();
    match file.filter(|file| file.as_os_str() != "-") {
        None => std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_string(&mut text)?,
        Some(file) => {
            let opened = std::fs::File::open(file)
                .with_context(|| format!("cannot open {}", file.display()))
                .map_err(Failure::Usage)?;
            opened
                .take(INPUT_BYTES_MAX)
                .read_to_string(&mut text)
                .with_context(|| format!("cannot read {}", file.display()))?
        }
    };
    Ok(text)
}

fn request(arguments: &PredictArguments, data: &Value) -> Value {
    let field = if data.is_string() { "text" } else { "data" };
    let mut request = json!({ "model_id": arguments.model, field: data });
    if let Some(version) = arguments.model_version {
        request["version"] = version.into();
    }
    if let Some(user) = &arguments.user {
        request["user_id"] = user.as_str().into();
    }
    request
}

/// Each row as a JSON list of numbers, or as a text.
fn rows(text: &str, format: Option<Format>) -> anyhow::Result<Vec<Value>> {
    let looks_like_json = text.trim_start().starts_with('[');
    let guessed = if looks_like_json { Format::Json } else { Format::Csv };
    let rows = match format.unwrap_or(guessed) {
        Format::Json => json_rows(serde_json::from_str(text).context("the input is not JSON")?)?,
        Format::Csv => csv_rows(text)?,
        Format::Text => {
            text.lines().filter(|line| !line.trim().is_empty()).map(Value::from).collect()
        }
    };
    if rows.is_empty() {
        return Err(anyhow!("the input holds no rows"));
    }
    Ok(rows)
}

fn json_rows(value: Value) -> anyhow::Result<Vec<Value>> {
    match value {
        Value::Array(items) if items.iter().all(Value::is_array) => Ok(items),
        Value::Array(items) if items.iter().all(Value::is_string) => Ok(items),
        Value::Array(items) => Ok(vec![Value::Array(items)]),
        _ => Err(anyhow!("the input must be a list of numbers, of such lists or of texts")),
    }
}

fn csv_rows(text: &str) -> anyhow::Result<Vec<Value>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let numbers = line.split(',').enumerate().map(|(column, cell)| {
                let number = cell.trim().parse::<f64>().ok().filter(|number| number.is_finite());
                number.with_context(|| {
                    let (line, column) = (index + 1, column + 1);
                    format!("line {line}, column {column}: `{}` is not a number", cell.trim())
                })
            });
            numbers.collect::<anyhow::Result<Vec<f64>>>().map(|numbers| json!(numbers))
        })
        .collect()
}

fn table(answers: &[Value]) -> String {
    let row = |(index, answer): (usize, &Value)| {
        let (prediction, confidence) = match answer["error"]["detail"].as_str() {
            Some(detail) => (format!("error: {detail}"), String::new()),
            None => (
                answer["prediction"].as_str().unwrap_or("-").to_owned(),
                answer["confidence"].as_f64().map_or("-".to_owned(), |share| format!("{share:.4}")),
            ),
        };
        vec![(index + 1).to_string(), prediction, confidence]
    };
    let rows: Vec<Vec<String>> = answers.iter().enumerate().map(row).collect();
    output::table(&["row", "prediction", "confidence"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_from_either_form() {
        let check = |text: &str, expected: Result<usize, &str>| match (rows(text, None), expected) {
            (Ok(rows), Ok(count)) => assert_eq!(rows.len(), count, "{text}"),
            (Err(error), Err(part)) => {
                assert!(format!("{error:#}").contains(part), "{text}: {error:#}");
            }
            (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
        };
        check("1,2,3\n4,5,6\n", Ok(2));
        check("[1,2,3]", Ok(1));
        check("[[1,2],[3,4],[5,6]]", Ok(3));
        check("1,x\n", Err("line 1, column 2: `x` is not a number"));
        check("1,2\n3,NaN\n", Err("line 2, column 2"));
        check(r#"["one","two"]"#, Ok(2));
        check(r#"["one",2]"#, Ok(1));
        check("[1,", Err("not JSON"));
        check("", Err("no rows"));
        let texts = rows("[one]\n\n two\n", Some(Format::Text)).unwrap();
        assert_eq!(texts, ["[one]", " two"]);
    }
}
