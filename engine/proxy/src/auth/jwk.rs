//! Owns public keys as other issuers publish them (RFC 7517), and which signatures each can make.
//!
//! Refuses secrets: a set with a symmetric or private key is a mistake of whoever wrote it. Bound:
//! [`KEYS_MAX`] keys.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

const KEYS_MAX: usize = 64;

/// How a token is signed (RFC 7518, RFC 8037). There is neither `none` nor any HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSA-PSS with SHA-256.
    Ps256,
    /// The same with SHA-384.
    Ps384,
    /// The same with SHA-512.
    Ps512,
}

const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("EdDSA", Algorithm::EdDsa),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
];

/// A name that no known algorithm has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of EdDSA, ES256, ES384, RS256, RS384, RS512, PS256, PS384, PS512")]
pub struct UnknownAlgorithm(String);

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let known = ALGORITHMS.iter().find(|(known, _)| *known == name);
        known.map(|(_, algorithm)| *algorithm).ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

/// What a signature is checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Ed25519(Vec<u8>),
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    /// Its name among those of its issuer.
    pub(crate) id: Option<String>,
    /// The one algorithm that it says it is for.
    only: Option<Algorithm>,
    material: Material,
}

/// A key as a set holds it.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct AnySet {
    keys: Vec<serde_json::Value>,
}

/// The keys of a set that sign.
///
/// # Errors
/// Why the set cannot be used.
pub(crate) fn parse(text: &str) -> Result<Vec<PublicKey>, String> {
    let set: JwkSet =
        serde_json::from_str(text).map_err(|error| format!("is no JWK set: {error}"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("has more than {KEYS_MAX} keys"));
    }
    let mut keys = Vec::new();
    for (index, jwk) in set.keys.into_iter().enumerate() {
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            continue;
        }
        keys.push(read(jwk).map_err(|why| format!("keys[{index}] {why}"))?);
    }
    if keys.is_empty() {
        return Err("has no key that signs".to_owned());
    }
    Ok(keys)
}

/// The same of a set that others keep: what is of another kind, or for something else, is passed
/// over (RFC 7517, section 5).
///
/// # Errors
/// Why the set cannot be used.
pub(crate) fn parse_known(text: &str) -> Result<Vec<PublicKey>, String> {
    let set: AnySet =
        serde_json::from_str(text).map_err(|error| format!("is no JWK set: {error}"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("has more than {KEYS_MAX} keys"));
    }
    let known = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
    let signing = known.filter(|jwk: &Jwk| jwk.purpose.as_deref().is_none_or(|use_| use_ == "sig"));
    let keys: Vec<PublicKey> = signing.filter_map(|jwk| read(jwk).ok()).collect();
    if keys.is_empty() { Err("has no key that signs".to_owned()) } else { Ok(keys) }
}

fn read(jwk: Jwk) -> Result<PublicKey, String> {
    if jwk.d.is_some() || jwk.kty == "oct" {
        return Err("is a secret; keep it off this machine and give the public key".to_owned());
    }
    let bytes = |name: &str, text: &Option<String>| {
        let text = text.as_deref().ok_or_else(|| format!("has no `{name}`"))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("has a `{name}` that is no base64url"))
    };
    let point = |length: usize| {
        let (x, y) = (bytes("x", &jwk.x)?, bytes("y", &jwk.y)?);
        if x.len() != length || y.len() != length {
            return Err(format!("has coordinates that are not {length} bytes long"));
        }
        Ok([&[4][..], &x, &y].concat())
    };
    let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x", &jwk.x)?),
        ("EC", Some("P-256")) => Material::P256(point(32)?),
        ("EC", Some("P-384")) => Material::P384(point(48)?),
        ("RSA", _) => Material::Rsa { n: bytes("n", &jwk.n)?, e: bytes("e", &jwk.e)? },
        (kty, _) => return Err(format!("is of a kind that is not known: {kty}")),
    };
    let only = match jwk.alg.as_deref().map(str::parse) {
        None => None,
        Some(Ok(algorithm)) => Some(algorithm),
        Some(Err(error)) => return Err(format!("is for {error}")),
    };
    Ok(PublicKey { id: jwk.kid, only, material })
}

impl PublicKey {
    /// The key of this process.
    pub(crate) fn ed25519(id: &str, bytes: &[u8]) -> Self {
        let material = Material::Ed25519(bytes.to_vec());
        Self { id: Some(id.to_owned()), only: Some(Algorithm::EdDsa), material }
    }

    /// Whether `signature` over `signed` is of this key by this algorithm, and by no other.
    pub(crate) fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        if self.only.is_some_and(|only| only != algorithm) {
            return false;
        }
        let rsa: &RsaParameters = match algorithm {
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Es384 => {
                return self.verify_by_curve(algorithm, signed, signature);
            }
        };
        match &self.material {
            Material::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(rsa, signed, signature).is_ok()
            }
            _ => false,
        }
    }

    fn verify_by_curve(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let (method, key): (&dyn signature::VerificationAlgorithm, _) =
            match (algorithm, &self.material) {
                (Algorithm::EdDsa, Material::Ed25519(key)) => (&signature::ED25519, key),
                (Algorithm::Es256, Material::P256(key)) => {
                    (&signature::ECDSA_P256_SHA256_FIXED, key)
                }
                (Algorithm::Es384, Material::P384(key)) => {
                    (&signature::ECDSA_P384_SHA384_FIXED, key)
                }
                _ => return false,
            };
        UnparsedPublicKey::new(method, key).verify(signed, signature).is_ok()
    }
}
