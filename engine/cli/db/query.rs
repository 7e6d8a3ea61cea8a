//! Owns `db query`: the questions that the HTTP interface answers, put to a store at rest too.
//!
//! Refuses to know how rows are found; `--explain` says it. Bound: one page.

use anyhow::anyhow;
use serde_json::Value;
use truststram_base::limits::PAGE_ROW_COUNT_MAX;
use truststram_base::{Clock, IdError, ModelId, SystemClock, UserId};

use super::place::PublicPlace;
use super::{answer, shape, time};
use crate::cli::client::encoded;
use crate::cli::{Failure, output};

const LIMIT_MAX: u64 = PAGE_ROW_COUNT_MAX as u64;

#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum QueryCommand {
    /// Kept predictions, newest first.
    Predictions(PredictionsArguments),
    /// Registered versions of models, newest first.
    Models(ModelsArguments),
    /// How many predictions each model has made, and how sure it was.
    Statistics {
        /// From this time on: 7d, 24h or 90m before now, or RFC 3339; cut to whole minutes.
        #[arg(long, value_name = "TIME", default_value = "7d")]
        since: String,
        /// Show how the figures were found.
        #[arg(long)]
        explain: bool,
        #[command(flatten)]
        place: PublicPlace,
    },
    /// All predictions and those of a day, of each model.
    Performance {
        /// Only this model.
        model: Option<String>,
        #[command(flatten)]
        place: PublicPlace,
    },
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PredictionsArguments {
    /// Only this model's.
    #[arg(long)]
    pub(super) model: Option<String>,
    /// Only this user's.
    #[arg(long)]
    pub(super) user: Option<String>,
    /// Only those of this owner's models; of the last 7 days where --since says nothing else.
    #[arg(long, conflicts_with_all = ["model", "user", "until", "cursor"])]
    pub(super) owner: Option<String>,
    /// Made at or after this time: 7d, 24h or 90m before now, or RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Made at or before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 100, value_parser = page_rows())]
    pub(super) limit: u64,
    /// Go on after the page that gave this cursor.
    #[arg(long)]
    pub(super) cursor: Option<String>,
    /// Show how the rows were found.
    #[arg(long)]
    pub(super) explain: bool,
    /// Show what was asked, too.
    #[arg(long)]
    pub(super) features: bool,
    #[command(flatten)]
    place: PublicPlace,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ModelsArguments {
    /// Only this owner's.
    #[arg(long)]
    pub(super) owner: Option<String>,
    /// Only the active version of each model.
    #[arg(long)]
    pub(super) active: bool,
    /// Only this kind of network, for instance `dense`.
    #[arg(long, value_name = "TYPE")]
    pub(super) r#type: Option<String>,
    /// Only those whose metadata contains this JSON object, as `@>` of PostgreSQL.
    #[arg(long, value_name = "JSON")]
    pub(super) metadata: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 100, value_parser = page_rows())]
    pub(super) limit: u64,
    /// Show how the versions were found.
    #[arg(long)]
    pub(super) explain: bool,
    #[command(flatten)]
    place: PublicPlace,
}

/// How many rows a page may have.
fn page_rows() -> clap::builder::RangedU64ValueParser {
    clap::builder::RangedU64ValueParser::new().range(1..=LIMIT_MAX)
}

/// A span of time, microseconds UTC.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) since_us: Option<i64>,
    pub(super) until_us: Option<i64>,
}

impl Span {
    /// Reads both ends as they were typed.
    pub(super) fn read(since: Option<&String>, until: Option<&String>) -> Result<Self, Failure> {
        let now_us = SystemClock::new().utc_us();
        let read = |name: &str, text: Option<&String>| {
            let time = text.map(|text| time::parse(text, now_us)).transpose();
            time.map_err(|error| Failure::Usage(error.context(format!("--{name}"))))
        };
        Ok(Self { since_us: read("since", since)?, until_us: read("until", until)? })
    }
}

pub(super) fn run(command: &QueryCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        QueryCommand::Predictions(arguments) => predictions(arguments, as_json),
        QueryCommand::Models(arguments) => models(arguments, as_json),
        QueryCommand::Statistics { since, explain, place } => {
            let span = Span::read(Some(since), None)?;
            let since_us = span.since_us.unwrap_or(i64::MIN);
            let mut address = Address::new("/api/v1/statistics");
            address.add("since", Some(&since_us.to_string()));
            address.add("all", Some("true"));
            address.add("explain", explain.then_some("true"));
            let found =
                place.get(&address.0, |local| answer::statistics(local, since_us, *explain))?;
            let columns = [
                ("model", "model_id"),
                ("type", "model_type"),
                ("predictions", "prediction_count"),
                ("share above 0.5", "positive_share"),
                ("created", "created"),
            ];
            show(&found, "models", &columns, as_json)
        }
        QueryCommand::Performance { model, place } => {
            let model = model.as_deref().map(model_id).transpose()?;
            let path = match &model {
                Some(model) => format!("/api/v1/models/{model}/performance"),
                None => "/api/v1/performance".to_owned(),
            };
            let found = place.get(&path, |local| answer::performance(local, model.as_ref()))?;
            let columns = [
                ("model", "model_id"),
                ("type", "model_type"),
                ("predictions", "total_predictions"),
                ("in 24 h", "daily_predictions"),
                ("mean confidence", "avg_confidence"),
                ("last", "last_prediction_time"),
            ];
            show(&found, "models", &columns, as_json)
        }
    }
}

