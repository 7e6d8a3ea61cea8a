//! Owns which path leads to which handler, and the answers where none does.
//!
//! Refuses to listen: the gateway calls these routers in process. Bound: fixed tables.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post, put};
use futures_util::future::{BoxFuture, FutureExt};
use http::{Method, Request, Response, StatusCode, Uri};
use serde::de::DeserializeOwned;
use tower_service::Service;
use truststram_base::Kind;

use crate::ports::{
    Datasets, Federated, Infer, Keys, Models, Operate, Policies, Records, Registry,
    StoreOperations, Tensors, Training,
};
use crate::problem::Problem;
use crate::versions::{self, upload};
use crate::{
    admin, batch, cache, datasets, embeddings, federated, keys, models, oip, pages, performance,
    policies, predict, predictions, similarity, store, token, training,
};

/// The engine behind the API.
pub struct Ports {
    /// Makes predictions.
    pub infer: Arc<dyn Infer>,
    /// Runs models on tensors and texts.
    pub tensors: Arc<dyn Tensors>,
    /// Shows and switches models as they serve.
    pub models: Arc<dyn Models>,
    /// Registers versions of models.
    pub registry: Arc<dyn Registry>,
    /// Reads models and predictions.
    pub records: Arc<dyn Records>,
    /// Keeps rows to train on.
    pub datasets: Arc<dyn Datasets>,
    /// Trains a model with clients elsewhere.
    pub federated: Arc<dyn Federated>,
    /// Trains models here.
    pub training: Arc<dyn Training>,
    /// Has the store do what its operator asks.
    pub store: Arc<dyn StoreOperations>,
    /// Describes the process.
    pub operate: Arc<dyn Operate>,
    /// Lists, makes and revokes API keys.
    pub keys: Arc<dyn Keys>,
    /// Lists and exchanges plugins.
    pub policies: Arc<dyn Policies>,
    /// Whether predictions carry `Server-Timing`.
    pub server_timing: bool,
}

/// The engine as each request gets it: one count instead of one for each port.
pub(crate) type Shared = Arc<Ports>;

/// The routes for everybody.
fn public_router(ports: Shared) -> Router {
    Router::new()
        .route("/api/v1/predict", post(predict::predict))
        .route("/api/v1/predict/batch", post(batch::batch))
        .route("/api/v1/predictions", get(predictions::list))
        .route("/api/v1/models", get(models::list))
        .route("/api/v1/models/{id}", get(models::show))
        .route("/api/v1/models/{id}/performance", get(performance::show))
        .merge(version_routes())
        .merge(oip::routes())
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/api/v1/similarity", post(similarity::compare))
        .route("/api/v1/performance", get(performance::list))
        .route("/api/v1/statistics", get(performance::statistics))
        .route("/api/v1/datasets", get(datasets::list))
        .route("/api/v1/datasets/{name}", get(datasets::show).delete(datasets::remove))
        .route("/api/v1/datasets/{name}/rows", get(datasets::rows).post(datasets::append))
        .route("/auth/token", post(token::give))
        .route("/.well-known/jwks.json", get(token::jwks))
        .merge(training::routes())
        .merge(federated::routes())
        .route("/health", get(pages::livez))
        .route("/livez", get(pages::livez))
        .route("/readyz", get(pages::readyz))
        .route("/openapi.json", get(pages::openapi_json))
        .route("/docs", get(pages::docs))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(ports)
}

/// Answers everybody: as their router does, but for the paths that most requests ask without it, as
/// to find them there takes as long as to read the request.
pub fn public_handler(
    ports: Shared,
) -> impl Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync {
    let others = answers_of(public_router(ports.clone()));
    move |request| match (request.method(), request.uri().path()) {
        (&Method::POST, "/api/v1/predict") => {
            predict::predict(State(ports.clone()), request).boxed()
        }
        (&Method::POST, "/v1/embeddings") => {
            embeddings::embed(State(ports.clone()), request).boxed()
        }
        _ => others(request),
    }
}

/// Answers operators, as their router does.
pub fn admin_handler(
    ports: Shared,
) -> impl Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync {
    answers_of(admin_router(ports))
}

fn answers_of(
    router: Router,
) -> impl Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync {
    move |request| {
        let answered = router.clone().call(request);
        answered.map(|answered| answered.unwrap_or_else(|never| match never {})).boxed()
    }
}

