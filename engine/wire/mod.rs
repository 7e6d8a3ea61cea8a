//! Owns the adapters that join crates through their ports: policy to model, model and store to
//! api, everything to metrics and status.
//!
//! Refuses to hold logic of its own: an adapter translates and counts. Bound: what the joined
//! crates bound; the reader's queue by configuration, the loader's by
//! [`policies`].

pub mod background;
pub mod batcher;
pub mod binding;
pub mod convert;
pub mod datasets;
pub mod decisions;
pub mod federated;
pub mod infer;
pub mod inline;
pub mod keys;
pub mod learner;
pub mod metrics;
pub mod operate;
pub mod plugin_status;
pub mod policies;
pub mod predict;
pub mod questions;
pub mod reconfigure;
pub mod records;
pub mod reload;
pub mod replies;
pub mod serving;
pub mod sink;
pub mod slow_queries;
pub mod store_operations;
pub mod strain;
pub mod tensors;
pub mod training;
pub mod upkeep;
pub mod versions;
