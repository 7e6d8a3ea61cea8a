//! Owns the answers of a store at rest to `db query`, in the shapes of the HTTP interface.
//!
//! Refuses to know what is shown. Bound: one page, or the figures of all models.

use std::collections::{BTreeMap, HashMap};

use anyhow::anyhow;
use serde_json::{Value, json};
use truststram_base::{ModelEntry, ModelId, ModelVersion, UserId};
use truststram_store::{
    Cursor, JsonPattern, ListedModel, ModelQuery, PredictionPage, PredictionQuery, StoredPrediction,
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
    let mut names = Names { local, classes: HashMap::new() };
    let rows = page.rows.iter().map(|row| names.row(row)).collect::<Result<Vec<_>, _>>()?;
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

/// The names of classes, looked up once for each version.
struct Names<'a> {
    local: &'a Local,
    classes: HashMap<(ModelId, ModelVersion), Vec<String>>,
}

impl Names<'_> {
    fn row(&mut self, stored: &StoredPrediction) -> Result<Value, Failure> {
        let record = &stored.record;
        let key = (record.model.clone(), record.version);
        if !self.classes.contains_key(&key) {
            let entry = self.local.store.model_version(&key.0, key.1).map_err(failed)?;
            let classes = entry.map(|entry| entry.classes).unwrap_or_default();
            self.classes.insert(key.clone(), classes);
        }
        let named = self.classes.get(&key).and_then(|names| names.get(record.class as usize));
        Ok(json!({
            "request_id": record.request.to_string(),
            "model_id": record.model.as_str(),
            "model_version": record.version.0,
            "user_id": record.user.as_ref().map(UserId::as_str),
            "timestamp": time::format(record.timestamp_us),
            "prediction": named.cloned().unwrap_or_else(|| record.class.to_string()),
            "confidence": record.confidence,
            "data": record.features,
        }))
    }
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
    let list = local.store.list_models(query).map_err(failed)?;
    let row = |model: &ListedModel| {
        json!({
            "id": model.id.as_str(),
            "version": model.version.0,
            "owner_id": model.owner.as_ref().map(UserId::as_str),
            "name": model.name,
            "model_type": model.architecture,
            "created": time::format(model.created_us),
            "active": model.active,
        })
    };
    let rows: Vec<Value> = list.rows.iter().map(row).collect();
    let mut answer = json!({ "models": rows, "has_more": list.next.is_some() });
    if explain {
        answer["explain"] = shape::model_plan(&list.plan);
    }
    Ok(answer)
}

pub(super) fn statistics(local: &Local, since_us: i64, explain: bool) -> Result<Value, Failure> {
    // The minute that runs is counted too.
    let until_us = local.clock.utc_us().saturating_add(MINUTE_US);
    let (models, explanation) = local.store.statistics(since_us, until_us).map_err(failed)?;
    let rows = models.iter().map(|of| {
        let mut row = json!({ "model_id": of.model.as_str(), "prediction_count": of.figures.rows });
        shape::figures(&mut row, &of.figures);
        row
    });
    let rows: Vec<Value> = rows.collect();
    let (since, until) = (time::format(since_us), time::format(until_us));
    let mut answer = json!({ "since": since, "until": until, "models": rows });
    if explain {
        answer["explain"] = shape::explanation(&explanation);
    }
    Ok(answer)
}

pub(super) fn performance(local: &Local, model: Option<&ModelId>) -> Result<Value, Failure> {
    let entries = match model {
        None => local.store.models().map_err(failed)?,
        Some(model) => local.store.model_versions(model).map_err(failed)?,
    };
    let mut described: BTreeMap<ModelId, ModelEntry> = BTreeMap::new();
    for entry in entries {
        // By id and version: the active version describes the model, or the newest.
        let is_better = described.get(&entry.id).is_none_or(|known| !known.active);
        if is_better {
            described.insert(entry.id.clone(), entry);
        }
    }
    if let Some(model) = model.filter(|_| described.is_empty()) {
        return Err(Failure::Failed(anyhow!(
            "no model `{model}` is registered; `truststram db query models` lists them"
        )));
    }
    let row = |entry: &ModelEntry| {
        let performance = local.store.performance(&entry.id).map_err(failed)?;
        let mut row = json!({
            "model_id": entry.id.as_str(),
            "name": entry.name,
            "model_type": entry.architecture,
            "total_predictions": performance.all.rows,
            "daily_predictions": performance.day.rows,
        });
        shape::figures(&mut row, &performance.all);
        Ok::<Value, Failure>(row)
    };
    let rows = described.values().map(row).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "models": rows }))
}
