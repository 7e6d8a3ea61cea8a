//! Owns the answers of a store at rest to `db query`, in the shapes of the HTTP interface.
//!
//! Refuses to know what is shown. Bound: one page, or the figures of all models.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use anyhow::anyhow;
use serde_json::{Value, json};
use truststram_base::{ModelEntry, ModelId, ModelVersion, PredictionRecord, UserId};
use truststram_store::{
    Cursor, JsonPattern, ModelQuery, PredictionPage, PredictionQuery, Rollup, StoredPrediction,
};

use super::place::{Local, failed};
use super::query::{ModelsArguments, PredictionsArguments, Span, model_id, user_id};
use super::{shape, time};
use crate::cli::Failure;

const MINUTE_US: i64 = 60_000_000;

/// Which predictions are asked for.
pub(super) struct Asked {
    query: PredictionQuery,
    owner: Option<UserId>,
    explain: bool,
}

impl Asked {
    pub(super) fn read(arguments: &PredictionsArguments, span: Span) -> Result<Self, Failure> {
        let cursor = arguments.cursor.as_deref().map(str::parse::<Cursor>).transpose();
        let query = PredictionQuery {
            model: arguments.model.as_deref().map(model_id).transpose()?,
            user: arguments.user.as_deref().map(user_id).transpose()?,
            since_us: span.since_us,
            until_us: span.until_us,
            limit: usize::try_from(arguments.limit)?,
            before: cursor.map_err(|error| Failure::Usage(error.into()))?,
        };
        let owner = arguments.owner.as_deref().map(user_id).transpose()?;
        Ok(Self { query, owner, explain: arguments.explain })
    }
}

pub(super) fn predictions(local: &Local, asked: &Asked) -> Result<Value, Failure> {
    let store = &local.store;
    let (page, explanation) = match &asked.owner {
        None => store.explain_predictions(&asked.query).map_err(failed)?,
        Some(owner) => {
            let models = models_of(local, owner)?;
            let since_us = asked.query.since_us.unwrap_or(i64::MIN);
            let found = store.predictions_of_models(&models, since_us, asked.query.limit);
            let (page, explanation) = found.map_err(failed)?;
            // Its cursor means another question.
            (PredictionPage { next: None, ..page }, explanation)
        }
    };
    let mut names = Names { local, entries: HashMap::new() };
    let mut rows = Vec::with_capacity(page.rows.len());
    for stored in &page.rows {
        let mut row = names.row(stored)?;
        if asked.owner.is_some()
            && let Some(entry) = names.entry(&stored.record)?
        {
            row["model_name"] = json!(entry.name);
            row["model_type"] = json!(entry.architecture);
        }
        rows.push(row);
    }
    let mut answer = json!({ "predictions": rows });
    if let Some(next) = page.next {
        answer["next_cursor"] = json!(next.to_string());
    }
    if asked.explain {
        answer["explain"] = shape::explanation(&explanation);
    }
    Ok(answer)
}

/// The models of which any version is this owner's.
fn models_of(local: &Local, owner: &UserId) -> Result<Vec<ModelId>, Failure> {
    let mut query = ModelQuery { owner: Some(owner.clone()), ..ModelQuery::default() };
    let mut models = Vec::new();
    loop {
        let page = local.store.list_models(&query).map_err(failed)?;
        models.extend(page.rows.into_iter().map(|model| model.id));
        let Some(next) = page.next else { break };
        query.before = Some(next);
    }
    models.sort_unstable();
    models.dedup();
    Ok(models)
}

/// What is registered of the versions that answered, looked up once for each.
struct Names<'a> {
    local: &'a Local,
    entries: HashMap<(ModelId, ModelVersion), Option<ModelEntry>>,
}

