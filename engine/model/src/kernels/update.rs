//! Owns the steps of optimisers: weights, gradients and moments in one pass.
//!
//! Refuses to know learning rates over time. Bound: as many values as the shortest slice has; an
//! element's result depends on that element alone.

use super::Isa;
use super::lanes::{COUNT, Kernel, Lanes, dispatch};

/// The numbers of one step of AdamW (Loshchilov and Hutter, "Decoupled weight decay
/// regularization", 2019), in the order of operations that PyTorch has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Factor of the gradients.
    pub factor: f32,
    /// `1 - rate * weight decay`.
    pub decay: f32,
    /// Share of the gradient in the new first moment, `1 - beta1`.
    pub first_share: f32,
    /// Share of the old second moment, `beta2`.
    pub second_kept: f32,
    /// `1 - beta2`.
    pub second_share: f32,
    /// `rate / (1 - beta1^step)`.
    pub step: f32,
    /// `1 / sqrt(1 - beta2^step)`.
    pub correction: f32,
    /// Added to the root.
    pub epsilon: f32,
}

/// What AdamW keeps of each weight.
#[derive(Debug)]
pub struct Moments<'a> {
    /// Mean of the gradients.
    pub first: &'a mut [f32],
    /// Mean of their squares.
    pub second: &'a mut [f32],
    /// The largest of the second so far: AMSGrad (Reddi, Kale and Kumar, 2018).
    pub largest: Option<&'a mut [f32]>,
}

struct AdamWKernel<'a> {
    step: AdamW,
    weights: &'a mut [f32],
    gradients: &'a [f32],
    moments: Moments<'a>,
}

impl Kernel for AdamWKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Moments { first, second, mut largest } = self.moments;
        let count = self.weights.len().min(self.gradients.len()).min(first.len());
        let mut count = count.min(second.len());
        if let Some(largest) = &largest {
            count = count.min(largest.len());
        }
        let (weights, gradients) = (self.weights.as_mut_ptr(), self.gradients.as_ptr());
        let (first, second) = (first.as_mut_ptr(), second.as_mut_ptr());
        let largest = largest.as_mut().map_or(std::ptr::null_mut(), |values| values.as_mut_ptr());
        let step = self.step;
        let [factor, decay] = [step.factor, step.decay].map(L::splat);
        let first_share = L::splat(step.first_share);
        let [kept, share] = [step.second_kept, step.second_share].map(L::splat);
        let [back, correction] = [-step.step, step.correction].map(L::splat);
        let epsilon = L::splat(step.epsilon);
        let mut index = 0;
        while index < count {
            let part = COUNT.min(count - index);
            // SAFETY: `index + part` is at most `count`, which all slices have; `largest` is null
            // where there is none.
            unsafe {
                let gradient = L::load_part(gradients.add(index), part, 0.0).mul(factor);
                let mean = L::load_part(first.add(index), part, 0.0);
                let mean = gradient.sub(mean).fma(first_share, mean);
                mean.store_part(first.add(index), part);
                let square = L::load_part(second.add(index), part, 0.0).mul(kept);
                let square = gradient.mul(share).fma(gradient, square);
                square.store_part(second.add(index), part);
                let top = match largest.is_null() {
                    true => square,
                    false => {
                        let top = L::load_part(largest.add(index), part, 0.0).max(square);
                        top.store_part(largest.add(index), part);
                        top
                    }
                };
                let root = top.sqrt().fma(correction, epsilon);
                let weight = L::load_part(weights.add(index), part, 0.0).mul(decay);
                let weight = mean.div(root).fma(back, weight);
                weight.store_part(weights.add(index), part);
            }
            index += COUNT;
        }
    }
}

/// One step of AdamW.
pub fn adamw(isa: Isa, step: AdamW, weights: &mut [f32], gradients: &[f32], moments: Moments<'_>) {
    dispatch(isa, AdamWKernel { step, weights, gradients, moments });
}

/// The numbers of one step of gradient descent with momentum, as PyTorch has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// Factor of the gradients.
    pub factor: f32,
    /// Weight decay, added to the gradient.
    pub decay: f32,
    /// Share of the old velocity that stays.
    pub kept: f32,
    /// Length of the step.
    pub rate: f32,
    /// Whether the step looks ahead, after Nesterov.
    pub is_nesterov: bool,
}

struct MomentumKernel<'a> {
    step: Momentum,
    weights: &'a mut [f32],
    gradients: &'a [f32],
    velocity: &'a mut [f32],
}

impl Kernel for MomentumKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let count = self.weights.len().min(self.gradients.len()).min(self.velocity.len());
        let (weights, gradients) = (self.weights.as_mut_ptr(), self.gradients.as_ptr());
        let velocity = self.velocity.as_mut_ptr();
        let Momentum { factor, decay, kept, rate, is_nesterov } = self.step;
        let [factor, decay, kept, back] = [factor, decay, kept, -rate].map(L::splat);
        let mut index = 0;
        while index < count {
            let part = COUNT.min(count - index);
            // SAFETY: `index + part` is at most `count`, which all slices have.
            unsafe {
                let weight = L::load_part(weights.add(index), part, 0.0);
                let gradient = L::load_part(gradients.add(index), part, 0.0).mul(factor);
                let gradient = weight.fma(decay, gradient);
                let speed = L::load_part(velocity.add(index), part, 0.0);
                let speed = speed.fma(kept, gradient);
                speed.store_part(velocity.add(index), part);
                let way = if is_nesterov { speed.fma(kept, gradient) } else { speed };
                way.fma(back, weight).store_part(weights.add(index), part);
            }
            index += COUNT;
        }
    }
}

/// One step of gradient descent with momentum; the velocity begins with zeros.
pub fn momentum(
    isa: Isa,
    step: Momentum,
    weights: &mut [f32],
    gradients: &[f32],
    velocity: &mut [f32],
) {
    dispatch(isa, MomentumKernel { step, weights, gradients, velocity });
}
