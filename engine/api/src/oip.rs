//! Owns `/v2`, the Open Inference Protocol over HTTP with Triton's extensions: which path leads to
//! which handler.
//!
//! Refuses problem documents: errors here are `{"error": "…"}`, as the protocol says. Bound: a
//! fixed table.

pub(crate) mod encoding;
pub(crate) mod infer;
pub(crate) mod models;
pub(crate) mod refusal;
pub(crate) mod repository;
mod request;
mod response;
pub(crate) mod server;
pub(crate) mod statistics;

use axum::Router;
use axum::routing::{get, post};

use crate::router::Shared;

/// The routes below `/v2`.
pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2", get(server::show))
        .route("/v2/health/live", get(server::live))
        .route("/v2/health/ready", get(server::ready))
        .route("/v2/models/stats", get(statistics::all))
        .route("/v2/models/{model}", get(models::show))
        .route("/v2/models/{model}/ready", get(models::ready))
        .route("/v2/models/{model}/config", get(models::config))
        .route("/v2/models/{model}/infer", post(infer::infer))
        .route("/v2/models/{model}/stats", get(statistics::show))
        .route("/v2/models/{model}/versions/{version}", get(models::show_version))
        .route("/v2/models/{model}/versions/{version}/ready", get(models::ready_version))
        .route("/v2/models/{model}/versions/{version}/config", get(models::config_version))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer::infer_version))
        .route("/v2/models/{model}/versions/{version}/stats", get(statistics::show_version))
        .route("/v2/repository/index", post(repository::index))
        .route("/v2/repository/models/{model}/load", post(repository::load))
        .route("/v2/repository/models/{model}/unload", post(repository::unload))
}
