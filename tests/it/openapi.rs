//! The OpenAPI document and the server that serves it say the same.

use serde_json::{Map, Value};

use crate::harness::{Answer, Server, held_out, trained_dir};

#[test]
fn every_described_operation_is_routed_and_answers_as_described() {
    let dir = trained_dir();
    let server = Server::start(dir.path());
    let document = server.get("/openapi.json").body;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 7, "{document}");
    let rows = b"[{\"features\":[1]}]";
    assert_eq!(server.post("/api/v1/datasets/set/rows", rows).status, 201);
    let job = b"{\"dataset\":\"set\",\"model\":\"m\"}";
    assert_eq!(server.post("/api/v1/training/jobs", job).status, 201);
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let described = operation["responses"].as_object().unwrap();
            let concrete = concrete_of(path);
            // What one operation removes is there again for the next.
            assert_eq!(server.post("/api/v1/datasets/set/rows", rows).status, 201);
            let answer = send(&server, method, &concrete);
            is_described(described, &answer, path);
            assert_ne!(answer.status, 404, "{path} is described and not routed");
        }
        let concrete = concrete_of(path);
        for method in
            METHODS.iter().filter(|method| !operations.as_object().unwrap().contains_key(**method))
        {
            let answer = send(&server, method, &concrete);
            assert_eq!(answer.status, 405, "{path} takes {method}, which is not described");
        }
    }
    let predict = paths["/api/v1/predict"]["post"]["responses"].as_object().unwrap();
    is_described(predict, &server.predict(held_out().row(0), "?durable=true"), "/api/v1/predict");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in references(&document) {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.contains_key(name), "{reference} leads nowhere");
    }
}

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

/// The path with a name in each place of one.
fn concrete_of(path: &str) -> String {
    let names = [
        ("{id}", "digits"),
        ("{model}", "digits"),
        ("{name}", "set"),
        ("{version}", "1"),
        ("{client}", "1"),
        ("{task}", "1"),
        ("{job}", "1"),
    ];
    names.iter().fold(path.to_owned(), |path, (place, name)| path.replace(place, name))
}

fn send(server: &Server, method: &str, path: &str) -> Answer {
    match method {
        "get" => server.get(path),
        "put" => server.put(path, "application/json", b"{}"),
        "post" => server.post(path, b"{}"),
        "patch" => server.patch(path),
        "delete" => server.delete(path),
        other => panic!("{path} is described with {other}, which this test cannot send"),
    }
}

/// The status and the media type of `answer` are among the described responses.
fn is_described(described: &Map<String, Value>, answer: &Answer, path: &str) {
    let status = answer.status.to_string();
    let response = described.get(&status).unwrap_or_else(|| panic!("{path} answered {status}"));
    let sent = answer.headers["content-type"].to_str().unwrap();
    if let Some(content) = response["content"].as_object() {
        assert!(content.keys().any(|media| sent.starts_with(media.as_str())), "{path}: {sent}");
    }
}

/// Every `$ref` of the document.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("$ref", Value::String(target)) => vec![target.clone()],
                _ => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
