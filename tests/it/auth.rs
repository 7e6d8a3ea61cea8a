//! Keys of the real binary: made before and while it serves, asked for on both sides, revoked at
//! once, and on disk when they are shown.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{Answer, BINARY, Server, held_out, trained_dir};

const REQUIRED: &str = "[auth]\nmode = \"required\"\nadmin = \"required\"\n";

fn key(arguments: &[&str], place: &[&str]) -> Output {
    Command::new(BINARY).arg("key").args(arguments).args(place).output().unwrap()
}

/// The text of a key that is made in a directory that nobody serves.
fn made(dir: &Path, arguments: &[&str]) -> String {
    let output = key(arguments, &["--data-dir", dir.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn id(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

fn ask(url: &str, method: &str, key: &str, body: Option<&Value>) -> Answer {
    crate::harness::ask_with(method, url, &[("authorization", &format!("Bearer {key}"))], body)
}

fn predict(server: &Server, key: &str) -> u16 {
    let body = json!({ "model_id": "digits", "data": held_out().row(0) });
    ask(&format!("{}/api/v1/predict", server.public), "POST", key, Some(&body)).status
}

#[test]
fn a_key_is_asked_for_and_its_scopes_hold() {
    let dir = trained_dir();
    let predicts = made(dir.path(), &["create", "app", "--scope", "predict"]);
    let reads = made(dir.path(), &["create", "ui", "--scope", "models:read,data", "--user", "ada"]);
    let server = Server::start_configured(dir.path(), REQUIRED);
    for open in ["/health", "/livez", "/readyz", "/openapi.json", "/docs", "/v2/health/live"] {
        assert_eq!(server.get(open).status, 200, "{open}");
    }
    let answer = server.get("/api/v1/models");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.body["type"], "urn:truststram:problem:denied");
    assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"truststram\"");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let models = format!("{}/api/v1/models", server.public);
    let answer = ask(&models, "GET", &predicts, None);
    assert_eq!((answer.status, &answer.body["title"]), (403, &"Forbidden".into()));
    assert_eq!(ask(&models, "GET", &reads, None).status, 200);
    assert_eq!(predict(&server, &predicts), 200);
    assert_eq!(predict(&server, &reads), 403);
    let mut mistyped = predicts.clone();
    mistyped.replace_range(30..31, if &predicts[30..31] == "0" { "1" } else { "0" });
    let answer = ask(&models, "GET", &mistyped, None);
    assert!(answer.body["detail"].as_str().unwrap().contains("typing error"), "{}", answer.text);
    // The forms of others keep theirs.
    let answer = server.get("/v2/models/digits");
    assert_eq!(answer.status, 401);
    assert!(answer.body["error"].is_string(), "{}", answer.text);
    assert!(server.terminate().success());
}

#[test]
fn roles_hold_on_the_operators_side() {
    let dir = trained_dir();
    let keys = ["viewer", "operator", "admin"]
        .map(|role| made(dir.path(), &["create", role, "--role", role]));
    let server = Server::start_configured(dir.path(), REQUIRED);
    assert_eq!(server.admin_get("/metrics").status, 401);
    assert_eq!(server.admin_get("/livez").status, 200);
    let at = |method: &str, path: &str, body: Option<&Value>| {
        let url = format!("{}{path}", server.admin);
        keys.each_ref().map(|key| ask(&url, method, key, body).status)
    };
    assert_eq!(at("GET", "/metrics", None), [200, 200, 200]);
    assert_eq!(at("POST", "/admin/v1/config/reload", Some(&json!({}))), [403, 200, 200]);
    assert_eq!(at("GET", "/admin/v1/keys", None), [403, 403, 200]);
    assert_eq!(at("PUT", "/admin/v1/plugins/none", Some(&json!({}))), [403, 403, 404]);
    // A role is nothing on the public side.
    assert_eq!(predict(&server, &keys[2]), 403);
    // Commands present the key that the environment names.
    let command = |key: &str| {
        let place = ["key", "list", "--admin", &server.admin];
        Command::new(BINARY).args(place).env("TRUSTSTRAM_API_KEY", key).output().unwrap()
    };
    let listed = String::from_utf8(command(&keys[2]).stdout).unwrap();
    assert!(listed.starts_with("id ") && listed.contains("operator"), "{listed}");
    assert_eq!(command(&keys[0]).status.code(), Some(1));
    let metric = ask(&format!("{}/metrics", server.admin), "GET", &keys[0], None).text;
    assert!(metric.contains("truststram_auth_keys 3"), "{metric}");
    assert!(metric.contains("truststram_auth_refused_total{reason=\"missing\"} 1"), "{metric}");
    assert!(server.terminate().success());
}

#[test]
fn a_key_that_was_shown_survives_a_kill_and_a_revoked_one_is_refused_at_once() {
    let dir = trained_dir();
    let config = "[auth]\nmode = \"required\"\n";
    let server = Server::start_configured(dir.path(), config);
    let place = ["--admin", server.admin.as_str()];
    let output = key(&["create", "app", "--scope", "predict"], &place);
    let first = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    server.kill();
    let server = Server::start_configured(dir.path(), config);
    assert_eq!(predict(&server, &first), 200);
    let place = ["--admin", server.admin.as_str()];
    let output = key(&["rotate", id(&first), "--overlap", "1h"], &place);
    let second = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert_ne!(first, second);
    assert_eq!([&first, &second].map(|key| predict(&server, key)), [200, 200]);
    let output = key(&["rotate", id(&first), "--overlap", "0s"], &place);
    let third = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert_eq!([&first, &second, &third].map(|key| predict(&server, key)), [401, 401, 200]);
    assert!(key(&["revoke", id(&first)], &place).status.success());
    assert_eq!(predict(&server, &third), 401);
    assert_eq!(key(&["revoke", id(&first)], &place).status.code(), Some(1));
    assert_eq!(server.admin_post("/admin/v1/keys", &json!({ "name": "a" })).status, 422);
    server.kill();
    let server = Server::start_configured(dir.path(), config);
    assert_eq!(predict(&server, &third), 401, "revoked for good");
    assert!(server.terminate().success());
}

#[test]
fn a_key_is_exchanged_for_a_token_that_is_narrower_and_ends_with_it() {
    let dir = trained_dir();
    let scopes = ["create", "app", "--scope", "predict,models:read", "--role", "operator"];
    let app = made(dir.path(), &scopes);
    let server = Server::start_configured(dir.path(), REQUIRED);
    let url = format!("{}/auth/token", server.public);
    assert_eq!(server.post("/auth/token", b"").status, 401);
    let answer = ask(&url, "POST", &app, Some(&json!({ "scopes": ["predict"], "ttl_s": 60 })));
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(
        (&answer.body["expires_in"], &answer.body["scope"]),
        (&60.into(), &"predict".into())
    );
    let token = answer.body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(predict(&server, &token), 200);
    let models = format!("{}/api/v1/models", server.public);
    assert_eq!(ask(&models, "GET", &token, None).status, 403, "it was narrowed");
    assert_eq!(ask(&url, "POST", &token, Some(&json!({}))).status, 403, "a token gives none");
    for (body, part) in [
        (json!({ "scopes": ["data"] }), "the key has predict models:read"),
        (json!({ "scopes": ["fly"] }), "`fly` is no scope"),
        (json!({ "role": "admin" }), "has not so much"),
        (json!({ "ttl_s": 901 }), "must be 1 to 900"),
    ] {
        let answer = ask(&url, "POST", &app, Some(&body));
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert!(answer.body["detail"].as_str().unwrap().contains(part), "{}", answer.text);
    }
    // On the operators' side the same, by the role.
    let status = format!("{}/admin/v1/status", server.admin);
    let admin_url = format!("{}/auth/token", server.admin);
    let viewer = ask(&admin_url, "POST", &app, Some(&json!({ "role": "viewer" })));
    let viewer = viewer.body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(ask(&status, "GET", &viewer, None).status, 200);
    let reload = format!("{}/admin/v1/config/reload", server.admin);
    assert_eq!(ask(&reload, "POST", &viewer, Some(&json!({}))).status, 403);
    // Everybody may know the public key, which outlives the process; so do tokens.
    let set = server.get("/.well-known/jwks.json").body;
    assert_eq!(set["keys"][0]["alg"], "EdDSA");
    server.kill();
    let server = Server::start_configured(dir.path(), REQUIRED);
    assert_eq!(server.get("/.well-known/jwks.json").body, set);
    assert_eq!(predict(&server, &token), 200);
    assert!(server.terminate().success());
    // Signed anew from now on; what was given stays good, until its key is revoked.
    let place = ["--data-dir", dir.path().to_str().unwrap()];
    assert!(key(&["rotate-signer"], &place).status.success());
    let server = Server::start_configured(dir.path(), REQUIRED);
    let keys = server.get("/.well-known/jwks.json").body["keys"].as_array().unwrap().clone();
    assert_eq!((keys.len(), &keys[1]), (2, &set["keys"][0]));
    assert_eq!(predict(&server, &token), 200);
    let admin = ["--admin", &server.admin];
    let refused = key(&["revoke", id(&app)], &admin);
    assert_eq!(refused.status.code(), Some(1), "who asks is not known");
    assert!(server.terminate().success());
    assert!(key(&["revoke", id(&app)], &place).status.success());
    let server = Server::start_configured(dir.path(), REQUIRED);
    assert_eq!(predict(&server, &token), 401);
    assert!(server.terminate().success());
}

/// The public key of RFC 8037, appendix A.1, as a JWK set, and a token of its holder that ends in
/// the year 2100, made by openssl.
const ISSUER_KEY: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"rfc",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const FOREIGN: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6InJmYyJ9.eyJpc3MiOiJodHRwczovL2lkLnRlc3QiLCJ\
    hdWQiOiJ0cnVzdHN0cmFtIiwic3ViIjoiYWRhIiwiZXhwIjo0MTAyNDQ0ODAwLCJzY29wZSI\
    6InByZWRpY3QgZGF0YSJ9.kInLykMAmPio9bmgnlzbOWV4gCST0uXU_43gSI-MCN3kvluvE2\
    gn4-zeBaeKhcCvQiSjo5TtuDYTNVI4lqlyCA";

#[test]
fn a_token_of_another_issuer_is_believed_as_the_configuration_says() {
    let dir = trained_dir();
    let file = dir.path().join("id.json");
    std::fs::write(&file, ISSUER_KEY).unwrap();
    let config = |algorithm: &str, audience: &str| {
        let path = file.to_str().unwrap();
        format!(
            "[auth]\nmode = \"required\"\n[[auth.issuers]]\nissuer = \"https://id.test\"\n\
             audience = \"{audience}\"\njwks_file = {path:?}\nalgorithms = [\"{algorithm}\"]\n\
             claimed_scopes = [\"predict\"]\n"
        )
    };
    let server = Server::start_configured(dir.path(), &config("EdDSA", "truststram"));
    let models = format!("{}/api/v1/models", server.public);
    assert_eq!(predict(&server, FOREIGN), 200);
    assert_eq!(ask(&models, "GET", FOREIGN, None).status, 403);
    let (signed, signature) = FOREIGN.rsplit_once('.').unwrap();
    let (_, claims) = signed.split_once('.').unwrap();
    // {"alg":"none"}
    for forged in [format!("eyJhbGciOiJub25lIn0.{claims}."), format!("{signed}x.{signature}")] {
        assert_eq!(predict(&server, &forged), 401, "{forged}");
    }
    let reload = |config: &str| {
        std::fs::write(dir.path().join("test.toml"), config).unwrap();
        server.admin_post("/admin/v1/config/reload", &json!({}))
    };
    assert_eq!(reload(&config("EdDSA", "another")).status, 200);
    assert_eq!(predict(&server, FOREIGN), 401, "another audience");
    assert_eq!(reload(&config("ES256", "truststram")).status, 200);
    assert_eq!(predict(&server, FOREIGN), 401, "another algorithm");
    let refused = reload(&config("HS256", "truststram"));
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert_eq!(refused.body["errors"][0]["field"], "auth.issuers[0].algorithms");
    assert_eq!(reload(&config("EdDSA", "truststram")).status, 200);
    assert_eq!(predict(&server, FOREIGN), 200);
    // A reload reads the file again, and keeps what there was where it cannot.
    std::fs::write(&file, "{").unwrap();
    let refused = reload(&config("EdDSA", "truststram"));
    assert_eq!(refused.body["errors"][0]["field"], "auth.issuers[0].jwks_file");
    assert_eq!(predict(&server, FOREIGN), 200);
    std::fs::write(&file, ISSUER_KEY.replace("\"rfc\"", "\"other\"")).unwrap();
    assert_eq!(reload(&config("EdDSA", "truststram")).status, 200);
    assert_eq!(predict(&server, FOREIGN), 401, "the key of this name is gone");
    assert!(server.terminate().success());
}

#[test]
fn keys_are_made_before_the_first_start_and_wrong_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("new");
    let text = made(&data, &["create", "first", "--role", "admin", "--scope", "all"]);
    assert!(text.starts_with("ts_") && text.len() == 92, "{text}");
    let place = ["--data-dir", data.to_str().unwrap()];
    let listed = String::from_utf8(key(&["list"], &place).stdout).unwrap();
    assert!(listed.contains("first") && !listed.contains(&text), "{listed}");
    for (arguments, part) in [
        (&["create", "a", "--scope", "fly"][..], "`fly` is no scope; known: predict"),
        (&["create", "a"], "could do nothing"),
        (&["create", "a", "--role", "root"], "`root` is no role"),
        (&["create", "a", "--scope", "data", "--expires", "soon"], "no length of time"),
    ] {
        let output = key(arguments, &place);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn what_could_let_nobody_in_or_count_nobody_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("test.toml");
    let limits = "[[limits]]\nname = \"a\"\nkey = \"user\"\nrate = \"1r/s\"\n";
    let auth = "[auth]\nfailure_rate = \"often\"\nopen = [\"docs\"]\ntoken_ttl_s = 0\n\
                certificates = [{ name = \"a\", scopes = [\"fly\"] }]\n";
    let issuer = "[[auth.issuers]]\nissuer = \"i\"\naudience = \"a\"\njwks = \"{}\"\n\
                  algorithms = [\"none\"]\n";
    std::fs::write(&file, format!("{auth}{issuer}{limits}")).unwrap();
    let output = Command::new(BINARY)
        .args(["check-config", "--config", file.to_str().unwrap(), "--data-dir"])
        .arg(dir.path().join("data"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    for part in [
        "limits[0].key: counts by who a request is from, and nobody is asked",
        "auth.failure_rate: `often` is not a rate",
        "auth.open: `docs` is not a path",
        "auth.token_ttl_s: must be 1 to 86400",
        "auth.certificates: needs gateway.tls_client_ca",
        "auth.certificates[0].scopes: `fly` is no scope",
        "auth.issuers[0].algorithms: `none` is none of EdDSA, ES256",
        "auth.issuers[0].scopes: are none",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn an_address_for_everybody_needs_tls_and_authentication() {
    let dir = tempfile::tempdir().unwrap();
    let check = |config: &str, expected: &str| {
        let file = dir.path().join("test.toml");
        std::fs::write(&file, config).unwrap();
        let data = dir.path().join("data");
        let output = Command::new(BINARY)
            .args(["check-config", "--config", file.to_str().unwrap(), "--data-dir"])
            .arg(&data)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let is_refused = said.contains("gateway.tls_listen: 0.0.0.0:8443");
        assert_eq!(is_refused, !expected.is_empty(), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    let tls = "[gateway]\ntls_listen = \"0.0.0.0:8443\"\n";
    check(tls, "everybody would be let in; set auth.mode");
    check(&format!("{tls}[auth]\nmode = \"required\"\n"), "");
    check(&format!("{tls}tls_client_ca = \"ca.pem\"\n"), "");
    check("[gateway]\ntls_listen = \"127.0.0.1:8443\"\n", "");
}
