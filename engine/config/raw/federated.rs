//! Owns the keys of federated learning.
//!
//! Refuses to judge values; `plan` does. Bound: one flat section.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Federated learning: models trained by clients on data that stays with them. What is trained and
/// how is said by `truststram federate start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Federated {
    /// Whether clients are served, at `/api/v1/fl`.
    pub enabled: bool,
    /// Clients that may be enrolled.
    pub clients_max: u32,
    /// Clients that may wait for a task at the same time; more are answered 503.
    pub waiters_max: u32,
    /// Updates that may arrive at the same time; more are answered 503.
    pub uploads_max: u32,
    /// Watchers of `/api/v1/fl/events`.
    pub watchers_max: u32,
    /// Updates of a client that may be refused in a round, before it is answered 429.
    pub refusals_max: u32,
}

impl Default for Federated {
    fn default() -> Self {
        Self {
            enabled: false,
            clients_max: 10_000,
            waiters_max: 1_000,
            uploads_max: 64,
            watchers_max: 32,
            refusals_max: 16,
        }
    }
}
