//! Owns the limits on how often and how many at a time: what nginx calls `limit_req` and
//! `limit_conn`, with its decisions; and on how many a day.
//!
//! Refuses to know sockets, disks and to read a clock: time is given. Bound: each zone
//! by its bytes; the keys that were used the longest ago make room.

mod answer;
mod bucket;
mod day;
mod in_flight;
mod key;
mod limiter;
mod spec;
mod table;
mod zone;

#[cfg(test)]
mod tests;

pub(crate) use answer::LimitHeaders;
pub use bucket::Rate;
pub use day::{DayCount, DayZone, day_of};
pub(crate) use in_flight::InFlight;
pub use key::Key;
pub(crate) use key::Subject;
pub(crate) use limiter::Limits;
pub(crate) use limiter::Outcome;
pub use spec::{
    Counts, DayUseSpec, InFlightUseSpec, LimitSpec, RateUseSpec, UseSpec, ZoneSpec, Zones,
};
pub(crate) use zone::Looked;
pub use zone::{InFlightZone, RateZone, ZoneStats};
