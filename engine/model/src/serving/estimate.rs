//! Owns the running estimate of how long a model computes for so many rows or tokens.
//!
//! Refuses to know who asks. Bound: one average per power of two of the size, shared by all
//! workers without a lock; an estimate is rather too small than too large, so that no request is
//! turned away that could have been answered in time.

use std::sync::atomic::{AtomicU64, Ordering};

const CLASS_COUNT: usize = 24;
/// A new measurement counts for 1 in 2^3.
const WEIGHT_SHIFT: u32 = 3;
/// From this time of one request on it matters who waits for whom in a batch, microseconds.
const LONG_US_MIN: u64 = 500;
/// Batches may be larger than is worth it once in so many.
const EXPLORE_EVERY: u64 = 64;
/// A measurement that kept a batch small is believed 1 in 2^6 less: much less than the next
/// measurement changes it.
const DOUBT_SHIFT: u32 = 6;
/// What larger batches must gain, in percent of the time for each request.
const GAIN_PERCENT_MIN: u128 = 5;

/// Averages of one class of sizes; both exponentially weighted, in 1/256.
#[derive(Debug, Default)]
struct Class {
    time: AtomicU64,
    size: AtomicU64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Estimate {
    classes: [Class; CLASS_COUNT],
    /// How often it was asked what is worthwhile.
    asked: AtomicU64,
}

fn class_of(size: u32) -> usize {
    (size.max(1).ilog2() as usize).min(CLASS_COUNT - 1)
}

fn moved(average: u64, value: u64) -> u64 {
    match average {
        0 => value,
        _ => average - (average >> WEIGHT_SHIFT) + (value >> WEIGHT_SHIFT),
    }
}

impl Estimate {
    /// A batch of this size took so long.
    pub fn observe(&self, size: u32, time_us: u32) {
        let class = &self.classes[class_of(size)];
        // Two workers that measure at once may lose one of the measurements, which does no harm.
        let time = (u64::from(time_us) << 8).max(1);
        class.time.store(moved(class.time.load(Ordering::Relaxed), time), Ordering::Relaxed);
        let size = u64::from(size.max(1)) << 8;
        class.size.store(moved(class.size.load(Ordering::Relaxed), size), Ordering::Relaxed);
    }

    /// How long a batch of this size takes at least, microseconds; 0 where nothing is known.
    pub fn time_us(&self, size: u32) -> u64 {
        let size = size.max(1);
        let classes = self.classes[..=class_of(size)].iter().rev();
        for class in classes {
            let time = class.time.load(Ordering::Relaxed);
            let average = class.size.load(Ordering::Relaxed);
            if time > 0 && average > 0 {
                let wanted = (u64::from(size) << 8).min(average);
                // Below the average size the time is taken as proportional, which leaves out what
                // a batch costs by itself and so is too small rather than too large.
                let scaled = u128::from(time) * u128::from(wanted) / u128::from(average);
                return (scaled as u64) >> 8;
            }
        }
        0
    }

