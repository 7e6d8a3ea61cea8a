//! Floor 3: the HTTP interface, as axum routers over ports.
//!
//! Owns paths, bodies, status codes, problem documents and the OpenAPI description.
//! Refuses to know candle, redb, wasmtime and Pingora: what it needs of them are the traits in
//! [`ports`]. Bound: bodies arrive whole and limited; pages and batches by
//! [`truststram_base::limits`].

mod admin;
mod batch;
mod explain;
mod models;
mod openapi;
mod pages;
mod policies;
pub mod ports;
#[allow(unused_qualifications, reason = "what `utoipa::path` expands to names types in full")]
mod predict;
#[allow(unused_qualifications, reason = "as above")]
mod predictions;
mod problem;
mod router;
mod timestamp;

pub use problem::{FieldError, Problem};
pub use router::{Ports, admin_router, public_router, reject};