impl Names<'_> {
    fn entry(&mut self, record: &PredictionRecord) -> Result<Option<&ModelEntry>, Failure> {
        let key = (record.model.clone(), record.version);
        if !self.entries.contains_key(&key) {
            let entry = self.local.store.model_version(&key.0, key.1).map_err(failed)?;
            self.entries.insert(key.clone(), entry);
        }
        Ok(self.entries.get(&key).and_then(Option::as_ref))
    }

    fn row(&mut self, stored: &StoredPrediction) -> Result<Value, Failure> {
        let record = &stored.record;
        let classes = self.entry(record)?.map(|entry| &entry.classes);
        let named = classes.and_then(|classes| classes.get(record.class as usize).cloned());
        Ok(json!({
            "request_id": record.request.to_string(),
            "model_id": record.model.as_str(),
            "model_version": record.version.0,
            "user_id": record.user.as_ref().map(UserId::as_str),
            "timestamp": time::format(record.timestamp_us),
            "prediction": named.unwrap_or_else(|| record.class.to_string()),
            "confidence": decimal(record.confidence),
            "data": record.features.iter().copied().map(decimal).collect::<Vec<_>>(),
        }))
    }
}

/// The number as it is written with the fewest digits; as 64 bits it would show more than was
/// kept. What has no digits is null in JSON.
fn decimal(value: f32) -> Value {
    json!(value.to_string().parse::<f64>().ok().filter(|value| value.is_finite()))
}

pub(super) fn model_query(arguments: &ModelsArguments) -> Result<ModelQuery, Failure> {
    let pattern = arguments.metadata.as_deref().map(JsonPattern::new).transpose();
    Ok(ModelQuery {
        owner: arguments.owner.as_deref().map(user_id).transpose()?,
        active_only: arguments.active,
        architecture: arguments.r#type.clone(),
        metadata_contains: pattern
            .map_err(|problem| Failure::Usage(anyhow!("--metadata {problem}")))?,
        limit: usize::try_from(arguments.limit)?,
        ..ModelQuery::default()
    })
}

pub(super) fn models(local: &Local, query: &ModelQuery, explain: bool) -> Result<Value, Failure> {
    let begun_us = local.clock.monotonic_us();
    let list = local.store.list_models(query).map_err(failed)?;
    let duration_us = local.clock.monotonic_us().saturating_sub(begun_us);
    let mut models: Vec<Value> = Vec::new();
    let mut places: HashMap<ModelId, usize> = HashMap::new();
    for listed in &list.rows {
        let versions = local.store.model_versions(&listed.id).map_err(failed)?;
        let Some(entry) = versions.iter().find(|entry| entry.version == listed.version) else {
            continue;
        };
        let place = *places.entry(entry.id.clone()).or_insert_with(|| {
            let active = versions.iter().find(|entry| entry.active);
            models.push(described(entry, active.map(|entry| entry.version)));
            models.len() - 1
        });
        let Some(model) = models.get_mut(place).and_then(Value::as_object_mut) else { continue };
        if entry.active
            && let Value::Object(said) = said_of(entry)
        {
            model.extend(said);
        }
        if let Some(versions) = model.get_mut("versions").and_then(Value::as_array_mut) {
            versions.push(version(entry));
        }
    }
    let mut answer = json!({ "models": models, "has_more": list.next.is_some() });
    if explain {
        answer["explain"] = shape::model_plan(&list.plan, list.rows.len(), duration_us);
    }
    Ok(answer)
}

/// A model, before its versions.
fn described(entry: &ModelEntry, active: Option<ModelVersion>) -> Value {
    let mut model = said_of(entry);
    model["id"] = json!(entry.id.as_str());
    model["active_version"] = json!(active.map(|version| version.0));
    model["status"] = json!(if active.is_some() { "active" } else { "inactive" });
    model["versions"] = json!([]);
    model
}

/// What is said of a model by one of its versions.
fn said_of(entry: &ModelEntry) -> Value {
    json!({
        "owner_id": entry.owner.as_ref().map(UserId::as_str),
        "name": entry.name,
        "model_type": entry.architecture,
        "tags": entry.tags,
        "metadata": metadata(entry),
        "created": time::format(entry.created_us),
    })
}

fn version(entry: &ModelEntry) -> Value {
    let metrics: BTreeMap<&str, f64> =
        entry.metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    json!({
        "version": entry.version.0,
        "active": entry.active,
        "architecture": entry.architecture,
        "feature_count": entry.feature_count,
        "classes": entry.classes,
        "metrics": metrics,
        "created": time::format(entry.created_us),
        "sha256": entry.sha256,
        "bytes": entry.bytes,
        "owner_id": entry.owner.as_ref().map(UserId::as_str),
        "name": entry.name,
        "tags": entry.tags,
        "metadata": metadata(entry),
    })
}

