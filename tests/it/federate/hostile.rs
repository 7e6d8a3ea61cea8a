//! What one client can send to spoil a federation, each refused by itself while the round goes on.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use truststram_federate::codec::{Encoding, Head, Kind, Schema, SchemaTensor, encode};
use truststram_federate::identity::{Request, Signer, of_hexadecimal, random_bytes};
use truststram_train::{Trainable, WeightTensor};

use super::clients::{CONFIG, begin, sha256, standing, tokens};
use crate::harness::{Answer, Server, trained_dir};

/// A client that sends what it likes.
pub struct Raw<'a> {
    server: &'a Server,
    signer: Signer,
    epoch: String,
    pub id: u32,
}

impl<'a> Raw<'a> {
    pub fn enrol(server: &'a Server, token: &str) -> Self {
        let signer = Signer::of_seed(&random_bytes().unwrap()).unwrap();
        let epoch = server.get("/api/v1/fl/status").body["epoch"].as_str().unwrap().to_owned();
        let mut raw = Self { server, signer, epoch, id: 0 };
        let key = truststram_federate::identity::hexadecimal(raw.signer.public_key());
        let body = json!({ "public_key": key, "token": token, "samples": 100 }).to_string();
        let path = "/api/v1/fl/clients";
        let answer = raw.send("POST", path, "application/json", &[], body.as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.text);
        raw.id = answer.body["client"].as_u64().unwrap() as u32;
        raw
    }

    fn head(&self, method: &str, path: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        let nonce = random_bytes::<16>().unwrap();
        let sum = sha256(body);
        let body_sha256 = of_hexadecimal(&sum).unwrap();
        let request = Request { epoch: &self.epoch, method, path, body_sha256 };
        let signature = self.signer.sign(&request, self.id, now_us, &nonce);
        let hex = truststram_federate::identity::hexadecimal;
        vec![
            ("x-fl-client", self.id.to_string()),
            ("x-fl-time", now_us.to_string()),
            ("x-fl-nonce", hex(&nonce)),
            ("x-fl-signature", hex(&signature)),
            ("x-content-sha256", sum),
        ]
    }

