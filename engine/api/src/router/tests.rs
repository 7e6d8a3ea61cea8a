//! The routes over ports that remember what they were asked.

mod embeddings;
mod fakes;
mod federated;
mod inference;
mod oip;
mod predictions;
mod registry;
mod training;

use axum::http::header;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower_service::Service;

use super::*;
use crate::openapi::tests::is_described;
use crate::ports::{StatisticsQuery, StoreAction};
use fakes::Fake;

/// Both routers, and what their ports are asked.
struct Routes {
    fake: Arc<Fake>,
    router: Router,
    ports: Shared,
}

/// Status, `Link` and body.
type Got = (u16, String, Value);

impl Routes {
    fn new(build: fn(Shared) -> Router) -> Self {
        let fake = Arc::new(Fake::default());
        let ports = Ports {
            infer: fake.clone(),
            tensors: fake.clone(),
            models: fake.clone(),
            registry: fake.clone(),
            records: fake.clone(),
            datasets: fake.clone(),
            federated: fake.clone(),
            training: fake.clone(),
            store: fake.clone(),
            operate: fake.clone(),
            keys: fake.clone(),
            policies: fake.clone(),
            server_timing: false,
        };
        let ports = Arc::new(ports);
        Self { fake, router: build(ports.clone()), ports }
    }

    fn send(&self, method: &str, uri: &str, media: &str, body: &str) -> Got {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header(header::CONTENT_TYPE, media);
        let response = self.call(request.body(Body::from(body.to_owned())).unwrap());
        let link = response.headers().get(header::LINK);
        let link = link.map_or("", |link| link.to_str().unwrap()).to_owned();
        let body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        (response.status().as_u16(), link, body)
    }

    /// The whole answer to a request.
    fn call(&self, request: Request<Body>) -> Response<Bytes> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = runtime.block_on(async {
            let response = self.router.clone().call(request).await.unwrap();
            let (head, body) = response.into_parts();
            Response::from_parts(head, body.collect().await.unwrap().to_bytes())
        });
        let media = response.headers().get(header::CONTENT_TYPE);
        let media = media.map_or("", |media| media.to_str().unwrap());
        is_described(method.as_str(), &path, response.status().as_u16(), media);
        response
    }

    /// Posts JSON with more headers.
    fn post(&self, uri: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut request = Request::builder().method("POST").uri(uri);
        request = request.header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.call(request.body(Body::from(body.to_owned())).unwrap());
        let body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        (response.status().as_u16(), body)
    }

    fn get(&self, uri: &str) -> Got {
        self.send("GET", uri, "", "")
    }

    /// What the ports were asked last.
    fn asked(&self) -> String {
        self.fake.asked.lock().unwrap().last().cloned().unwrap_or_default()
    }

    /// A problem that names `field`.
    fn refuses(&self, uri: &str, status: u16, field: &str) {
        let (found, _, body) = self.get(uri);
        assert_eq!(found, status, "{uri}: {body}");
        let named = body["errors"][0]["field"].as_str().unwrap_or_default();
        assert_eq!(named, field, "{uri}: {body}");
    }
}

