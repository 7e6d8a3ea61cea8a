//! The Open Inference Protocol and the registry of a running server, through its gateway.

use serde_json::{Value, json};

use crate::harness::{Server, held_out, trained_dir};

#[test]
fn tensors_are_answered_as_lists_of_features_are() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    assert_eq!(server.get("/v2/health/ready").status, 200);
    assert_eq!(server.get("/v2/models/digits/ready").status, 200);
    let metadata = server.get("/v2/models/digits").body;
    let features = json!([{ "name": "features", "datatype": "FP32", "shape": [-1, 64] }]);
    assert_eq!((&metadata["inputs"], &metadata["versions"]), (&features, &json!(["1"])));
    let index = server.post("/v2/repository/index", b"").body;
    assert_eq!(index[0]["state"], "READY", "{index}");

    let rows = held_out();
    let (first, second) = (rows.row(0), rows.row(1));
    let input = json!({
        "name": "features", "datatype": "FP32", "shape": [2, 64], "data": [first, second],
    });
    let body = json!({ "id": "7", "inputs": [input] }).to_string();
    let answer = server.post("/v2/models/digits/infer", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text);
    let output = &answer.body["outputs"][0];
    assert_eq!((&answer.body["id"], &output["shape"]), (&json!("7"), &json!([2, 10])));
    let plain =
        |row: &[f32]| server.predict(row, "?probabilities=true").body["probabilities"].clone();
    let expected: Vec<Value> =
        [first, second].iter().flat_map(|row| plain(row).as_array().unwrap().clone()).collect();
    let found = output["data"].as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        let difference = found.as_f64().unwrap() - expected.as_f64().unwrap();
        assert!(difference.abs() < 1e-5, "{found} is not {expected}");
    }
    let unknown = server.post("/v2/models/none/infer", body.as_bytes());
    assert!(unknown.status == 404 && unknown.body["error"].is_string(), "{}", unknown.text);
    let similar = server.post("/api/v1/similarity", br#"{"a":[[1,0],[0,2]]}"#).body;
    assert_eq!(similar["similarities"], json!([[1.0, 0.0], [0.0, 1.0]]));
}

#[test]
fn artifacts_pass_the_gateway_whatever_their_size() {
    let dir = trained_dir();
    let config = "[gateway]\nbody_bytes_max = 65536\n";
    let server = Server::start_configured(dir.path(), config);
    let media = "application/octet-stream";
    let large = [b"\x08\x0a".as_slice(), &vec![0; 3 << 20]].concat();
    // Other bodies of that size are refused by the gateway, in the form of their place.
    let refused = server.post("/v2/models/digits/infer", &large[..70_000]);
    assert!(refused.status == 413 && refused.body["error"].is_string(), "{}", refused.text);
    // What is taken is looked at by the registry, which alone can say what is wrong with it.
    let answer = server.put("/api/v1/models/digits/versions/2", media, &large);
    assert_eq!(answer.status, 422, "{}", answer.text);
    let exists = server.put("/api/v1/models/digits/versions/1", media, &large[..100]);
    assert_eq!(exists.status, 409, "{}", exists.text);
    assert_eq!(server.get("/api/v1/models/digits/versions/1").body["state"], "active");
}
