//! Owns the running estimate of how long a model computes for so many rows or tokens.
//!
//! Refuses to know who asks. Bound: one average per power of two of the size, shared by all
//! workers without a lock; an estimate is rather too small than too large, so that no request is
//! turned away that could have been answered in time.

use std::sync::atomic::{AtomicU64, Ordering};

const CLASS_COUNT: usize = 24;
/// A new measurement counts for 1 in 2^3.
const WEIGHT_SHIFT: u32 = 3;

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
