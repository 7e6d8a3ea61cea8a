//! The federation's routes: what is asked of the port, and how its answers and failures look.

use std::ops::Range;

use futures_util::StreamExt;
use futures_util::future::FutureExt;
use futures_util::stream::{self, BoxStream};
use serde_json::json;
use truststram_base::ModelId;

use super::fakes::done;
use super::*;
use crate::ports::*;

const HEADERS: [(&str, &str); 4] = [
    ("x-fl-client", "7"),
    ("x-fl-time", "1"),
    ("x-fl-nonce", "0102030405060708090a0b0c0d0e0f10"),
    (
        "x-fl-signature",
        concat!(
            "00000000000000000000000000000000",
            "00000000000000000000000000000000",
            "00000000000000000000000000000000",
            "00000000000000000000000000000000",
        ),
    ),
];

fn failure(kind: Kind) -> FederatedFailure {
    FederatedFailure::new(kind, "as it is")
}

impl Federated for Fake {
    fn enrol(&self, signed: Signed, client: NewClient) -> FederatedAnswer<u32> {
        self.note((signed.client, client));
        done(Ok(7))
    }

    fn heartbeat(&self, _: Signed) -> FederatedAnswer<()> {
        done(Ok(()))
    }

    fn task(&self, _: Signed, wait_ms: u64) -> FederatedAnswer<Option<FederatedTask>> {
        self.note(("task", wait_ms));
        done(if wait_ms == 9_000 { Err(failure(Kind::Gone)) } else { Ok(None) })
    }

    fn model(&self, _: Signed, _: ModelId, version: u64) -> FederatedAnswer<ModelFacts> {
        done(match version {
            0 => Ok(ModelFacts { sha256: "ab".to_owned(), bytes: 10 }),
            _ => Err(failure(Kind::NotFound)),
        })
    }

    fn model_bytes(&self, _: ModelFacts, _: u64, range: Range<u64>) -> ArtifactChunks {
        let bytes: Vec<u8> = (range.start..range.end).map(|at| b'0' + at as u8).collect();
        stream::iter([Ok(Bytes::from(bytes))]).boxed()
    }

    fn update(
        &self,
        signed: Signed,
        claim: UpdateClaim,
        body: ArtifactChunks,
    ) -> FederatedAnswer<UpdateReceipt> {
        self.note((signed.path, claim));
        let result = match claim.task {
            1 => Ok(UpdateReceipt::Accepted),
            2 => Ok(UpdateReceipt::Again),
            3 => Err(FederatedFailure { is_too_many: true, ..failure(Kind::Overloaded) }),
            4 => Err(failure(Kind::TooLarge)),
            5 => Err(failure(Kind::Conflict)),
            6 => Err(failure(Kind::Gone)),
            _ => Err(failure(Kind::Invalid)),
        };
        body.count().map(|_| result).boxed()
    }

    fn open_upload(&self, _: Signed, _: u64, bytes: u64, _: [u8; 32]) -> FederatedAnswer<u64> {
        done(Ok(bytes / 2))
    }

    fn upload_offset(&self, _: Signed, _: u64) -> FederatedAnswer<u64> {
        done(Ok(4))
    }

    fn append(&self, _: Signed, _: u64, offset: u64, _: ArtifactChunks) -> FederatedAnswer<u64> {
        done(match offset {
            4 => Ok(9),
            _ => Err(FederatedFailure { offset: Some(4), ..failure(Kind::Conflict) }),
        })
    }

    fn commit(&self, _: Signed, claim: UpdateClaim) -> FederatedAnswer<UpdateReceipt> {
        self.note(claim);
        done(Ok(UpdateReceipt::Accepted))
    }

    fn secure_round(
        &self,
        _: Signed,
        task: u64,
        after: Option<SecureStep>,
        wait_ms: u64,
    ) -> FederatedAnswer<Option<SecureRound>> {
        self.note((task, after, wait_ms));
        done(Ok(None))
    }

