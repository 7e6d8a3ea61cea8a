//! The limiter against nginx: requests are sent to the real one, and its debug log tells the
//! millisecond, the look-ups and the decision of each. Played again at the same times, ours decides
//! the same each time.
//!
//! The times are nginx's own: `timer delta` of each turn of its event loop. Requests are paced by
//! nginx too, by a location that makes them wait, so that nothing here depends on our clock.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::super::limiter::{Limits, Outcome, RateUse};
use super::super::zone::RateZone;
use super::{Subject, random};

const NGINX: &str = "/usr/sbin/nginx";
/// Connections that may wait at a time.
const CONNECTIONS: usize = 24;
/// So that bursts are met at any time of nginx's clock.
const START_MS: u64 = 1 << 40;

/// One zone: its key (a header), rate, burst and `nodelay` or `delay=`.
struct Zone(&'static str, &'static str, u32, &'static str);

impl Zone {
    fn ours(&self, index: usize) -> RateUse {
        let Self(header, rate, burst, delay) = self;
        let undelayed = match delay.strip_prefix("delay=") {
            Some(count) => Some(count.parse().unwrap()),
            None => (*delay != "nodelay").then_some(0),
        };
        let key = format!("header:{header}").parse().unwrap();
        let zone = RateZone::new(&format!("z{index}"), key, rate.parse().unwrap(), 1 << 20);
        RateUse { zone: Arc::new(zone), burst: *burst, undelayed }
    }
}

fn configuration(zones: &[Zone], is_dry_run: bool) -> String {
    let (mut declared, mut used) = (String::new(), String::new());
    for (index, Zone(header, rate, burst, delay)) in zones.iter().enumerate() {
        declared += &format!("limit_req_zone $http_{header} zone=z{index}:1m rate={rate};\n");
        let burst = if *burst > 0 { format!("burst={burst}") } else { String::new() };
        used += &format!("limit_req zone=z{index} {burst} {delay};\n");
    }
    let dry_run = if is_dry_run { "limit_req_dry_run on;" } else { "" };
    format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log debug;
        events {{ worker_connections 128; }}
        http {{
            client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
            uwsgi_temp_path t4; scgi_temp_path t5;
            keepalive_requests 100000; keepalive_timeout 600s;
            limit_req_zone pace zone=pace:1m rate=1000r/s;
            log_format status '$request_uri $http_order $limit_req_status';
            {declared}
            server {{
                listen unix:socket; root .; access_log access.log status;
                location /judged {{ {dry_run} {used} }}
                location /pace {{ limit_req zone=pace burst=10; }}
            }}
        }}"
    )
}

struct Nginx(Child);

impl Nginx {
    fn start(folder: &Path, configuration: &str) -> Self {
        std::fs::write(folder.join("nginx.conf"), configuration).unwrap();
        std::fs::write(folder.join("judged"), "").unwrap();
        std::fs::write(folder.join("pace"), "").unwrap();
        let mut command = Command::new(NGINX);
        command.args(["-c", "nginx.conf", "-e", "error.log", "-p"]).arg(folder);
        command.current_dir(folder).stdin(Stdio::null());
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }

