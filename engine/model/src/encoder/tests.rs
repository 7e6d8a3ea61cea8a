//! Encoders against golden answers.
