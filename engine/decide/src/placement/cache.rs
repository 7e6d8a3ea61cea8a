//! Owns where copies of something that is read often are kept.
//!
//! Refuses to spend more than the budget. Bound: n log n in the sites.

use serde::{Deserialize, Serialize};

use super::{Policy, Settings, Site, by_least, require_distinct};

/// Something to cache, as `placement.wit` describes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CacheItem {
    /// Its size, GiB.
    #[serde(with = "crate::number")]
    pub size_gib: f64,
    /// Requests for it per hour.
    #[serde(with = "crate::number")]
    pub requests_per_hour: f64,
    /// Whether its readers wait for it.
    pub is_latency_sensitive: bool,
    /// Most that all copies may cost per month.
    #[serde(with = "crate::number")]
    pub budget_per_month: f64,
    /// Where its readers are, if that is known: degrees north and east.
    pub readers: Option<(f64, f64)>,
}

/// Copies of what is read often, as in the guide.
const COPIES: usize = 2;

/// The sites that keep a copy, by id; none if none is within the budget.
///
/// What is read often has two copies, at two providers where there are two, each the nearest to its
/// readers; what its readers wait for has one there; all else, and everything with `cost-optimal`,
/// has one where it is cheapest. The guide names providers instead of measuring them, and takes
/// degrees for distances.
///
/// # Errors
/// A site that is listed twice.
pub fn place_cache(
    settings: &Settings,
    item: &CacheItem,
    sites: &[Site],
) -> Result<Vec<u32>, String> {
    require_distinct("site", sites.iter().map(|site| u64::from(site.id)))?;
    let cost = |site: &Site| item.size_gib * site.storage_price_per_gib;
    let mut order: Vec<&Site> =
        sites.iter().filter(|site| cost(site) <= item.budget_per_month).collect();
    let is_often_read = item.requests_per_hour > settings.copies_from_requests_per_hour;
    if settings.policy == Policy::CostOptimal || !(is_often_read || item.is_latency_sensitive) {
        order.sort_by(|a, b| by_least(cost(a), cost(b)).then(a.id.cmp(&b.id)));
        return Ok(order.first().map(|site| site.id).into_iter().collect());
    }
    let distance = |site: &Site| match item.readers {
        Some(readers) => great_circle_km(readers, (site.latitude, site.longitude)),
        None => site.latency_ms,
    };
    order.sort_by(|a, b| by_least(distance(a), distance(b)).then(a.id.cmp(&b.id)));
    let Some((&first, rest)) = order.split_first() else { return Ok(Vec::new()) };
    let mut chosen = vec![first.id];
    let left = item.budget_per_month - cost(first);
    if is_often_read && chosen.len() < COPIES {
        let affordable = || rest.iter().filter(|site| cost(site) <= left);
        let elsewhere = affordable().find(|site| site.provider != first.provider);
        chosen.extend(elsewhere.or_else(|| affordable().next()).map(|site| site.id));
    }
    Ok(chosen)
}

/// Kilometres between two points on the globe, degrees north and east: the haversine formula. The
/// functions are those of the crate `libm`, whose last bit is the same natively and in WASM.
fn great_circle_km(from: (f64, f64), to: (f64, f64)) -> f64 {
    const EARTH_RADIUS_KM: f64 = 6_371.0;
    let half_sine = |degrees: f64| libm::sin(degrees.to_radians() / 2.0);
    let (north, east) = (half_sine(to.0 - from.0), half_sine(to.1 - from.1));
    let parallels = libm::cos(from.0.to_radians()) * libm::cos(to.0.to_radians());
    let haversine = north * north + parallels * east * east;
    2.0 * EARTH_RADIUS_KM * libm::asin(haversine.clamp(0.0, 1.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::great_circle_km;

    #[test]
    fn distances_on_the_globe() {
        let (helsinki, oslo) = ((60.17, 24.94), (59.91, 10.75));
        assert!((great_circle_km(helsinki, oslo) - 786.0).abs() < 5.0);
        assert!((great_circle_km((0.0, 179.0), (0.0, -179.0)) - 222.4).abs() < 1.0);
        assert_eq!(great_circle_km(oslo, oslo), 0.0);
        assert!(great_circle_km((f64::NAN, 0.0), oslo).is_nan());
    }
}
