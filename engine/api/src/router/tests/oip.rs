//! The Open Inference Protocol: metadata, inference in both forms, the repository, and refusals.

use serde_json::json;

use super::*;

const INFER: &str = "/v2/models/m/infer";

/// Posts without a media type, as Triton's client does.
fn post(
    routes: &Routes,
    uri: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Response<Bytes> {
    let mut request = Request::builder().method("POST").uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    routes.call(request.body(body.into()).unwrap())
}

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[test]
fn the_server_and_its_models_describe_themselves() {
    let routes = Routes::new(public_router);
    let (status, _, server) = routes.get("/v2");
    assert_eq!((status, &server["name"]), (200, &json!("truststram")));
    let extensions = [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "model_repository",
        "schedule_policy",
        "statistics",
    ];
    assert_eq!(server["extensions"], json!(extensions));
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"] {
        assert_eq!(routes.get(path).0, 200, "{path}");
    }
    assert_eq!(routes.get("/v2/models/m/versions/3/ready").0, 200);
    assert_eq!(routes.asked(), r#"(ModelId("m"), Some(ModelVersion(3)))"#);
    assert_eq!(routes.get("/v2/models/late/ready").0, 503);
    assert_eq!(routes.get("/v2/models/none/ready").0, 404);
    let tensor = |name: &str| json!([{ "name": name, "datatype": "FP32", "shape": [-1, 2] }]);
    let expected = json!({
        "name": "m", "versions": ["1", "2"], "platform": "truststram_dense",
        "inputs": tensor("x"), "outputs": tensor("y"),
    });
    assert_eq!(routes.get("/v2/models/m").2, expected);
    assert_eq!(routes.get("/v2/models/m/versions/2").2["versions"], json!(["2"]));
    let config = routes.get("/v2/models/m/config").2;
    let input = json!([{ "name": "x", "data_type": "TYPE_FP32", "dims": [-1, 2] }]);
    assert_eq!((&config["input"], &config["max_batch_size"]), (&input, &json!(0)));
    assert_eq!(routes.get("/v2/models/m/versions/2/config").0, 200);
}

#[test]
fn statistics_have_the_shape_of_triton() {
    let routes = Routes::new(public_router);
    let stat = routes.get("/v2/models/m/versions/4/stats").2["model_stats"][0].clone();
    assert_eq!((&stat["name"], &stat["version"]), (&json!("m"), &json!("4")));
    assert_eq!(stat["inference_stats"]["success"], json!({ "count": 20, "ns": 200 }));
    assert_eq!(stat["batch_stats"][0]["batch_size"], 4);
    assert_eq!(stat["batch_stats"][0]["compute_infer"]["count"], 5);
    assert_eq!(stat["last_inference"], 7);
    assert_eq!(routes.get("/v2/models/stats").2["model_stats"][0]["name"], "a");
    assert_eq!(routes.asked(), "(None, None)");
    routes.get("/v2/models/m/stats");
    assert_eq!(routes.asked(), r#"(Some(ModelId("m")), None)"#);
}

#[test]
fn the_repository_is_listed_loaded_and_unloaded() {
    let routes = Routes::new(public_router);
    let index = |body: &'static str| json_of(&post(&routes, "/v2/repository/index", &[], body));
    let ready = json!({ "name": "a", "version": "1", "state": "READY", "reason": "" });
    let other = json!({ "name": "a", "version": "2", "state": "UNAVAILABLE", "reason": "retired" });
    assert_eq!(index(""), json!([ready, other]));
    assert_eq!(index("{}"), json!([ready, other]));
    assert_eq!(index(r#"{"ready":true}"#), json!([ready]));
    let change = |action: &str, body: &'static str| {
        let uri = format!("/v2/repository/models/m/{action}");
        let response = post(&routes, &uri, &[], body);
        (response.status().as_u16(), json_of(&response))
    };
    assert_eq!(change("load", "{}"), (200, json!({})));
    assert_eq!(routes.asked(), r#"("load", ModelId("m"))"#);
    let dependents = r#"{"parameters":{"unload_dependents":false}}"#;
    assert_eq!(change("unload", dependents), (200, json!({})));
    let (status, body) = change("load", r#"{"parameters":{"config":"{}"}}"#);
    assert!(status == 400 && body["error"].as_str().unwrap().contains("config"), "{body}");
    assert_eq!(change("load", "nonsense").0, 400);
    let unknown = post(&routes, "/v2/repository/models/none/load", &[], "");
    assert_eq!(unknown.status(), 404);
    let foreign = [("origin", "http://evil.example"), ("host", "127.0.0.1:8080")];
    let refused = post(&routes, "/v2/repository/models/m/unload", &foreign, "");
    assert_eq!(refused.status(), 403);
    let own = [("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")];
    assert_eq!(post(&routes, "/v2/repository/models/m/unload", &own, "").status(), 200);
}

#[test]
fn json_tensors_come_back_as_json() {
    let routes = Routes::new(public_router);
    let body = json!({
        "id": "q1",
        "parameters": { "priority": 1, "timeout": 2500, "user_id": "ada", "custom": [1] },
        "inputs": [
            { "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [[0.5, 2]] },
            { "name": "s", "datatype": "BYTES", "shape": [2], "data": ["a", "b"] },
        ],
        "outputs": [{ "name": "s" }, { "name": "x", "parameters": { "classification": 1 } }],
    });
    let response = post(&routes, INFER, &[], body.to_string());
    let expected = json!({
        "model_name": "m", "model_version": "2", "id": "q1",
        "outputs": [
            { "name": "s", "datatype": "BYTES", "shape": [2], "data": ["a", "b"] },
            { "name": "x", "datatype": "BYTES", "shape": [1, 1], "data": ["2.000000:1:yes"] },
        ],
    });
    assert_eq!((response.status().as_u16(), json_of(&response)), (200, expected));
    assert!(!response.headers().contains_key("inference-header-content-length"));
    let asked = routes.asked();
    for part in ["UserId(\"ada\")", "priority: 3", "deadline_ms: Some(3)", "[\"s\", \"x\"]"] {
        assert!(asked.contains(part), "{asked} lacks {part}");
    }
    let uri = "/v2/models/m/versions/7/infer";
    let body = r#"{"inputs":[{"name":"x","datatype":"INT8","shape":[],"data":[5]}]}"#;
    let answer = json_of(&post(&routes, uri, &[("x-deadline-ms", "9")], body));
    let output = json!([{ "name": "x", "datatype": "INT8", "shape": [], "data": [5] }]);
    assert_eq!((&answer["model_version"], &answer["outputs"]), (&json!("7"), &output));
    assert!(answer.get("id").is_none() && routes.asked().contains("deadline_ms: Some(9)"));
}

#[test]
fn bytes_of_tensors_follow_the_object_in_both_directions() {
    let routes = Routes::new(public_router);
    let input = |name: &str, datatype: &str, shape: Value, size: usize| {
        let parameters = json!({ "binary_data_size": size });
        json!({
            "name": name, "datatype": datatype, "shape": shape, "parameters": parameters,
        })
    };
    let head = json!({
        "parameters": { "binary_data_output": true },
        "inputs": [input("x", "UINT16", json!([2]), 4), input("s", "BYTES", json!([1]), 5)],
        "outputs": [{ "name": "s" }, { "name": "x", "parameters": { "binary_data": false } }],
    })
    .to_string();
    let tail = b"\x01\x00\x02\x00\x01\x00\x00\x00z";
    let body = [head.as_bytes(), tail].concat();
    let length = head.len().to_string();
    let headers = [("inference-header-content-length", length.as_str())];
    let response = post(&routes, INFER, &headers, body.clone());
    assert_eq!(response.status(), 200, "{:?}", response.body());
    let length: usize =
        response.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/octet-stream");
    let (object, bytes) = response.body().split_at(length);
    let object: Value = serde_json::from_slice(object).unwrap();
    let expected = json!([
        { "name": "s", "datatype": "BYTES", "shape": [1],
          "parameters": { "binary_data_size": 5 } },
        { "name": "x", "datatype": "UINT16", "shape": [2], "data": [1, 2] },
    ]);
    assert_eq!((&object["outputs"], bytes), (&expected, &b"\x01\x00\x00\x00z"[..]));
    // The same, compressed on both ways.
    let packed = crate::oip::encoding::Encoding::Deflate.compress(&body).unwrap();
    let encodings = [headers[0], ("content-encoding", "deflate"), ("accept-encoding", "gzip")];
    let response = post(&routes, INFER, &encodings, packed);
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(response.body().starts_with(b"\x1f\x8b"));
}

#[test]
fn what_is_wrong_is_said_in_the_shape_of_the_protocol() {
    let routes = Routes::new(public_router);
    let check = |headers: &[(&str, &str)], body: &str, status: u16, part: &str| {
        let response = post(&routes, INFER, headers, body.to_owned());
        let answer = json_of(&response);
        let error = answer["error"].as_str().unwrap_or_default();
        assert_eq!(response.status(), status, "{body}: {answer}");
        assert!(error.contains(part), "{body}: {error}");
        assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    };
    let bad = |body: &str, part: &str| check(&[], body, 400, part);
    let x = r#"{"name":"x","datatype":"FP32","shape":[1],"data":[1]}"#;
    let with = |rest: &str| format!(r#"{{"inputs":[{x}],{rest}}}"#);
    bad("", "not JSON at byte 0");
    bad("[1]", "the body is no inference request");
    bad("{}", "missing field `inputs`");
    bad(r#"{"inputs":[]}"#, "inputs is empty");
    bad(r#"{"inputs":[{"name":"x"}]}"#, "inputs[0] is no tensor: missing field `shape`");
    bad(&format!(r#"{{"inputs":[{x},{x}]}}"#), "inputs[1].name `x` is given twice");
    bad(&x.replace("[1]}", "[NaN]}"), "holds NaN");
    bad(&with(r#""outputs":[{"name":"x"},{"name":"x"}]"#), "outputs[1].name `x` is given twice");
    bad(
        &with(r#""outputs":[{"name":"x","parameters":{"classification":0}}]"#),
        "outputs[0].parameters.classification must be 1 to",
    );
    bad(
        &with(r#""outputs":[{"name":"x","parameters":{"binary_data":1}}]"#),
        "outputs[0].parameters.binary_data must be true or false",
    );
    bad(&with(r#""outputs":[{"name":"z"}]"#), "outputs name no output");
    bad(&with(r#""parameters":{"priority":"high"}"#), "parameters.priority must be a whole");
    bad(&with(r#""parameters":{"sequence_id":3}"#), "sequence, which is not supported");
    bad(&with(r#""parameters":{"user_id":""}"#), "parameters.user_id is empty");
    bad(&with(&format!(r#""id":"{}""#, "i".repeat(1_025))), "id is longer than 1024 bytes");
    let deep = "[".repeat(200_000);
    bad(&format!(r#"{{"inputs":{deep}"#), "not JSON at byte");
    let many = vec!["0"; 257].join(",");
    bad(&format!(r#"{{"inputs":[{many}]}}"#), "at most 256 items");
    let length = |value: &'static str| [("inference-header-content-length", value)];
    check(&length("9999"), &with(r#""id":"a""#), 400, "must be 1 to the");
    check(&length("-1"), &with(r#""id":"a""#), 400, "must be 1 to the");
    let body = format!(r#"{{"inputs":[{x}]}}tail"#);
    let at = (body.len() - 4).to_string();
    check(&[("inference-header-content-length", &at)], &body, 400, "4 bytes follow those of");
    check(&[("content-encoding", "br")], "", 415, "gzip, deflate or identity");
    check(&[("content-encoding", "gzip")], "{}", 400, "the body is not gzip");
    check(&[("x-priority", "9")], "{}", 400, "x-priority must be");
    check(&[("origin", "http://evil.example")], "{}", 403, "another site");
    let of = |model: &str| {
        let body = format!(r#"{{"inputs":[{x}]}}"#);
        post(&routes, &format!("/v2/models/{model}/infer"), &[], body)
    };
    assert_eq!(of("none").status(), 404);
    assert_eq!(of("NONE").status(), 404);
    assert_eq!(of("texts").status(), 400);
    let full = of("full");
    assert_eq!(full.status(), 503);
    assert_eq!(full.headers()[header::RETRY_AFTER], "1");
    for path in ["/v2/nothing", "/v2/models/m/trace/setting", "/v2/models/m/versions/0"] {
        let (status, _, body) = routes.get(path);
        assert!(matches!(status, 400 | 404) && body["error"].is_string(), "{path}: {body}");
    }
    let (status, _, body) = routes.get(INFER);
    assert!(status == 405 && body["error"].is_string(), "{body}");
}
