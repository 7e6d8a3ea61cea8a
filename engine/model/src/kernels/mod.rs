//! The kernels: what is computed in a loop over numbers, once per instruction set.
//!
//! Owns the choice of the instruction set and the only `unsafe` code of this crate.
//! Refuses to know graphs, tensors and requests: slices in, slices out.
//! Bound: every kernel checks the lengths of its slices before it reads the first value.
#![allow(unsafe_code, reason = "instructions of the processor and memory behind pointers")]

mod activation;
mod attention;
mod columns;
mod gemm;
mod gemm_bf16;
mod gradient;
mod isa;
mod lanes;
mod linear;
mod math;
mod norm_training;
mod pooling;
mod rows;
mod seat;
mod similarity;
mod slices;
mod statistics;
mod team;
mod team_of_threads;
#[cfg(test)]
mod tests;
mod tiles;
mod transpose;
pub mod trees;
mod update;

pub use activation::{Activation, activate};
pub use attention::{Attention, attention_f32};
pub use columns::{add_squared_distances, add_weighted_rows, exchange_rows, mean_of_rows};
pub use gemm::{Gemm, gemm_add_f32, gemm_f32, gemm_layer_f32};
pub use gemm_bf16::gemm_bf16;
pub use gradient::{Known, gradient_rows, softmax_gradient_rows};
pub use isa::Isa;
pub use linear::{
    Input, Int8Scratch, Layer, PackedBf16, PackedF32, PackedI8, Weights, linear_bf16, linear_f32,
    linear_i8, quantise_weights,
};
pub use norm_training::{NormKept, NormWeights, norm_gradient_rows, norm_rows_kept};
pub use pooling::{Squares, max_pool, max_pool_gradient};
pub use rows::{layer_norm_rows, softmax_rows};
pub use similarity::{cosine_similarity, dot, normalise_rows};
pub use slices::{activate_from, erf, exp, log, scale_shift, sigmoid, tanh};
pub use statistics::{Statistics, standardize};
pub use team::{Alone, EACH_MAX, Team, run_each};
pub use team_of_threads::{Seats, TeamOfThreads};
pub use transpose::{Transpose, transpose};
pub use update::{AdamW, Moments, Momentum, adamw, momentum};
