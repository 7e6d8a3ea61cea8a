//! The client of `benches/http.sh` and `benches/gateway.sh`: connections on one thread, a loop that
//! is open or closed.
//!
//! Owns the sending and the clock. In the open loop requests are due at the moments of a Poisson
//! process, whatever the answers do, and a latency counts from the moment when the request was due,
//! so that a stall of the server is seen by all who would have asked meanwhile.
//! With `--kernel-time` it counts from the moment when the request is sent, or was due if it had to
//! wait for another's answer, to that when its answer reached the kernel: what a client that shares
//! its core with others does late is not the server's.
//! Refuses to know what is asked: the bodies are a file, one a line; without one it is a GET.
//! Bound: one core, which it leaves idle only for `--nap-us`; every request has one answer or ends
//! the run.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::io::{IoSliceMut, Write};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use clap::{Parser, ValueEnum};
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use serde_json::json;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Sender, channel};

/// Largest answer that is read.
const ANSWER_BYTES: usize = 1 << 17;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Loop {
    /// Each connection asks again as soon as it is answered.
    Closed,
    /// Requests come at `--rate`.
    Open,
    /// Connections are opened, asked once each, held until standard input ends, and asked again.
    Idle,
    /// Nothing is asked: looks for the moments in which this core was taken away.
    Gaps,
}

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "")]
    server: String,
    #[arg(long, default_value = "")]
    path: String,
    /// Bodies, one a line, sent in turn.
    #[arg(long)]
    bodies: Option<std::path::PathBuf>,
    /// The status of the answers that count; others are refusals.
    #[arg(long, default_value_t = 200)]
    status: u16,
    #[arg(long, default_value_t = 0)]
    connections: usize,
    #[arg(long = "loop", value_enum)]
    kind: Loop,
    /// Requests per second of the open loop.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds before those that count.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Microseconds of sleep between two looks at the sockets, for a client of the open loop that
    /// goes before others on its core and leaves them the rest of it.
    #[arg(long, default_value_t = 0)]
    nap_us: u64,
    /// Counts the kernel's time of an answer's arrival, see above; of the open loop.
    #[arg(long)]
    kernel_time: bool,
    /// `cargo bench` passes it to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What all connections share on the one thread.
struct Shared {
    requests: Vec<Vec<u8>>,
    next: usize,
    streams: Vec<Rc<TcpStream>>,
    /// When the request of each connection was due.
    due: Vec<Instant>,
    /// Since when it is the server's, where the kernel's time counts.
    since: Option<Vec<SystemTime>>,
    idle: VecDeque<usize>,
    /// When requests were due that found no idle connection.
    waiting: VecDeque<Instant>,
    refills: bool,
    counts_from: Instant,
    ends: Instant,
    status: u16,
    /// Answers of this status, those of the warm-up too.
    total: u64,
    latencies_us: Vec<u32>,
    refused: u64,
    failed: Option<Sender<String>>,
}

impl Shared {
    fn send(&mut self, connection: usize, due: Instant) {
        self.due[connection] = due;
        let request = &self.requests[self.next % self.requests.len()];
        self.next += 1;
        match self.streams[connection].try_write(request) {
            Ok(sent) if sent == request.len() => {}
            other => self.fail(format!("a request could not be sent at once: {other:?}")),
        }
    }

    fn ask(&mut self, due: Instant) {
        match self.idle.pop_front() {
            Some(connection) => {
                if let Some(since) = &mut self.since {
                    since[connection] = SystemTime::now();
                }
                self.send(connection, due);
            }
            None => self.waiting.push_back(due),
        }
    }

    /// How long the server took. The kernel gives no time for what comes just after it was asked.
    fn took(&self, connection: usize, now: Instant, arrived: Option<SystemTime>) -> Duration {
        match &self.since {
            Some(since) => {
                let arrived = arrived.unwrap_or_else(SystemTime::now);
                arrived.duration_since(since[connection]).unwrap_or_default()
            }
            None => now.duration_since(self.due[connection]),
        }
    }

    fn answered(&mut self, connection: usize, status: u16, arrived: Option<SystemTime>) {
        let now = Instant::now();
        let due = self.due[connection];
        self.total += u64::from(status == self.status);
        if due >= self.counts_from && due < self.ends {
            if status == self.status {
                let micros = self.took(connection, now, arrived).as_micros();
                self.latencies_us.push(u32::try_from(micros).unwrap_or(u32::MAX));
            } else {
                self.refused += 1;
            }
        }
        if self.refills && now < self.ends {
            self.send(connection, now);
        } else if let Some(due) = self.waiting.pop_front() {
            if let Some(since) = &mut self.since {
                since[connection] = SystemTime::now() - now.duration_since(due);
            }
            self.send(connection, due);
        } else {
            self.idle.push_back(connection);
        }
    }

