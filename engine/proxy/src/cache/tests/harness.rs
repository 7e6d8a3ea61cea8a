//! Owns an origin that answers as it is told, a proxy with a cache, and a client that checks.
//!
//! Time stands still but for what a step waits. `{now-60}` in a header's value is a date.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{ErrorType, OrErr, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use truststram_base::{Clock, ManualClock};

use crate::cache::date;
use crate::cache::fetch::Origin;
use crate::cache::{Cache, CacheOptions};
use crate::connection::Connection;
use crate::head_timer::HeadLimits;
use crate::stats::GatewayStats;
use crate::watched::Watched;

/// What the origin does with a request.
#[derive(Clone, Debug)]
pub(super) enum Script {
    Answer(u16, Vec<(String, String)>, String),
    /// It closes the connection.
    Close,
}

/// One request and what must become of it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    wait_s: i64,
    method: &'static str,
    path: &'static str,
    request: Vec<(&'static str, String)>,
    script: Option<Script>,
    /// Whether the origin is asked.
    goes: bool,
    status: u16,
    body: Option<&'static str>,
    /// Headers of the answer, and parts of their values; "-" is none.
    has: Vec<(&'static str, String)>,
    /// The same of the request that the origin gets.
    sent: Vec<(&'static str, String)>,
}

type Lines<'a> = &'a [(&'static str, &'a str)];

fn owned(lines: Lines<'_>) -> Vec<(&'static str, String)> {
    lines.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// A GET of `/` that is answered 200.
pub(super) fn get(request: Lines<'_>) -> Step {
    Step {
        wait_s: 0,
        method: "GET",
        path: "/",
        request: owned(request),
        script: None,
        goes: false,
        status: 200,
        body: None,
        has: Vec::new(),
        sent: Vec::new(),
    }
}

impl Step {
    pub(super) fn after(self, wait_s: i64) -> Self {
        Self { wait_s, ..self }
    }

    pub(super) fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    pub(super) fn path(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// The origin is asked and answers this.
    pub(super) fn origin(self, status: u16, headers: Lines<'_>, body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let script = Some(Script::Answer(status, headers.collect(), body.to_owned()));
        Self { script, goes: true, status, ..self }
    }

    /// The origin is asked and closes the connection.
    pub(super) fn closes(self) -> Self {
        Self { script: Some(Script::Close), goes: true, status: 502, ..self }
    }

    pub(super) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(super) fn body(self, body: &'static str) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(super) fn has(self, has: Lines<'_>) -> Self {
        Self { has: owned(has), ..self }
    }

    pub(super) fn sends(self, sent: Lines<'_>) -> Self {
        Self { sent: owned(sent), ..self }
    }
}

/// Heads of requests in the order in which they came, and what is answered.
#[derive(Default)]
struct Scripted {
    scripts: Mutex<VecDeque<Script>>,
    heads: Mutex<Vec<String>>,
}

struct Tcp(SocketAddr);

#[async_trait]
impl Origin for Tcp {
    async fn connect(&self) -> Result<Stream> {
        let stream = TcpStream::connect(self.0).await.or_err(ErrorType::ConnectError, "origin")?;
        Ok(Box::new(connection(stream, self.0)))
    }
}

fn connection(stream: TcpStream, peer: SocketAddr) -> Connection {
    let long = Duration::from_secs(60);
    let limits = HeadLimits { head: long, idle: long };
    Connection::new(stream, peer, limits, Arc::new(GatewayStats::new()))
}

struct App {
    cache: Arc<Cache>,
    origin: SocketAddr,
}

#[async_trait]
impl ProxyHttp for App {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> Result<bool> {
        let takes = Cache::takes(session.req_header());
        if takes {
            let origin = Arc::new(Tcp(self.origin));
            let by = ("http", Arc::default());
            self.cache.serve(session, by, origin, &|_: &mut HeaderMap| {}).await?;
        }
        Ok(takes)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin, false, String::new())))
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        (): &mut (),
    ) -> Result<()> {
        self.cache.passed(session.req_header(), response.status, &response.headers);
        Ok(())
    }
}

/// Reads until the end of a head; nothing where the connection ended first.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

async fn serve_origin(listener: TcpListener, scripted: Arc<Scripted>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let Some(head) = read_head(&mut stream).await else { continue };
        scripted.heads.lock().unwrap().push(head);
        // Without a script it waits for one.
        let script = loop {
            let script = scripted.scripts.lock().unwrap().pop_front();
            if script.is_some() {
                break script;
            }
            tokio::task::yield_now().await;
        };
        if let Some(Script::Answer(status, headers, body)) = script {
            let mut text = format!("HTTP/1.1 {status} S\r\nContent-Length: {}\r\n", body.len());
            for (name, value) in headers {
                text += &format!("{name}: {value}\r\n");
            }
            text += &format!("Connection: close\r\n\r\n{body}");
            let _ = stream.write_all(text.as_bytes()).await;
        }
    }
}

async fn serve_proxy(listener: TcpListener, app: App) {
    let proxy = Arc::new(http_proxy(&Arc::new(ServerConf::default()), app));
    let (_keep, closing) = watch::channel(false);
    while let Ok((stream, peer)) = listener.accept().await {
        let (proxy, closing) = (proxy.clone(), closing.clone());
        tokio::spawn(async move {
            let connection = connection(stream, peer);
            let turn = connection.turn().clone();
            proxy.process_new(Box::new(Watched::new(connection, turn)), &closing).await;
        });
    }
}

