//! What a decision costs: each kind of plugin against its native twin, asked in turn, and a kernel
//! over updates that do not fit any cache.
//!
//! Owns the questions. Refuses to know whether a number is good; `table` puts the bounds beside it.
//! Bound: some seconds for each kind. Arguments: the component of the
//! kernel `plugins/examples/rust-kernel`.

#[path = "table.rs"]
mod table;

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use truststram_base::SystemClock;
use truststram_decide::{aggregation, batching, placement, routing, selection, tuning};
use truststram_policy::{
    Aggregator, Batcher, Host, Instance, Kernel, Kind, Placer, PluginLimits, PluginSource,
    PluginSpec, Router, Selector, TILE_COORDINATES_MAX, Tile, Tuner,
};

use table::{PASSES, Rows, Times};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const CANDIDATES: u32 = 256;
const UPDATES: usize = 100;
/// Updates of the kernel, and coordinates of each: 151 MB, far beyond the caches.
const ROWS: usize = 9;
const COORDINATES: usize = 4 << 20;
const KERNEL_ROUNDS: usize = 7;

/// Times of both, asked in turn so that a busy moment of the machine meets both.
fn in_turn(calls: usize, mut plugin: impl FnMut(), mut native: impl FnMut()) -> (Times, Times) {
    let time = |call: &mut dyn FnMut()| {
        let begun = Instant::now();
        call();
        begun.elapsed().as_nanos() as u64
    };
    for _ in 0..calls / 10 {
        plugin();
        native();
    }
    let (mut of_plugin, mut of_native) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
    for _ in 0..calls {
        of_plugin.push(time(&mut plugin));
        of_native.push(time(&mut native));
    }
    of_plugin.sort_unstable();
    of_native.sort_unstable();
    (Times(of_plugin), Times(of_native))
}

/// Uses a result, so that it is made.
fn keep<T>(_result: T) {}

fn instance<K: Kind>(host: &Host, builtin: &str) -> Outcome<Instance<K>> {
    let spec = PluginSpec {
        name: builtin.to_owned(),
        source: PluginSource::Builtin(builtin.to_owned()),
        settings_json: "{}".to_owned(),
        limits: PluginLimits { memory_bytes: 64 << 20, deadline_us: 100_000 },
    };
    Ok(host.load::<K>(&spec)?.instance())
}

fn batchers(host: &Host, rows: &mut Rows) -> Outcome {
    for name in ["greedy", "deadline"] {
        let settings = batching::Settings::parse(&format!("{{\"policy\": \"{name}\"}}"))?;
        let mut plugin = instance::<Batcher>(host, name)?;
        let moment = batching::Moment {
            bucket: 0,
            queued: CANDIDATES,
            oldest_us: 100,
            batch_max: 512,
            target_us: 5_000,
        };
        let times = in_turn(
            100_000,
            || keep(black_box(plugin.decide(black_box(&moment)))),
            || keep(black_box(batching::decide(&settings, black_box(&moment)))),
        );
        rows.add(format!("batcher {name}: decide, 256 queued"), times);
    }
    Ok(())
}

fn routers(host: &Host, rows: &mut Rows) -> Outcome {
    let n = CANDIDATES as usize;
    let table = routing::Table {
        now_ms: 1,
        ids: (0..CANDIDATES).collect(),
        weights: (0..CANDIDATES).map(|id| id % 7 + 1).collect(),
        in_flight: (0..CANDIDATES).map(|id| id * 37 % 11).collect(),
        capacities: vec![0; n],
        latency_us: (0..CANDIDATES).map(|id| (id * 91 % 5_000) as f32).collect(),
        error_shares: vec![0.01; n],
        cost_per_hour: vec![0.1; n],
        states: vec![routing::HEALTHY; n],
    };
    for name in ["least-conn", "weighted", "round-robin", "latency"] {
        let settings = routing::Settings::parse(&format!("{{\"policy\": \"{name}\"}}"))?;
        let mut native = routing::Router::new(settings);
        let mut plugin = instance::<Router>(host, name)?;
        native.observe(&table);
        let mut lent = table.clone();
        plugin.observe(&mut lent).map_err(|refusal| format!("{name}: {refusal:?}"))?;
        let times = in_turn(
            100_000,
            || keep(black_box(plugin.pick(7, 1, 0, CANDIDATES))),
            || keep(black_box(native.pick(1))),
        );
        rows.add(format!("router {name}: pick of 256"), times);
        let times = in_turn(
            20_000,
            || keep(black_box(plugin.observe(black_box(&mut lent)))),
            || native.observe(black_box(&table)),
        );
        rows.add(format!("router {name}: observe 256"), times);
    }
    Ok(())
}

