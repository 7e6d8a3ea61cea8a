//! Owns the section `auth` as it is typed.
//!
//! Refuses to judge values. Bound: one list of paths.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether requests must say who they are from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// They need not.
    #[default]
    Off,
    /// They must.
    Required,
}

/// Who is let in. Keys are made by `truststram key create` and presented as `Authorization: Bearer`
/// or `X-API-Key`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// "required": public requests must have a key with the scope that their path asks for, and
    /// those to upstream servers any key, unless their route says otherwise. "off": none needs one.
    /// Health checks, /openapi.json and /docs never do. Changed by a reload.
    #[schema(value_type = String)]
    pub mode: AuthMode,
    /// "required": operators' requests must have a key with a role: viewer to look, operator to
    /// change, admin for keys and plugins. "off": all may do all.
    #[schema(value_type = String)]
    pub admin: AuthMode,
    /// Paths of this process that need no key, with all below them. Changed by a reload.
    pub open: Vec<String>,
    /// How many attempts with a wrong key one address has, such as "5r/s"; more are answered 429.
    /// Empty: any number.
    pub failure_rate: String,
    /// Attempts above that rate that are answered 401 still.
    pub failure_burst: u32,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: AuthMode::Off,
            admin: AuthMode::Off,
            open: Vec::new(),
            failure_rate: "5r/s".to_owned(),
            failure_burst: 10,
        }
    }
}
