//! Predictions: every form of input, and how urgent they are.

use serde_json::json;

use super::*;

const PREDICT: &str = "/api/v1/predict";

#[test]
fn every_form_of_input_reaches_the_port() {
    let routes = Routes::new(public_router);
    let check = |body: Value, expected: &str| {
        // The fake answers no prediction; what it was asked is what matters.
        assert_eq!(routes.post(PREDICT, &[], &body.to_string()).0, 503, "{body}");
        assert!(routes.asked().contains(expected), "{} lacks {expected}", routes.asked());
    };
    check(json!({"model_id": "m", "data": [1, 2]}), "input: Features([1.0, 2.0])");
    check(
        json!({"model_id": "m", "data": {"age": 3, "town": "x"}}),
        r#"input: Named([("age", Number(3.0)), ("town", Text("x"))])"#,
    );
    let tensor = json!({"name": "x", "datatype": "INT64", "shape": [1, 1], "data": [[7]]});
    check(json!({"model_id": "m", "data": {"inputs": [tensor]}}), "datatype: Int64");
    check(json!({"model_id": "m", "version": 4, "text": "hello"}), r#"input: Text("hello")"#);
    assert!(routes.asked().contains("version: Some(ModelVersion(4))"));
    // What is `null` is not given.
    check(json!({"model_id": "m", "data": [1], "text": null}), "input: Features([1.0])");
    check(json!({"model_id": "m", "data": {"a": 1}, "text": null}), "input: Named(");
    check(json!({"model_id": "m", "data": null, "text": "t"}), r#"input: Text("t")"#);
}

#[test]
fn headers_say_how_urgent_it_is() {
    let routes = Routes::new(public_router);
    let body = r#"{"model_id":"m","data":[1]}"#;
    routes.post(PREDICT, &[], body);
    assert!(routes.asked().ends_with("priority: 1, deadline_ms: None }"), "{}", routes.asked());
    routes.post(PREDICT, &[("x-priority", "3"), ("x-deadline-ms", "20")], body);
    assert!(routes.asked().ends_with("priority: 3, deadline_ms: Some(20) }"));
    let items = format!("[{body},{{\"model_id\":\"m\",\"text\":\"t\"}}]");
    let (status, answer) = routes.post("/api/v1/predict/batch", &[("x-priority", "0")], &items);
    assert_eq!((status, answer["predictions"].as_array().map(Vec::len)), (200, Some(2)));
    assert!(routes.asked().contains("Text(\"t\")") && routes.asked().contains("priority: 0"));
    let texts = r#"{"model_id":"m","texts":["one","","two"]}"#;
    let (status, answer) = routes.post("/api/v1/predict/batch", &[("x-priority", "2")], texts);
    assert_eq!(status, 200, "{answer}");
    let statuses = [503, 422, 503].map(|status| json!(status));
    for (index, status) in statuses.iter().enumerate() {
        assert_eq!(answer["predictions"][index]["error"]["status"], *status, "{answer}");
    }
    let last = routes.asked();
    assert!(last.contains("Text(\"two\")") && last.contains("priority: 2"), "{last}");
    for (name, value) in [("x-priority", "4"), ("x-deadline-ms", "0"), ("x-deadline-ms", "soon")] {
        let (status, answer) = routes.post(PREDICT, &[(name, value)], body);
        assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!(name)), "{answer}");
    }
}

#[test]
fn faults_of_inputs_are_problems_with_their_field() {
    let routes = Routes::new(public_router);
    let check = |input: &str, field: &str| {
        let body = format!(r#"{{"model_id":"m",{input}}}"#);
        let (status, answer) = routes.post(PREDICT, &[], &body);
        assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!(field)), "{answer}");
    };
    check(r#""data":{"a":[]  ,"b":{}}"#, "data.b");
    check(
        r#""data":{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1]}]}"#,
        "data.inputs[0].data",
    );
    check(r#""text":["a"]"#, "text");
    check(r#""text":"a","data":[1]"#, "text");
    check(r#""text":"a","dta":[1]"#, "dta");
}
