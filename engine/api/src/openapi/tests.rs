//! The document describes what handlers take and answer: every answer of the router's tests is
//! among the described ones.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::options::DEADLINE_MS_MAX;
use crate::ports::PRIORITY_MAX;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&super::document()).unwrap());

fn paths() -> &'static Map<String, Value> {
    DOCUMENT["paths"].as_object().unwrap()
}

/// Every operation with its method and path.
fn operations() -> impl Iterator<Item = (String, &'static Value)> {
    let of_path = |(path, operations): (&'static String, &'static Value)| {
        let operations = operations.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (format!("{method} {path}"), operation))
    };
    paths().iter().flat_map(of_path)
}

/// The operation that the router has for a request; the path with fewer places goes first.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let fits = |template: &str| {
        let (mut found, mut parts) = (path.split('/'), template.split('/'));
        let same = |(part, found): (&str, &str)| part.starts_with('{') || part == found;
        parts.by_ref().zip(found.by_ref()).all(same)
            && template.matches('/').count() == path.matches('/').count()
    };
    let fitting = paths().iter().filter(|(template, _)| fits(template));
    let (_, operations) = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
    operations.get(method.to_lowercase())
}

/// Fails unless the answer to a request is described, where the operation is.
pub(crate) fn is_described(method: &str, path: &str, status: u16, media: &str) {
    let Some(operation) = operation(method, path) else { return };
    let response = operation["responses"].get(status.to_string());
    let response = response.unwrap_or_else(|| panic!("{method} {path}: {status} is undescribed"));
    if let Some(content) = response["content"].as_object() {
        let mut described = content.keys();
        assert!(described.any(|known| known == media), "{method} {path}: {status} {media}");
    }
}

#[test]
fn operations_have_names_of_their_own() {
    let mut known = BTreeSet::new();
    for (place, operation) in operations() {
        let name = operation["operationId"].as_str().unwrap();
        assert!(known.insert(name), "{place} is called {name} as another one is");
    }
}

#[test]
fn the_headers_that_say_how_urgent_it_is_are_described_where_they_are_read() {
    let read = [
        "post /api/v1/predict",
        "post /api/v1/predict/batch",
        "post /api/v1/similarity",
        "post /v1/embeddings",
        "post /v2/models/{model}/infer",
        "post /v2/models/{model}/versions/{version}/infer",
    ];
    for (place, operation) in operations() {
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let headers = [("x-priority", u64::from(PRIORITY_MAX)), ("x-deadline-ms", DEADLINE_MS_MAX)];
        for (name, greatest) in headers {
            let found = parameters.iter().find(|parameter| parameter["name"] == name);
            assert_eq!(found.is_some(), read.contains(&place.as_str()), "{place}: {name}");
            let Some(found) = found else { continue };
            assert_eq!((&found["in"], &found["required"]), (&"header".into(), &false.into()));
            assert_eq!(found["schema"]["maximum"], greatest, "{place}: {name}");
        }
    }
}

#[test]
fn bytes_after_an_object_are_described_with_their_header() {
    for (place, operation) in operations().filter(|(place, _)| place.ends_with("/infer")) {
        let parameters = operation["parameters"].as_array().unwrap();
        let is_length = |parameter: &&Value| {
            parameter["name"] == "inference-header-content-length" && parameter["required"] == false
        };
        assert!(parameters.iter().any(|parameter| is_length(&parameter)), "{place}");
        let answers = operation["responses"]["200"]["content"].as_object().unwrap();
        assert!(answers.contains_key("application/octet-stream"), "{place}");
    }
}

#[test]
fn every_form_of_the_input_of_a_prediction_is_described() {
    let schemas = &DOCUMENT["components"]["schemas"];
    let request = &schemas["PredictRequest"];
    let fields: Vec<&String> = request["properties"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["data", "model_id", "text", "user_id", "version"]);
    assert_eq!(request["required"], serde_json::json!(["model_id"]));
    let forms = schemas["Data"]["oneOf"].as_array().unwrap();
    let tensors = forms.iter().find(|form| form["properties"]["inputs"].is_object());
    let tensors = tensors.expect("tensors are described");
    assert_eq!(tensors["required"], serde_json::json!(["inputs"]));
}