    /// How long a batch of this size takes at most, microseconds, from the measurement that is
    /// nearest; none where nothing was measured.
    pub fn at_most_us(&self, size: u32) -> Option<u64> {
        let size = size.max(1);
        let class = self.nearest(size)?;
        let time = u128::from(class.time.load(Ordering::Relaxed));
        let average = u128::from(class.size.load(Ordering::Relaxed)).max(1);
        // Above the average size the time is taken as proportional, which counts what a batch
        // costs by itself more than once.
        let wanted = (u128::from(size) << 8).max(average);
        let scaled = (time * wanted).div_ceil(average << 8);
        Some(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    /// How many requests of this size are worth computing together: with more of them each would
    /// take hardly less time, and the first would wait for the last. Twice as many where nothing
    /// larger was measured, and now and then to measure it anew. None where nothing is known, or
    /// one takes so little that it does not matter.
    pub fn worthwhile(&self, size: u32) -> Option<u32> {
        let size = size.max(1);
        // Microseconds of one unit, in 1/65,536, and the units of a batch, in 1/256.
        let known = |class: &Class| {
            let time = u128::from(class.time.load(Ordering::Relaxed));
            let average = u128::from(class.size.load(Ordering::Relaxed));
            (time > 0 && average > 0).then(|| ((time << 16) / average, average))
        };
        let classes = &self.classes[class_of(size)..];
        let (one, _) = known(&classes[0])?;
        if (one * u128::from(size)) >> 16 < u128::from(LONG_US_MIN) {
            return None;
        }
        let best = classes.iter().filter_map(known).map(|(unit, _)| unit).min()?;
        let mut larger = classes.iter().filter_map(known);
        let (_, units) = larger.find(|(unit, _)| unit * 100 <= best * (100 + GAIN_PERCENT_MIN))?;
        let requests = ((units + (u128::from(size) << 7)) / (u128::from(size) << 8)).max(1);
        let explores =
            self.asked.fetch_add(1, Ordering::Relaxed) % EXPLORE_EVERY == EXPLORE_EVERY - 1;
        let times = if explores || larger.next().is_none() { 2 } else { 1 };
        Some(u32::try_from(requests * times).unwrap_or(u32::MAX))
    }

    /// A batch was kept below this size because of that: a measurement of this size is believed a
    /// little less, so that one slow batch cannot keep all later ones small.
    pub fn doubt_most(&self, size: u32) {
        let class = &self.classes[class_of(size)];
        let time = class.time.load(Ordering::Relaxed);
        class.time.store(time - (time >> DOUBT_SHIFT), Ordering::Relaxed);
    }

    /// The class with a measurement that is nearest, smaller ones first.
    fn nearest(&self, size: u32) -> Option<&Class> {
        let (smaller, larger) = self.classes.split_at(class_of(size) + 1);
        let mut known = smaller.iter().rev().chain(larger);
        known.find(|class| {
            class.time.load(Ordering::Relaxed) > 0 && class.size.load(Ordering::Relaxed) > 0
        })
    }

    /// Requests were turned away because of this estimate: it is believed a little less, so that
    /// one slow batch cannot turn away requests for ever.
    pub fn doubt(&self, size: u32) {
        for class in &self.classes[..=class_of(size)] {
            let time = class.time.load(Ordering::Relaxed);
            class.time.store(time - (time >> WEIGHT_SHIFT), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_smaller_batches_is_the_least() {
        let estimate = Estimate::default();
        assert_eq!(estimate.time_us(1_000), 0);
        estimate.observe(4, 100);
        assert_eq!([1, 3, 4, 5, 64].map(|size| estimate.time_us(size)), [0, 0, 100, 100, 100]);
        estimate.observe(64, 900);
        assert_eq!([5, 63, 64, 127].map(|size| estimate.time_us(size)), [100, 100, 900, 900]);
        estimate.observe(1, 50);
        assert_eq!(estimate.time_us(3), 50);
    }

    #[test]
    fn what_is_known_of_the_nearest_batches_is_the_most() {
        let estimate = Estimate::default();
        assert_eq!(estimate.at_most_us(1), None);
        estimate.observe(4, 100);
        let at_most = |sizes: &[u32]| {
            sizes.iter().map(|size| estimate.at_most_us(*size)).collect::<Option<Vec<u64>>>()
        };
        assert_eq!(at_most(&[1, 4, 5, 8, 64]), Some(vec![100, 100, 125, 200, 1_600]));
        estimate.observe(64, 900);
        assert_eq!(at_most(&[1, 4, 8, 64, 128]), Some(vec![100, 100, 200, 900, 1_800]));
        // Less than the clock can tell is known to be brief, not unknown.
        estimate.observe(1, 0);
        assert_eq!(at_most(&[1, 2, 3]), Some(vec![1, 1, 1]));
        estimate.observe(u32::MAX, u32::MAX);
        assert_eq!(estimate.at_most_us(u32::MAX), Some(u64::from(u32::MAX)));
    }

    #[test]
    fn batches_are_as_large_as_pays() {
        /// What is said mostly: now and then it is twice as many.
        fn mostly(estimate: &Estimate, size: u32) -> Option<u32> {
            [(); 3].map(|()| estimate.worthwhile(size)).into_iter().min().flatten()
        }
        let estimate = Estimate::default();
        assert_eq!(mostly(&estimate, 16), None);
        // 0.3 ms for each batch and 3.2 for each text of 16 tokens.
        let encoder = |texts: u32| 300 + 3_200 * texts;
        estimate.observe(16, encoder(1));
        assert_eq!(mostly(&estimate, 16), Some(2), "nothing larger is known");
        [2, 4, 8, 16].into_iter().for_each(|texts| estimate.observe(16 * texts, encoder(texts)));
        assert_eq!([16, 32, 64].map(|size| mostly(&estimate, size)), [2, 1, 1].map(Some));
        // Twice as many rows in hardly more time: what pays is found out step by step.
        let dense = Estimate::default();
        dense.observe(1, 1_001);
        for expected in [2, 4, 8, 16] {
            let rows = mostly(&dense, 1).unwrap();
            assert_eq!(rows, expected);
            dense.observe(rows, 1_000 + rows);
        }
        // So it is where one batch was slow.
        (0..20).for_each(|_| dense.observe(16, 50_000));
        assert_eq!(mostly(&dense, 1), Some(8));
        let explored = (0..EXPLORE_EVERY).filter(|_| dense.worthwhile(1) == Some(16)).count();
        assert_eq!(explored, 1);
        // What takes less than half a millisecond may wait for all.
        let small = Estimate::default();
        [1, 2, 4, 8].into_iter().for_each(|rows| small.observe(rows, 400 * rows));
        assert_eq!(mostly(&small, 1), None);
        small.observe(u32::MAX, u32::MAX);
        assert_eq!(small.worthwhile(u32::MAX), Some(2));
    }

    #[test]
    fn one_slow_batch_is_not_believed_for_ever() {
        let estimate = Estimate::default();
        estimate.observe(1, 2);
        estimate.observe(16, 4_000);
        let refusals = (1..).find(|_| {
            estimate.doubt_most(16);
            estimate.at_most_us(16).is_some_and(|time_us| time_us <= 200)
        });
        assert!(refusals.is_some_and(|refusals| refusals < 300), "{refusals:?}");
        assert_eq!(estimate.at_most_us(1), Some(2), "what was right stays");
        // Believed less once and measured once, in turn, it stays near the truth.
        for _ in 0..1_000 {
            estimate.doubt_most(16);
            estimate.observe(16, 200);
        }
        let settled = estimate.at_most_us(16);
        assert!(settled.is_some_and(|time_us| time_us > 170), "{settled:?}");
        estimate.doubt_most(64);
        assert_eq!((estimate.at_most_us(16), estimate.at_most_us(1)), (settled, Some(2)));
    }

    #[test]
    fn it_follows_and_can_be_doubted() {
        let estimate = Estimate::default();
        estimate.observe(8, 80_000);
        for _ in 0..60 {
            estimate.observe(8, 800);
        }
        assert!((800..900).contains(&estimate.time_us(8)), "{}", estimate.time_us(8));
        for _ in 0..60 {
            estimate.doubt(8);
        }
        assert!(estimate.time_us(8) < 10, "{}", estimate.time_us(8));
        estimate.observe(u32::MAX, u32::MAX);
        assert_eq!(estimate.time_us(u32::MAX), u64::from(u32::MAX));
    }
}
