//! Owns the discrete Fourier transform of one signal, of any length.
//!
//! Refuses lengths with a prime factor above [`FACTOR_MAX`], which would take too long.
//! Bound: the length times the sum of its prime factors. Formula: Cooley and Tukey, An algorithm
//! for the machine calculation of complex Fourier series; in binary64.

use std::f64::consts::TAU;

use crate::program::RunError;

/// Largest prime factor of a length.
const FACTOR_MAX: usize = 4_096;

/// Real and imaginary part.
pub type Complex = [f64; 2];

fn times([a, b]: Complex, [c, d]: Complex) -> Complex {
    [a * c - b * d, a * d + b * c]
}

fn plus([a, b]: Complex, [c, d]: Complex) -> Complex {
    [a + c, b + d]
}

/// A transform of one length.
#[derive(Debug)]
pub struct Transform {
    /// e^(-2 pi j k / length), or with the other sign.
    roots: Vec<Complex>,
    largest_factor: usize,
}

fn smallest_factor(length: usize) -> usize {
    let factors = (2..).take_while(|factor| factor * factor <= length);
    factors.into_iter().find(|factor| length.is_multiple_of(*factor)).unwrap_or(length)
}

impl Transform {
    /// Of a length, perhaps the inverse one, which is not divided by the length.
    ///
    /// # Errors
    /// [`RunError::Input`] for a length of 0 or one that would take too long.
    pub fn new(length: usize, inverse: bool) -> Result<Self, RunError> {
        let (mut rest, mut largest_factor) = (length, 1);
        let wrong = || {
            let found = format_args!("a transform of {length} values").to_string();
            RunError::input(found, "some, with small prime factors")
        };
        if length == 0 || length > 1 << 32 {
            return Err(wrong());
        }
        while rest > 1 {
            let factor = smallest_factor(rest);
            largest_factor = largest_factor.max(factor);
            rest /= factor;
        }
        if largest_factor > FACTOR_MAX {
            return Err(wrong());
        }
        let sign = if inverse { 1.0 } else { -1.0 };
        let root = |index: usize| {
            let angle = sign * TAU * index as f64 / length as f64;
            [angle.cos(), angle.sin()]
        };
        Ok(Self { roots: (0..length).map(root).collect(), largest_factor })
    }

    /// How many values it takes and gives.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Transforms as many values as the length is.
    pub fn run(&self, signal: &[Complex], out: &mut [Complex]) {
        let mut room = vec![[0.0; 2]; self.largest_factor];
        if signal.len() == self.len() && out.len() == self.len() {
            self.part(signal, 1, out, &mut room);
        }
    }

    /// Transforms every `stride`-th value: first those of each remainder, then together.
    fn part(&self, signal: &[Complex], stride: usize, out: &mut [Complex], room: &mut [Complex]) {
        let length = out.len();
        if length == 1 {
            out[0] = signal[0];
            return;
        }
        let factor = smallest_factor(length);
        let count = length / factor;
        for (remainder, out) in out.chunks_exact_mut(count).enumerate() {
            self.part(&signal[remainder * stride..], stride * factor, out, room);
        }
        // Of this length, roots are `step` apart in those of the whole.
        let step = self.len() / length;
        for index in 0..count {
            for (remainder, room) in room[..factor].iter_mut().enumerate() {
                let root = self.roots[remainder * index * step];
                *room = times(out[remainder * count + index], root);
            }
            for block in 0..factor {
                let turned =
                    |remainder: usize| self.roots[remainder * block % factor * count * step];
                let parts = room[..factor].iter().enumerate();
                let sum = parts.fold([0.0; 2], |sum, (remainder, value)| {
                    plus(sum, times(*value, turned(remainder)))
                });
                out[block * count + index] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_are_the_sums_they_are_defined_by() {
        for length in [1, 2, 3, 4, 6, 8, 12, 15, 49, 64] {
            let value = |index: usize| [(index * 7 % 5) as f64, (index * 3 % 4) as f64 - 1.0];
            let signal: Vec<Complex> = (0..length).map(value).collect();
            for inverse in [false, true] {
                let mut out = vec![[0.0; 2]; length];
                Transform::new(length, inverse).unwrap().run(&signal, &mut out);
                for (k, out) in out.iter().enumerate() {
                    let sign = if inverse { 1.0 } else { -1.0 };
                    let sum = signal.iter().enumerate().fold([0.0; 2], |sum, (n, value)| {
                        let angle = sign * TAU * (k * n) as f64 / length as f64;
                        plus(sum, times(*value, [angle.cos(), angle.sin()]))
                    });
                    let near = (0..2).all(|part| (out[part] - sum[part]).abs() < 1e-9);
                    assert!(near, "{length} {k}: {out:?}, expected {sum:?}");
                }
            }
        }
        assert!(Transform::new(0, false).is_err());
        assert!(Transform::new(4_099, false).is_err());
    }
}
