//! Floor 3: the gateway on Pingora.
//!
//! Owns listeners, connections, network threads, TLS, who a request is from, routes, upstream
//! groups, limits, the cache, the access log and the drain.
//! Refuses to know what a model or a prediction is: it calls a `Handler` in process.
//! Bound: one thread per network core; bodies by `body_bytes_max`; the drain by its time limit.

mod accepted;
mod access;
mod admitting;
mod answering;
mod app;
mod auth;
mod authorising;
mod background;
mod bind;
mod byte_set;
mod cache;
mod canned;
mod compress;
mod connection;
mod context;
mod cors;
mod dated;
mod direct;
mod door;
mod dressing;
mod entrance;
mod error;
mod exchange;
mod forwarded;
mod gateway;
mod head;
mod head_timer;
mod limit;
mod limiting;
mod live;
mod logging;
mod overload;
mod proxy_protocol;
mod proxying;
mod refusal;
mod route;
mod stats;
mod strict;
mod tls;
mod upstream;
mod watched;

pub use access::{AccessSpec, COMBINED, Escape, FormatSpec, unknown_variable};
pub use auth::{
    Algorithm, AuthSpec, AuthStats, Authority, FetchStats, FreshKey, Guard, HolderSpec, IssuerSpec,
    KeyRecord, KeySecret, KeySource, Keys, RouteAuth, Seed, Signers, UnknownAlgorithm, fresh,
    fresh_seed,
};
pub use bind::{Bound, bind};
pub use cache::{
    Cache, CacheOptions, CacheRuleSpec, CacheStats, DiskFigures, DiskSpec, Lifetimes, Purge,
};
pub use compress::{CompressionSpec, Encoding};
pub use cors::CorsSpec;
pub use door::Door;
pub use error::ProxyError;
pub use forwarded::RealIp;
pub use gateway::{Drained, Gateway, GatewayOptions, Handler, Listener, ThreadStart};
pub use limit::{
    Counts, DayCount, DayUseSpec, DayZone, InFlightUseSpec, InFlightZone, Key, LimitSpec, Rate,
    RateUseSpec, RateZone, UseSpec, ZoneSpec, ZoneStats, Zones, day_of,
};
pub use live::{Live, ServerFigures, TableSpec, check, unhedged};
pub use overload::{OverloadSpec, OverloadStats, RoutePriority, Strain, StrainSource};
pub use refusal::Refusal;
pub use route::spec::{
    ActionSpec, EditSpec, Fault, PathSpec, RewriteSpec, RouteSpec, Scheme, Timeouts,
};
pub use stats::{GatewayStats, RouteStats, STATUS_CLASSES};
pub use tls::{CertificateSpec, TlsSpec};
pub use upstream::group::{GroupStats, ServerStats};
pub use upstream::spec::{
    BreakerSpec, CheckSpec, GroupSpec, HashKey, HedgeSpec, Policy, Protocol, ServerSpec,
};
