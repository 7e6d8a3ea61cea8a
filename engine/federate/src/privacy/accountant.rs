//! Owns the account: the Renyi divergences of the Poisson-subsampled Gaussian mechanism (Mironov,
//! Talwar and Zhang, 2019), summed over rounds, and the epsilon that follows from them for a delta
//! (Canonne, Kamath and Steinke, 2020, proposition 12).
//!
//! The orders and the bounds are those of dp-accounting and Opacus, against which the tests hold
//! them. Refuses to forget: what was spent only grows. Bound: one row of [`orders`] for each
//! mechanism; a series of at most [`TERMS_MAX`] terms for each order, computed once.

use serde::{Deserialize, Serialize};

/// Terms after which an order whose series has not converged is left out.
const TERMS_MAX: u32 = 1_000;
/// Mechanisms that one account tells apart; it takes the place of a bound on federations.
const MECHANISMS_MAX: usize = 1_024;

/// What a round does to the updates: each client takes part with this probability, and the sum of
/// updates of length 1 at most gets noise of this standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mechanism {
    /// The probability, above 0 and at most 1.
    pub sampling_rate: f64,
    /// The standard deviation.
    pub noise_multiplier: f64,
}

/// How often each mechanism was used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent(pub Vec<(Mechanism, u64)>);

impl Spent {
    /// One use more.
    #[must_use]
    pub fn with(&self, mechanism: Mechanism) -> Self {
        let mut spent = self.clone();
        match spent.0.iter_mut().find(|(known, _)| *known == mechanism) {
            Some((_, uses)) => *uses += 1,
            None => spent.0.push((mechanism, 1)),
        }
        if spent.0.len() > MECHANISMS_MAX {
            // The weaker one of two stands for both: the account may only say too much.
            let (first, uses) = spent.0.remove(0);
            let second = &mut spent.0[0];
            second.0.sampling_rate = second.0.sampling_rate.max(first.sampling_rate);
            second.0.noise_multiplier = second.0.noise_multiplier.min(first.noise_multiplier);
            second.1 += uses;
        }
        spent
    }

    /// All uses.
    pub fn rounds(&self) -> u64 {
        self.0.iter().map(|(_, uses)| uses).sum()
    }
}

/// The orders: 1.1 to 10.9 by tenths, 11 to 63, and some larger ones.
fn orders() -> impl Iterator<Item = f64> {
    let tenths = (1..100).map(|tenth| 1.0 + f64::from(tenth) / 10.0);
    let whole = (11..64).chain([128, 256, 512, 1_024]).map(f64::from);
    tenths.chain(whole)
}

/// What accounts are read with.
#[derive(Clone, Debug, Default)]
pub struct Accountant {
    known: Vec<(Mechanism, Vec<f64>)>,
}

impl Accountant {
    /// The epsilon of all that was spent, at this delta; infinite where no order gives one.
    pub fn epsilon(&mut self, spent: &Spent, delta: f64) -> f64 {
        self.best(spent, delta).0
    }

    /// The epsilon, and the order that it follows from.
    pub(super) fn best(&mut self, spent: &Spent, delta: f64) -> (f64, f64) {
        if spent.rounds() == 0 {
            return (0.0, 0.0);
        }
        let mut sum = vec![0.0; orders().count()];
        for (mechanism, uses) in &spent.0 {
            let row = self.divergences(*mechanism);
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += *uses as f64 * value);
        }
        let found = orders().zip(sum).map(|(order, value)| (epsilon(order, value, delta), order));
        let least = found.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, 0.0));
        (least.0.max(0.0), least.1)
    }

    fn divergences(&mut self, mechanism: Mechanism) -> &[f64] {
        let at = self.known.iter().position(|(known, _)| *known == mechanism);
        let at = at.unwrap_or_else(|| {
            let row = orders().map(|order| divergence(mechanism, order)).collect();
            self.known.push((mechanism, row));
            self.known.len() - 1
        });
        &self.known[at].1
    }
}

