//! Owns what a listener asks of those who come.
//!
//! Refuses to know paths: what each asks for is given. Bound: one value per listener.

use std::sync::Arc;

use http::Method;
use truststram_base::Access;

use super::authority::Authority;
use crate::live::Live;

/// See the module.
#[derive(Clone)]
pub struct Guard {
    /// What judges credentials.
    pub authority: Arc<Authority>,
    /// What a method and a path of the listener's router ask for.
    pub access: fn(&Method, &str) -> Access,
    /// Whether it is asked for, where the listener has no routes; they say it otherwise.
    pub is_required: bool,
    /// Whose rules hold, where the listener has no routes.
    pub rules: Option<Arc<Live>>,
}