    pub fn send(
        &self,
        method: &'static str,
        path: &str,
        media: &'static str,
        more: &[(&'static str, String)],
        body: &[u8],
    ) -> Answer {
        let mut headers = self.head(method, path, body);
        headers.extend(more.iter().cloned());
        if !media.is_empty() {
            headers.push(("content-type", media.to_owned()));
        }
        self.server.send_raw(method, path, &headers, body)
    }

    pub fn task(&self) -> Value {
        let path = format!("/api/v1/fl/clients/{}/task?wait=30", self.id);
        let answer = self.send("GET", &path, "", &[], b"");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body
    }

    pub fn update(&self, task: &Value, query: &str, body: &[u8]) -> Answer {
        let path = format!("/api/v1/fl/tasks/{}/updates?{query}", task["task"]);
        self.send("POST", &path, "application/octet-stream", &[], body)
    }
}

/// The schema of the registered digits.
pub fn schema(data_dir: &std::path::Path) -> Schema {
    let path = data_dir.join("models/digits/1/model.safetensors");
    schema_of(&Trainable::parse(&std::fs::read(path).unwrap()).unwrap())
}

/// What updates of a model are held against.
pub fn schema_of(model: &Trainable) -> Schema {
    let tensors = model.tensors().iter().cloned();
    let tensors = tensors.map(|WeightTensor { name, shape }| SchemaTensor { name, shape });
    Schema::new(tensors.collect()).unwrap()
}

pub fn body(schema: &Schema, value: f32) -> Vec<u8> {
    let head = Head { kind: Kind::Delta, base: 0, block: 256 };
    encode(&vec![value; schema.parameters()], schema, head, Encoding::DENSE).unwrap()
}

/// The schema with one tensor changed.
pub fn changed(schema: &Schema, change: impl Fn(&mut Vec<SchemaTensor>)) -> Schema {
    let mut tensors = schema.tensors().to_vec();
    change(&mut tensors);
    Schema::new(tensors).unwrap()
}

/// Each of these has ended or spoilt a round of another framework.
#[test]
fn one_bad_update_harms_nobody_else() {
    let dir = trained_dir();
    let server = Server::start_configured(dir.path(), CONFIG);
    begin(
        &server,
        &json!({
            "model": "digits", "versions": 1, "selector": { "ratio": 1.0 },
            "rounds": { "clients_min": 3, "over_selection": 1.0 },
        }),
    );
    let tokens = tokens(&server, 3);
    let clients: Vec<Raw<'_>> = tokens.iter().map(|token| Raw::enrol(&server, token)).collect();
    let schema = schema(dir.path());
    let good = body(&schema, 0.001);
    let bad = &clients[0];
    let task = bad.task();
    let refuses = |query: &str, body: &[u8], status: u16, expected: &str| {
        let answer = bad.update(&task, query, body);
        assert_eq!(answer.status, status, "{expected}: {}", answer.text);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{detail}");
    };
    let mut nan = good.clone();
    let at = nan.len() - 4;
    nan[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    refuses("examples=100", &nan, 422, "NaN");
    let renamed = changed(&schema, |tensors| tensors[0].name = "layers.0.wight".to_owned());
    refuses("examples=100", &body(&renamed, 0.001), 422, "layers.0");
    let shaped = changed(&schema, |tensors| tensors[0].shape.reverse());
    refuses("examples=100", &body(&shaped, 0.001), 422, "layers.0.weight");
    let alone = changed(&schema, |tensors| tensors[1].shape = vec![1]);
    refuses("examples=100", &body(&alone, 0.001), 422, "layers.0.bias");
    for weight in ["-99", "1e15", "0", "0.5", "NaN", "201"] {
        refuses(&format!("examples={weight}"), &good, 422, "number of examples");
    }
    refuses("examples=100", b"\x02\0\0\0\0\0\0\0{}", 422, "metadata");
    refuses("examples=100", b"no tensors", 413, "header");
    refuses("examples=100", &vec![0; 2 * good.len()], 413, "larger");
    // What is not signed, or was signed for something else, does not even count as refused.
    let path = format!("/api/v1/fl/tasks/{}/updates?examples=100", task["task"]);
    let mut headers = bad.head("POST", &path, &nan);
    headers.push(("content-type", "application/octet-stream".to_owned()));
    let answer = server.send_raw("POST", &path, &headers, &good);
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(server.send_raw("POST", &path, &headers, &nan).status, 401, "it is a replay");
    assert_eq!(clients[1].update(&task, "examples=100", &good).status, 404);
    assert_eq!(server.post_as(&path, "application/octet-stream", &good).status, 401);
    let unknown = server.post("/api/v1/fl/clients", b"{}");
    assert_eq!(unknown.status, 401, "{}", unknown.text);

    let status = standing(&server);
    assert_eq!((&status["version"], &status["state"]), (&json!(0), &json!("collecting")));
    assert!(status["updates"]["refused"].as_u64().unwrap() >= 12, "{status}");
    let accepted = bad.update(&task, "examples=100&loss=0.5", &good);
    assert_eq!((accepted.status, &accepted.body["receipt"]), (202, &json!("accepted")));
    let again = bad.update(&task, "examples=100&loss=0.5", &good);
    assert_eq!((again.status, &again.body["receipt"]), (202, &json!("again")));
    assert_eq!(bad.update(&task, "examples=100", &body(&schema, 0.5)).status, 409);
    in_parts(&clients[1], &good);
    let last = clients[2].task();
    assert_eq!(clients[2].update(&last, "examples=100", &good).status, 202);
    let status = standing(&server);
    assert_eq!((&status["version"], &status["state"]), (&json!(1), &json!("ended")), "{status}");
    assert_eq!(server.metric("truststram_federation_updates_accepted_total "), 3.0);
    assert_eq!(clients[2].update(&last, "examples=100", &good).status, 410);
    assert_eq!(super::clients::check_versions(&server, dir.path()), 2);
}

/// An update in three parts, with all that can go wrong between them.
fn in_parts(client: &Raw<'_>, good: &[u8]) {
    let task = client.task();
    let path = format!("/api/v1/fl/tasks/{}/upload", task["task"]);
    let media = "application/offset+octet-stream";
    let add = |offset: usize, part: &[u8]| {
        client.send("PATCH", &path, media, &[("upload-offset", offset.to_string())], part)
    };
    assert_eq!(add(0, b"x").status, 404, "nothing was begun");
    let open = |bytes: usize| {
        let body = json!({ "bytes": bytes, "sha256": sha256(good) }).to_string();
        client.send("POST", &path, "application/json", &[], body.as_bytes())
    };
    assert_eq!(open(10 * good.len()).status, 413);
    assert_eq!(open(good.len()).status, 201);
    let (first, rest) = good.split_at(good.len() / 3);
    assert_eq!(add(0, first).status, 204);
    let wrong = add(0, first);
    assert_eq!(wrong.status, 409, "{}", wrong.text);
    assert_eq!(wrong.headers["upload-offset"], first.len().to_string().as_str());
    let commit = format!("{path}/commit?examples=100");
    assert_eq!(client.send("POST", &commit, "", &[], b"").status, 409, "it is not all there");
    let (second, third) = rest.split_at(rest.len() / 2);
    assert_eq!(add(first.len(), second).status, 204);
    let found = client.send("GET", &path, "", &[], b"");
    let offset = found.body["offset"].as_u64().unwrap() as usize;
    assert_eq!(offset, first.len() + second.len());
    assert_eq!(open(good.len()).body["offset"].as_u64().unwrap() as usize, offset);
    assert_eq!(add(offset, &[third, b"more"].concat()).status, 413);
    assert_eq!(add(offset, third).status, 204);
    let done = client.send("POST", &commit, "", &[], b"");
    assert_eq!((done.status, &done.body["receipt"]), (202, &json!("accepted")), "{}", done.text);
    assert_eq!(client.send("POST", &commit, "", &[], b"").body["receipt"], "again");
}