fn metadata(entry: &ModelEntry) -> Option<Value> {
    serde_json::from_str(&entry.metadata_json).ok()
}

pub(super) fn statistics(local: &Local, since_us: i64, explain: bool) -> Result<Value, Failure> {
    // The minute that runs is counted too.
    let until_us = local.clock.utc_us().saturating_add(MINUTE_US);
    let (counted, explanation) = local.store.statistics(since_us, until_us).map_err(failed)?;
    let mut counted: BTreeMap<ModelId, Rollup> =
        counted.into_iter().map(|of| (of.model, of.figures)).collect();
    let mut entries: Vec<ModelEntry> = by_model(local.store.models().map_err(failed)?);
    entries.sort_by_key(|entry| Reverse(entry.created_us));
    let mut rows: Vec<Value> = Vec::new();
    for entry in &entries {
        let figures = counted.remove(&entry.id).unwrap_or_default();
        rows.push(json!({
            "model_id": entry.id.as_str(),
            "name": entry.name,
            "model_type": entry.architecture,
            "created": time::format(entry.created_us),
            "prediction_count": figures.rows,
            "positive_share": figures.positive_share().unwrap_or(0.0),
        }));
    }
    // Imported predictions need no model.
    rows.extend(counted.iter().map(|(model, figures)| {
        json!({
            "model_id": model.as_str(),
            "prediction_count": figures.rows,
            "positive_share": figures.positive_share().unwrap_or(0.0),
        })
    }));
    let minute = |time_us: i64| time::format(time_us.div_euclid(MINUTE_US) * MINUTE_US);
    let (since, until) = (minute(since_us), minute(until_us));
    let mut answer = json!({ "since": since, "until": until, "models": rows });
    if explain {
        answer["explain"] = shape::explanation(&explanation);
    }
    Ok(answer)
}

/// The figures of one model, or of all that have an active version.
pub(super) fn performance(local: &Local, model: Option<&ModelId>) -> Result<Value, Failure> {
    let Some(model) = model else {
        let entries = by_model(local.store.models().map_err(failed)?);
        let active = entries.iter().filter(|entry| entry.active);
        let rows = active.map(|entry| performed(local, entry)).collect::<Result<Vec<_>, _>>()?;
        return Ok(json!({ "models": rows }));
    };
    match by_model(local.store.model_versions(model).map_err(failed)?).first() {
        Some(entry) => performed(local, entry),
        None => Err(Failure::Failed(anyhow!(
            "no model `{model}` is registered; `truststram db query models` lists them"
        ))),
    }
}

/// One entry of each model, by id: the active version's, or the newest version's.
fn by_model(entries: Vec<ModelEntry>) -> Vec<ModelEntry> {
    let mut found: BTreeMap<ModelId, ModelEntry> = BTreeMap::new();
    for entry in entries {
        if found.get(&entry.id).is_none_or(|known| !known.active) {
            found.insert(entry.id.clone(), entry);
        }
    }
    found.into_values().collect()
}

fn performed(local: &Local, entry: &ModelEntry) -> Result<Value, Failure> {
    let found = local.store.performance(&entry.id).map_err(failed)?;
    Ok(json!({
        "model_id": entry.id.as_str(),
        "name": entry.name,
        "model_type": entry.architecture,
        "total_predictions": found.all.rows,
        "avg_confidence": found.all.confidence_mean(),
        "positive_share": found.all.positive_share(),
        "daily_predictions": found.day.rows,
        "daily_since": time::format(found.day_since_us),
        "last_prediction_time": found.all.last_prediction_us().map(time::format),
        "as_of": time::format(found.as_of_us),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_as_they_were_kept() {
        let check = |value: f32, text: &str| assert_eq!(decimal(value).to_string(), text);
        check(0.1, "0.1");
        check(16.0, "16.0");
        check(f32::MIN_POSITIVE, "1.1754944e-38");
        check(f32::NAN, "null");
        check(f32::INFINITY, "null");
    }
}
