//! Owns a running gateway for a test, servers behind it, and a client that speaks bytes.
//!
//! Everything runs on the test's own event loop but the gateway, which has its thread.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use futures_util::FutureExt;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use truststram_base::SystemClock;
use truststram_machine::{LogFile, RingMode, Rotation, Thread, ThreadSpec, probe, spawn};
use truststram_proxy::{
    ActionSpec, Cache, CacheRuleSpec, Door, Drained, EditSpec, Gateway, GatewayOptions, GroupSpec,
    Guard, Handler, Listener, Live, PathSpec, Policy, Protocol, RewriteSpec, RouteAuth,
    RoutePriority, RouteSpec, ServerSpec, Strain, TableSpec, Timeouts, UseSpec, bind,
};

/// A gateway that serves without TLS and, where the table has certificates, with it.
pub struct Rig {
    pub gateway: Gateway,
    pub live: Arc<Live>,
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    /// Those of both.
    pub doors: [Door; 2],
}

/// What stands before the routes, and how connections begin.
#[derive(Default)]
pub struct With {
    pub cache: Option<Arc<Cache>>,
    pub guard: Option<Guard>,
    pub is_logged: bool,
    pub has_proxy_header: bool,
}

pub fn options() -> GatewayOptions {
    GatewayOptions {
        cores: vec![0],
        read_timeout: Duration::from_secs(20),
        write_timeout: Duration::from_secs(20),
        head_timeout: Duration::from_secs(20),
        keepalive: Duration::from_secs(20),
        keepalive_requests: None,
        h2c: false,
        h2_idle_timeout: Duration::from_secs(20),
        upstream_idle_max: 16,
        reject: |_uri, refusal| {
            let mut response = Response::new(Body::from(refusal.name));
            *response.status_mut() = http::StatusCode::from_u16(refusal.status).unwrap();
            response
        },
        access_log: None,
        strain: Arc::new(Strain::default),
        on_thread_start: Arc::new(|_| {}),
        clock: Arc::new(SystemClock::new()),
    }
}

impl Rig {
    pub fn start(table: &TableSpec) -> Self {
        Self::start_with(table, options())
    }

    pub fn start_with(table: &TableSpec, options: GatewayOptions) -> Self {
        Self::start_behind(table, options, &With::default())
    }

    pub fn start_behind(table: &TableSpec, options: GatewayOptions, with: &With) -> Self {
        let live = Live::new(table, 1).unwrap();
        // It says what it was asked.
        let answer = |request: Request| async move {
            let (head, body) = request.into_parts();
            let tenant = head.headers.get("x-tenant").map_or("", |value| value.to_str().unwrap());
            let said = format!("local {} {} {tenant}", head.method, head.uri.path());
            match head.uri.path() {
                "/echo" => {
                    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                    Body::from(format!("{said} {}", String::from_utf8(body.to_vec()).unwrap()))
                }
                "/streamed" => {
                    let said_length = head.headers.contains_key("content-length");
                    match axum::body::to_bytes(body, 100_000).await {
                        Ok(body) => Body::from(format!("{said}{said_length} {}", body.len())),
                        Err(error) => Body::from(format!("{said}{error}")),
                    }
                }
                "/parts" => parts(3),
                "/broken" => parts(0),
                "/endless" => parts(usize::MAX),
                _ => Body::from(said),
            }
        };
        let handler: Handler = Arc::new(move |request| answer(request).map(Response::new).boxed());
        let listener = |is_tls| Listener {
            door: Door::new(Some(bind("127.0.0.1:0".parse().unwrap()).unwrap())),
            handler: handler.clone(),
            body_bytes_max: 1_000,
            streams: |_, path| path == "/streamed",
            is_logged: with.is_logged,
            has_proxy_header: with.has_proxy_header,
            live: Some(live.clone()),
            is_tls,
            cache: with.cache.clone(),
            guard: with.guard.clone(),
        };
        let listeners = vec![listener(false), listener(true)];
        let [plain, tls] = [0, 1].map(|index: usize| listeners[index].door.address().unwrap());
        let doors = [0, 1].map(|index: usize| listeners[index].door.clone());
        let gateway = Gateway::start(listeners, options).unwrap();
        Self { gateway, live, plain, tls, doors }
    }

    pub fn stop(self) -> Drained {
        self.doors.iter().for_each(Door::forget);
        self.gateway.drain(Duration::from_secs(5)).unwrap()
    }
}

/// A drain on a thread of its own.
pub struct Draining(Thread<()>, tokio::sync::oneshot::Receiver<Drained>);

impl Draining {
    pub fn begin(gateway: Gateway) -> Self {
        let (done, drained) = tokio::sync::oneshot::channel();
        let thread = spawn(ThreadSpec::default(), move |_placement| {
            done.send(gateway.drain(Duration::from_secs(20)).unwrap()).unwrap();
        });
        Self(thread.unwrap(), drained)
    }

    /// How it ended.
    pub async fn end(self) -> Drained {
        let drained = self.1.await.unwrap();
        self.0.join().unwrap();
        drained
    }
}

