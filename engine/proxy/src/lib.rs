//! Floor 3: the gateway on Pingora.
//!
//! Owns listeners, connections, network threads, body limits, the access log and the drain.
//! Refuses to know what a model or a prediction is: it calls an axum `Router` in process.
//! Bound: one thread per network core; bodies by `body_bytes_max`; the drain by its time limit.

mod app;
mod bind;
mod cache;
mod connection;
mod error;
mod exchange;
mod gateway;
mod limit;
mod limiting;
mod stats;

pub use bind::{Bound, bind};
pub use cache::{Cache, CacheOptions, CacheStats, Purge};
pub use error::ProxyError;
pub use gateway::{Drained, Gateway, GatewayOptions, Listener, ThreadStart};
pub use limit::{
    InFlightUse, InFlightZone, Key, Limits, Rate, RateUse, RateZone, USES_MAX, ZoneStats,
};
pub use stats::{GatewayStats, STATUS_CLASSES};
