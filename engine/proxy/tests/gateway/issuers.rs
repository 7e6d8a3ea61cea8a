//! Tokens of an issuer whose keys are fetched: from a server that the test plays.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use truststram_base::{Access, ManualClock, Scope, Scopes};
use truststram_proxy::{
    ActionSpec, Algorithm, AuthSpec, Authority, GatewayOptions, Guard, IssuerSpec, KeySource,
    TableSpec,
};

use crate::rig::*;

const NOW_S: i64 = 1_790_000_000;
const ISSUER: &str = "https://id.test";

/// What the server answers with, and how often it was asked.
#[derive(Default)]
struct Published {
    answer: Mutex<String>,
    asked: AtomicU64,
}

impl Published {
    fn says(&self, status: u16, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() =
            format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n\r\n{body}");
    }

    fn keys(&self, ids: &[&str]) {
        let others = r#"{"kty":"EC","crv":"secp256k1","x":"","y":""},{"kty":"oct","k":"AA"}"#;
        let keys = ids.iter().map(|id| {
            let x = URL_SAFE_NO_PAD.encode(pair(id).public_key());
            format!(r#",{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{x}"}}"#)
        });
        self.says(200, &format!(r#"{{"keys":[{others}{}]}}"#, keys.collect::<String>()));
    }
}

fn pair(id: &str) -> Ed25519KeyPair {
    let mut seed = [7; 32];
    seed[..id.len()].copy_from_slice(id.as_bytes());
    Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
}

fn token(id: &str) -> String {
    let header = format!(r#"{{"alg":"EdDSA","kid":"{id}"}}"#);
    let exp = NOW_S + 10_000;
    let claims = format!(r#"{{"iss":"{ISSUER}","aud":"us","sub":"ada","exp":{exp}}}"#);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = pair(id).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn publish() -> (Arc<Published>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys?a=b", listener.local_addr().unwrap());
    let published = Arc::new(Published::default());
    let server = published.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some((head, _)) = read_message(&mut stream).await else { continue };
            assert!(head.starts_with("GET /keys?a=b HTTP/1.1\r\n"), "{head}");
            server.asked.fetch_add(1, Ordering::Release);
            let answer = server.answer.lock().unwrap().clone();
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (published, url)
}

fn spec(url: &str) -> TableSpec {
    let issuer = IssuerSpec {
        issuer: ISSUER.to_owned(),
        audience: "us".to_owned(),
        keys: KeySource::Url(url.to_owned(), Duration::from_secs(3_600)),
        algorithms: vec![Algorithm::EdDsa],
        leeway_s: 0,
        scopes: Scopes::of(&[Scope::Data]),
        claimed_scopes: Scopes::NONE,
        user_claim: "sub".to_owned(),
        role_claim: String::new(),
    };
    let auth = AuthSpec { is_required: true, issuers: vec![issuer], ..AuthSpec::default() };
    TableSpec { auth, ..table(vec![route("local", "/", ActionSpec::Local)], Vec::new()) }
}

async fn status(rig: &Rig, id: &str) -> u16 {
    let bearer = format!("authorization: Bearer {}\r\n", token(id));
    ask(rig.plain, &format!("GET / HTTP/1.1\r\nhost: a.test\r\n{bearer}\r\n")).await.status
}

/// How many keys there are, and how many fetches ended well and badly.
fn figures(rig: &Rig) -> (usize, u64, u64) {
    let mut found = None;
    rig.live.each_issuer(|name, keys, stats| {
        assert_eq!(name, ISSUER);
        found = Some((keys, stats.fetched.get(), stats.failed.get()));
    });
    found.unwrap()
}

async fn until(rig: &Rig, expected: (usize, u64, u64)) {
    while figures(rig) != expected {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn keys_are_fetched_and_the_last_good_ones_stay() {
    let (published, url) = publish().await;
    published.keys(&["one"]);
    let clock = Arc::new(ManualClock::at(NOW_S * 1_000_000));
    let options = GatewayOptions { clock: clock.clone(), ..options() };
    let authority = Arc::new(Authority::new(None, 0));
    let access = |_: &http::Method, _: &str| Access::AnyOf(Scopes::of(&[Scope::Data]));
    let guard = Guard { authority, access, is_required: false, rules: None };
    let with = With { guard: Some(guard), ..With::default() };
    let rig = Rig::start_behind(&spec(&url), options, &with);
    until(&rig, (1, 1, 0)).await;
    assert_eq!([status(&rig, "one").await, status(&rig, "two").await], [200, 401]);
    // It is not asked again within the minute, nor for what could not be let in.
    published.keys(&["one", "two"]);
    assert_eq!(status(&rig, "two").await, 401);
    clock.advance(60_000_000);
    assert_eq!(status(&rig, "one").await, 200);
    assert_eq!(published.asked.load(Ordering::Acquire), 1);
    while status(&rig, "two").await != 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(figures(&rig), (2, 2, 0));
    // An answer that is none, and one without an end, leave what there was; so does a reload.
    let long = format!("{{\"keys\":[]{}}}", " ".repeat(300 << 10));
    for (turn, (code, body)) in
        [(500, "{}"), (200, "{}"), (302, ""), (200, &*long)].iter().enumerate()
    {
        published.says(*code, body);
        clock.advance(60_000_000);
        assert_eq!(status(&rig, "three").await, 401);
        until(&rig, (2, 2, turn as u64 + 1)).await;
        rig.live.replace(&spec(&url)).unwrap();
        assert_eq!([status(&rig, "one").await, status(&rig, "two").await], [200, 200]);
    }
    // A key that was withdrawn is good no more once the set without it is there.
    published.keys(&["three"]);
    clock.advance(60_000_000);
    while status(&rig, "three").await != 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&rig, "one").await, 401);
    rig.stop();
}