/// A date in place of each `{now±seconds}`.
fn dated(text: &str, now_s: i64) -> String {
    let Some((before, rest)) = text.split_once("{now") else { return text.to_owned() };
    let (offset, after) = rest.split_once('}').unwrap();
    let offset: i64 = if offset.is_empty() { 0 } else { offset.parse().unwrap() };
    format!("{before}{}{}", date::write(now_s + offset), dated(after, now_s))
}

fn check_lines(head: &str, lines: &[(&'static str, String)], now_s: i64, what: &str) {
    for (name, expected) in lines {
        let named = head.lines().filter_map(|line| line.split_once(": "));
        let values: Vec<&str> = named
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect();
        let value = values.join(", ");
        let is_number = ["age", "content-length"].contains(name);
        let holds = match expected.as_str() {
            "-" => values.is_empty(),
            expected if is_number => value == expected,
            expected => !values.is_empty() && value.contains(&dated(expected, now_s)),
        };
        assert!(holds, "{what}: {name} is {value:?}, not {expected:?}\n{head}");
    }
}

/// A proxy with its origin, for one sequence of requests.
pub(super) struct Bench {
    scripted: Arc<Scripted>,
    proxy: SocketAddr,
    clock: Arc<ManualClock>,
    pub(super) cache: Arc<Cache>,
}

impl Bench {
    async fn new(options: CacheOptions) -> Self {
        let scripted = Arc::new(Scripted::default());
        let clock = Arc::new(ManualClock::at(1_790_000_000_000_000));
        let cache = Arc::new(Cache::new(options, clock.clone()));
        let listen = || TcpListener::bind("127.0.0.1:0");
        let (origin, proxy) = (listen().await.unwrap(), listen().await.unwrap());
        let app = App { cache: cache.clone(), origin: origin.local_addr().unwrap() };
        let address = proxy.local_addr().unwrap();
        tokio::spawn(serve_origin(origin, scripted.clone()));
        tokio::spawn(serve_proxy(proxy, app));
        Self { scripted, proxy: address, clock, cache }
    }

    pub(super) async fn ask(&self, step: &Step) -> String {
        let now_s = self.clock.utc_us() / 1_000_000;
        let mut stream = TcpStream::connect(self.proxy).await.unwrap();
        let mut head = format!("{} {} HTTP/1.1\r\nHost: h\r\n", step.method, step.path);
        for (name, value) in &step.request {
            head += &format!("{name}: {}\r\n", dated(value, now_s));
        }
        let is_unsafe = !["GET", "HEAD", "OPTIONS"].contains(&step.method);
        head += if is_unsafe { "Content-Length: 0\r\n" } else { "" };
        head += "Connection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Waits until the origin was asked so often.
    pub(super) async fn asked(&self, count: usize) {
        while self.scripted.heads.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
    }

    /// The head of a request that the origin got.
    pub(super) fn head(&self, index: usize) -> String {
        self.scripted.heads.lock().unwrap()[index].clone()
    }

    /// Waits until so many responses were stored.
    pub(super) async fn stored(&self, count: u64) {
        while self.cache.stats().stored.get() < count {
            tokio::task::yield_now().await;
        }
    }

    /// Moves the clock.
    pub(super) fn advance(&self, seconds: i64) {
        self.clock.advance(seconds * 1_000_000);
    }

    pub(super) fn script(&self, step: &Step) {
        let now_s = self.clock.utc_us() / 1_000_000;
        let mut script = step.script.clone();
        if let Some(Script::Answer(_, headers, _)) = &mut script {
            headers.iter_mut().for_each(|(_, value)| *value = dated(value, now_s));
            if !headers.iter().any(|(name, _)| name == "date") {
                headers.push(("date".to_owned(), dated("{now}", now_s)));
            }
        }
        self.scripted.scripts.lock().unwrap().extend(script);
    }

    pub(super) fn asked_count(&self) -> usize {
        self.scripted.heads.lock().unwrap().len()
    }

    async fn take(&self, index: usize, step: &Step, what: &str) {
        self.advance(step.wait_s);
        let now_s = self.clock.utc_us() / 1_000_000;
        self.script(step);
        let before = self.asked_count();
        let answer = self.ask(step).await;
        let what = format!("{what}, step {index}");
        let heads = self.scripted.heads.lock().unwrap().split_off(before);
        assert_eq!(heads.len(), usize::from(step.goes), "{what}: asked the origin\n{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or_default();
        assert_eq!(status, step.status.to_string(), "{what}\n{answer}");
        if let Some(expected) = step.body {
            assert_eq!(body, expected, "{what}\n{answer}");
        }
        check_lines(head, &step.has, now_s, &what);
        if let Some(head) = heads.first() {
            check_lines(head, &step.sent, now_s, &format!("{what}, at the origin"));
        }
        self.scripted.heads.lock().unwrap().extend(heads);
    }
}

/// Runs `test` with a proxy and an origin of its own.
pub(super) fn with<F: Future<Output = ()>>(options: CacheOptions, test: impl FnOnce(Bench) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { test(Bench::new(options).await).await });
}

/// Takes the steps one after the other with these options.
pub(super) fn check_with(options: CacheOptions, what: &str, steps: &[Step]) {
    with(options, async |bench| {
        for (index, step) in steps.iter().enumerate() {
            bench.take(index, step, what).await;
        }
    });
}

/// Takes the steps one after the other.
pub(super) fn check(what: &str, steps: &[Step]) {
    check_with(CacheOptions::default(), what, steps);
}