fn aggregators(host: &Host, rows: &mut Rows) -> Outcome {
    let n = UPDATES;
    let updates = aggregation::Updates {
        clients: (0..n as u32).collect(),
        staleness: vec![0; n],
        samples: (0..n as u64).map(|id| id * 13 % 900 + 100).collect(),
        l2_norms: (0..n).map(|id| 1.0 + id as f32 / 100.0).collect(),
        train_losses: vec![0.5; n],
        cosines: Vec::new(),
        squared_distances: Vec::new(),
    };
    let distances = (0..n * n).map(|at| if at / n == at % n { 0.0 } else { (at % 97) as f32 });
    let with_distances =
        aggregation::Updates { squared_distances: distances.collect(), ..updates.clone() };
    let round = aggregation::Round {
        round: 1,
        now_ms: 1,
        parameters: COORDINATES as u64,
        clients_asked: n as u32,
        buffered: 3,
    };
    let names = ["fedavg", "fedbuff", "fedadam", "fedyogi", "fedavgm", "median", "trimmed-mean"];
    for name in names.into_iter().chain(["multi-krum"]) {
        let settings = aggregation::Settings::parse(&format!("{{\"policy\": \"{name}\"}}"))?;
        let updates = if name == "multi-krum" { &with_distances } else { &updates };
        let mut plugin = instance::<Aggregator>(host, name)?;
        let times = in_turn(
            4_000,
            || keep(black_box(plugin.make_plan(&round, black_box(updates)))),
            || keep(black_box(aggregation::make_plan(&settings, black_box(updates)))),
        );
        rows.add(format!("aggregator {name}: make-plan of 100"), times);
    }
    let settings = aggregation::Settings::parse("{}")?;
    let mut plugin = instance::<Aggregator>(host, "fedavg")?;
    let update = aggregation::Update { client: 1, samples: 5, l2_norm: 1.0, ..Default::default() };
    let times = in_turn(
        100_000,
        || keep(black_box(plugin.admit(&round, black_box(&update)))),
        || keep(black_box(aggregation::admit(&settings, &round, black_box(&update)))),
    );
    rows.add("aggregator fedavg: admit".to_owned(), times);
    Ok(())
}

fn selectors(host: &Host, rows: &mut Rows) -> Outcome {
    let n = 1_000;
    let column = |most: usize| (0..n).map(|id| (id * 31 % most) as f32).collect::<Vec<f32>>();
    let clients = selection::Clients {
        ids: (0..n as u32).collect(),
        samples: (0..n as u64).map(|id| id * 7 % 5_000 + 1).collect(),
        cpu_cores: column(64),
        memory_gib: column(128),
        bandwidth_mbps: column(1_000),
        latency_ms: column(200),
        samples_per_second: column(900),
        last_loss: column(3),
        last_round: vec![0; n],
        completed_shares: vec![1.0; n],
    };
    let request =
        selection::RoundRequest { round: 1, now_ms: 1, clients_min: 1, clients_max: 1_000 };
    for name in ["guide-score", "random"] {
        let settings = selection::Settings::parse(&format!("{{\"policy\": \"{name}\"}}"))?;
        let mut plugin = instance::<Selector>(host, name)?;
        let times = in_turn(
            3_000,
            || keep(black_box(plugin.select(&request, black_box(&clients)))),
            || keep(black_box(selection::select(&settings, &request, black_box(&clients)))),
        );
        rows.add(format!("selector {name}: select of 1,000"), times);
    }
    Ok(())
}