    fn fail(&mut self, text: String) {
        if let Some(failed) = self.failed.take() {
            // The run has ended already when nobody listens.
            let _ = failed.try_send(text);
        }
    }
}

/// The status and the length of the first whole answer in `bytes`.
fn whole_answer(bytes: &[u8]) -> Result<Option<(u16, usize)>, String> {
    let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..head]).map_err(|error| error.to_string())?;
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let (Some(status), Some(length)) = (status, length) else {
        return Err(format!("an answer without a status or a length: {text}"));
    };
    let end = head + 4 + length;
    Ok((bytes.len() >= end).then_some((status, end)))
}

/// Reads what is there, and when the last of it came.
fn read_with_time(
    stream: &TcpStream,
    buffer: &mut [u8],
) -> std::io::Result<(usize, Option<SystemTime>)> {
    stream.try_io(Interest::READABLE, || {
        let mut room = nix::cmsg_space!(TimeSpec);
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let read = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut room), flags)?;
        let arrived = read.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => {
                Some(SystemTime::UNIX_EPOCH + Duration::from(time))
            }
            _ => None,
        });
        Ok((read.bytes, arrived))
    })
}

/// Reads the answers of one connection.
async fn read(shared: Rc<RefCell<Shared>>, connection: usize) {
    let stream = Rc::clone(&shared.borrow().streams[connection]);
    let is_timed = shared.borrow().since.is_some();
    let mut buffer = vec![0; ANSWER_BYTES];
    let mut filled = 0;
    loop {
        let ready = stream.readable().await;
        let read = ready.and_then(|()| match is_timed {
            true => read_with_time(&stream, &mut buffer[filled..]),
            false => stream.try_read(&mut buffer[filled..]).map(|count| (count, None)),
        });
        let arrived = match read {
            Ok((0, _)) => return shared.borrow_mut().fail("a connection was closed".into()),
            Ok((count, arrived)) => {
                filled += count;
                arrived
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return shared.borrow_mut().fail(error.to_string()),
        };
        match whole_answer(&buffer[..filled]) {
            Ok(None) => {}
            Ok(Some((status, end))) if end == filled => {
                filled = 0;
                shared.borrow_mut().answered(connection, status, arrived);
            }
            Ok(Some(_)) => return shared.borrow_mut().fail("an answer too many".into()),
            Err(error) => return shared.borrow_mut().fail(error),
        }
    }
}

/// Moments of a Poisson process, from a seed (xorshift64*).
struct Arrivals {
    state: u64,
    mean: f64,
}

impl Arrivals {
    fn gap(&mut self) -> Duration {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        let uniform = (bits as f64 + 1.0) / (1u64 << 53) as f64;
        Duration::from_secs_f64(-uniform.ln() * self.mean)
    }
}

async fn wait_for_idle(shared: &Rc<RefCell<Shared>>, limit: Duration) -> Result<(), String> {
    let end = Instant::now() + limit;
    while shared.borrow().idle.len() < shared.borrow().streams.len() {
        if Instant::now() > end {
            let missing = shared.borrow().streams.len() - shared.borrow().idle.len();
            return Err(format!("{missing} requests were not answered within {limit:?}"));
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn drive(arguments: &Arguments, shared: Rc<RefCell<Shared>>) -> Result<(), String> {
    let limit = Duration::from_secs(60);
    match arguments.kind {
        Loop::Closed => {
            for connection in 0..arguments.connections {
                shared.borrow_mut().send(connection, Instant::now());
            }
            wait_for_idle(&shared, limit + Duration::from_secs_f64(arguments.seconds)).await
        }
        Loop::Open => {
            shared.borrow_mut().idle.extend(0..arguments.connections);
            let ends = shared.borrow().ends;
            let mut arrivals =
                Arrivals { state: arguments.seed.max(1), mean: 1.0 / arguments.rate };
            let mut due = Instant::now() + arrivals.gap();
            while due < ends {
                while due <= Instant::now() && due < ends {
                    shared.borrow_mut().ask(due);
                    due += arrivals.gap();
                }
                // Looks at the sockets and comes back.
                tokio::task::yield_now().await;
                let left = due.saturating_duration_since(Instant::now());
                let nap = left.min(Duration::from_micros(arguments.nap_us));
                if !nap.is_zero() {
                    std::thread::park_timeout(nap);
                }
            }
            wait_for_idle(&shared, limit).await
        }
        Loop::Idle => {
            for round in 0..2 {
                shared.borrow_mut().idle.clear();
                for connection in 0..arguments.connections {
                    shared.borrow_mut().send(connection, Instant::now());
                    if connection % 64 == 63 {
                        tokio::task::yield_now().await;
                    }
                }
                wait_for_idle(&shared, limit).await?;
                if round == 0 {
                    writeln!(std::io::stdout(), "open").map_err(|error| error.to_string())?;
                    // Nothing else is to be done meanwhile.
                    let mut line = String::new();
                    std::io::stdin().read_line(&mut line).map_err(|error| error.to_string())?;
                }
            }
            Ok(())
        }
        Loop::Gaps => Ok(()),
    }
}

/// How often, for how long altogether and at most this thread did not run for a millisecond.
fn gaps(seconds: f64) -> serde_json::Value {
    let begins = Instant::now();
    let (mut last, mut count) = (begins, 0);
    let (mut total, mut longest) = (Duration::ZERO, Duration::ZERO);
    while last.duration_since(begins).as_secs_f64() < seconds {
        let now = Instant::now();
        let gap = now.duration_since(last);
        if gap >= Duration::from_millis(1) {
            count += 1;
            total += gap;
            longest = longest.max(gap);
        }
        last = now;
    }
    json!({ "gaps": count, "total_us": total.as_micros(), "longest_us": longest.as_micros() })
}

/// What is sent, in turn.
fn requests(arguments: &Arguments) -> std::io::Result<Vec<Vec<u8>>> {
    let common = format!("{} HTTP/1.1\r\nhost: {}\r\n", arguments.path, arguments.server);
    Ok(match &arguments.bodies {
        None => vec![format!("GET {common}\r\n").into_bytes()],
        Some(file) => {
            let post = |body: &str| {
                let length = body.len();
                let kind = "content-type: application/json";
                format!("POST {common}{kind}\r\ncontent-length: {length}\r\n\r\n{body}")
                    .into_bytes()
            };
            std::fs::read_to_string(file)?.lines().map(post).collect()
        }
    })
}

async fn run(arguments: Arguments) -> Result<serde_json::Value, Box<dyn Error>> {
    if arguments.kind == Loop::Gaps {
        return Ok(gaps(arguments.seconds));
    }
    if arguments.kernel_time && arguments.kind != Loop::Open {
        return Err("--kernel-time counts for --loop open alone".into());
    }
    let requests = requests(&arguments)?;
    let mut streams = Vec::new();
    for _ in 0..arguments.connections {
        let stream = TcpStream::connect(&arguments.server).await?;
        stream.set_nodelay(true)?;
        if arguments.kernel_time {
            setsockopt(&stream, ReceiveTimestampns, &true)?;
        }
        streams.push(Rc::new(stream));
    }
    let begins = Instant::now();
    let counts_from = begins + Duration::from_secs_f64(arguments.warm_up);
    let (failed, mut failure) = channel(1);
    let shared = Rc::new(RefCell::new(Shared {
        requests,
        next: 0,
        due: vec![begins; streams.len()],
        since: arguments.kernel_time.then(|| vec![SystemTime::now(); streams.len()]),
        streams,
        idle: VecDeque::new(),
        waiting: VecDeque::new(),
        refills: arguments.kind == Loop::Closed,
        counts_from,
        ends: counts_from + Duration::from_secs_f64(arguments.seconds),
        status: arguments.status,
        total: 0,
        latencies_us: Vec::new(),
        refused: 0,
        failed: Some(failed),
    }));
    for connection in 0..arguments.connections {
        tokio::task::spawn_local(read(Rc::clone(&shared), connection));
    }
    tokio::select! {
        done = drive(&arguments, Rc::clone(&shared)) => done?,
        Some(text) = failure.recv() => return Err(text.into()),
    }
    let mut shared = shared.borrow_mut();
    shared.latencies_us.sort_unstable();
    let of = |share: f64| {
        let last = shared.latencies_us.len().checked_sub(1)?;
        Some(shared.latencies_us[((last as f64 * share).round() as usize).min(last)])
    };
    Ok(json!({
        "answered": shared.latencies_us.len(),
        "total": shared.total,
        "refused": shared.refused,
        "per_second": shared.latencies_us.len() as f64 / arguments.seconds,
        "p50_us": of(0.5), "p90_us": of(0.9), "p99_us": of(0.99), "p999_us": of(0.999),
        "max_us": of(1.0),
    }))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let ran = runtime
        .map_err(Into::into)
        .and_then(|runtime| tokio::task::LocalSet::new().block_on(&runtime, run(arguments)));
    let (figures, code) = match ran {
        Ok(figures) => (figures, ExitCode::SUCCESS),
        Err(error) => (json!({ "error": error.to_string() }), ExitCode::FAILURE),
    };
    match writeln!(std::io::stdout(), "{figures}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
