//! Tokens of ours and of others: the vectors of RFC 7515 and 8037, each algorithm that may be
//! pinned, and the ways in which tokens are known to be forged.
//!
//! The keys are those of the RFCs, which everybody has.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, RsaEncoding,
};
use serde_json::{Value, json};
use truststram_base::Credential;

use super::jwt::Token;
use super::*;
use crate::route::spec::Fault;

const NOW_S: i64 = NOW / 1_000_000;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn decoded(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap()
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn rsa() -> RsaKeyPair {
    let vectors = vectors();
    let (key, secret) = (&vectors["keys"]["rsa"], &vectors["secrets"]["rsa"]);
    let parts = KeyPairComponents {
        public_key: PublicKeyComponents { n: decoded(&key["n"]), e: decoded(&key["e"]) },
        d: decoded(&secret["d"]),
        p: decoded(&secret["p"]),
        q: decoded(&secret["q"]),
        dP: decoded(&secret["dp"]),
        dQ: decoded(&secret["dq"]),
        qInv: decoded(&secret["qi"]),
    };
    RsaKeyPair::from_components(&parts).unwrap()
}

fn p256() -> EcdsaKeyPair {
    let vectors = vectors();
    let key = &vectors["keys"]["p256"];
    let public = [&[4][..], &decoded(&key["x"]), &decoded(&key["y"])].concat();
    EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &decoded(&vectors["secrets"]["p256"]),
        &public,
        &SystemRandom::new(),
    )
    .unwrap()
}

/// A pair of P-384 and its public key as a JWK.
fn p384() -> (EcdsaKeyPair, Value) {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
    let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &random).unwrap();
    let point = pair.public_key().as_ref()[1..].to_vec();
    let [x, y] = [0, 1].map(|half: usize| URL_SAFE_NO_PAD.encode(&point[half * 48..][..48]));
    (pair, json!({ "kty": "EC", "crv": "P-384", "x": x, "y": y, "kid": "p384" }))
}

fn ed25519() -> Ed25519KeyPair {
    let seed = decoded(&vectors()["secrets"]["ed25519"]);
    Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
}

fn named(kid: &str) -> Value {
    let mut key = vectors()["keys"][kid].clone();
    key["kid"] = kid.into();
    key
}

fn by_rsa(encoding: &'static dyn RsaEncoding) -> impl Fn(&[u8]) -> Vec<u8> {
    move |signed| {
        let pair = rsa();
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), signed, &mut signature).unwrap();
        signature
    }
}

fn by_p256(signed: &[u8]) -> Vec<u8> {
    p256().sign(&SystemRandom::new(), signed).unwrap().as_ref().to_vec()
}

fn by_ed25519(signed: &[u8]) -> Vec<u8> {
    ed25519().sign(signed).as_ref().to_vec()
}

/// A token with this header and these claims.
fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn claims() -> Value {
    json!({
        "iss": "https://id.test", "aud": ["other", "truststram"], "sub": "ada",
        "exp": NOW_S + 100, "nbf": NOW_S - 100, "scope": "data predict models:write all fly",
    })
}

fn spec(keys: &[Value], algorithms: &[&str]) -> IssuerSpec {
    IssuerSpec {
        issuer: "https://id.test".to_owned(),
        audience: "truststram".to_owned(),
        keys: KeySource::Text(json!({ "keys": keys }).to_string()),
        algorithms: algorithms.iter().map(|name| name.parse().unwrap()).collect(),
        leeway_s: 10,
        scopes: Scopes::of(&[Scope::ModelsRead]),
        claimed_scopes: Scopes::of(&[Scope::Data, Scope::Predict]),
        user_claim: "sub".to_owned(),
        role_claim: String::new(),
    }
}

fn compiled(spec: IssuerSpec) -> Result<AuthRules, Vec<Fault>> {
    let mut faults = Vec::new();
    let spec = AuthSpec { issuers: vec![spec], ..AuthSpec::default() };
    let rules = AuthRules::compile(&spec, None, &mut faults);
    if faults.is_empty() { Ok(rules) } else { Err(faults) }
}

/// What the token of somebody is worth by these rules.
fn judged(rules: &AuthRules, token: &str) -> Result<String, Denied> {
    let found = authority().identify(&bearing(token), &[], rules, NOW)?.unwrap();
    Ok(format!("{}: {}", found.user, found.scopes))
}