    fn secure_message(
        &self,
        _: Signed,
        task: u64,
        message: SecureMessage,
    ) -> FederatedAnswer<UpdateReceipt> {
        self.note((task, message));
        done(Ok(UpdateReceipt::Accepted))
    }

    fn status(&self) -> Value {
        json!({ "state": "waiting" })
    }

    fn events(&self) -> Option<BoxStream<'static, String>> {
        Some(stream::iter(["event: a\ndata: 1\n\n".to_owned()]).boxed())
    }

    fn start(&self, spec: Value) -> FederatedAnswer<Value> {
        self.note(&spec);
        done(Ok(json!({ "state": "waiting" })))
    }

    fn stop(&self) -> FederatedAnswer<Value> {
        done(Err(failure(Kind::Unavailable)))
    }

    fn tokens(&self, count: usize, valid_s: u64) -> FederatedAnswer<Vec<String>> {
        self.note((count, valid_s));
        done(Ok(vec!["t".to_owned(); count]))
    }

    fn records(&self) -> FederatedAnswer<Value> {
        done(Ok(json!({ "task_list": [] })))
    }
}

fn signed(routes: &Routes, method: &str, uri: &str, more: &[(&str, &str)]) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in HEADERS.iter().chain(more) {
        request = request.header(*name, *value);
    }
    routes.call(request.body(Body::empty()).unwrap())
}

#[test]
fn updates_have_the_statuses_that_clients_act_on() {
    let routes = Routes::new(public_router);
    let binary = [("content-type", "application/octet-stream")];
    for (task, status) in [(1, 202), (2, 202), (3, 429), (4, 413), (5, 409), (6, 410), (7, 422)] {
        let uri = format!("/api/v1/fl/tasks/{task}/updates?examples=10&loss=0.5");
        let response = signed(&routes, "POST", &uri, &binary);
        assert_eq!(response.status().as_u16(), status, "{task}");
        assert_eq!(response.headers().contains_key("retry-after"), status == 429);
        assert!(routes.asked().contains(&uri), "{}", routes.asked());
    }
    for (uri, media, status) in [
        ("/api/v1/fl/tasks/1/updates", &binary[..], 400),
        ("/api/v1/fl/tasks/x/updates?examples=1", &binary[..], 404),
        ("/api/v1/fl/tasks/1/updates?examples=1", &[][..], 415),
    ] {
        assert_eq!(signed(&routes, "POST", uri, media).status().as_u16(), status, "{uri}");
    }
    let uri = "/api/v1/fl/tasks/1/updates?examples=1";
    assert_eq!(routes.send("POST", uri, "application/octet-stream", "").0, 401);
}

