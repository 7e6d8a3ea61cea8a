//! The encoders.
