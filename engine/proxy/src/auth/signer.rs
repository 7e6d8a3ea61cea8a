//! Owns the tokens of this process: given for an API key, short-lived, narrower if so wanted.
//!
//! A token names its key and is good only while the key is: nothing is asked of the store. Refuses
//! to keep seeds; they are given. Bound: the signers that are given, the newest of which signs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use truststram_base::{Credential, Identity, Role, Scopes};

use super::jwk::{Algorithm, PublicKey};
use super::jwt::Token;
use super::keys::Keys;

/// The issuer and the audience of tokens of this process.
pub(crate) const OUR_NAME: &str = "truststram";
const ROLE_CLAIM: &str = "role";

/// The seed of a signer (RFC 8032).
pub type Seed = [u8; 32];

struct Signer {
    /// The thumbprint of its key (RFC 7638).
    id: String,
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// See the module.
#[derive(Default)]
pub struct Signers {
    /// The newest first.
    signers: ArcSwap<Vec<Signer>>,
}

impl std::fmt::Debug for Signers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signers").finish_non_exhaustive()
    }
}

/// A new seed; `None` where the system has no chance to give.
pub fn fresh_seed() -> Option<Seed> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).ok().map(|()| seed)
}

impl Signers {
    /// Puts these in the place of those that there are, the newest first.
    pub fn replace(&self, seeds: &[Seed]) {
        let signers = seeds.iter().filter_map(Signer::of);
        self.signers.store(Arc::new(signers.collect()));
    }

    /// A token for `identity`, which came by an API key, good for so many seconds and for these
    /// rights, which it has. `None` without a signer or a key.
    pub fn issue(
        &self,
        identity: &Identity,
        scopes: Scopes,
        role: Option<Role>,
        now_us: i64,
        ttl_s: u32,
    ) -> Option<String> {
        let signers = self.signers.load();
        let signer = signers.first()?;
        let now_s = now_us.div_euclid(1_000_000);
        let mut number = [0; 16];
        SystemRandom::new().fill(&mut number).ok()?;
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": signer.id });
        let mut claims = json!({
            "iss": OUR_NAME,
            "aud": OUR_NAME,
            "sub": identity.user,
            "client_id": identity.key.as_deref()?,
            "iat": now_s,
            "exp": now_s + i64::from(ttl_s),
            "jti": URL_SAFE_NO_PAD.encode(number),
            "scope": scopes.to_string(),
        });
        if let Some(role) = role {
            claims[ROLE_CLAIM] = role.name().into();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = signer.pair.sign(signed.as_bytes());
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// The public keys, for whoever wants to verify tokens (RFC 7517).
    pub fn jwks(&self) -> Value {
        let signers = self.signers.load();
        let shown = signers.iter().map(|signer| {
            let x = URL_SAFE_NO_PAD.encode(signer.pair.public_key().as_ref());
            json!({
                "kty": "OKP", "crv": "Ed25519", "x": x,
                "kid": signer.id, "alg": "EdDSA", "use": "sig",
            })
        });
        json!({ "keys": shown.collect::<Vec<Value>>() })
    }

    /// Who a token of ours stands for, if it and its key are good.
    pub(crate) fn identify(
        &self,
        token: &Token<'_>,
        keys: &Keys,
        now_us: i64,
    ) -> Option<Arc<Identity>> {
        let claims = &token.claims;
        let signers = self.signers.load();
        let is_signed = |signer: &Signer| {
            token.is_signed(std::slice::from_ref(&signer.public), &[Algorithm::EdDsa])
        };
        let is_good = claims.is_in_time(now_us, 0)
            && claims.is_for(OUR_NAME)
            && signers.iter().any(is_signed);
        let of_key = keys.live(claims.client_id.as_deref().filter(|_| is_good)?, now_us)?;
        let scopes = Scopes::named(claims.scope.split_ascii_whitespace()).ok()?;
        let role = claims.others.get(ROLE_CLAIM).and_then(Value::as_str).and_then(Role::named);
        Some(Arc::new(Identity {
            user: of_key.user.clone(),
            key: of_key.key.clone(),
            scopes: scopes.and(of_key.scopes),
            // Without one it has none, however much its key has.
            role: role.min(of_key.role),
            by: Credential::Token,
        }))
    }
}

impl Signer {
    fn of(seed: &Seed) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        // The members in the order of their names, without spaces.
        let thumbprint = format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{x}\"}}");
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(thumbprint));
        let public = PublicKey::ed25519(&id, pair.public_key().as_ref());
        Some(Self { id, pair, public })
    }
}