#[test]
fn an_upload_in_parts_says_where_it_is() {
    let routes = Routes::new(public_router);
    let uri = "/api/v1/fl/tasks/1/upload";
    let media = ("content-type", "application/offset+octet-stream");
    let added = signed(&routes, "PATCH", uri, &[media, ("upload-offset", "4")]);
    assert_eq!(
        (added.status().as_u16(), &added.headers()["upload-offset"]),
        (204, &"9".parse().unwrap())
    );
    let wrong = signed(&routes, "PATCH", uri, &[media, ("upload-offset", "5")]);
    assert_eq!(
        (wrong.status().as_u16(), &wrong.headers()["upload-offset"]),
        (409, &"4".parse().unwrap())
    );
    assert_eq!(signed(&routes, "PATCH", uri, &[media]).status().as_u16(), 422);
    assert_eq!(signed(&routes, "GET", uri, &[]).body(), &r#"{"offset":4}"#);
    let commit = format!("{uri}/commit?examples=3");
    assert_eq!(signed(&routes, "POST", &commit, &[]).status().as_u16(), 202);
}

#[test]
fn steps_of_secure_aggregation_are_asked_for() {
    let routes = Routes::new(public_router);
    let uri = "/api/v1/fl/tasks/5/secure";
    let next = signed(&routes, "GET", &format!("{uri}?after=shares&wait=3"), &[]);
    assert_eq!(next.status().as_u16(), 204);
    assert!(routes.asked().contains("(5, Some(Shares), 3000)"), "{}", routes.asked());
    for (query, status) in [("?after=mask", 400), ("?wait=61", 422), ("", 204)] {
        let answer = signed(&routes, "GET", &format!("{uri}{query}"), &[]);
        assert_eq!(answer.status().as_u16(), status, "{query}");
    }
    assert_eq!(signed(&routes, "POST", uri, &[]).status().as_u16(), 415);
    assert_eq!(routes.send("POST", uri, "application/json", "{}").0, 401);
}

#[test]
fn models_are_fetched_whole_or_in_part() {
    let routes = Routes::new(public_router);
    let uri = "/api/v1/fl/models/digits/versions/0";
    let whole = signed(&routes, "GET", uri, &[]);
    assert_eq!((whole.status().as_u16(), whole.body().as_ref()), (200, &b"0123456789"[..]));
    assert_eq!(whole.headers()["etag"], "\"ab\"");
    assert_eq!(whole.headers()["content-length"], "10");
    let part = signed(&routes, "GET", uri, &[("range", "bytes=7-")]);
    assert_eq!((part.status().as_u16(), part.body().as_ref()), (206, &b"789"[..]));
    assert_eq!(part.headers()["content-range"], "bytes 7-9/10");
    assert_eq!(signed(&routes, "GET", uri, &[("range", "bytes=10-")]).status().as_u16(), 416);
    assert_eq!(signed(&routes, "GET", uri, &[("if-none-match", "\"ab\"")]).status().as_u16(), 304);
    let other = "/api/v1/fl/models/digits/versions/1";
    assert_eq!(signed(&routes, "GET", other, &[]).status().as_u16(), 404);
}

#[test]
fn clients_ask_and_operators_start() {
    let routes = Routes::new(public_router);
    let task = "/api/v1/fl/clients/7/task";
    assert_eq!(signed(&routes, "GET", task, &[]).status().as_u16(), 204);
    assert_eq!(signed(&routes, "GET", &format!("{task}?wait=9"), &[]).status().as_u16(), 410);
    assert_eq!(signed(&routes, "GET", &format!("{task}?wait=61"), &[]).status().as_u16(), 422);
    let other = "/api/v1/fl/clients/8/task";
    assert_eq!(signed(&routes, "GET", other, &[]).status().as_u16(), 401);
    let beat = "/api/v1/fl/clients/7/heartbeat";
    assert_eq!(signed(&routes, "POST", beat, &[]).status().as_u16(), 204);
    assert_eq!(routes.get("/api/v1/fl/status").2["state"], "waiting");
    let events = routes.call(Request::get("/api/v1/fl/events").body(Body::empty()).unwrap());
    assert_eq!(events.headers()["content-type"], "text/event-stream");

    let routes = Routes::new(admin_router);
    let media = "application/json";
    let got = routes.send("POST", "/admin/v1/federation", media, r#"{"model":"digits"}"#);
    assert_eq!((got.0, routes.asked().contains("digits")), (200, true));
    assert_eq!(routes.send("POST", "/admin/v1/federation", "text/plain", "{}").0, 400);
    assert_eq!(routes.send("POST", "/admin/v1/federation/stop", media, "").0, 503);
    let tokens = "/admin/v1/federation/tokens";
    let got = routes.send("POST", tokens, media, r#"{"count":2}"#);
    assert_eq!(
        (got.2["tokens"].as_array().unwrap().len(), got.2["valid_s"].as_u64()),
        (2, Some(86_400))
    );
    assert_eq!(routes.send("POST", tokens, media, r#"{"count":0}"#).0, 422);
    assert_eq!(routes.get("/admin/v1/federation").0, 200);
}