#[test]
fn the_vectors_of_the_rfcs_verify() {
    let vectors = vectors();
    let set = json!({ "keys": [named("rsa"), named("p256"), named("ed25519")] });
    let keys = jwk::parse(&set.to_string()).unwrap();
    let payload = vectors["payload"].as_str().unwrap();
    for (name, place) in [("RS256", 0), ("ES256", 1)] {
        let header = URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"{name}\"}}"));
        let signature = vectors[name.to_lowercase()].as_str().unwrap();
        let text = format!("{header}.{payload}.{signature}");
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.claims.iss, "joe");
        let algorithm = name.parse().unwrap();
        assert!(token.is_signed(&keys, &[algorithm]), "{name}");
        assert!(token.is_signed(&keys[place..=place], &[algorithm]), "{name}");
        assert!(!token.is_signed(&keys, &[Algorithm::EdDsa]), "{name} is not pinned");
    }
    let eddsa = &vectors["eddsa"];
    let signed = eddsa["signed"].as_str().unwrap().as_bytes();
    let signature = decoded(&eddsa["signature"]);
    assert!(keys[2].verify(Algorithm::EdDsa, signed, &signature));
    assert!(!keys[2].verify(Algorithm::EdDsa, &signed[1..], &signature));
    let signers = Signers::default();
    signers.replace(&[decoded(&vectors["secrets"]["ed25519"]).try_into().unwrap()]);
    let shown = signers.jwks();
    assert_eq!(shown["keys"][0]["x"], vectors["keys"]["ed25519"]["x"]);
    assert_eq!(shown["keys"][0]["kid"], eddsa["thumbprint"]);
}

#[test]
fn each_pinned_algorithm_is_believed_and_no_other() {
    let (pair, public) = p384();
    let by_p384 = |signed: &[u8]| -> Vec<u8> {
        pair.sign(&SystemRandom::new(), signed).unwrap().as_ref().to_vec()
    };
    type Sign<'a> = Box<dyn Fn(&[u8]) -> Vec<u8> + 'a>;
    let signs: [(&str, &str, Sign<'_>); 9] = [
        ("EdDSA", "ed25519", Box::new(by_ed25519)),
        ("ES256", "p256", Box::new(by_p256)),
        ("ES384", "p384", Box::new(by_p384)),
        ("RS256", "rsa", Box::new(by_rsa(&signature::RSA_PKCS1_SHA256))),
        ("RS384", "rsa", Box::new(by_rsa(&signature::RSA_PKCS1_SHA384))),
        ("RS512", "rsa", Box::new(by_rsa(&signature::RSA_PKCS1_SHA512))),
        ("PS256", "rsa", Box::new(by_rsa(&signature::RSA_PSS_SHA256))),
        ("PS384", "rsa", Box::new(by_rsa(&signature::RSA_PSS_SHA384))),
        ("PS512", "rsa", Box::new(by_rsa(&signature::RSA_PSS_SHA512))),
    ];
    let keys = [named("ed25519"), named("p256"), public, named("rsa")];
    for (name, kid, sign) in &signs {
        let text = token(&json!({ "alg": name, "kid": kid }), &claims(), sign);
        for (pinned, ..) in &signs {
            let rules = compiled(spec(&keys, &[pinned])).unwrap();
            let expected = match pinned == name {
                true => Ok("ada: predict models:read data".to_owned()),
                false => Err(Denied::Invalid),
            };
            assert_eq!(judged(&rules, &text), expected, "{name} where {pinned} is pinned");
        }
    }
}

#[test]
fn forged_tokens_are_not_believed() {
    let keys = [named("rsa"), named("ed25519")];
    let rules = compiled(spec(&keys, &["RS256", "EdDSA"])).unwrap();
    let by_key = by_rsa(&signature::RSA_PKCS1_SHA256);
    let header = |alg: &str| json!({ "alg": alg, "kid": "rsa" });
    assert!(judged(&rules, &token(&header("RS256"), &claims(), &by_key)).is_ok());
    let without_kid = token(&json!({ "alg": "RS256" }), &claims(), &by_key);
    assert!(judged(&rules, &without_kid).is_ok());
    let refused = |what: &str, text: &str| {
        assert_eq!(judged(&rules, text), Err(Denied::Invalid), "{what}");
    };
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        refused(alg, &token(&header(alg), &claims(), |_| Vec::new()));
        refused(alg, &token(&header(alg), &claims(), &by_key));
    }
    // The public key, in each form in which it is published, as the secret of an HMAC.
    let set = json!({ "keys": keys }).to_string();
    let n = decoded(&keys[0]["n"]);
    for secret in [set.as_bytes(), &n, keys[0]["n"].as_str().unwrap().as_bytes(), b""] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let sign = |signed: &[u8]| hmac::sign(&key, signed).as_ref().to_vec();
        refused("HMAC", &token(&header("HS256"), &claims(), sign));
        refused("HMAC called RS256", &token(&header("RS256"), &claims(), sign));
    }
    refused("another algorithm of the key", &token(&header("RS384"), &claims(), &by_key));
    let of_other = json!({ "alg": "RS256", "kid": "ed25519" });
    refused("another key's name", &token(&of_other, &claims(), &by_key));
    for kid in ["../../dev/null", "' OR 1=1 --", "", "RSA"] {
        refused(kid, &token(&json!({ "alg": "RS256", "kid": kid }), &claims(), &by_key));
        refused(kid, &token(&json!({ "alg": "none", "kid": kid }), &claims(), |_| Vec::new()));
    }
    // A key that the token brings itself.
    let own = json!({ "alg": "EdDSA", "jwk": named("ed25519"), "jku": "https://evil.test" });
    let other = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    refused("its own key", &token(&own, &claims(), |signed| other.sign(signed).as_ref().to_vec()));
    let critical = json!({ "alg": "RS256", "crit": ["exp"], "exp": 0 });
    refused("an extension", &token(&critical, &claims(), &by_key));
    let good = token(&header("RS256"), &claims(), &by_key);
    let parts: Vec<&str> = good.split('.').collect();
    let mut more = claims();
    more["sub"] = "root".into();
    refused("other claims", &format!("{}.{}.{}", parts[0], encoded(&more), parts[2]));
    refused("no signature", &format!("{}.{}.", parts[0], parts[1]));
    refused("two parts", &format!("{}.{}", parts[0], parts[1]));
    refused("four parts", &format!("{good}.{}", parts[2]));
    refused("padding", &format!("{good}="));
    refused("too long", &token(&header("RS256"), &json!({ "a": "a".repeat(20_000) }), &by_key));
}

