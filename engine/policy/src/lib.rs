//! x
mod v0_1_0;
