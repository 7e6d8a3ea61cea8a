//! Owns the proximal term of a client's loss (FedProx, Li et al., 2020).
//!
//! Refuses to know the loss. Bound: one pass.

/// Adds to a gradient that of `mu / 2` times the squared distance between the weights and the
/// model that training began with, so that a client does not go far from the others.
pub fn add_proximal(gradient: &mut [f32], weights: &[f32], start: &[f32], mu: f32) {
    for ((gradient, weight), start) in gradient.iter_mut().zip(weights).zip(start) {
        *gradient += mu * (weight - start);
    }
}