#[test]
fn claims_are_held_against_time_issuer_and_audience() {
    let rules = compiled(spec(&[named("ed25519")], &["EdDSA"])).unwrap();
    let check = |changes: Value, is_good: bool| {
        let mut claims = claims();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        let text = token(&json!({ "alg": "EdDSA" }), &claims, by_ed25519);
        assert_eq!(judged(&rules, &text).is_ok(), is_good, "{changes}");
    };
    check(json!({}), true);
    check(json!({ "exp": NOW_S - 9 }), true);
    check(json!({ "exp": NOW_S - 10 }), false);
    check(json!({ "exp": null }), false);
    check(json!({ "exp": (NOW_S + 100).to_string() }), false);
    check(json!({ "exp": true }), false);
    check(json!({ "exp": NOW_S as f64 + 0.5 }), true);
    check(json!({ "nbf": null }), true);
    check(json!({ "nbf": NOW_S + 10 }), true);
    check(json!({ "nbf": NOW_S + 11 }), false);
    check(json!({ "nbf": "soon" }), false);
    check(json!({ "aud": "truststram" }), true);
    check(json!({ "aud": "other" }), false);
    check(json!({ "aud": ["other"] }), false);
    check(json!({ "aud": null }), false);
    check(json!({ "iss": "https://id.test/" }), false);
    check(json!({ "iss": null }), false);
    check(json!({ "iss": "truststram" }), false);
    check(json!({ "sub": null }), false);
    check(json!({ "sub": "a\nb" }), false);
    check(json!({ "scope": null }), true);
}

#[test]
fn other_claims_may_name_user_and_role() {
    let named_role = IssuerSpec {
        user_claim: "email".to_owned(),
        role_claim: "ts_role".to_owned(),
        ..spec(&[named("ed25519")], &["EdDSA"])
    };
    let rules = compiled(named_role).unwrap();
    let mut claims = claims();
    claims["email"] = "ada@a.test".into();
    claims["ts_role"] = "operator".into();
    let text = token(&json!({ "alg": "EdDSA" }), &claims, by_ed25519);
    let found = authority().identify(&bearing(&text), &[], &rules, NOW).unwrap().unwrap();
    assert_eq!((found.user.as_str(), found.role), ("ada@a.test", Some(Role::Operator)));
    assert_eq!((found.by, found.key.as_deref()), (Credential::Issuer, None));
}

