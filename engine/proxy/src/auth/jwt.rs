//! Owns tokens as text (RFC 7519 in the compact form of RFC 7515): read, verified, judged by time,
//! issuer and audience.
//!
//! Refuses whatever it does not know: critical extensions, encryption, claims of a wrong type, a
//! token without an end. The algorithm is one of those that are pinned, whatever the token says.
//! Bound: [`TOKEN_BYTES_MAX`].

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::jwk::{Algorithm, PublicKey};

/// Longest token.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// What a token says of itself.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
    /// Compressed: encryption's, not ours.
    zip: Option<serde::de::IgnoredAny>,
}

/// For whom it is.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What a token says of its subject.
#[derive(Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) sub: Option<String>,
    aud: Option<Audience>,
    exp: f64,
    nbf: Option<f64>,
    /// The API key, in tokens of ours.
    pub(crate) client_id: Option<String>,
    #[serde(default)]
    pub(crate) scope: String,
    /// All of it, for claims that the configuration names.
    #[serde(flatten)]
    pub(crate) others: serde_json::Map<String, Value>,
}

/// A token taken apart; nothing of it is believed yet.
pub(crate) struct Token<'a> {
    header: Header,
    pub(crate) claims: Claims,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        if header.crit.is_some() || header.zip.is_some() {
            return None;
        }
        let claims = serde_json::from_slice(&decode(claims)?).ok()?;
        Some(Self { header, claims, signed, signature: decode(signature)? })
    }

    /// Whether one of `keys` is the one that it names, or there are some where it names none; a
    /// token that is signed in another way than by `algorithms` may name what it wants.
    pub(crate) fn names_one_of(&self, keys: &[PublicKey], algorithms: &[Algorithm]) -> bool {
        let is_allowed = self.header.alg.parse().is_ok_and(|known| algorithms.contains(&known));
        // What could not be let in in any case is no reason to ask.
        !is_allowed
            || match &self.header.kid {
                Some(id) => keys.iter().any(|key| key.id.as_ref() == Some(id)),
                None => !keys.is_empty(),
            }
    }

    /// Whether one of `keys` signed it by one of `algorithms`.
    pub(crate) fn is_signed(&self, keys: &[PublicKey], algorithms: &[Algorithm]) -> bool {
        let Ok(algorithm) = self.header.alg.parse::<Algorithm>() else { return false };
        if !algorithms.contains(&algorithm) {
            return false;
        }
        let named = |key: &&PublicKey| match &self.header.kid {
            Some(id) => key.id.as_ref() == Some(id),
            None => true,
        };
        let mut keys = keys.iter().filter(named);
        keys.any(|key| key.verify(algorithm, self.signed.as_bytes(), &self.signature))
    }
}

impl Claims {
    /// Whether the token holds now, give or take so many seconds.
    pub(crate) fn is_in_time(&self, now_us: i64, leeway_s: u32) -> bool {
        let (now_s, leeway_s) = (now_us as f64 / 1e6, f64::from(leeway_s));
        let has_begun = self.nbf.is_none_or(|nbf| nbf.is_finite() && now_s + leeway_s >= nbf);
        self.exp.is_finite() && now_s - leeway_s < self.exp && has_begun
    }

    /// Whether it is for `audience`.
    pub(crate) fn is_for(&self, audience: &str) -> bool {
        match &self.aud {
            Some(Audience::One(name)) => name == audience,
            Some(Audience::Many(names)) => names.iter().any(|name| name == audience),
            None => false,
        }
    }
}