fn placers(host: &Host, rows: &mut Rows) -> Outcome {
    let sites: Vec<placement::Site> = (0..20)
        .map(|id| placement::Site {
            id,
            provider: format!("provider-{}", id % 3),
            region: format!("region-{id}"),
            cpus_free: 64,
            memory_free_mib: 1 << 18,
            compute_price_per_hour: 0.09 + f64::from(id) / 1e3,
            storage_price_per_gib: 0.02,
            network_price_per_gib: 0.08,
            cpu_score: 90.0 + f64::from(id % 7),
            memory_score: 90.0,
            network_score: 90.0,
            latency_ms: 10.0,
            reliability: 0.99,
            ..placement::Site::default()
        })
        .collect();
    let workloads: Vec<placement::Workload> = (0..50)
        .map(|id| placement::Workload {
            id,
            cpus: 4,
            memory_mib: 4_096,
            compute_hours: 10.0,
            ..placement::Workload::default()
        })
        .collect();
    for name in ["cost-optimal", "performance-optimal", "balanced"] {
        let settings = placement::Settings::parse(&format!("{{\"policy\": \"{name}\"}}"))?;
        let mut plugin = instance::<Placer>(host, name)?;
        let times = in_turn(
            2_000,
            || keep(black_box(plugin.place(1, &sites, black_box(&workloads)))),
            || keep(black_box(placement::place(&settings, &sites, black_box(&workloads)))),
        );
        rows.add(format!("placer {name}: 50 workloads, 20 sites"), times);
    }
    Ok(())
}

fn tuners(host: &Host, rows: &mut Rows) -> Outcome {
    let parameters: Vec<tuning::Parameter> = (0..20)
        .map(|at| tuning::Parameter {
            name: format!("inference.setting_{at}"),
            scope: tuning::Scope::Runtime,
            current: tuning::Value::Integer(50),
            original: tuning::Value::Integer(50),
            domain: tuning::Domain::Integers((1, 100)),
            step_max: 0.0,
            applies: tuning::Applies::AtOnce,
        })
        .collect();
    let metric =
        tuning::Metric { name: "latency".into(), p50: 1.0, p99: 2.0, mean: 1.0, count: 999 };
    let window = |now_ms| tuning::Observation {
        now_ms,
        window_ms: 1_000,
        objective: 1_000.0 + (now_ms % 3) as f64,
        metrics: vec![metric.clone()],
        trial: None,
    };
    for name in ["guide-host", "guide-runtime"] {
        let settings = tuning::Settings::parse(&format!("{{\"policy\": \"{name}\"}}"))?;
        let mut plugin = instance::<Tuner>(host, name)?;
        let mut state = tuning::State::default();
        let (mut of_plugin, mut of_native) = (0, 0);
        let history = |now_ms: &mut u64| {
            *now_ms += 10;
            (*now_ms..*now_ms + 5).map(window).collect::<Vec<_>>()
        };
        let times = in_turn(
            3_000,
            || keep(black_box(plugin.propose(&[], &parameters, &history(&mut of_plugin)))),
            || {
                let windows = history(&mut of_native);
                drop(tuning::propose(&settings, &mut state, &[], &parameters, &windows));
            },
        );
        rows.add(format!("tuner {name}: 20 settings, 5 windows"), times);
    }
    Ok(())
}

/// Best of some rounds, in GB read per second.
fn rate(mut reduce: impl FnMut() -> Outcome) -> Outcome<f64> {
    let mut best = Duration::MAX;
    for _ in 0..KERNEL_ROUNDS {
        let begun = Instant::now();
        reduce()?;
        best = best.min(begun.elapsed());
    }
    Ok((ROWS * COORDINATES * 4) as f64 / best.as_secs_f64() / 1e9)
}