/// The routes of versions of models.
fn version_routes() -> Router<Shared> {
    let version = "/api/v1/models/{id}/versions/{version}";
    let below = |action: &str| format!("{version}/{action}");
    Router::new()
        .route("/api/v1/models/{id}/activate", post(versions::activate_in_body))
        .route("/api/v1/models/{id}/rollback", post(versions::roll_back))
        .route("/api/v1/models/{id}/versions", post(upload::next))
        .route(
            version,
            get(versions::show).delete(versions::remove).post(upload::post).merge(put(upload::put)),
        )
        .route(&below("activate"), post(versions::activate))
        .route(&below("canary"), post(versions::canary))
        .route(&below("shadow"), post(versions::shadow))
        .route(&below("retire"), post(versions::retire))
}

/// The routes for operators.
fn admin_router(ports: Shared) -> Router {
    Router::new()
        .route("/metrics", get(admin::metrics))
        .route("/admin/v1/status", get(admin::status))
        .route("/admin/v1/config/reload", post(admin::reload))
        .route("/admin/v1/cache", get(cache::show))
        .route("/admin/v1/cache/purge", post(cache::purge))
        .route("/admin/v1/store", get(store::show))
        .route("/admin/v1/store/{action}", post(store::run))
        .merge(federated::admin_routes())
        .route("/admin/v1/plugins", get(policies::list))
        .route(
            "/admin/v1/plugins/{name}",
            get(policies::show)
                .put(policies::install)
                .delete(policies::remove)
                .post(policies::act)
                // The gateway has limited the body already.
                .layer(DefaultBodyLimit::disable()),
        )
        .route(
            "/admin/v1/plugins/{name}/ask",
            post(policies::ask).layer(DefaultBodyLimit::disable()),
        )
        .route("/admin/v1/plugins/{name}/decisions", get(policies::decisions))
        .route("/auth/token", post(token::give))
        .route("/admin/v1/signing-key/rotate", post(keys::rotate_signer))
        .route("/admin/v1/keys", get(keys::list).post(keys::create))
        .route("/admin/v1/keys/{id}", delete(keys::revoke))
        .route("/admin/v1/keys/{id}/rotate", post(keys::rotate))
        .route("/livez", get(pages::livez))
        .route("/readyz", get(pages::readyz))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(ports)
}

/// Whether the body of a request to the public router is read as it arrives, however large it is:
/// the artifact of a model, or an update of a federated client.
pub fn streams(method: &Method, path: &str) -> bool {
    if federated::streams(method, path) {
        return true;
    }
    if method != Method::PUT && method != Method::POST {
        return false;
    }
    let below = path.strip_prefix("/api/v1/models/").map(|below| below.split('/'));
    let parts: Vec<&str> = below.into_iter().flatten().take(4).collect();
    matches!(parts[..], [_, "versions"] | [_, "versions", _])
}

/// The answer to a request that the gateway refuses before it reaches a router, in the terms of a
/// problem document and in the form that errors have at its place.
pub fn reject(
    uri: &Uri,
    status: u16,
    name: &str,
    title: &'static str,
    detail: String,
) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    refused(uri, Problem::of_status(status, name, title, detail))
}

/// Reads the query string into `T`.
pub(crate) fn query_of<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    match Query::<T>::try_from_uri(uri) {
        Ok(Query(query)) => Ok(query),
        Err(error) => {
            // The rejection's own text names its library; its source says what is wrong.
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let why = source.unwrap_or_else(|| error.to_string());
            Err(Problem::new(Kind::Malformed, format!("the query string cannot be read: {why}")))
        }
    }
}

async fn no_route(uri: Uri) -> Response<Body> {
    let detail = format!("nothing is at {}; /docs lists what is", uri.path());
    refused(&uri, Problem::new(Kind::NotFound, detail))
}

async fn wrong_method(method: Method, uri: Uri) -> Response<Body> {
    let detail = format!("{} does not take {method}; /docs lists what it takes", uri.path());
    let status = StatusCode::METHOD_NOT_ALLOWED;
    refused(&uri, Problem::of_status(status, "method", "Method not allowed", detail))
}

/// A problem in the form that errors have at its place.
fn refused(uri: &Uri, problem: Problem) -> Response<Body> {
    let is_below = |place: &str| {
        let rest = uri.path().strip_prefix(place);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if is_below("/v2") {
        oip::refusal::Refusal::from(problem).into_response()
    } else if is_below("/v1") {
        embeddings::Refusal::from(problem).into_response()
    } else {
        problem.into_response()
    }
}

#[cfg(test)]
mod tests;
