//! Owns a running server for a test: started on free ports, asked over HTTP, killed at the end.
//!
//! A data directory with the trained example is made once per build of the binary and copied for
//! each test. Refuses to sleep: it waits for lines, answers and exits.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use truststram_train::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, Dataset, digits};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_truststram");

/// The rows that the example was not trained on.
pub fn held_out() -> Dataset {
    digits().unwrap().split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED).held_out
}

/// A data directory of its own with the trained example in it.
pub fn trained_dir() -> tempfile::TempDir {
    let built = fs::metadata(BINARY).unwrap().modified().unwrap();
    let built = built.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let trained = root.join(format!("digits-{built}"));
    let lock = File::create(root.join("digits.lock")).unwrap();
    lock.lock().unwrap();
    if !trained.join("done").exists() {
        let _ = fs::remove_dir_all(&trained);
        let server = Server::start_with(&trained, &["--example", "digits"]);
        assert!(server.terminate().success());
        fs::write(trained.join("done"), "").unwrap();
    }
    let copy = tempfile::tempdir().unwrap();
    copy_tree(&trained, copy.path());
    copy
}

/// Copies a directory with all below it.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Longest wait for what a server does soon.
const SOON: Duration = Duration::from_secs(60);

/// Asks until `holds`; each question is an answer waited for.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SOON, "{what}");
    }
}

/// A running `truststram serve`.
pub struct Server {
    child: Child,
    stderr: Option<BufReader<std::process::ChildStderr>>,
    /// `http://` and the public address.
    pub public: String,
    /// `http://` and the operators' address.
    pub admin: String,
    /// `https://` and the address that is spoken to by TLS, if any.
    pub tls: Option<String>,
}