/// The median of nine by the network that the kernel uses, sixteen coordinates at a time.
fn native_median(rows: &[Vec<f32>], at: usize, medians: &mut [f32]) {
    const LANES: usize = 16;
    macro_rules! compare {
        ($v:ident: $(($low:literal, $high:literal))*) => {
            $({
                let (a, b) = ($v[$low], $v[$high]);
                $v[$low] = std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] });
                $v[$high] = std::array::from_fn(|i| if a[i] < b[i] { b[i] } else { a[i] });
            })*
        };
    }
    let (blocks, _) = medians.as_chunks_mut::<LANES>();
    for (index, block) in blocks.iter_mut().enumerate() {
        let mut v: [[f32; LANES]; ROWS] = [[0.0; LANES]; ROWS];
        for (values, row) in v.iter_mut().zip(rows) {
            values.copy_from_slice(&row[at + index * LANES..][..LANES]);
        }
        compare!(v:
            (1, 2) (4, 5) (7, 8) (0, 1) (3, 4) (6, 7) (1, 2) (4, 5) (7, 8) (0, 3)
            (5, 8) (4, 7) (3, 6) (1, 4) (2, 5) (4, 7) (4, 2) (6, 4) (4, 2));
        *block = v[4];
    }
}

fn kernel(host: &Host, component: &str) -> Outcome {
    let spec = PluginSpec {
        name: "median".to_owned(),
        source: PluginSource::File(component.into()),
        settings_json: "{}".to_owned(),
        limits: PluginLimits { memory_bytes: 64 << 20, deadline_us: 100_000 },
    };
    let mut instance = host.load::<Kernel>(&spec)?.instance();
    let mut state = 1_u64;
    let mut number = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / 1e6 - 8.0
    };
    let rows: Vec<Vec<f32>> =
        (0..ROWS).map(|_| (0..COORDINATES).map(|_| number()).collect()).collect();
    let tiles = || (0..COORDINATES).step_by(TILE_COORDINATES_MAX);
    let mut of_plugin = vec![0.0; COORDINATES];
    let mut of_native = vec![0.0; COORDINATES];
    let plugin_rate = rate(|| {
        for offset in tiles() {
            let tile = Tile { offset: offset as u64, parameters: COORDINATES as u64, round: 1 };
            let part: Vec<&[f32]> =
                rows.iter().map(|row| &row[offset..][..TILE_COORDINATES_MAX]).collect();
            let reduced = instance
                .reduce_chunk(tile, &[1.0; ROWS], &part)
                .map_err(|refusal| format!("the kernel refused: {refusal:?}"))?;
            of_plugin[offset..][..TILE_COORDINATES_MAX].copy_from_slice(&reduced);
        }
        Ok(())
    })?;
    let native_rate = rate(|| {
        for offset in tiles() {
            native_median(&rows, offset, &mut of_native[offset..][..TILE_COORDINATES_MAX]);
        }
        Ok(())
    })?;
    if of_plugin != of_native {
        return Err("the kernel and its native twin differ".into());
    }
    let mut out = std::io::stdout();
    writeln!(out)?;
    writeln!(
        out,
        "kernel: median of {ROWS} x {COORDINATES} coordinates from memory, one thread: plugin \
         {plugin_rate:.1} GB/s, native {native_rate:.1} GB/s (best of {KERNEL_ROUNDS})"
    )?;
    Ok(())
}

fn main() -> Outcome {
    // `cargo bench` adds an argument of its own.
    let component = std::env::args().skip(1).find(|argument| argument != "--bench");
    let host = Host::new(Arc::new(SystemClock::new()))?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "Times of one call in microseconds, the clock's own cost included. Of {PASSES} passes the"
    )?;
    writeln!(out, "one counts, for each line, in which the native twin was fastest.")?;
    writeln!(out)?;
    writeln!(
        out,
        "{:<44}{:>18}{:>19}{:>9}  bound p50/p99",
        "", "plugin p50    p99", "native p50    p99", "calls"
    )?;
    let mut rows = Rows::default();
    for _ in 0..PASSES {
        batchers(&host, &mut rows)?;
        routers(&host, &mut rows)?;
        aggregators(&host, &mut rows)?;
        selectors(&host, &mut rows)?;
        placers(&host, &mut rows)?;
        tuners(&host, &mut rows)?;
    }
    rows.print(&mut out)?;
    component.map_or(Ok(()), |component| kernel(&host, &component))?;
    host.close()?;
    Ok(())
}
