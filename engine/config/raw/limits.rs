//! Owns the keys of limits: zones, and how the public listener uses them.
//!
//! Refuses to judge values; `plan` does. Bound: two lists.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// For how long a zone counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LimitWindow {
    /// For a day of UTC.
    Day,
}

/// What requests are counted by, and how fast they may come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitZone {
    /// The name, also in metrics and in `RateLimit`.
    pub name: String,
    /// What requests are counted by: "ip", "ip/24/64" for networks (bits of IPv4 and of IPv6),
    /// "api-key" and "user" (that a request proved, where `auth` asks for it), "header:NAME",
    /// "host", "path", "constant", or several of them separated by spaces. Requests that have none
    /// of it are not limited.
    #[serde(default = "by_address")]
    pub key: String,
    /// How fast requests of one key may come, such as "100r/s" or "30r/m". Without it, and without
    /// `window`, the zone counts requests under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// "day": the zone counts the requests of each day of UTC. Its counts are written to disk every
    /// second and at the end, not with each request: a process that is killed forgets what came in
    /// the last second, two at most. Where the zone is full, the key used the longest ago begins
    /// its day anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub window: Option<LimitWindow>,
    /// Memory of the zone in MiB; the keys that were used the longest ago make room.
    #[serde(default = "zone_mib")]
    pub memory_mib: usize,
}

fn by_address() -> String {
    "ip".to_owned()
}

fn zone_mib() -> usize {
    10
}

/// A zone of rates in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitRequests {
    /// The zone.
    pub zone: String,
    /// Requests above the rate that are taken before one is refused.
    #[serde(default)]
    pub burst: u32,
    /// Whether requests above the rate go on at once.
    #[serde(default)]
    pub nodelay: bool,
    /// Requests above the rate that go on at once; those beyond wait until the rate has room.
    #[serde(default)]
    pub delay: u32,
}

/// A zone of requests under way in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitInFlight {
    /// The zone.
    pub zone: String,
    /// Requests of one key that may be under way.
    pub at_most: u32,
}

/// A zone of days in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitDay {
    /// The zone.
    pub zone: String,
    /// Requests of one key that a day has.
    pub at_most: u64,
}