/// The epsilon that a divergence of this order gives at this delta.
fn epsilon(order: f64, divergence: f64, delta: f64) -> f64 {
    if delta * delta + (-divergence).exp_m1() > 0.0 {
        // The total variation is below delta already (Bretagnolle and Huber, 1979).
        return 0.0;
    }
    if order <= 1.01 {
        return f64::INFINITY;
    }
    divergence + (-1.0 / order).ln_1p() - (delta * order).ln() / (order - 1.0)
}

/// The Renyi divergence of one use, of this order.
pub(super) fn divergence(mechanism: Mechanism, order: f64) -> f64 {
    let Mechanism { sampling_rate, noise_multiplier } = mechanism;
    let variance = noise_multiplier * noise_multiplier;
    if noise_multiplier == 0.0 {
        f64::INFINITY
    } else if sampling_rate >= 1.0 {
        order / (2.0 * variance)
    } else if order.fract() == 0.0 {
        whole(sampling_rate, variance, order) / (order - 1.0)
    } else {
        fractional(sampling_rate, variance, order) / (order - 1.0)
    }
}

/// The logarithm of A of a whole order (the paper's section 3.3).
fn whole(rate: f64, variance: f64, order: f64) -> f64 {
    let mut sum = f64::NEG_INFINITY;
    for term in 0..=order as u32 {
        let i = f64::from(term);
        let weight = log_binomial(order, i) + i * rate.ln() + (order - i) * (-rate).ln_1p();
        sum = log_add(sum, weight + (i * i - i) / (2.0 * variance));
    }
    sum
}

/// The logarithm of A of any order above 1: two series, of the halves of the integral.
fn fractional(rate: f64, variance: f64, order: f64) -> f64 {
    let deviation = variance.sqrt();
    let border = variance * (1.0 / rate - 1.0).ln() + 0.5;
    let half =
        |distance: f64| 0.5_f64.ln() + log_erfc(distance / (std::f64::consts::SQRT_2 * deviation));
    let (log_rate, log_rest) = (rate.ln(), (-rate).ln_1p());
    let (mut below, mut above) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    let (mut last_below, mut last_above) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for term in 0..TERMS_MAX {
        let i = f64::from(term);
        let j = order - i;
        let weight = log_binomial(order, i);
        let next_below = weight
            + i * log_rate
            + j * log_rest
            + (i * i - i) / (2.0 * variance)
            + half(i - border);
        let next_above = weight
            + j * log_rate
            + i * log_rest
            + (j * j - j) / (2.0 * variance)
            + half(border - j);
        below = log_add(below, next_below);
        above = log_add(above, next_above);
        let sum = log_add(below, above);
        let falls = next_below < last_below && next_above < last_above;
        if falls && next_below.max(next_above) < sum - 30.0 {
            return sum;
        }
        (last_below, last_above) = (next_below, next_above);
    }
    f64::INFINITY
}

fn log_add(a: f64, b: f64) -> f64 {
    let (less, more) = if a < b { (a, b) } else { (b, a) };
    if less == f64::NEG_INFINITY { more } else { more + (less - more).exp().ln_1p() }
}

/// The logarithm of the absolute binomial coefficient.
fn log_binomial(n: f64, k: f64) -> f64 {
    libm::lgamma(n + 1.0) - libm::lgamma(n - k + 1.0) - libm::lgamma(k + 1.0)
}

/// The logarithm of the complementary error function.
fn log_erfc(x: f64) -> f64 {
    if x < 20.0 {
        return libm::erfc(x).ln();
    }
    // The asymptotic series (DLMF 7.12.1); its next term is below 1e-12 from 20 on.
    let square = 1.0 / (2.0 * x * x);
    let series = 1.0 + square * (-1.0 + square * (3.0 + square * (-15.0 + square * 105.0)));
    -x * x - x.ln() - 0.5 * std::f64::consts::PI.ln() + series.ln()
}