/// An answer: status, headers, body.
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Server {
    /// Starts on `data_dir` without the example.
    pub fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[])
    }

    /// Starts on `data_dir` with a configuration.
    pub fn start_configured(data_dir: &Path, config: &str) -> Self {
        let file = data_dir.join("test.toml");
        fs::write(&file, config).unwrap();
        Self::start_with(data_dir, &["--config", file.to_str().unwrap()])
    }

    /// Starts with more arguments on ports that the kernel chooses.
    pub fn start_with(data_dir: &Path, arguments: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", data_dir, arguments)
    }

    /// The same on a public address that was chosen before; on those of the configuration, the
    /// operators' too, where it is empty.
    pub fn start_on(address: &str, data_dir: &Path, arguments: &[&str]) -> Self {
        let listen = ["--listen", address, "--admin-listen", "127.0.0.1:0"];
        let mut child = Command::new(BINARY)
            .args(["serve", "--json"])
            .args(if address.is_empty() { &[][..] } else { &listen })
            .arg("--data-dir")
            .arg(data_dir)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let Ok(facts) = serde_json::from_str::<Value>(&line) else {
            let mut said = String::new();
            std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
            panic!("the server did not start: {said}");
        };
        let address = |key: &str| format!("http://{}", facts[key].as_str().unwrap());
        Self {
            child,
            stderr: Some(stderr),
            public: address("listen"),
            admin: address("admin_listen"),
            tls: facts["tls_listen"].as_str().map(|tls| format!("https://{tls}")),
        }
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let process_id = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &process_id]).status();
        assert!(status.unwrap().success());
    }

    /// Reads the log until a line holds `part`.
    pub fn wait_for_log(&mut self, part: &str) {
        let stderr = self.stderr.as_mut().unwrap();
        for line in stderr.lines() {
            if line.unwrap().contains(part) {
                return;
            }
        }
        panic!("the log ended without `{part}`");
    }

    /// Waits for the process to end by itself.
    pub fn wait(mut self) -> ExitStatus {
        drain(self.stderr.take());
        self.child.wait().unwrap()
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn get(&self, path: &str) -> Answer {
        send(|agent| agent.get(format!("{}{path}", self.public)).call())
    }

    pub fn admin_get(&self, path: &str) -> Answer {
        send(|agent| agent.get(format!("{}{path}", self.admin)).call())
    }

    /// Posts to operators' paths.
    pub fn admin_post(&self, path: &str, body: &Value) -> Answer {
        let (url, body) = (format!("{}{path}", self.admin), body.to_string());
        send(|agent| agent.post(&url).header("content-type", "application/json").send(&body))
    }

    /// Puts a component in the place of the plugin `name`, or fails to.
    pub fn install(&self, name: &str, query: &str, component: &[u8]) -> Answer {
        let url = format!("{}/admin/v1/plugins/{name}{query}", self.admin);
        send(|agent| agent.put(&url).header("content-type", "application/wasm").send(component))
    }

    /// Has something done to the plugin `name`.
    pub fn plugin_action(&self, name: &str, action: &str) -> Answer {
        let url = format!("{}/admin/v1/plugins/{name}", self.admin);
        let body = json!({ "action": action }).to_string();
        send(|agent| agent.post(&url).header("content-type", "application/json").send(&body))
    }

    /// Asks the plugin `name` a question of its kind.
    pub fn ask(&self, name: &str, question: &Value) -> Answer {
        let url = format!("{}/admin/v1/plugins/{name}/ask", self.admin);
        let body = question.to_string();
        send(|agent| agent.post(&url).header("content-type", "application/json").send(&body))
    }

    /// What the server says of the plugin `name`.
    pub fn plugin(&self, name: &str) -> Value {
        self.admin_get(&format!("/admin/v1/plugins/{name}")).body
    }

    pub fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.post_as(path, "application/json", body)
    }

    /// Posts a body that is called `media`.
    pub fn post_as(&self, path: &str, media: &str, body: &[u8]) -> Answer {
        let url = format!("{}{path}", self.public);
        send(|agent| agent.post(&url).header("content-type", media).send(body))
    }

    /// Puts a body that is called `media`.
    pub fn put(&self, path: &str, media: &str, body: &[u8]) -> Answer {
        let url = format!("{}{path}", self.public);
        send(|agent| agent.put(&url).header("content-type", media).send(body))
    }

    /// Sends a body of JSON by PATCH.
    pub fn patch(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.public);
        send(|agent| agent.patch(&url).header("content-type", "application/json").send("{}"))
    }

    /// The lines of an answer that goes on.
    pub fn lines(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        let response = ureq::get(format!("{}{path}", self.public)).call().unwrap();
        BufReader::new(response.into_body().into_reader()).lines().map_while(Result::ok)
    }

    /// Sends a request with just these headers.
    pub fn send_raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Answer {
        let mut request = ureq::http::Request::builder().method(method);
        request = request.uri(format!("{}{path}", self.public));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(body.to_vec()).unwrap();
        send(|agent| agent.run(request))
    }

    pub fn delete(&self, path: &str) -> Answer {
        send(|agent| agent.delete(format!("{}{path}", self.public)).call())
    }

    /// Has the store do something.
    pub fn store_action(&self, action: &str, body: &Value) -> Answer {
        let url = format!("{}/admin/v1/store/{action}", self.admin);
        let body = body.to_string();
        send(|agent| agent.post(&url).header("content-type", "application/json").send(&body))
    }

    /// One prediction for `features` of the example.
    pub fn predict(&self, features: &[f32], query: &str) -> Answer {
        let body = json!({ "model_id": "digits", "user_id": "tester", "data": features });
        self.post(&format!("/api/v1/predict{query}"), body.to_string().as_bytes())
    }

    /// The value of a metric with exactly these labels, such as `{kind="trap"}`; 0 if absent.
    pub fn metric(&self, name_and_labels: &str) -> f64 {
        let text = self.admin_get("/metrics").text;
        let line = text.lines().find_map(|line| line.strip_prefix(name_and_labels));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// Every stored prediction that `filter` names, newest first, read page by page.
    pub fn stored(&self, filter: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut path = format!("/api/v1/predictions?limit=100{filter}");
        loop {
            let answer = self.get(&path);
            assert_eq!(answer.status, 200, "{}", answer.text);
            rows.extend(answer.body["predictions"].as_array().unwrap().iter().cloned());
            let Some(link) = answer.headers.get("link") else { return rows };
            let link = link.to_str().unwrap();
            path = link[1..link.find('>').unwrap()].to_owned();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drain(stderr: Option<BufReader<std::process::ChildStderr>>) {
    // The log must be read to its end, or the process could wait for us.
    for line in stderr.into_iter().flat_map(BufReader::lines) {
        if line.is_err() {
            return;
        }
    }
}

fn send(
    ask: impl FnOnce(&ureq::Agent) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Answer {
    try_send(ask).unwrap()
}

/// Asks with these headers, and a body of JSON if there is one.
pub fn ask_with(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("content-type", "application/json");
    let body = body.map(Value::to_string).unwrap_or_default();
    send(|agent| agent.run(request.body(body).unwrap()))
}

/// As the others, for servers that are being killed.
pub fn try_post(url: &str, body: &[u8]) -> Result<Answer, ureq::Error> {
    try_send(|agent| agent.post(url).header("content-type", "application/json").send(body))
}

fn try_send(
    ask: impl FnOnce(&ureq::Agent) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Answer, ureq::Error> {
    thread_local! {
        static AGENT: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
    }
    let mut response = AGENT.with(ask)?;
    let text = response.body_mut().read_to_string()?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, body, text })
}

/// Says why a test was left out, where somebody reads it.
pub fn remark(words: &str) {
    use std::io::Write;
    // Nothing can be done where standard error is closed.
    let _ = writeln!(std::io::stderr(), "{words}");
}