#[test]
fn busy_paths_are_answered_as_the_router_does() {
    let routes = Routes::new(public_router);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (json, handler) = ("application/json", public_handler(routes.ports.clone()));
    for (path, media, body) in [
        ("/api/v1/predict", json, r#"{"model_id": "digits", "data": [1, 2]}"#),
        ("/api/v1/predict?durable=true", json, r#"{"model_id": "digits", "data": [1, 2]}"#),
        ("/api/v1/predict?durable=7", json, "{}"),
        ("/api/v1/predict", json, "{"),
        ("/api/v1/predict", "text/plain", "{}"),
        ("/v1/embeddings", json, r#"{"model": "minilm", "input": "a text"}"#),
        ("/v1/embeddings", json, r#"{"model": "minilm", "input": []}"#),
    ] {
        let request = || {
            let request = Request::builder().method("POST").uri(path);
            let request = request.header(header::CONTENT_TYPE, media);
            request.body(Body::from(body)).unwrap()
        };
        let direct = runtime.block_on(async {
            let (head, body) = handler(request()).await.into_parts();
            (head.status, head.headers, body.collect().await.unwrap().to_bytes())
        });
        let asked = routes.asked();
        let (mut head, bytes) = routes.call(request()).into_parts();
        // The gateway says it of every answer whose length is known.
        head.headers.remove(header::CONTENT_LENGTH);
        assert_eq!(direct, (head.status, head.headers, bytes), "{path} {body}");
        assert_eq!(asked, routes.asked(), "{path} {body}");
    }
    for (method, path, status) in
        [("GET", "/api/v1/predict", 405), ("POST", "/api/v1/predict/", 404), ("GET", "/livez", 200)]
    {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        assert_eq!(runtime.block_on(handler(request)).status(), status, "{method} {path}");
    }
}

#[test]
fn predictions_take_an_owner_and_explain_themselves() {
    let routes = Routes::new(public_router);
    let (status, _, body) = routes.get("/api/v1/predictions?owner_id=ada&explain=true&limit=7");
    assert_eq!(status, 200);
    assert_eq!(body["predictions"][0]["model_name"], "Digits");
    assert_eq!(body["explain"]["plan"], "a way");
    assert!(routes.asked().contains("owner: Some(UserId(\"ada\"))"), "{}", routes.asked());
    assert!(routes.asked().contains("limit: 7"), "{}", routes.asked());
    let (_, _, body) = routes.get("/api/v1/predictions");
    let row = body["predictions"][0].as_object().unwrap();
    assert!(!row.contains_key("model_name") && body.get("explain").is_none(), "{body}");
    for other in ["model_id", "user_id", "until", "cursor"] {
        routes.refuses(&format!("/api/v1/predictions?owner_id=ada&{other}=1"), 422, other);
    }
    routes.refuses("/api/v1/predictions?owner_id=", 422, "owner_id");
    routes.refuses("/api/v1/predictions?limit=1001", 422, "limit");
    routes.refuses("/api/v1/predictions?since=yesterday", 422, "since");
}

#[test]
fn models_without_filters_are_all_and_with_filters_a_page() {
    let routes = Routes::new(public_router);
    let (_, link, body) = routes.get("/api/v1/models");
    let models = body["models"].as_array().unwrap();
    assert_eq!((models.len(), link.as_str()), (2, ""));
    let a = &models[0];
    assert_eq!(
        (&a["id"], &a["active_version"], &a["status"]),
        (&json!("a"), &json!(1), &json!("active"))
    );
    // The whole is what the active version is, although another one is newer.
    assert_eq!(a["name"], "a 1");
    assert_eq!(a["versions"][0]["version"], 2);
    assert_eq!(a["versions"][0]["name"], "a 2");
    assert_eq!(models[1]["status"], "inactive");
    assert_eq!(models[1]["owner_id"], "ada");
    assert_eq!(models[1]["metadata"]["n"], 1.5);
    assert_eq!(models[1]["tags"], json!(["t"]));
    assert_eq!(models[1]["created"], "1970-01-01T00:00:01.000000Z");

    let (_, link, body) = routes.get("/api/v1/models?status=active&metadata=%7B%7D&tag=t&limit=2");
    assert_eq!(body["models"][0]["id"], "z", "the order is that of the port");
    assert_eq!(body["models"][0]["active_version"], 1);
    assert_eq!(body["next_cursor"], "m1-9");
    assert_eq!(
        link,
        "</api/v1/models?status=active&metadata=%7B%7D&tag=t&limit=2&cursor=m1-9>; rel=\"next\""
    );
    assert!(body.get("explain").is_none());
    let asked = routes.asked();
    for part in ["active_only: true", "metadata: Some(\"{}\")", "tag: Some(\"t\")", "limit: 2"] {
        assert!(asked.contains(part), "{asked} lacks {part}");
    }
    let (_, _, body) = routes.get("/api/v1/models?explain=true");
    assert_eq!(body["explain"]["index"], "m_owner");
    routes.refuses("/api/v1/models?metadata=%7B", 422, "metadata");
    routes.refuses("/api/v1/models?owner_id=", 422, "owner_id");
    routes.refuses("/api/v1/models?created_since=x", 422, "created_since");
    assert_eq!(routes.get("/api/v1/models?status=maybe").0, 400);
    assert_eq!(routes.get("/api/v1/models?nonsense=1").0, 400);
}

#[test]
fn figures_of_models_have_nulls_where_there_is_nothing() {
    let routes = Routes::new(public_router);
    let (status, _, body) = routes.get("/api/v1/models/a/performance");
    assert_eq!(status, 200);
    let expected = json!({
        "model_id": "a", "name": "A", "model_type": "dense", "total_predictions": 0,
        "avg_confidence": null, "positive_share": null, "daily_predictions": 0,
        "daily_since": "1970-01-01T00:01:00.000000Z", "last_prediction_time": null,
        "as_of": "1970-01-01T00:01:01.000000Z",
    });
    assert_eq!(body, expected);
    assert_eq!(routes.get("/api/v1/models/none/performance").0, 404);
    assert_eq!(routes.get("/api/v1/models/NO/performance").0, 404);
    assert_eq!(routes.get("/api/v1/performance").2["models"], json!([expected]));

    let (_, _, body) = routes.get("/api/v1/statistics?since=5&until=9&all=true&explain=true");
    assert_eq!(body["models"][0]["positive_share"], 0.0);
    assert_eq!(body["models"][0]["prediction_count"], 0);
    assert!(body["explain"].is_object());
    let expected = StatisticsQuery { since_us: Some(5), until_us: Some(9), all: true };
    assert_eq!(routes.asked(), format!("{expected:?}"));
    assert!(routes.get("/api/v1/statistics").2.get("explain").is_none());
    routes.refuses("/api/v1/statistics?since=9&until=5", 422, "since");
    routes.refuses("/api/v1/statistics?until=x", 422, "until");
}

#[test]
fn data_sets_are_appended_read_and_removed() {
    let routes = Routes::new(public_router);
    assert_eq!(routes.get("/api/v1/datasets").2["datasets"][0]["name"], "iris");
    assert_eq!(routes.get("/api/v1/datasets/iris").2["rows"], 3);
    assert_eq!(routes.get("/api/v1/datasets/none").0, 404);
    let rows = "/api/v1/datasets/iris/rows";
    let two = r#"[{"features":[1,2]},{"features":[3,4],"label":"x"}]"#;
    let (status, _, body) = routes.send("POST", rows, "application/json; charset=utf-8", two);
    assert_eq!((status, body), (201, json!({ "first_id": 3, "rows": 2 })));
    let lines = "{\"features\":[1,2]}\n{\"features\":[3,4]}\n";
    assert_eq!(routes.send("POST", rows, "application/x-ndjson", lines).0, 201);
    assert_eq!(routes.send("POST", rows, "text/plain", two).0, 415);
    let (status, _, body) = routes.send("POST", rows, "application/json", r#"[{"features":[1]}]"#);
    assert_eq!((status, &body["errors"][0]["row"]), (422, &json!(0)), "{body}");
    assert_eq!(body["errors"][0]["field"], "features");
    let (status, _, body) =
        routes.send("POST", rows, "application/json", r#"[{"features":[1,"2"]}]"#);
    assert_eq!((status, &body["errors"][0]["index"]), (422, &json!(1)), "{body}");
    let (status, _, body) =
        routes.send("POST", "/api/v1/datasets/BAD/rows", "application/json", two);
    assert_eq!((status, &body["errors"][0]["field"]), (422, &json!("name")));

    let (_, link, body) = routes.get("/api/v1/datasets/iris/rows?from=1&limit=1");
    assert_eq!((&body["rows"][0]["id"], &body["next_from"]), (&json!(1), &json!(2)));
    assert_eq!(body["rows"][0]["metadata"], json!({ "a": 1.0 }));
    assert_eq!(link, "</api/v1/datasets/iris/rows?limit=1&from=2>; rel=\"next\"");
    assert_eq!(routes.get("/api/v1/datasets/NO/rows").0, 404);
    routes.refuses("/api/v1/datasets/iris/rows?limit=0", 422, "limit");
    assert_eq!(routes.get("/api/v1/datasets/iris/rows?from=-1").0, 400);
    assert_eq!(routes.send("DELETE", "/api/v1/datasets/iris", "", "").0, 404);
    assert_eq!(routes.asked(), "\"iris\"");
}

#[test]
fn the_store_does_what_its_operator_says_and_no_browser_can_say_it() {
    let routes = Routes::new(admin_router);
    assert_eq!(routes.get("/admin/v1/store").2["months"], 2);
    let post = |action: &str, media: &str, body: &str| {
        routes.send("POST", &format!("/admin/v1/store/{action}"), media, body)
    };
    let json = "application/json";
    assert_eq!(post("verify", json, "").2["did"], "Verify");
    assert_eq!(post("refresh", json, "{}").2["did"], "Refresh");
    assert_eq!(post("checkpoint", json, "{}").0, 503);
    assert_eq!(post("verify", "text/plain", "{}").0, 400);
    assert_eq!(post("explode", json, "{}").0, 404);
    assert_eq!(post("verify", json, "[]").0, 400);
    assert_eq!(post("verify", json, r#"{"action":"checkpoint"}"#).0, 422);
    let action = |action: &str, body: Value, expected: StoreAction| {
        assert_eq!(post(action, json, &body.to_string()).0, 200, "{action} {body}");
        assert_eq!(routes.asked(), format!("{expected:?}"));
    };
    let path = "/b".to_owned();
    let tar = StoreAction::Backup { path: path.clone(), tar: true };
    action("backup", json!({ "path": "/b", "tar": true }), tar);
    action("backup", json!({ "path": "/b" }), StoreAction::Backup { path, tar: false });
    action("compact", json!({}), StoreAction::Compact);
    let month = "202611".to_owned();
    action("drop-month", json!({ "month": "202611" }), StoreAction::DropMonth { month });
    assert_eq!(post("backup", json, "{}").0, 422);
    assert_eq!(post("drop-month", json, r#"{"month":"202611","force":true}"#).0, 422);
    assert_eq!(post("drop-month", json, r#"{"month":11}"#).0, 422);
    assert_eq!(routes.fake.asked.lock().unwrap().len(), 7);
}
