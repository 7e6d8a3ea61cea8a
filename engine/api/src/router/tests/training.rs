//! The routes of training jobs: what is asked of the port, and how its answers and failures look.

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::json;
use truststram_base::{Credential, Identity, Scope, Scopes, UserId};

use super::fakes::done;
use super::*;
use crate::ports::*;

const JOBS: &str = "/api/v1/training/jobs";

fn job(id: u64) -> TrainingJob {
    TrainingJob {
        id,
        state: TrainingState::Running,
        detail: None,
        model: "m".to_owned(),
        dataset: "d".to_owned(),
        rows: 9,
        created_us: 1_000_000,
        started_us: Some(2_000_000),
        ended_us: None,
        starts: 1,
        progress: TrainingProgress::default(),
        result: None,
        spec: json!({ "model": "m" }),
    }
}

fn known(id: u64) -> Result<TrainingJob, ModelFailure> {
    let failure = |kind| ModelFailure { kind, detail: "as it is".to_owned() };
    match id {
        1 => Ok(job(1)),
        2 => Err(failure(Kind::Conflict)),
        _ => Err(failure(Kind::NotFound)),
    }
}

impl Training for Fake {
    fn create(&self, spec: Value) -> TrainingAnswer<TrainingJob> {
        self.note(&spec);
        let id = spec["model"].as_str().map_or(2, |_| 1);
        done(known(id))
    }

    fn list(&self) -> Vec<TrainingJob> {
        vec![job(2), job(1)]
    }

    fn job(&self, id: u64) -> Result<TrainingJob, ModelFailure> {
        known(id)
    }

    fn cancel(&self, id: u64) -> TrainingAnswer<TrainingJob> {
        self.note(("cancel", id));
        done(known(id))
    }

    fn resume(&self, id: u64) -> TrainingAnswer<TrainingJob> {
        self.note(("resume", id));
        done(known(id))
    }

    fn events(&self, id: u64) -> Result<BoxStream<'static, String>, ModelFailure> {
        known(id).map(|_| stream::iter(["event: job\n\n".to_owned()]).boxed())
    }

    fn report(&self, id: u64) -> TrainingAnswer<String> {
        done(known(id).map(|_| "<!doctype html>".to_owned()))
    }
}

#[test]
fn jobs_are_made_and_shown() {
    let routes = Routes::new(public_router);
    let (status, body) = routes.post(JOBS, &[], r#"{"model":"m"}"#);
    assert_eq!((status, &body["created"]), (201, &json!("1970-01-01T00:00:01.000000Z")));
    assert_eq!((&body["ended"], &body["state"]), (&Value::Null, &json!("running")));
    assert_eq!(routes.asked(), r#"Object {"model": String("m")}"#);
    let (status, _, body) = routes.get(JOBS);
    assert_eq!((status, &body["jobs"][0]["id"]), (200, &json!(2)));
    assert_eq!(routes.get(&format!("{JOBS}/1")).0, 200);
    assert_eq!(routes.get(&format!("{JOBS}/3")).0, 404);
    assert_eq!(routes.get(&format!("{JOBS}/x")).0, 404);
    assert_eq!(routes.post(JOBS, &[], "{}").0, 409);
    assert_eq!(routes.post(JOBS, &[], "{").0, 400);
    assert_eq!(routes.send("POST", JOBS, "text/plain", "{}").0, 415);
    let long = json!({ "model": "m".repeat(40_000) }).to_string();
    assert_eq!(routes.post(JOBS, &[], &long).0, 413);
}

#[test]
fn jobs_are_ended_and_gone_on_with_by_bodies_that_are_called_json() {
    let routes = Routes::new(public_router);
    for action in ["cancel", "resume"] {
        let path = |id: &str| format!("{JOBS}/{id}/{action}");
        assert_eq!(routes.post(&path("1"), &[], "").0, 200);
        assert_eq!(routes.asked(), format!("({action:?}, 1)"));
        assert_eq!(routes.post(&path("2"), &[], "{}").0, 409);
        assert_eq!(routes.post(&path("-1"), &[], "{}").0, 404);
        assert_eq!(routes.send("POST", &path("1"), "text/plain", "").0, 415);
    }
}

#[test]
fn what_happens_and_what_came_of_it_has_a_form_of_its_own() {
    let routes = Routes::new(public_router);
    let get = |path: &str| {
        let request = Request::builder().uri(format!("{JOBS}{path}"));
        routes.call(request.body(Body::empty()).unwrap())
    };
    let events = get("/1/events");
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    assert_eq!(&events.body()[..], b"event: job\n\n");
    assert_eq!(get("/3/events").status(), 404);
    let report = get("/1/report");
    assert_eq!(report.headers()["content-type"], "text/html; charset=utf-8");
    assert!(report.headers()["content-security-policy"].to_str().unwrap().contains("'none'"));
    assert_eq!(get("/2/report").status(), 409);
}

#[test]
fn who_may_only_train_activates_nothing() {
    let routes = Routes::new(public_router);
    let post = |scopes: &[Scope], body: &'static str| {
        let request = Request::builder().method("POST").uri(JOBS);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let identity = Identity {
            user: UserId::new("ada").unwrap(),
            key: None,
            scopes: Scopes::of(scopes),
            role: None,
            by: Credential::Key,
        };
        let request = request.extension(Arc::new(identity)).body(Body::from(body)).unwrap();
        routes.call(request).status().as_u16()
    };
    let (trains, both) = ([Scope::Training], [Scope::Training, Scope::ModelsWrite]);
    assert_eq!(post(&trains, r#"{"model":"m"}"#), 201);
    assert_eq!(post(&trains, r#"{"model":"m","activate":false}"#), 201);
    assert_eq!(post(&trains, r#"{"model":"m","activate":true}"#), 403);
    assert_eq!(post(&trains, r#"{"model":"m","activate":1}"#), 403);
    assert_eq!(post(&both, r#"{"model":"m","activate":true}"#), 201);
}
