//! Owns `GET /api/v1/models` and `GET /api/v1/models/{id}`.
//!
//! Refuses to know where models are kept and how they are found. Bound: without filters every
//! registered version fits one answer, as the registry holds few; with filters a page.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Response, Uri};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use truststram_base::{ModelEntry, ModelId, ModelVersion};
use utoipa::{IntoParams, ToSchema};

use crate::filters::{self, json};
use crate::ports::{Failure, ListedModel, ModelsPage, ModelsPlan, ModelsQuery};
use crate::problem::Problem;
use crate::router::{Ports, Shared, query_of};
use crate::target::NamedModel;
use crate::timestamp;

/// Which models to list; all conditions given must hold of one version. Without any, all models
/// are listed by id.
#[derive(Debug, Default, PartialEq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ModelsFilter {
    /// Of this owner.
    owner_id: Option<String>,
    /// `active` for the active version of each model, `all` for all of them; `all` if absent.
    #[param(value_type = Option<String>)]
    status: Option<StatusFilter>,
    /// Of this kind of network, such as `dense`.
    model_type: Option<String>,
    /// With this version number.
    version: Option<u32>,
    /// With this tag.
    tag: Option<String>,
    /// Registered at or after this time: RFC 3339 in UTC, or microseconds since 1970.
    created_since: Option<String>,
    /// Whose metadata contains this JSON, as `@>` of PostgreSQL.
    metadata: Option<String>,
    /// At most this many versions, 1 to 1000; 100 if absent.
    limit: Option<usize>,
    /// Continue after the page whose `next_cursor` this is.
    cursor: Option<String>,
    /// Say how the models were found and what it cost.
    explain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StatusFilter {
    Active,
    All,
}

/// One registered model. What is said of the whole is said of its active version, or of the newest
/// of `versions` where the active one is not among them.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelResponse {
    /// The model's id.
    #[schema(example = "digits")]
    id: String,
    /// The version that answers when a request names none.
    active_version: Option<u32>,
    /// `active` if there is such a version, else `inactive`.
    status: &'static str,
    /// Whose it is, if somebody's.
    owner_id: Option<String>,
    /// What people call it.
    name: String,
    /// What kind of network it is.
    #[schema(example = "dense")]
    model_type: String,
    /// Words to find it by.
    tags: Vec<String>,
    /// What its owner says of it.
    #[schema(value_type = Object)]
    metadata: Option<Box<RawValue>>,
    /// When it was registered, RFC 3339 in UTC.
    created: String,
    /// Every version, newest first; with filters, those that match and are on this page.
    versions: Vec<VersionResponse>,
}

/// One version of a model.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionResponse {
    /// Counted from 1.
    version: u32,
    /// Whether it answers when a request names none.
    active: bool,
    /// What kind of network it is.
    #[schema(example = "dense")]
    architecture: String,
    /// How many numbers `data` must hold.
    feature_count: u32,
    /// The names that `prediction` can take.
    classes: Vec<String>,
    /// Figures of the training run, for example `held_out_accuracy`.
    metrics: BTreeMap<String, f64>,
    /// When it was registered, RFC 3339 in UTC.
    created: String,
    /// SHA-256 of the model file.
    sha256: String,
    /// Size of the model file in bytes.
    bytes: u64,
    /// Whose it is, if somebody's.
    owner_id: Option<String>,
    /// What people call it.
    name: String,
    /// Words to find it by.
    tags: Vec<String>,
    /// What its owner says of it.
    #[schema(value_type = Object)]
    metadata: Option<Box<RawValue>>,
}

/// Models.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelsResponse {
    /// By id; with filters, newest first.
    models: Vec<ModelResponse>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// How they were found; only with `explain=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<ModelsPlan>,
}

