//! The gateway over real sockets: limits and the cache in front of a router.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{Response, StatusCode, header};
use truststram_base::ManualClock;
use truststram_proxy::{
    Cache, CacheOptions, Gateway, GatewayOptions, InFlightUse, InFlightZone, Limits, Listener,
    RateUse, RateZone, bind,
};

struct Running {
    gateway: Gateway,
    address: SocketAddr,
    clock: Arc<ManualClock>,
    cache: Option<Arc<Cache>>,
}

fn start(limits: Limits, has_cache: bool) -> Running {
    let count = Arc::new(AtomicU64::new(0));
    let answer = move || async move {
        let number = count.fetch_add(1, Ordering::Relaxed);
        ([(header::CACHE_CONTROL, "max-age=60")], format!("answer {number}")).into_response()
    };
    let router = Router::new().route("/", get(answer.clone()).post(answer));
    let clock = Arc::new(ManualClock::at(1_790_000_000_000_000));
    let bound = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.address();
    let cache = has_cache.then(|| Arc::new(Cache::new(CacheOptions::default(), clock.clone())));
    let listener = Listener {
        bound,
        router,
        body_bytes_max: 1 << 20,
        streams: |_, _| false,
        is_logged: false,
        limits,
        limit_status: 429,
        cache: cache.clone(),
    };
    let topology = truststram_machine::Topology::of_host().unwrap();
    let options = GatewayOptions {
        cores: topology.cores().into_iter().take(1).collect(),
        read_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(60),
        reject: |_, _, _| Response::new(Body::empty()),
        too_many: refuse_with,
        access_log: None,
        on_thread_start: Arc::new(|_| {}),
        clock: clock.clone(),
    };
    let gateway = Gateway::start(vec![listener], options).unwrap();
    Running { gateway, address, clock, cache }
}

fn refuse_with(_: &http::Uri, status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from("refused"));
    *response.status_mut() = status;
    response
}

impl Running {
    fn ask(&self, method: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!("{method} / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.to_lowercase()
    }

    fn stop(self) {
        self.gateway.drain(Duration::from_secs(10)).unwrap();
    }
}

#[test]
fn limits_refuse_and_say_when_to_come_back() {
    let zone = RateZone::new("api", "ip".parse().unwrap(), "1r/s".parse().unwrap(), 1 << 20);
    let zone = Arc::new(zone);
    let rates = vec![RateUse { zone: zone.clone(), burst: 1, undelayed: None }];
    let in_flight = InFlightZone::new("addr", "ip".parse().unwrap(), 1 << 20);
    let in_flight = Arc::new(in_flight);
    let places = vec![InFlightUse { zone: in_flight.clone(), at_most: 1 }];
    let running = start(Limits { rates, in_flight: places, is_dry_run: false }, false);
    let first = running.ask("GET");
    assert!(first.starts_with("http/1.1 200"), "{first}");
    assert!(first.contains("ratelimit-policy: \"api\";q=2;w=2\r\n"), "{first}");
    assert!(first.contains("ratelimit: \"api\";r=1;t=0\r\n"), "{first}");
    let second = running.ask("GET");
    assert!(second.contains("ratelimit: \"api\";r=0;t=1\r\n"), "{second}");
    let third = running.ask("GET");
    assert!(third.starts_with("http/1.1 429") && third.ends_with("refused"), "{third}");
    assert!(third.contains("retry-after: 2\r\n"), "{third}");
    running.clock.advance(1_001_000);
    assert!(running.ask("GET").starts_with("http/1.1 200"));
    assert_eq!((zone.stats().passed.get(), zone.stats().rejected.get()), (3, 1));
    assert_eq!(in_flight.stats().passed.get(), 3);
    running.stop();
    assert_eq!(in_flight.key_count(), 0);
}

#[test]
fn a_dry_run_only_counts() {
    let zone = RateZone::new("api", "ip".parse().unwrap(), "1r/s".parse().unwrap(), 1 << 20);
    let zone = Arc::new(zone);
    let rates = vec![RateUse { zone: zone.clone(), burst: 0, undelayed: Some(0) }];
    let running = start(Limits { rates, in_flight: Vec::new(), is_dry_run: true }, false);
    for _ in 0..3 {
        let answer = running.ask("GET");
        assert!(answer.starts_with("http/1.1 200") && !answer.contains("retry-after"), "{answer}");
    }
    assert_eq!(zone.stats().rejected_dry_run.get(), 2);
    running.stop();
}

#[test]
fn answers_are_used_again() {
    let running = start(Limits::default(), true);
    let check = |method: &str, body: &str, status: &str| {
        let answer = running.ask(method);
        assert!(answer.ends_with(body), "{answer}");
        assert!(answer.contains(status), "{answer}");
        assert!(answer.contains("x-request-id"), "{answer}");
    };
    check("GET", "answer 0", "cache-status: truststram; fwd=uri-miss; stored\r\n");
    running.clock.advance(59_000_000);
    check("GET", "answer 0", "cache-status: truststram; hit; ttl=1\r\n");
    check("HEAD", "\r\n\r\n", "age: 59\r\n");
    check("POST", "answer 1", "");
    check("GET", "answer 2", "fwd=uri-miss");
    let cache = running.cache.as_ref().unwrap();
    assert_eq!((cache.stats().hits.get(), cache.stats().invalidated.get()), (2, 1));
    running.stop();
}
