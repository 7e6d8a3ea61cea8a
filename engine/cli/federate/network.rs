//! Owns a client's way to its server: signed requests, which a signal to stop interrupts.
//!
//! Refuses to know what is asked. Bound: one request at a time, answers of [`ANSWER_BYTES_MAX`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sha2::{Digest, Sha256};
use truststram_federate::identity::{Request, Signer, hexadecimal, random_bytes};
use truststram_machine::{Thread, ThreadSpec, spawn};
use ureq::tls::TlsConfig;

const ANSWER_BYTES_MAX: u64 = 4 << 30;
/// How long a request may take beyond what it waits for at the server.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(15);
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// A request without its signature.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub method: &'static str,
    pub path: String,
    pub media: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    pub headers: ureq::http::HeaderMap,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What a problem says.
    pub fn detail(&self) -> String {
        let body = self.json();
        let detail = body["detail"].as_str().unwrap_or("no detail given");
        format!("{}: {detail}", self.status)
    }

    /// A number in a header.
    pub fn number(&self, header: &str) -> Option<u64> {
        self.headers.get(header)?.to_str().ok()?.parse().ok()
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The process is to end.
    Stopped,
    /// The server was not reached.
    Network(String),
}

/// What the main thread is told.
enum Word {
    Answer(Result<Reply, String>),
    Stop,
}

type Sent = (ureq::http::Request<Vec<u8>>, Duration);

/// The way to the server.
pub(super) struct Line {
    url: String,
    signer: Signer,
    epoch: String,
    /// The client's number; 0 before it has one.
    pub client: u32,
    stopped: Arc<AtomicBool>,
    requests: SyncSender<Sent>,
    words: Receiver<Word>,
    /// Ends with the process: it may be in the middle of a wait.
    _thread: Thread<()>,
    tries: u32,
}

/// Tells a line to end what it does.
#[derive(Clone)]
pub(super) struct Stop {
    stopped: Arc<AtomicBool>,
    words: SyncSender<Word>,
}

impl Stop {
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // A line that is not waiting sees the mark.
        let _ = self.words.try_send(Word::Stop);
    }
}

impl Line {
    /// A line to the server at `url`.
    pub(super) fn open(
        url: &str,
        signer: Signer,
        tls: Option<TlsConfig>,
    ) -> anyhow::Result<(Self, Stop)> {
        let (requests, asked) = sync_channel::<Sent>(1);
        let (tell, words) = sync_channel(4);
        let stopped = Arc::<AtomicBool>::default();
        let answers = tell.clone();
        let spec = ThreadSpec { name: "fl-network".to_owned(), ..ThreadSpec::default() };
        let thread = spawn(spec, move |_placement| {
            let mut settings = ureq::Agent::config_builder().http_status_as_error(false);
            if let Some(tls) = tls {
                // A server that sends a client on to an address in the clear is not followed.
                settings = settings.tls_config(tls).https_only(true);
            }
            let agent: ureq::Agent = settings.build().into();
            for (request, timeout) in asked {
                if answers.send(Word::Answer(send(&agent, request, timeout))).is_err() {
                    return;
                }
            }
        })?;
        let line = Self {
            url: url.trim_end_matches('/').to_owned(),
            signer,
            epoch: String::new(),
            client: 0,
            stopped: stopped.clone(),
            requests,
            words,
            _thread: thread,
            tries: 0,
        };
        Ok((line, Stop { stopped, words: tell }))
    }

    /// The client's public key, hexadecimal.
    pub(super) fn public_key(&self) -> String {
        hexadecimal(self.signer.public_key())
    }

    /// Whether the process is to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Asks, signed; where the server has started anew since, once more.
    pub(super) fn ask(&mut self, ask: &Ask) -> Result<Reply, Trouble> {
        for is_last in [false, true] {
            if self.epoch.is_empty() {
                self.epoch = self.look_up_epoch()?;
            }
            let reply = self.send(self.signed(ask)?)?;
            if reply.status != 401 || is_last {
                self.tries = 0;
                return Ok(reply);
            }
            self.epoch.clear();
        }
        Err(Trouble::Network("no answer".to_owned()))
    }

