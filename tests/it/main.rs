//! The real binary over real sockets: one test per promise to users.
//!
//! Owns the tests of the whole. Refuses to reach into crates, except for the held-out digits.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests by clippy")]

mod auth;
mod bad_input;
mod cli;
mod config;
mod db;
mod encoders;
mod federate;
mod gateway;
mod gateway_cache;
mod guide;
mod harness;
mod hostile_plugins;
mod inference_protocol;
mod kill;
mod life_cycle;
mod openapi;
mod plugin_author;
mod plugins;
mod registry;
mod store_api;
mod training;
mod upgrade;