/// List the registered models.
#[utoipa::path(get, path = "/api/v1/models",
    operation_id = "list_models", tag = "models", params(ModelsFilter),
    responses(
        (status = 200, description = "All models by id, or with any parameter a page of those \
         with a version that matches, newest first; `Link: rel=next` leads on",
         body = ModelsResponse),
        (status = 400, description = "A parameter is unknown", body = Problem),
        (status = 422, description = "A parameter is not acceptable", body = Problem),
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn list(State(ports): State<Shared>, uri: Uri) -> Response<Body> {
    match listed(&ports, &uri).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn listed(ports: &Ports, uri: &Uri) -> Result<Response<Body>, Problem> {
    let filter: ModelsFilter = query_of(uri)?;
    if filter == ModelsFilter::default() {
        let models = by_id(ports.records.models().await?);
        return Ok(json(&ModelsResponse { models, next_cursor: None, explain: None }));
    }
    let query = ModelsQuery {
        owner: filters::user("owner_id", filter.owner_id.as_deref())?,
        active_only: filter.status == Some(StatusFilter::Active),
        model_type: filter.model_type,
        version: filter.version.map(ModelVersion),
        tag: filter.tag,
        created_since_us: filters::time("created_since", filter.created_since.as_deref())?,
        metadata: filter.metadata,
        limit: filters::limit(filter.limit)?,
        cursor: filter.cursor,
    };
    let ModelsPage { rows, next, plan } = ports.records.list_models(query).await?;
    let explain = filter.explain.then_some(plan);
    let body = ModelsResponse { models: group(rows), next_cursor: next.clone(), explain };
    Ok(filters::page(&body, uri, next.map(|cursor| ("cursor", cursor))))
}

/// Show one model.
#[utoipa::path(get, path = "/api/v1/models/{id}",
    operation_id = "show_model", tag = "models",
    params(("id" = String, Path, description = "The model's id")),
    responses(
        (status = 200, description = "The model and its versions", body = ModelResponse),
        (status = 404, description = "No such model", body = Problem),
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn show(
    State(ports): State<Shared>,
    NamedModel(model): NamedModel,
) -> Response<Body> {
    match find(&ports, model).await {
        Ok(model) => json(&model),
        Err(problem) => problem.into_response(),
    }
}

async fn find(ports: &Ports, model: ModelId) -> Result<ModelResponse, Problem> {
    let found = by_id(ports.records.versions(model.clone()).await?).pop();
    found.ok_or_else(|| Failure::UnknownModel(model).into())
}

/// Models by id, of all of their versions.
fn by_id(mut entries: Vec<ModelEntry>) -> Vec<ModelResponse> {
    entries.sort_by(|a, b| (&a.id, b.version).cmp(&(&b.id, a.version)));
    let active: BTreeMap<ModelId, ModelVersion> = entries
        .iter()
        .filter(|entry| entry.active)
        .map(|entry| (entry.id.clone(), entry.version))
        .collect();
    let rows = entries.into_iter().map(|entry| {
        let active_version = active.get(&entry.id).copied();
        ListedModel { entry, active_version }
    });
    group(rows.collect())
}

/// Puts versions of one model together, in the order in which they come.
fn group(rows: Vec<ListedModel>) -> Vec<ModelResponse> {
    let mut models: Vec<ModelResponse> = Vec::new();
    let mut places: BTreeMap<ModelId, usize> = BTreeMap::new();
    for ListedModel { entry, active_version } in rows {
        let version = VersionResponse::from(&entry);
        match places.get(&entry.id).and_then(|&place| models.get_mut(place)) {
            Some(model) => {
                if version.active {
                    model.describe(&version);
                }
                model.versions.push(version);
            }
            None => {
                places.insert(entry.id.clone(), models.len());
                let mut model = ModelResponse {
                    id: entry.id.into(),
                    active_version: active_version.map(|version| version.0),
                    status: if active_version.is_some() { "active" } else { "inactive" },
                    owner_id: None,
                    name: String::new(),
                    model_type: String::new(),
                    tags: Vec::new(),
                    metadata: None,
                    created: String::new(),
                    versions: Vec::new(),
                };
                model.describe(&version);
                model.versions.push(version);
                models.push(model);
            }
        }
    }
    models
}

impl ModelResponse {
    /// Takes over what is said of a version.
    fn describe(&mut self, version: &VersionResponse) {
        self.owner_id.clone_from(&version.owner_id);
        self.name.clone_from(&version.name);
        self.model_type.clone_from(&version.architecture);
        self.tags.clone_from(&version.tags);
        self.metadata.clone_from(&version.metadata);
        self.created.clone_from(&version.created);
    }
}

impl From<&ModelEntry> for VersionResponse {
    fn from(entry: &ModelEntry) -> Self {
        Self {
            version: entry.version.0,
            active: entry.active,
            architecture: entry.architecture.clone(),
            feature_count: entry.feature_count,
            classes: entry.classes.clone(),
            metrics: entry.metrics.iter().cloned().collect(),
            created: timestamp::format(entry.created_us),
            sha256: entry.sha256.clone(),
            bytes: entry.bytes,
            owner_id: entry.owner.clone().map(String::from),
            name: entry.name.clone(),
            tags: entry.tags.clone(),
            // The registry keeps nothing else than JSON.
            metadata: RawValue::from_string(entry.metadata_json.clone()).ok(),
        }
    }
}