#[test]
fn issuers_that_cannot_be_are_refused() {
    let fault = |spec: IssuerSpec| {
        let fault = compiled(spec).unwrap_err().remove(0);
        format!("{}: {}", fault.key, fault.message)
    };
    let good = || spec(&[named("ed25519")], &["EdDSA"]);
    let check = |spec: IssuerSpec, expected: &str| {
        let found = fault(spec);
        assert!(found.contains(expected), "{found}");
    };
    check(IssuerSpec { issuer: "truststram".to_owned(), ..good() }, "issuers[0].issuer: ");
    check(IssuerSpec { audience: String::new(), ..good() }, "audience: is empty");
    check(spec(&[named("ed25519")], &[]), "algorithms: is empty");
    check(spec(&[], &["EdDSA"]), "jwks: has no key that signs");
    check(spec(&[json!({ "kty": "oct", "k": "AA" })], &["EdDSA"]), "keys[0] is a secret");
    let mut private = named("ed25519");
    private["d"] = "AA".into();
    check(spec(&[private], &["EdDSA"]), "keys[0] is a secret");
    check(spec(&[json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" })], &["ES256"]), "32");
    let file = KeySource::File("/nowhere/id.json".into());
    check(IssuerSpec { keys: file, ..good() }, "jwks_file: /nowhere/id.json");
    for name in ["none", "HS256", "HS512", "es256"] {
        assert!(name.parse::<Algorithm>().is_err(), "{name}");
    }
}

#[test]
fn a_token_of_ours_is_as_good_as_its_key_and_no_better() {
    let (authority, key) = (authority(), fresh(None).unwrap());
    let rules = AuthRules::default();
    let scopes = Scopes::of(&[Scope::Predict, Scope::Data]);
    authority.keys().put(KeyRecord { scopes, role: Some(Role::Operator), ..record(&key) });
    let seeds = [[1; 32], [2; 32]];
    authority.signers().replace(&seeds[..1]);
    let of_key = authority.identify(&bearing(&key.text), &[], &rules, NOW).unwrap().unwrap();
    let issue = |scopes: &[Scope], role| {
        let scopes = Scopes::of(scopes);
        authority.signers().issue(&of_key, scopes, role, NOW, 900).unwrap()
    };
    let judged = |text: &str, now_us: i64| {
        let found = authority.identify(&bearing(text), &[], &rules, now_us)?.unwrap();
        assert_eq!((found.by, found.key.as_deref()), (Credential::Token, Some(&*key.id)));
        Ok((found.user.as_str().to_owned(), found.scopes.to_string(), found.role))
    };
    let end = NOW + 900_000_000;
    let all = issue(&[Scope::Predict, Scope::Data], Some(Role::Operator));
    let granted = |scopes: &str, role| Ok(("ada".to_owned(), scopes.to_owned(), role));
    assert_eq!(judged(&all, NOW), granted("predict data", Some(Role::Operator)));
    assert_eq!(judged(&all, end - 1), granted("predict data", Some(Role::Operator)));
    assert_eq!(judged(&all, end), Err(Denied::Invalid), "it has ended");
    let narrow = issue(&[Scope::Data], None);
    assert_eq!(judged(&narrow, NOW), granted("data", None));
    // A newer seed signs; tokens of the one before are good still, of a forgotten one no more.
    authority.signers().replace(&[seeds[1], seeds[0]]);
    let newer = issue(&[Scope::Data], None);
    assert_eq!(judged(&all, NOW), granted("predict data", Some(Role::Operator)));
    authority.signers().replace(&seeds[1..]);
    assert_eq!(judged(&all, NOW), Err(Denied::Invalid));
    assert_eq!(judged(&newer, NOW), granted("data", None));
    // The key may do less now, or nothing.
    let fewer = Scopes::of(&[Scope::Predict]);
    authority.keys().put(KeyRecord { scopes: fewer, role: None, ..record(&key) });
    assert_eq!(judged(&newer, NOW), granted("", None));
    authority.keys().put(KeyRecord { expires_us: Some(NOW), ..record(&key) });
    assert_eq!(judged(&newer, NOW), Err(Denied::Invalid), "the key has ended");
    authority.keys().put(record(&key));
    assert!(judged(&newer, NOW).is_ok());
    authority.keys().remove(&key.id);
    assert_eq!(judged(&newer, NOW), Err(Denied::Invalid), "the key is revoked");
}
