//! Owns talking to a running server from the command line.
//!
//! Refuses to know what is asked. Bound: answers of [`ANSWER_BYTES_MAX`], one minute each; a day
//! for the work on a whole store that [`AdminArgument::work`] asks for, and for an upload.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::Failure;

const ANSWER_BYTES_MAX: u64 = 256 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);
/// Time for what reads or writes a whole store.
const WORK_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// An artifact to send.
pub(super) struct Upload {
    /// What is sent.
    pub artifact: Box<dyn Read>,
    /// How much of it there is.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

type Answered = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

/// Which server to ask.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArgument {
    /// Address of the running server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
}

/// Which server's operators' side to ask.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArgument {
    /// Operators' address of the running server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,
}

impl AdminArgument {
    /// The server whose operators' side is at `url`.
    pub(super) fn at(url: &str) -> Self {
        Self { admin: url.to_owned() }
    }

    /// Asks for `path` with this method and body, and reads the answer as JSON.
    pub(super) fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<Value, Failure> {
        self.send_within(TIMEOUT, method, path, body)
    }

    /// Has work done that may take long, and reads the report of it.
    pub(super) fn work(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send_within(WORK_TIMEOUT, "POST", path, body.to_string().as_bytes())
    }

    fn send_within(
        &self,
        timeout: Duration,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.admin.trim_end_matches('/'));
        let media = if method == "POST" { "application/json" } else { "application/wasm" };
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(&url)
            .header("content-type", media)
            .body(body.to_vec())
            .with_context(|| format!("{url} is no address"))?;
        answer(|agent| agent.run(request), &url, "--admin", timeout)
    }

    /// Gets `path` as bytes.
    pub(super) fn fetch(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let url = format!("{}{path}", self.admin.trim_end_matches('/'));
        bytes(|agent| agent.get(&url).call(), &url, "--admin", TIMEOUT).map(|(_, body)| body)
    }
}

impl ServerArgument {
    /// The server at `url`.
    pub(super) fn at(url: &str) -> Self {
        Self { server: url.to_owned() }
    }

    /// Gets `path` as JSON.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.answer(|agent, url| agent.get(url).call(), path)
    }

    /// Gets `path` as bytes.
    pub(super) fn fetch(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let url = self.url(path);
        bytes(|agent| agent.get(&url).call(), &url, "--server", TIMEOUT).map(|(_, body)| body)
    }

    /// The lines of an answer that goes on, however long.
    pub(super) fn lines(
        &self,
        path: &str,
    ) -> Result<impl Iterator<Item = std::io::Result<String>> + use<>, Failure> {
        let url = self.url(path);
        let response = asked(|agent| agent.get(&url).call(), &url, "--server", None)?;
        match response.status().is_success() {
            true => Ok(BufReader::new(response.into_body().into_reader()).lines()),
            false => Err(refused(response)?),
        }
    }

    /// Posts `body` to `path` and reads the answer as JSON.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = serde_json::to_vec(body)?;
        let json = "application/json";
        self.answer(|agent, url| agent.post(url).header("content-type", json).send(&body), path)
    }

    /// Deletes `path` and reads the answer as JSON.
    pub(super) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.answer(|agent, url| agent.delete(url).call(), path)
    }

    /// Sends an artifact to `path` as it is read, and reads the answer as JSON.
    pub(super) fn upload(
        &self,
        method: &str,
        path: &str,
        mut upload: Upload,
    ) -> Result<Value, Failure> {
        let url = self.url(path);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(&url)
            .header("content-type", "application/octet-stream")
            .header("content-length", upload.bytes)
            .header("x-content-sha256", &upload.sha256)
            // The server may refuse it before any of it is sent.
            .header("expect", "100-continue")
            .body(ureq::SendBody::from_reader(&mut upload.artifact))
            .with_context(|| format!("{url} is no address"))?;
        answer(|agent| agent.run(request), &url, "--server", WORK_TIMEOUT)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.trim_end_matches('/'))
    }

    fn answer(
        &self,
        ask: impl FnOnce(&ureq::Agent, &str) -> Answered,
        path: &str,
    ) -> Result<Value, Failure> {
        let url = self.url(path);
        answer(|agent| ask(agent, &url), &url, "--server", TIMEOUT)
    }
}

fn answer(
    ask: impl FnOnce(&ureq::Agent) -> Answered,
    url: &str,
    option: &str,
    timeout: Duration,
) -> Result<Value, Failure> {
    let (status, body) = bytes(ask, url, option, timeout)?;
    Ok(serde_json::from_slice(&body)
        .with_context(|| format!("{url} did not answer with JSON (status {status})"))?)
}

/// The variable that holds the key which commands present.
const KEY_VARIABLE: &str = "TRUSTSTRAM_API_KEY";

/// Presents the key that the environment names.
fn present(
    mut request: ureq::http::Request<ureq::SendBody<'_>>,
    next: ureq::middleware::MiddlewareNext<'_>,
) -> Answered {
    let key = std::env::var(KEY_VARIABLE).unwrap_or_default();
    if let Ok(value) = format!("Bearer {}", key.trim()).parse()
        && !key.is_empty()
    {
        request.headers_mut().insert("authorization", value);
    }
    next.handle(request)
}

/// The body of a good answer; of any other the detail is the failure.
fn bytes(
    ask: impl FnOnce(&ureq::Agent) -> Answered,
    url: &str,
    option: &str,
    timeout: Duration,
) -> Result<(ureq::http::StatusCode, Vec<u8>), Failure> {
    let mut response = asked(ask, url, option, Some(timeout))?;
    let status = response.status();
    match status.is_success() {
        true => Ok((status, body_of(&mut response)?)),
        false => Err(refused(response)?),
    }
}

/// Whatever is answered.
fn asked(
    ask: impl FnOnce(&ureq::Agent) -> Answered,
    url: &str,
    option: &str,
    timeout: Option<Duration>,
) -> Result<ureq::http::Response<ureq::Body>, Failure> {
    let settings = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(timeout)
        .middleware(present)
        .build();
    Ok(ask(&settings.into()).with_context(|| {
        format!("no answer from {url}; is `truststram serve` running there (see {option})?")
    })?)
}

fn body_of(response: &mut ureq::http::Response<ureq::Body>) -> Result<Vec<u8>, Failure> {
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    Ok(body.context("the answer cannot be read")?)
}

/// The failure that an answer other than a good one is.
fn refused(mut response: ureq::http::Response<ureq::Body>) -> Result<Failure, Failure> {
    let status = response.status();
    let problem: Value = serde_json::from_slice(&body_of(&mut response)?).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("no detail given");
    Ok(Failure::Failed(anyhow!("{status}: {detail}")))
}

/// `text` for a place in an address (RFC 3986, section 2.1).
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn settings_travel_in_an_address() {
        assert_eq!(encoded(r#"{"a b": 1}"#), "%7B%22a%20b%22%3A%201%7D");
        assert_eq!(encoded("ä/.."), "%C3%A4%2F..");
    }
}
