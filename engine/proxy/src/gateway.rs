//! Owns the network threads: one pinned thread per network core, each with an event loop of its
//! own, each with an entrance for every listener.
//!
//! Refuses to know what is served. Pingora's `Server` is not used: it would start threads that
//! nobody pins, bind ports after threads exist and leave by `exit`; its `HttpProxy` is made for an
//! accept loop like this one. Bound: the drain ends when its time is over, whatever is open.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::sync::watch;
use truststram_base::Clock;
use truststram_machine::{LogFile, Priority, Thread, ThreadSpec};

use crate::accepted::Site;
use crate::app::{App, Cached};
use crate::auth::{Guard, start_fetching};
use crate::background::{Background, event_loop};
use crate::cache::Cache;
use crate::direct::{Kept, Refusals, Turns};
use crate::door::Door;
use crate::entrance::Endpoint;
use crate::error::ProxyError;
use crate::head_timer::HeadLimits;
use crate::live::Live;
use crate::overload::{self, StrainSource};
use crate::refusal::Refusal;
use crate::stats::GatewayStats;
use crate::upstream::upkeep;

/// Makes the answer to a request that the gateway itself refuses.
pub(crate) type Rejection = fn(&Uri, &Refusal) -> Response<Body>;

/// Runs on each network thread, inside its event loop, before the first connection; gets the
/// thread's index.
pub type ThreadStart = Arc<dyn Fn(usize) + Send + Sync>;

/// Answers requests in process.
pub type Handler = Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// One address and what is served there.
pub struct Listener {
    /// Where it is.
    pub door: Door,
    /// What answers requests.
    pub handler: Handler,
    /// Largest request body in bytes; a larger one is answered by `reject`.
    pub body_bytes_max: usize,
    /// Whether the body of a request with this method and path is passed on as it arrives; what
    /// answers it limits it.
    pub streams: fn(&Method, &str) -> bool,
    /// Whether requests are written to the access log.
    pub is_logged: bool,
    /// Routes and what they lead to; without, `handler` answers all.
    pub live: Option<Arc<Live>>,
    /// Whether it is spoken to by TLS, with the certificates of `live`.
    pub is_tls: bool,
    /// Whether connections of trusted proxies begin with a header of the PROXY protocol.
    pub has_proxy_header: bool,
    /// Where upstream answers are kept to be used again.
    pub cache: Option<Arc<Cache>>,
    /// What is asked of those who come, if anything may be.
    pub guard: Option<Guard>,
}

/// How the gateway runs.
pub struct GatewayOptions {
    /// Network cores: one thread is started for each.
    pub cores: Vec<u32>,
    /// How long a read of a request's body may stall.
    pub read_timeout: Duration,
    /// How long a write of an answer may stall.
    pub write_timeout: Duration,
    /// How long the head of a request may take, and a TLS handshake.
    pub head_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub keepalive: Duration,
    /// Most requests of one connection, HTTP/1.1.
    pub keepalive_requests: Option<u32>,
    /// Whether HTTP/2 is understood without TLS.
    pub h2c: bool,
    /// How long a connection of HTTP/2 may have no request.
    pub h2_idle_timeout: Duration,
    /// Most idle connections to upstream servers that a network thread keeps per listener.
    pub upstream_idle_max: usize,
    /// Makes the answer to a request that the gateway itself refuses. Of the address it may look at
    /// the first part of the path alone, since answers are used again for it.
    pub reject: fn(&Uri, &Refusal) -> Response<Body>,
    /// Where requests are logged, if anywhere.
    pub access_log: Option<Arc<LogFile>>,
    /// What reads how strained the machine is.
    pub strain: StrainSource,
    /// Runs first on each network thread.
    pub on_thread_start: ThreadStart,
    /// The time for log lines.
    pub clock: Arc<dyn Clock>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still open when the time was over.
    pub connections_cut: usize,
}

/// The running gateway.
pub struct Gateway {
    stop: watch::Sender<Stop>,
    threads: Vec<Thread<Result<usize, ProxyError>>>,
    upkeep: Vec<Background>,
    stats: Vec<Arc<GatewayStats>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Serve,
    /// Take no more connections and end idle ones; give the others this long.
    Drain(Duration),
    Cut,
}

