//! Owns the section `auth` as it is typed.
//!
//! Refuses to judge values. Bound: three lists.

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
    /// Seconds for which a token of /auth/token is good, at most.
    pub token_ttl_s: u32,
    /// Others whose tokens (JWT) are believed, such as `[{ issuer = "https://id.example.com",
    /// audience = "truststram", jwks_url = "https://id.example.com/keys", algorithms = ["RS256"],
    /// scopes = ["predict"] }]`. Keys are fetched at the start, every `jwks_refresh_s` (3600) and
    /// where a token names an unknown one, at most once a minute then; the last good set stays
    /// where that fails. In the place of `jwks_url`: `jwks_file`, which a reload reads again, or
    /// `jwks`.
    /// Changed by a reload.
    #[schema(value_type = Vec<Object>)]
    pub issuers: Vec<Issuer>,
    /// Whom client certificates stand for, by a name in them (common name, DNS, mail or URI), such
    /// as `[{ name = "trainer.example.com", scopes = ["training"] }]`. They must be of
    /// `gateway.tls_client_ca`. Changed by a reload.
    #[schema(value_type = Vec<Object>)]
    pub certificates: Vec<Holder>,
}

/// Somebody whose tokens are believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// What the claim `iss` must be.
    pub issuer: String,
    /// What the claim `aud` must hold.
    pub audience: String,
    /// File with the public keys, a JWK set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<String>,
    /// The JWK set itself, as a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// Where the set is fetched from, by https, or by http from this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// Seconds after which it is fetched again.
    #[serde(default = "jwks_refresh_s")]
    pub jwks_refresh_s: u64,
    /// How tokens may be signed: EdDSA, ES256, ES384, RS256, RS384, RS512, PS256, PS384, PS512.
    pub algorithms: Vec<String>,
    /// Seconds by which clocks may differ.
    #[serde(default = "leeway_s")]
    pub leeway_s: u32,
    /// Scopes that every token has.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Scopes that a token has where its claim `scope` names them.
    #[serde(default)]
    pub claimed_scopes: Vec<String>,
    /// The claim that names the user.
    #[serde(default = "subject")]
    pub user_claim: String,
    /// The claim that names a role; empty: no token has one.
    #[serde(default)]
    pub role_claim: String,
}

fn leeway_s() -> u32 {
    60
}

fn jwks_refresh_s() -> u64 {
    3_600
}

fn subject() -> String {
    "sub".to_owned()
}

/// Whom a client certificate stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// A name in the certificate.
    pub name: String,
    /// The user, instead of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it may do on the public side.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What it may do on the operators' side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: AuthMode::Off,
            admin: AuthMode::Off,
            open: Vec::new(),
            failure_rate: "5r/s".to_owned(),
            failure_burst: 10,
            token_ttl_s: 900,
            issuers: Vec::new(),
            certificates: Vec::new(),
        }
    }
}
