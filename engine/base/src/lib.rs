//! Floor 0: the vocabulary that every crate shares.
//!
//! Owns ids, limits, error kinds, the clock, the prediction record and lock-free counters.
//! Refuses to know any library besides `serde`, any file, socket or thread.
//! Bound: every type here is plain data; nothing blocks and nothing allocates without a limit
//! from [`limits`].

pub mod access;
pub mod clock;
pub mod counters;
pub mod ids;
pub mod kind;
pub mod limits;
pub mod record;

pub use access::{Access, Credential, Identity, Role, Scope, Scopes, UnknownScope};
pub use clock::{Clock, ManualClock, SystemClock};
pub use counters::{Counter, Gauge, Histogram, HistogramSnapshot, Peak};
pub use ids::{IdError, ModelId, ModelVersion, RequestId, UserId};
pub use kind::Kind;
pub use record::{ModelEntry, ModelServing, PredictionRecord};
