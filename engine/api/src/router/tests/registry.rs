//! Versions of models: shown, uploaded, put to use and removed.

use futures_util::stream;
use serde_json::json;

use super::*;

const ONE: &str = "/api/v1/models/m/versions/2";
/// A version that there is not yet.
const NEW: &str = "/api/v1/models/m/versions/7";

/// An ONNX file as far as its first bytes tell.
const ONNX: &[u8] = b"\x08\x0a\x12\x07pytorch";

fn upload(
    routes: &Routes,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = routes.call(request.body(body).unwrap());
    let place = response.headers().get(header::LOCATION).cloned();
    let status = response.status().as_u16();
    assert_eq!(place.is_some(), status == 201);
    (status, serde_json::from_slice(response.body()).unwrap())
}

#[test]
fn a_version_is_shown_with_all_that_is_known() {
    let routes = Routes::new(public_router);
    let (status, _, body) = routes.get(ONE);
    let expected = json!({
        "model_id": "m", "version": 2, "active": false, "architecture": "dense",
        "feature_count": 2, "classes": ["no", "yes"], "metrics": {},
        "created": "1970-01-01T00:00:01.000000Z", "sha256": "00", "bytes": 1, "owner_id": "ada",
        "name": "m 2", "tags": ["t"], "metadata": { "n": 1.5 }, "state": "ready",
        "format": "onnx",
        "inputs": [{ "name": "x", "datatype": "FP32", "shape": [-1, 2] }],
        "outputs": [{ "name": "y", "datatype": "FP32", "shape": [-1, 2] }],
        "feature_names": ["age"], "parameter_count": 6, "operators": { "MatMul": 2 },
        "keep_warm": false, "previous": false,
    });
    assert_eq!((status, body), (200, expected));
    assert_eq!(routes.get("/api/v1/models/m/versions/9").0, 404);
    assert_eq!(routes.get("/api/v1/models/M/versions/1").0, 404);
    routes.refuses("/api/v1/models/m/versions/0", 422, "version");
    routes.refuses("/api/v1/models/m/versions/x", 422, "version");
    // What can be no id is not found, wherever it stands.
    for path in ["/versions/1", "/performance", ""] {
        let (status, _, body) = routes.get(&format!("/api/v1/models/%ff{path}"));
        assert_eq!((status, &body["status"]), (404, &json!(404)), "{path}: {body}");
    }
    let (status, _, body) = routes.get("/v2/models/%ff");
    assert!(status == 404 && body["error"].is_string(), "{body}");
}

#[test]
fn a_version_that_serves_is_shown_with_its_figures() {
    let routes = Routes::new(public_router);
    let (_, _, body) = routes.get("/api/v1/models/served/versions/2");
    let expected = json!({
        "state": "shadow", "percent": 7, "memory_bytes": 4_096, "keep_warm": true,
        "previous": true, "validation": { "runs": 3 }, "optimisation": { "folded": 4 },
        "disagreements": { "rows": 9, "disagreed": 2, "dropped": 3, "failed": 1 },
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&body[field], value, "{field}");
    }
}