    fn connect(&mut self, folder: &Path) -> UnixStream {
        loop {
            match UnixStream::connect(folder.join("socket")) {
                Ok(stream) => return stream,
                Err(_) => assert!(self.0.try_wait().unwrap().is_none(), "nginx has ended"),
            }
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A request that was judged, in the order of the log.
#[derive(Debug, Default, PartialEq)]
struct Judged {
    at_ms: u64,
    order: usize,
    outcome: String,
    /// Of the deciding zone, as the log has it: `1.500 by zone "z0"`.
    excess: String,
    delay_ms: u64,
}

fn ask(stream: &mut UnixStream, path: &str, headers: &str) {
    let head = format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
}

fn answered(stream: &mut UnixStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

/// Sends requests and returns the headers of each by its number.
fn drive(nginx: &mut Nginx, folder: &Path, zones: &[Zone], seed: u64) -> Vec<String> {
    let mut state = seed;
    let mut pace = nginx.connect(folder);
    let mut streams: Vec<_> = (0..CONNECTIONS).map(|_| (nginx.connect(folder), false)).collect();
    let mut sent = Vec::new();
    for order in 0..300 {
        let wait = match random(&mut state) % 10 {
            0..4 => 0,
            4..8 => random(&mut state) % 8,
            _ => random(&mut state) % 60,
        };
        for _ in 0..wait {
            ask(&mut pace, "/pace", "");
            answered(&mut pace);
        }
        let mut headers = String::new();
        for Zone(header, ..) in zones {
            // Sometimes a request has no key.
            let key = random(&mut state) % 5;
            if key < 4 && !headers.contains(&format!("{header}:")) {
                headers += &format!("{header}: {}\r\n", key / 2);
            }
        }
        let (stream, is_waiting) = &mut streams[order % CONNECTIONS];
        if *is_waiting {
            answered(stream);
        }
        ask(stream, "/judged", &format!("{headers}order: {order}\r\n"));
        *is_waiting = true;
        sent.push(headers);
    }
    streams.iter_mut().filter(|(_, is_waiting)| *is_waiting).for_each(|(one, _)| answered(one));
    // nginx logs a request after its answer, and before it turns to another one.
    ask(&mut pace, "/pace", "");
    answered(&mut pace);
    sent
}

/// Reads the debug log: turns of the event loop, and in each the requests judged.
fn read_log(log: &str) -> Vec<Judged> {
    let (mut judged, mut in_turn, mut now_ms) = (Vec::new(), 0, START_MS);
    // By connection: the number of the request that is being read.
    let mut orders: HashMap<&str, usize> = HashMap::new();
    for line in log.lines() {
        let Some((_, text)) = line.split_once("#").and_then(|(_, rest)| rest.split_once(": "))
        else {
            continue;
        };
        if let Some(delta) = text.strip_prefix("timer delta: ") {
            now_ms += delta.parse::<u64>().unwrap();
            // What was judged in this turn was judged at this time.
            judged[in_turn..].iter_mut().for_each(|one: &mut Judged| one.at_ms = now_ms);
            in_turn = judged.len();
            continue;
        }
        if text == "worker cycle" {
            assert_eq!(in_turn, judged.len(), "judged after the timers of a turn");
            continue;
        }
        let connection = text.split(' ').next().unwrap_or_default();
        let rest = text.strip_prefix(connection).unwrap_or_default().trim_start();
        if let Some(order) = rest.strip_prefix("http header: \"order: ") {
            orders.insert(connection, order.trim_end_matches('"').parse().unwrap());
        } else if rest == "http process request line" {
            orders.remove(connection);
        } else if rest.starts_with("limit_req[") {
            let Some(&order) = orders.get(connection) else { continue };
            // A request of several zones is looked up several times.
            if judged.last().is_none_or(|last: &Judged| last.order != order) {
                let outcome = "PASSED".to_owned();
                judged.push(Judged { order, outcome, ..Judged::default() });
            }
        } else if let Some(rest) = rest.split_once("excess: ").map(|(_, rest)| rest) {
            let Some(&order) = orders.get(connection) else { continue };
            let last = judged.last_mut().filter(|last| last.order == order).unwrap();
            let dry_run = if text.contains("dry run") { "_DRY_RUN" } else { "" };
            let what = if text.contains("delaying") { "DELAYED" } else { "REJECTED" };
            last.outcome = format!("{what}{dry_run}");
            last.excess = rest.replace(", by", " by").split(", client").next().unwrap().to_owned();
        } else if let Some(timer) = rest.strip_prefix("event timer add: ") {
            let Some(&order) = orders.get(connection) else { continue };
            let last = judged.last_mut().filter(|last| last.order == order);
            if let Some(last) = last.filter(|last| last.outcome == "DELAYED" && last.delay_ms == 0)
            {
                last.delay_ms = timer.split(':').nth(1).unwrap().trim().parse().unwrap();
            }
        }
    }
    judged
}

fn replay(zones: &[Zone], is_dry_run: bool, sent: &[String], judged: &[Judged]) -> Vec<Judged> {
    let rates: Vec<RateUse> =
        zones.iter().enumerate().map(|(index, zone)| zone.ours(index)).collect();
    let limits = Limits { rates, is_dry_run, ..Limits::default() };
    let dry_run = if is_dry_run { "_DRY_RUN" } else { "" };
    let decide = |theirs: &Judged| {
        let mut headers = HeaderMap::new();
        for (name, value) in sent[theirs.order].lines().filter_map(|line| line.split_once(": ")) {
            let name = http::HeaderName::try_from(name).unwrap();
            headers.append(name, HeaderValue::try_from(value).unwrap());
        }
        let client = Some(IpAddr::from([127, 0, 0, 1]));
        let subject = Subject { client, headers: &headers, host: "h", path: "/", identity: None };
        let verdict = limits.by_rate(&subject, theirs.at_ms);
        let (outcome, delay_ms) = match verdict.outcome {
            Outcome::Passed => ("PASSED".to_owned(), 0),
            Outcome::Delayed(_) if is_dry_run => (format!("DELAYED{dry_run}"), 0),
            Outcome::Delayed(wait_ms) => ("DELAYED".to_owned(), wait_ms),
            Outcome::Rejected(_) => (format!("REJECTED{dry_run}"), 0),
        };
        let excess = verdict.by.map_or(String::new(), |(index, excess)| {
            format!("{}.{:03} by zone \"z{index}\"", excess / 1_000, excess % 1_000)
        });
        Judged { at_ms: theirs.at_ms, order: theirs.order, outcome, excess, delay_ms }
    };
    judged.iter().map(decide).collect()
}

/// Asks nginx and us; `outcomes` are those that must occur, so that they are tested.
fn check(zones: &[Zone], is_dry_run: bool, seed: u64, outcomes: &[&str]) {
    if !Path::new(NGINX).exists() {
        let mut err = std::io::stderr();
        writeln!(err, "skipped: {NGINX} is not installed").unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut nginx = Nginx::start(folder.path(), &configuration(zones, is_dry_run));
    let sent = drive(&mut nginx, folder.path(), zones, seed);
    drop(nginx);
    let log = std::fs::read_to_string(folder.path().join("error.log")).unwrap();
    let theirs = read_log(&log);
    let ours = replay(zones, is_dry_run, &sent, &theirs);
    for (index, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
        assert_eq!(theirs, ours, "decision {index}");
    }
    for outcome in outcomes {
        assert!(theirs.iter().any(|one| one.outcome == *outcome), "{outcome} did not occur");
    }
    // What the log was read as is what nginx says in `$limit_req_status`.
    let access = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    let status_of: HashMap<usize, &str> = access
        .lines()
        .filter(|line| line.starts_with("/judged"))
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?.parse().ok()?, words.next()?))
        })
        .collect();
    assert_eq!(status_of.len(), sent.len());
    for one in &theirs {
        assert_eq!(status_of[&one.order], one.outcome, "request {}", one.order);
    }
    let unjudged = status_of.values().filter(|status| **status == "-").count();
    assert_eq!(theirs.len() + unjudged, sent.len());
}

#[test]
fn no_burst() {
    check(&[Zone("k", "13r/s", 0, "")], false, 1, &["PASSED", "REJECTED"]);
}

#[test]
fn a_burst_that_waits() {
    check(&[Zone("k", "25r/s", 4, "")], false, 2, &["PASSED", "DELAYED", "REJECTED"]);
}

#[test]
fn a_burst_that_does_not_wait() {
    check(&[Zone("k", "17r/s", 5, "nodelay")], false, 3, &["PASSED", "REJECTED"]);
}

#[test]
fn a_burst_that_waits_in_part() {
    let zones = [Zone("k", "20r/s", 7, "delay=3")];
    check(&zones, false, 4, &["PASSED", "DELAYED", "REJECTED"]);
}

#[test]
fn a_dry_run() {
    let zones = [Zone("k", "20r/s", 6, "delay=2")];
    check(&zones, true, 5, &["PASSED", "DELAYED_DRY_RUN", "REJECTED_DRY_RUN"]);
}

#[test]
fn a_rate_by_the_minute() {
    check(&[Zone("k", "500r/m", 4, "nodelay")], false, 6, &["PASSED", "REJECTED"]);
}

#[test]
fn two_zones() {
    let zones = [Zone("k", "20r/s", 6, "delay=3"), Zone("l", "30r/s", 4, "")];
    check(&zones, false, 7, &["PASSED", "DELAYED", "REJECTED"]);
}

#[test]
fn three_zones_two_with_the_same_key() {
    let zones = [
        Zone("k", "300r/m", 20, "nodelay"),
        Zone("l", "40r/s", 7, "delay=4"),
        Zone("k", "45r/s", 3, ""),
    ];
    check(&zones, false, 8, &["PASSED", "DELAYED", "REJECTED"]);
}