/// An access log at `path`.
pub fn log_at(path: &Path) -> Arc<LogFile> {
    let clock = Arc::new(SystemClock::new());
    let log = LogFile::open(path, probe(RingMode::Off).0, 1_000, Rotation::default(), clock);
    Arc::new(log.unwrap())
}

/// So many parts, each once the one before may be out; none at all end badly.
fn parts(count: usize) -> Body {
    Body::from_stream(futures_util::stream::unfold(0, move |at| async move {
        tokio::task::yield_now().await;
        match count {
            0 if at == 1 => Some((Err(std::io::Error::other("broken")), 2)),
            0 if at > 1 => None,
            0 => Some((Ok(axum::body::Bytes::from("half")), at + 1)),
            count if at < count => {
                Some((Ok(axum::body::Bytes::from(format!("part {at} "))), at + 1))
            }
            _ => None,
        }
    }))
}

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    /// Says what it was asked, head and body, below its name.
    Echo,
    /// Reads the request and closes.
    Close,
    /// Reads the request and says nothing.
    Silent,
    /// Answers 500.
    Fail,
    /// Accepts an upgrade at once and echoes from then on.
    Upgrade,
}

/// A server; ends with the test.
pub async fn server(name: &'static str, manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, name, manner));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, name: &'static str, manner: Manner) {
    while let Some((head, body)) = read_message(&mut stream).await {
        let answer = match manner {
            Manner::Echo => {
                let said = format!("{name}\n{head}{body}");
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nkeep-alive: timeout=9\r\n\
                     x-gone: 1\r\nconnection: x-gone\r\n\r\n{said}",
                    said.len()
                )
            }
            Manner::Fail => "HTTP/1.1 500 Bad\r\ncontent-length: 0\r\n\r\n".to_owned(),
            Manner::Close => return,
            Manner::Silent => continue,
            Manner::Upgrade => {
                let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                              upgrade: websocket\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads one message whole: its head and its body.
pub async fn read_message<S: AsyncReadExt + Unpin>(stream: &mut S) -> Option<(String, String)> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(read[..end].to_vec()).unwrap();
    let length = header(&head, "content-length").and_then(|length| length.parse().ok());
    let is_chunked = header(&head, "transfer-encoding").is_some();
    let is_whole = |body: &[u8]| match length {
        Some(length) => body.len() >= length,
        None => !is_chunked || body.ends_with(b"0\r\n\r\n"),
    };
    while !is_whole(&read[end..]) {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            break;
        }
    }
    Some((head, String::from_utf8(read[end..].to_vec()).unwrap()))
}

/// The value of a header in a head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
    let found = pairs.find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// Sends a request on a connection and reads its answer.
pub async fn ask_on<S>(stream: &mut S, request: &str) -> Option<Answer>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    stream.write_all(request.as_bytes()).await.ok()?;
    let (head, body) = read_message(stream).await?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head, body })
}

/// The same on a connection of its own.
pub async fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    ask_on(&mut stream, request).await.unwrap_or_else(|| panic!("no answer to {request}"))
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n")
}

pub fn route(name: &str, path: &str, action: ActionSpec) -> RouteSpec {
    let long = Duration::from_secs(20);
    RouteSpec {
        name: name.to_owned(),
        hosts: Vec::new(),
        path: PathSpec::Prefix(path.to_owned()),
        methods: Vec::new(),
        headers: Vec::new(),
        scheme: None,
        action,
        rewrite: RewriteSpec::Keep,
        request_edits: EditSpec::default(),
        response_edits: EditSpec::default(),
        timeouts: Timeouts { connect: long, send: long, read: long, total: None },
        body_bytes_max: None,
        is_logged: true,
        is_cached: false,
        cache_rules: CacheRuleSpec::default(),
        auth: RouteAuth::default(),
        priority: RoutePriority::Normal,
        limits: UseSpec::default(),
    }
}

pub fn to(group: &str) -> ActionSpec {
    ActionSpec::Upstream(group.to_owned())
}

pub fn group(name: &str, servers: &[SocketAddr]) -> GroupSpec {
    let server = |address: &SocketAddr| ServerSpec {
        address: address.to_string(),
        weight: 1,
        backup: false,
        max_fails: 1,
        fail_timeout: Duration::from_secs(600),
        drain: false,
    };
    GroupSpec {
        name: name.to_owned(),
        servers: servers.iter().map(server).collect(),
        policy: Policy::RoundRobin,
        check: None,
        breaker: None,
        slow_start: Duration::ZERO,
        retries: 1,
        retry_budget_percent: 20,
        hedge: None,
        keepalive: Duration::from_secs(20),
        protocol: Protocol::Http,
        host: None,
    }
}

pub fn table(routes: Vec<RouteSpec>, upstreams: Vec<GroupSpec>) -> TableSpec {
    TableSpec { routes, upstreams, ..TableSpec::default() }
}

/// An address that nobody listens on.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