#[test]
fn curl_alone_uploads() {
    let routes = Routes::new(public_router);
    // `curl -T model.onnx`: PUT without a type.
    let (status, answer) = upload(&routes, "PUT", NEW, &[], Body::from(ONNX));
    assert_eq!(status, 201, "{answer}");
    let named = format!("{NEW}?format=tar&keep_warm=true");
    let (status, answer) = upload(&routes, "PUT", &named, &[], Body::from("old tar"));
    assert_eq!(status, 201, "{answer}");
    let asked = routes.fake.asked.lock().unwrap().clone();
    assert_eq!(asked[asked.len() - 2], r#"("keep warm", Some(true))"#);
    assert!(asked[asked.len() - 3].contains("FolderTar"), "{asked:?}");
    // A page of another site can have this sent.
    assert_eq!(upload(&routes, "POST", NEW, &[], Body::from(ONNX)).0, 415);
}

#[test]
fn an_artifact_is_streamed_to_the_registry() {
    let routes = Routes::new(public_router);
    let octets = ("content-type", "application/octet-stream");
    let uri = "/api/v1/models/m/versions?activate=true&owner=ada&name=N&tags=a,%20b\
               &metadata=%7B%22k%22:1%7D";
    let digest = "ab".repeat(32);
    let chunks = [ONNX.to_vec(), vec![0; 100_000], vec![1; 7]].map(Ok::<_, std::io::Error>);
    let body = Body::from_stream(stream::iter(chunks));
    let headers = [octets, ("x-content-sha256", digest.as_str())];
    let (status, answer) = upload(&routes, "POST", uri, &headers, body);
    assert_eq!((status, &answer["version"]), (201, &json!(3)), "{answer}");
    let asked = routes.fake.asked.lock().unwrap().clone();
    let expected = r#"(ModelId("m"), None, Some(UserId("ada")), Some("N"), ["a", "b"])"#;
    assert_eq!(asked[0], expected);
    assert!(asked[1].starts_with(r#"("{\"k\":1}", true, Onnx, Some([171, "#), "{}", asked[1]);
    assert_eq!(asked[2], r#"("keep warm", None)"#);
    assert_eq!(asked[3], format!("{} bytes", ONNX.len() + 100_007));
    for method in ["PUT", "POST"] {
        let (status, answer) = upload(&routes, method, NEW, &[octets], Body::from(ONNX));
        assert_eq!((status, &answer["version"]), (201, &json!(7)), "{method}: {answer}");
    }
    let tar = [("content-type", "application/x-tar")];
    let (status, _) = upload(&routes, "PUT", NEW, &tar, Body::from("whatever"));
    assert_eq!(status, 201);
    let asked = routes.fake.asked.lock().unwrap().clone();
    assert!(asked[asked.len() - 3].contains("FolderTar"), "{asked:?}");
}

#[test]
fn what_cannot_be_uploaded_is_refused_with_its_reason() {
    let routes = Routes::new(public_router);
    let check = |query: &str, headers: &[(&str, &str)], body: Body, status: u16, part: &str| {
        let uri = format!("{NEW}{query}");
        let (found, answer) = upload(&routes, "PUT", &uri, headers, body);
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert_eq!(found, status, "{query} {headers:?}: {answer}");
        assert!(detail.contains(part), "{query} {headers:?}: {detail}");
    };
    let octets = ("content-type", "application/octet-stream");
    let onnx = || Body::from(ONNX);
    let query =
        |query: &str, status: u16, part: &str| check(query, &[octets], onnx(), status, part);
    let form = ("content-type", "application/x-www-form-urlencoded");
    check("", &[form], onnx(), 415, "application/octet-stream");
    check("", &[("content-type", "text/plain")], onnx(), 415, "application/x-tar");
    check("", &[octets], Body::from("PK"), 422, "body is none of .safetensors, .onnx and a tar");
    check("", &[octets], Body::empty(), 422, "body is empty");
    check("", &[octets, ("content-length", "4294967297")], onnx(), 413, "larger than the limit");
    check("", &[octets, ("x-content-sha256", "ab")], onnx(), 422, "64 hexadecimal digits");
    check("?format=onnx", &[("content-type", "application/x-tar")], onnx(), 422, "is not what");
    query("?sha256=ab", 422, "sha256 must be 64 hexadecimal");
    query("?format=pickle", 422, "format must be");
    query("?owner=", 422, "owner is empty");
    query("?name=", 422, "name must have 1 to 256 bytes");
    query("?metadata=[]", 422, "metadata must be a JSON object");
    query("?activate=maybe", 400, "cannot be read");
    query("?keep_warm=maybe", 400, "cannot be read");
    query("?force=true", 400, "unknown field");
    query(&format!("?tags={}", "a".repeat(65)), 422, "tags has a tag of more than 64 bytes");
    query(&format!("?tags={}", vec!["a"; 33].join(",")), 422, "tags has 33 tags");
    let broken = [Ok(ONNX.to_vec()), Err(std::io::Error::other("gone"))];
    check("", &[octets], Body::from_stream(stream::iter(broken)), 400, "ended early");
    let late = [Ok(ONNX.to_vec()), Ok(vec![0; 600]), Err(std::io::Error::other("gone"))];
    check("", &[octets], Body::from_stream(stream::iter(late)), 400, "ended early");
    for (uri, part) in [(ONE, "version 2 already"), ("/api/v1/models/m/versions/8", "such a")] {
        let (status, answer) = upload(&routes, "PUT", uri, &[octets], onnx());
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert!(status == 409 && detail.contains(part), "{answer}");
    }
}

#[test]
fn versions_are_put_to_use() {
    let routes = Routes::new(public_router);
    let check = |uri: &str, body: &str, state: &str, asked: &str| {
        let (status, answer) = routes.post(uri, &[], body);
        assert_eq!((status, &answer["state"]), (200, &json!(state)), "{uri}: {answer}");
        assert_eq!(routes.asked(), asked);
    };
    let of = |action: &str| format!("{ONE}/{action}");
    let asked = |change: &str| format!(r#"(ModelId("m"), ModelVersion(2), {change})"#);
    check(&of("activate"), "", "active", &asked("Activate"));
    check(&of("activate"), r#"{"version":2}"#, "active", &asked("Activate"));
    check("/api/v1/models/m/activate", r#"{"version":2}"#, "active", &asked("Activate"));
    check(&of("canary"), r#"{"percent":12}"#, "canary", &asked("Canary(12)"));
    check(&of("canary"), r#"{"percent":100.0}"#, "canary", &asked("Canary(100)"));
    check(&of("canary"), r#"{"percent":0}"#, "canary", &asked("Canary(0)"));
    check(&of("canary"), "{}", "canary", &asked("Canary(5)"));
    check(&of("shadow"), "{}", "shadow", &asked("Shadow"));
    check("/api/v1/models/m/rollback", "", "active", r#"("roll back", ModelId("m"))"#);
    let (status, answer) = routes.post(&of("retire"), &[], "");
    assert_eq!((status, &answer["detail"]), (409, &json!("it is the active version")));
    let (status, _, answer) = routes.send("DELETE", ONE, "", "");
    assert_eq!((status, &answer["state"]), (200, &json!("retired")));
    assert_eq!(routes.asked(), r#"("remove", ModelId("m"), ModelVersion(2))"#);
}

#[test]
fn what_changes_nothing_says_why() {
    let routes = Routes::new(public_router);
    let check = |uri: &str, body: &str, status: u16, part: &str| {
        let (found, answer) = routes.post(uri, &[], body);
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert_eq!(found, status, "{uri}: {answer}");
        assert!(detail.contains(part), "{uri}: {detail}");
    };
    let of = |action: &str| format!("{ONE}/{action}");
    let whole = "percent must be a whole number from 0 to 100, found";
    check(&of("canary"), r#"{"percent":101}"#, 422, &format!("{whole} 101"));
    check(&of("canary"), r#"{"percent":-1}"#, 422, &format!("{whole} -1"));
    check(&of("canary"), r#"{"percent":12.5}"#, 422, &format!("{whole} 12.5"));
    check(&of("canary"), r#"{"percent":0.5}"#, 422, &format!("{whole} 0.5"));
    check(&of("canary"), r#"{"percent":"5"}"#, 422, "invalid type");
    check(&of("canary"), r#"{"share":5}"#, 422, "unknown field");
    check(&of("activate"), r#"{"version":3}"#, 422, "version is not the one in the path");
    check("/api/v1/models/m/activate", "", 422, "version is missing");
    check("/api/v1/models/m/activate", r#"{"version":0}"#, 422, "version must be at least 1");
    check(&of("shadow"), "{", 400, "cannot be read");
    check(&of("shadow"), &" ".repeat(5_000), 413, "limit of 4096 bytes");
    check("/api/v1/models/M/rollback", "", 404, "the model id");
    for action in ["activate", "canary", "shadow", "retire"] {
        assert_eq!(routes.send("POST", &of(action), "text/plain", "{}").0, 415, "{action}");
    }
    assert_eq!(routes.send("POST", "/api/v1/models/m/rollback", "", "").0, 415);
    assert_eq!(routes.get("/api/v1/models/m/versions").0, 405);
    assert!(routes.fake.asked.lock().unwrap().is_empty());
}

#[test]
fn artifacts_alone_are_streamed() {
    let check = |method: &Method, path: &str, expected: bool| {
        assert_eq!(streams(method, path), expected, "{method} {path}");
    };
    check(&Method::PUT, "/api/v1/models/m/versions/2", true);
    check(&Method::POST, "/api/v1/models/m/versions", true);
    check(&Method::GET, "/api/v1/models/m/versions/2", false);
    check(&Method::POST, "/api/v1/models/m/versions/2/activate", false);
    check(&Method::POST, "/api/v1/models/m/activate", false);
    check(&Method::POST, "/api/v1/predict", false);
}

#[test]
fn what_the_gateway_refuses_has_the_form_of_its_place() {
    let check = |path: &'static str, media: &str| {
        let response = reject(
            &Uri::from_static(path),
            413,
            "too-large",
            "Body too large",
            "the body is larger than the limit of 10 bytes".to_owned(),
        );
        assert_eq!(response.status(), 413);
        assert_eq!(response.headers()[header::CONTENT_TYPE], media, "{path}");
    };
    check("/api/v1/predict", "application/problem+json");
    check("/v2/models/m/infer", "application/json");
    check("/v1/embeddings", "application/json");
    check("/v20", "application/problem+json");
}