    fn look_up_epoch(&mut self) -> Result<String, Trouble> {
        let request = ureq::http::Request::builder()
            .uri(format!("{}/api/v1/fl/status", self.url))
            .body(Vec::new())
            .map_err(|error| Trouble::Network(format!("{} is no address: {error}", self.url)))?;
        let reply = self.send(request)?;
        let status = reply.json();
        match status["epoch"].as_str() {
            Some(epoch) => Ok(epoch.to_owned()),
            None if status["state"] == "off" => {
                let detail = "federated learning is off there; see `federated.enabled`";
                Err(Trouble::Network(detail.to_owned()))
            }
            None => Err(Trouble::Network(reply.detail())),
        }
    }

    fn signed(&self, ask: &Ask) -> Result<ureq::http::Request<Vec<u8>>, Trouble> {
        let trouble = |error: &dyn std::fmt::Display| Trouble::Network(error.to_string());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let nonce = random_bytes::<16>().map_err(|error| trouble(&error))?;
        let body_sha256: [u8; 32] = Sha256::digest(&ask.body).into();
        let request =
            Request { epoch: &self.epoch, method: ask.method, path: &ask.path, body_sha256 };
        let signature = self.signer.sign(&request, self.client, time_us, &nonce);
        let mut builder = ureq::http::Request::builder()
            .method(ask.method)
            .uri(format!("{}{}", self.url, ask.path))
            .header("x-fl-client", self.client)
            .header("x-fl-time", time_us)
            .header("x-fl-nonce", hexadecimal(&nonce))
            .header("x-fl-signature", hexadecimal(&signature))
            .header("x-content-sha256", hexadecimal(&body_sha256));
        if !ask.media.is_empty() {
            builder = builder.header("content-type", ask.media);
        }
        for (name, value) in &ask.headers {
            builder = builder.header(*name, value);
        }
        builder.body(ask.body.clone()).map_err(|error| trouble(&error))
    }

    fn send(&self, request: ureq::http::Request<Vec<u8>>) -> Result<Reply, Trouble> {
        if self.is_stopped() {
            return Err(Trouble::Stopped);
        }
        let gone = |_| Trouble::Network("the network thread has ended".to_owned());
        self.requests.send((request, TIMEOUT)).map_err(|_| gone(RecvTimeoutError::Disconnected))?;
        match self.words.recv() {
            Ok(Word::Answer(answer)) => answer.map_err(Trouble::Network),
            Ok(Word::Stop) => Err(Trouble::Stopped),
            Err(_) => Err(gone(RecvTimeoutError::Disconnected)),
        }
    }

    /// Waits before the next try: longer each time, and not all clients equally long.
    pub(super) fn pause(&mut self, retry_after_s: Option<u64>) -> Result<(), Trouble> {
        let usual = PAUSE_MIN.saturating_mul(1 << self.tries.min(10)).min(PAUSE_MAX);
        self.tries += 1;
        let dice = random_bytes::<1>().map_or(128, |bytes| bytes[0]);
        let share = 0.5 + f64::from(dice) / 512.0;
        let asked = Duration::from_secs(retry_after_s.unwrap_or(0).min(3_600));
        let pause = usual.mul_f64(share).max(asked);
        if self.is_stopped() {
            return Err(Trouble::Stopped);
        }
        match self.words.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(Trouble::Stopped),
        }
    }
}

fn send(
    agent: &ureq::Agent,
    request: ureq::http::Request<Vec<u8>>,
    timeout: Duration,
) -> Result<Reply, String> {
    let request = agent.configure_request(request).timeout_global(Some(timeout)).build();
    let mut response = agent.run(request).map_err(|error| error.to_string())?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    Ok(Reply { status, headers, body: body.map_err(|error| error.to_string())? })
}
