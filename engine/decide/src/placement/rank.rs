//! Owns the order of sites for a purpose, by the guide's weights.
//!
//! Refuses sites whose numbers are not known. Bound: n log n in the sites.

use serde::{Deserialize, Serialize};

use super::{Site, require_distinct};

/// What a workload is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Training.
    Training,
    /// Inference.
    Inference,
    /// Both.
    Balanced,
}

/// Prices and milliseconds below this count as this, as in the guide.
const LEAST: f64 = 0.01;

impl Purpose {
    /// What cost, reliability and latency count; the guide's numbers.
    fn weights(self) -> [f64; 3] {
        match self {
            Self::Training => [0.4, 0.3, 0.3],
            Self::Inference => [0.1, 0.4, 0.5],
            Self::Balanced => [0.34, 0.33, 0.33],
        }
    }
}

/// Orders the sites for a purpose, the best first, by their ids. One whose price, latency or
/// reliability is not known comes last.
///
/// The guide adds 1/price and 1/latency to the reliability as they are, so that a price of 0.10
/// counts a hundred times what a latency of 10 ms does, and reliability nothing. Here price and
/// latency count as the least of all sites over their own, which is from 0 to 1 as reliability is.
///
/// # Errors
/// A site that is listed twice.
pub fn rank_sites(purpose: Purpose, sites: &[Site]) -> Result<Vec<u32>, String> {
    require_distinct("site", sites.iter().map(|site| u64::from(site.id)))?;
    let least = |value: fn(&Site) -> f64| {
        let known = sites.iter().map(value).filter(|value| value.is_finite());
        known.fold(f64::INFINITY, f64::min).max(LEAST)
    };
    let (price, latency) = (least(|s| s.compute_price_per_hour), least(|s| s.latency_ms));
    let [of_cost, of_reliability, of_latency] = purpose.weights();
    let score = |site: &Site| {
        let score = of_cost * (price / site.compute_price_per_hour.max(LEAST))
            + of_reliability * site.reliability
            + of_latency * (latency / site.latency_ms.max(LEAST));
        let is_known = site.compute_price_per_hour.is_finite()
            && site.latency_ms.is_finite()
            && score.is_finite();
        if is_known { score } else { f64::NEG_INFINITY }
    };
    let mut scored: Vec<(f64, u32)> = sites.iter().map(|site| (score(site), site.id)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    Ok(scored.into_iter().map(|(_, id)| id).collect())
}
