//! Floor 3: the HTTP interface, as axum routers over ports.
//!
//! Owns paths, bodies, status codes, problem documents and the OpenAPI description.
//! Refuses to know candle, redb, wasmtime and Pingora: what it needs of them are the traits in
//! [`ports`]. Bound: bodies arrive whole and limited; pages and batches by
//! [`truststram_base::limits`].

mod access;
mod admin;
mod batch;
mod cache;
#[allow(unused_qualifications, reason = "what `utoipa` expands to names types in full")]
mod dataset_rows;
#[allow(unused_qualifications, reason = "as above")]
mod datasets;
#[allow(unused_qualifications, reason = "as above")]
mod embeddings;
mod explain;
#[allow(unused_qualifications, reason = "as above")]
mod federated;
mod filters;
mod keys;
mod lists;
#[allow(unused_qualifications, reason = "as above")]
mod models;
#[allow(unused_qualifications, reason = "as above")]
mod oip;
mod openapi;
mod options;
mod pages;
#[allow(unused_qualifications, reason = "as above")]
mod performance;
mod policies;
pub mod ports;
#[allow(unused_qualifications, reason = "as above")]
mod predict;
#[allow(unused_qualifications, reason = "as above")]
mod predictions;
mod problem;
mod router;
#[allow(unused_qualifications, reason = "as above")]
mod similarity;
mod sse;
mod store;
mod target;
#[allow(unused_qualifications, reason = "as above")]
mod tensor;
mod timestamp;
#[allow(unused_qualifications, reason = "as above")]
mod token;
#[allow(unused_qualifications, reason = "as above")]
mod training;
#[allow(unused_qualifications, reason = "as above")]
mod versions;

pub use access::{admin_access, public_access};
pub use problem::{FieldError, Problem};
pub use router::{Ports, admin_handler, public_handler, reject, streams};