fn predictions(arguments: &PredictionsArguments, as_json: bool) -> Result<(), Failure> {
    let mut span = Span::read(arguments.since.as_ref(), arguments.until.as_ref())?;
    if arguments.owner.is_some() && span.since_us.is_none() {
        span = Span::read(Some(&"7d".to_owned()), None)?;
    }
    let asked = answer::Asked::read(arguments, span)?;
    let mut address = Address::new("/api/v1/predictions");
    address.add("model_id", arguments.model.as_deref());
    address.add("user_id", arguments.user.as_deref());
    address.add("owner_id", arguments.owner.as_deref());
    address.add("since", span.since_us.map(|time| time.to_string()).as_deref());
    address.add("until", span.until_us.map(|time| time.to_string()).as_deref());
    address.add("limit", Some(&arguments.limit.to_string()));
    address.add("cursor", arguments.cursor.as_deref());
    address.add("explain", arguments.explain.then_some("true"));
    let mut found = arguments.place.get(&address.0, |local| answer::predictions(local, &asked))?;
    let mut columns = vec![
        ("time", "timestamp"),
        ("model", "model_id"),
        ("version", "model_version"),
        ("user", "user_id"),
        ("prediction", "prediction"),
        ("confidence", "confidence"),
        ("request", "request_id"),
    ];
    if arguments.features {
        columns.push(("features", "data"));
    } else if let Some(rows) = found["predictions"].as_array_mut() {
        for row in rows.iter_mut().filter_map(Value::as_object_mut) {
            row.remove("data");
        }
    }
    show(&found, "predictions", &columns, as_json)
}

fn models(arguments: &ModelsArguments, as_json: bool) -> Result<(), Failure> {
    let query = answer::model_query(arguments)?;
    let mut address = Address::new("/api/v1/models");
    address.add("owner_id", arguments.owner.as_deref());
    address.add("status", Some(if arguments.active { "active" } else { "all" }));
    address.add("model_type", arguments.r#type.as_deref());
    address.add("metadata", arguments.metadata.as_deref());
    address.add("limit", Some(&arguments.limit.to_string()));
    address.add("explain", arguments.explain.then_some("true"));
    let explain = arguments.explain;
    let found = arguments.place.get(&address.0, |local| answer::models(local, &query, explain))?;
    if as_json {
        return output::json(&found);
    }
    let columns = [
        ("id", "id"),
        ("version", "version"),
        ("active", "active"),
        ("type", "architecture"),
        ("owner", "owner_id"),
        ("name", "name"),
        ("created", "created"),
    ];
    let table = shape::table(&versions(&found), &columns);
    output::text(&format!("{table}{}", shape::explained(&found)))?;
    if found["has_more"] == true || found["next_cursor"].is_string() {
        output::remark("there is more: raise --limit, or narrow the question");
    }
    Ok(())
}

/// Every version in a list of models, with its model's id.
fn versions(found: &Value) -> Vec<Value> {
    let models = found["models"].as_array().into_iter().flatten();
    let of = |model: &Value| {
        let versions = model["versions"].as_array().cloned().unwrap_or_default();
        let id = model["id"].clone();
        versions.into_iter().map(move |mut version| {
            version["id"] = id.clone();
            version
        })
    };
    models.flat_map(of).collect()
}

fn show(found: &Value, rows: &str, columns: &[(&str, &str)], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::json(found);
    }
    // One thing that was asked for by name is not in a list.
    let rows = found[rows].as_array().map_or(std::slice::from_ref(found), Vec::as_slice);
    output::text(&format!("{}{}", shape::table(rows, columns), shape::explained(found)))?;
    if let Some(cursor) = found["next_cursor"].as_str() {
        output::remark(&format!("there is more: --cursor {cursor}"));
    }
    Ok(())
}

/// A model's id as it was typed.
pub(super) fn model_id(text: &str) -> Result<ModelId, Failure> {
    ModelId::new(text).map_err(|problem| wrong_id("model id", text, problem))
}

/// A user's or owner's id as it was typed.
pub(super) fn user_id(text: &str) -> Result<UserId, Failure> {
    UserId::new(text).map_err(|problem| wrong_id("user id", text, problem))
}

fn wrong_id(what: &str, text: &str, problem: IdError) -> Failure {
    Failure::Usage(anyhow!("the {what} `{text}` {problem}"))
}

/// A path with its query.
struct Address(String);

impl Address {
    fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    fn add(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        let joint = if self.0.contains('?') { '&' } else { '?' };
        self.0.push_str(&format!("{joint}{name}={}", encoded(value)));
    }
}
