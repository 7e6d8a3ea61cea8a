//! Embeddings in OpenAI's shape, and similarities.

use serde_json::json;

use super::*;

const EMBEDDINGS: &str = "/v1/embeddings";
const SIMILARITY: &str = "/api/v1/similarity";

#[test]
fn texts_become_vectors_in_the_shape_of_openai() {
    let routes = Routes::new(public_router);
    let (status, answer) =
        routes.post(EMBEDDINGS, &[("x-priority", "2")], r#"{"model":"e","input":["ab","c"]}"#);
    let expected = json!({
        "object": "list",
        "data": [
            { "object": "embedding", "index": 0, "embedding": [2.0, 1.0] },
            { "object": "embedding", "index": 1, "embedding": [1.0, 1.0] },
        ],
        "model": "e",
        "usage": { "prompt_tokens": 3, "total_tokens": 3 },
    });
    assert_eq!((status, answer), (200, expected));
    assert!(routes.asked().contains("priority: 2"), "{}", routes.asked());
    let body = r#"{"model":"e","input":[1,2,3],"encoding_format":"base64","user":"ada"}"#;
    let (_, answer) = routes.post(EMBEDDINGS, &[], body);
    assert_eq!(answer["data"][0]["embedding"], "AABAQAAAgD8=");
    assert!(routes.asked().contains("Tokens([[1, 2, 3]])"), "{}", routes.asked());
    assert!(routes.asked().contains("user: Some(UserId(\"ada\"))"), "{}", routes.asked());
}

#[test]
fn errors_are_in_the_shape_of_openai() {
    let routes = Routes::new(public_router);
    let check = |body: &str, status: u16, param: Value, code: Value| {
        let (found, answer) = routes.post(EMBEDDINGS, &[], body);
        let error = &answer["error"];
        assert_eq!((found, &error["param"], &error["code"]), (status, &param, &code), "{answer}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
        let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
        assert_eq!(error["type"], kind);
    };
    let null = Value::Null;
    check(r#"{"model":"e","input":[]}"#, 400, json!("input"), null.clone());
    check(r#"{"model":"e","input":""}"#, 400, json!("input"), null.clone());
    check(r#"{"model":"e","input":{"a":1}}"#, 400, json!("input"), null.clone());
    check(r#"{"model":"none","input":"a"}"#, 404, json!("model"), json!("model_not_found"));
    check(r#"{"model":"NONE","input":"a"}"#, 404, json!("model"), json!("model_not_found"));
    check(r#"{"model":"texts","input":"a"}"#, 400, json!("model"), null.clone());
    check(r#"{"model":"full","input":"a"}"#, 503, null.clone(), null.clone());
    check(r#"{"model":"e","input":"a","dimensions":3}"#, 400, json!("dimensions"), null.clone());
    let format = r#"{"model":"e","input":"a","encoding_format":"int8"}"#;
    check(format, 400, json!("encoding_format"), null.clone());
    check(r#"{"model":"e","input":"a","user":"a\n"}"#, 400, json!("user"), null.clone());
    check(r#"{"model":"e"}"#, 400, null.clone(), null.clone());
    check("{", 400, null.clone(), null);
    assert_eq!(routes.send("POST", EMBEDDINGS, "text/plain", "{}").0, 415);
    let (status, _, answer) = routes.get("/v1/nothing");
    assert_eq!((status, &answer["error"]["type"]), (404, &json!("invalid_request_error")));
    assert_eq!(routes.get(EMBEDDINGS).0, 405);
}

#[test]
fn vectors_and_texts_are_compared() {
    let routes = Routes::new(public_router);
    let check = |body: &str, expected: Value| {
        let (status, answer) = routes.post(SIMILARITY, &[], body);
        assert_eq!((status, &answer), (200, &expected), "{body}");
    };
    check(
        r#"{"a":[[1,2],[3,4]]}"#,
        json!({ "similarities": [[5.0, 11.0], [11.0, 25.0]], "dimension": 2 }),
    );
    check(
        r#"{"a":[[1,2]],"b":[[0,1],[1,0],[1,1]],"top_k":2}"#,
        json!({
            "top": [[{ "index": 2, "similarity": 3.0 }, { "index": 0, "similarity": 2.0 }]],
            "dimension": 2,
        }),
    );
    // A row is not its own neighbour.
    check(
        r#"{"a":[[1],[2]],"top_k":5}"#,
        json!({
            "top": [[{ "index": 1, "similarity": 2.0 }], [{ "index": 0, "similarity": 2.0 }]],
            "dimension": 1,
        }),
    );
    check(
        r#"{"texts":["ab"],"texts_b":["c","def"],"model_id":"e"}"#,
        json!({ "similarities": [[3.0, 7.0]], "dimension": 2, "tokens": 6 }),
    );
}

#[test]
fn what_cannot_be_compared_is_named() {
    let routes = Routes::new(public_router);
    let check = |body: &str, status: u16, expected: &str| {
        let (found, answer) = routes.post(SIMILARITY, &[], body);
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert_eq!(found, status, "{answer}");
        assert!(detail.contains(expected), "{body}: {detail}");
    };
    check("{}", 422, "a is missing");
    check(r#"{"a":[]}"#, 422, "a must hold at least one vector");
    check(r#"{"a":[[]]}"#, 422, "a must hold at least one vector");
    check(r#"{"a":[[1]],"b":[]}"#, 422, "b must hold at least one vector");
    check(r#"{"a":[[1],[1,2]]}"#, 422, "a[1] must have 1 numbers");
    check(r#"{"a":[[1,2]],"b":[[1]]}"#, 422, "b[0] must have 2 numbers");
    check(r#"{"a":[[1e39]]}"#, 422, "a[0][0] is beyond the range");
    check(r#"{"a":[[NaN]]}"#, 422, "body holds NaN");
    check(r#"{"a":[["1"]]}"#, 422, "invalid type: string");
    check(r#"{"a":[[1]],"top_k":0}"#, 422, "top_k must be at least 1");
    check(r#"{"a":[[1]],"texts":["a"]}"#, 422, "texts and `a` are both given");
    check(r#"{"a":[[1]],"model_id":"e"}"#, 422, "model_id belongs to `texts`");
    check(r#"{"texts":["a"]}"#, 422, "model_id is missing");
    check(r#"{"texts":["a"],"model_id":"e","b":[[1]]}"#, 422, "b holds vectors");
    check(r#"{"texts":["a",""],"model_id":"e"}"#, 422, "texts[1] must have 1 to");
    check(r#"{"texts":["a"],"model_id":"none"}"#, 404, "no model `none`");
    check(r#"{"a":[[1]],"c":1}"#, 422, "unknown field `c`");
    check("[", 400, "not JSON at byte");
    let many = vec!["[1]"; 2_049].join(",");
    check(&format!(r#"{{"a":[{many}]}}"#), 422, "at most 2048 items");
    let pairs = vec!["[1]"; 2_048].join(",");
    let (status, answer) = routes.post(SIMILARITY, &[], &format!(r#"{{"a":[{pairs}],"top_k":1}}"#));
    assert_eq!(status, 200, "{}", answer["detail"]);
}