impl Gateway {
    /// Starts one thread per network core; connections are accepted when it returns.
    pub fn start(listeners: Vec<Listener>, options: GatewayOptions) -> Result<Self, ProxyError> {
        let (stop, stopped) = watch::channel(Stop::Serve);
        let stats: Vec<_> = listeners.iter().map(|_| Arc::new(GatewayStats::new())).collect();
        let mut gateway = Self { stop, threads: Vec::new(), upkeep: Vec::new(), stats };
        for live in distinct(&listeners) {
            gateway.upkeep.extend(upkeep::start(live, &options.clock, &stopped)?);
            gateway.upkeep.push(start_fetching(live, &options.clock, &stopped)?);
            gateway.upkeep.push(overload::start(live, &options.strain, &stopped)?);
        }
        for (index, &core) in options.cores.iter().enumerate() {
            let mut ends = Vec::new();
            for (listener, stats) in listeners.iter().zip(&gateway.stats) {
                let behind = listener.cache.as_ref().map(|cache| Cached {
                    cache: cache.clone(),
                    behind: Arc::new(behind_cache(listener, &options, index)),
                });
                let [app, direct] = [(), ()].map(|()| {
                    let mut app = make_app(listener, &options, stats.clone(), index);
                    app.cached = behind.clone();
                    app
                });
                let turns = Turns {
                    proxy: Arc::new(make_proxy(app, &options)),
                    app: direct,
                    requests_max: options.keepalive_requests,
                    is_stopping: AtomicBool::new(false),
                };
                let site = Site {
                    turns: Arc::new(turns),
                    h2c: options.h2c && !listener.is_tls,
                    stats: stats.clone(),
                    limits: HeadLimits { head: options.head_timeout, idle: options.keepalive },
                    certificates: listener.live.clone().filter(|_| listener.is_tls),
                    announcing: listener.live.clone().filter(|_| listener.has_proxy_header),
                };
                ends.push(Endpoint { door: listener.door.watch(), site });
            }
            let spec = ThreadSpec {
                name: format!("net-{index}"),
                cores: vec![core],
                memory_node: None,
                priority: Priority::Normal,
            };
            let (stopped, hook) = (stopped.clone(), options.on_thread_start.clone());
            let body = move |_placement| run_thread(ends, stopped, || hook(index));
            gateway.threads.push(truststram_machine::spawn(spec, body)?);
        }
        Ok(gateway)
    }

    /// Counts per listener, in the order in which they were given.
    pub fn stats(&self) -> &[Arc<GatewayStats>] {
        &self.stats
    }

    /// A handle that cuts a running drain short, for a second signal.
    pub fn cutter(&self) -> impl Fn() + Send + Sync + use<> {
        let stop = self.stop.clone();
        move || {
            stop.send_replace(Stop::Cut);
        }
    }

    /// Stops accepting, lets open requests finish for at most `limit`, and joins the threads.
    pub fn drain(self, limit: Duration) -> Result<Drained, ProxyError> {
        // A cut that came first stays a cut.
        self.stop.send_if_modified(|stop| {
            let serving = *stop == Stop::Serve;
            if serving {
                *stop = Stop::Drain(limit);
            }
            serving
        });
        let mut connections_cut = 0;
        for thread in self.threads {
            connections_cut += thread.join()??;
        }
        for thread in self.upkeep {
            thread.join()??;
        }
        Ok(Drained { connections_cut })
    }
}

/// The tables of `listeners`, each once.
fn distinct(listeners: &[Listener]) -> Vec<&Arc<Live>> {
    let mut found: Vec<&Arc<Live>> = Vec::new();
    for live in listeners.iter().filter_map(|listener| listener.live.as_ref()) {
        if !found.iter().any(|known| Arc::ptr_eq(known, live)) {
            found.push(live);
        }
    }
    found
}

fn make_proxy(app: App, options: &GatewayOptions) -> HttpProxy<App> {
    let conf = ServerConf {
        upstream_keepalive_pool_size: options.upstream_idle_max,
        threads: 1,
        ..ServerConf::default()
    };
    let mut proxy = http_proxy(&Arc::new(conf), app);
    let mut server = HttpServerOptions::default();
    server.h2c = options.h2c;
    server.h2_idle_timeout = Some(options.h2_idle_timeout);
    proxy.server_options = Some(server);
    proxy
}

fn make_app(
    listener: &Listener,
    options: &GatewayOptions,
    stats: Arc<GatewayStats>,
    thread: usize,
) -> App {
    App {
        handler: listener.handler.clone(),
        stats,
        body_bytes_max: listener.body_bytes_max,
        streams: listener.streams,
        read_timeout: options.read_timeout,
        write_timeout: options.write_timeout,
        reject: options.reject,
        access_log: options.access_log.clone().filter(|_| listener.is_logged),
        clock: options.clock.clone(),
        live: listener.live.clone(),
        thread,
        cached: None,
        refusals: Refusals::default(),
        kept: Arc::new(Kept::new(options.upstream_idle_max)),
        guard: listener.guard.clone(),
        is_behind: false,
    }
}

/// What the cache of a listener asks: the listener without limits, log and cache, and with figures
/// of its own.
fn behind_cache(listener: &Listener, options: &GatewayOptions, thread: usize) -> HttpProxy<App> {
    let mut app = make_app(listener, options, Arc::new(GatewayStats::new()), thread);
    (app.access_log, app.is_behind) = (None, true);
    make_proxy(app, options)
}

fn run_thread(
    ends: Vec<Endpoint>,
    stop: watch::Receiver<Stop>,
    on_start: impl FnOnce(),
) -> Result<usize, ProxyError> {
    let runtime = event_loop()?;
    runtime.block_on(async {
        on_start();
        let mut loops = Vec::new();
        for end in ends {
            loops.push(tokio::spawn(end.run(stop.clone())));
        }
        let mut connections_cut = 0;
        for served in loops {
            match served.await {
                Ok(cut) => connections_cut += cut?,
                Err(failed) => return Err(ProxyError::EventLoop(failed.into())),
            }
        }
        Ok(connections_cut)
    })
}
