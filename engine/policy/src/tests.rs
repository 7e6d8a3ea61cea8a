//! The host against real components: the built-in batcher, hostile ones, and files that are none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use truststram_base::{Counter, ManualClock};

use truststram_decide::batching::{Decision, Moment};

use crate::{
    Batcher, Host, Kernel, PluginLimits, PluginSource, PluginSpec, PluginStats, PolicyError,
    Refusal, Tile,
};

#[path = "../../../tests/golden/plugins/component.rs"]
mod golden;
mod manifests;
mod trials;
mod twins;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn spec(source: PluginSource, settings: &str) -> PluginSpec {
    PluginSpec {
        name: "tested".to_owned(),
        source,
        settings_json: settings.to_owned(),
        limits: PluginLimits::default(),
    }
}

/// A file with these bytes, for as long as the directory lives.
fn file(dir: &tempfile::TempDir, bytes: &[u8]) -> PluginSource {
    let path = dir.path().join("plugin.wasm");
    std::fs::write(&path, bytes).unwrap();
    PluginSource::File(path)
}

fn builtin(name: &str) -> PluginSource {
    PluginSource::Builtin(name.to_owned())
}

const VIEW: Moment =
    Moment { bucket: 0, queued: 5, oldest_us: 10, batch_max: 32, target_us: 10_000 };
const WAIT: Duration = Duration::from_secs(60);

/// The component of a kernel whose `reduce-chunk` is this WAT body.
fn kernel(body: &str) -> Vec<u8> {
    let wat = format!(
        "(module (memory (export \"memory\") 16)
           (global $free (mut i32) (i32.const 4096))
           (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
             (local $at i32)
             (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
             (global.set $free (i32.add (local.get $at) (local.get 3)))
             (local.get $at))
           (func (export \"truststram:policy/kernel@0.1.0#reduce-chunk\")
             (param $offset i64) (param $parameters i64) (param $round i64)
             (param $weights i32) (param $weights_n i32) (param $rows i32) (param $rows_n i32)
             (result i32)
             (global.set $free (i32.const 4096))
             {body}))"
    );
    golden::component_of(&root(), "kernel-plugin", &wat)
}

#[test]
fn kernels_reduce_and_what_is_no_reduction_is_refused() {
    let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let tile = Tile { offset: 0, parameters: 3, round: 1 };
    let rows: [&[f32]; 2] = [&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]];
    let check = |body: &str, expected: Result<Vec<f32>, Refusal>| {
        let plugin = host.load::<Kernel>(&spec(file(&dir, &kernel(body)), "{}")).unwrap();
        let found = plugin.instance().reduce_chunk(tile, &[0.5, 0.5], &rows);
        assert_eq!(found, expected, "{body}");
    };
    // Byte 8: the result, which is ok and a list; the list is the second row as it came in.
    let answer = |pointer: &str, length: &str| {
        format!(
            "(i32.store (i32.const 8) (i32.const 0))
             (i32.store (i32.const 12) {pointer}) (i32.store (i32.const 16) {length})
             (i32.const 8)"
        )
    };
    let second = "(i32.load (i32.add (local.get $rows) (i32.const 8)))";
    let length = "(i32.load (i32.add (local.get $rows) (i32.const 12)))";
    check(&answer(second, length), Ok(vec![4.0, 5.0, 6.0]));
    check(&answer(second, "(i32.const 2)"), Err(Refusal::Nonsense));
    check(&answer(second, "(i32.const 0x3fffffff)"), Err(Refusal::Failed));
    let nan = format!("(f32.store {second} (f32.const nan)) {}", answer(second, length));
    check(&nan, Err(Refusal::Nonsense));
    check("unreachable", Err(Refusal::Trap));

    let good = spec(file(&dir, &kernel(&answer(second, length))), "{}");
    let mut instance = host.load::<Kernel>(&good).unwrap().instance();
    assert_eq!(instance.reduce_chunk(tile, &[1.0], &rows), Err(Refusal::Failed));
    let settings = spec(good.source, "{\"a\": 1}");
    let error = host.load::<Kernel>(&settings).unwrap_err();
    assert!(error.to_string().contains("takes no settings"), "{error}");
}

#[test]
fn a_component_is_replaced_while_its_instances_work() {
    let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
    let plugin = host.load::<Batcher>(&spec(builtin("greedy"), "{}")).unwrap();
    let mut instances = [plugin.instance(), plugin.instance()];
    for round in 0..12 {
        let (policy, expected) = match round % 2 {
            0 => ("deadline", Decision { take: 0, wait_us: 4_990 }),
            _ => ("greedy", Decision { take: 5, wait_us: 0 }),
        };
        host.replace(&plugin, &spec(builtin(policy), "{}")).unwrap();
        for instance in &mut instances {
            // It answers at every moment, from the old component until the new one has come.
            assert!(instance.decide(&VIEW).is_ok());
            assert!(instance.wait_ready(WAIT));
            assert_eq!(instance.decide(&VIEW), Ok(expected));
        }
    }
    assert_eq!(plugin.stats().swaps.get(), 12);
    assert_eq!(plugin.stats().failures().map(|(_, count)| count), [0; 6]);
    let error = host.replace(&plugin, &spec(builtin("lazy"), "{}")).unwrap_err();
    assert!(error.to_string().contains("known: greedy, deadline"), "{error}");
    assert_eq!(instances[0].decide(&VIEW), Ok(Decision { take: 5, wait_us: 0 }), "the old stays");
}

#[test]
fn a_component_is_rolled_back_and_switched_off() {
    let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
    let plugin = host.load::<Batcher>(&spec(builtin("greedy"), "{}")).unwrap();
    let mut instance = plugin.instance();
    let mut answer = || {
        assert!(instance.wait_ready(WAIT));
        instance.decide(&VIEW).map(|decision| decision.take)
    };
    assert!(!plugin.roll_back(), "there was none before");
    host.replace(&plugin, &spec(builtin("deadline"), "{}")).unwrap();
    assert_eq!(answer(), Ok(0));
    assert!(plugin.roll_back());
    assert_eq!(answer(), Ok(5));
    assert!(plugin.roll_back(), "and forward again");
    assert_eq!(answer(), Ok(0));
    plugin.set_enabled(false);
    assert_eq!(answer(), Err(Refusal::Disabled));
    assert_eq!(plugin.stats().unavailable.get(), 0, "that is no failure");
    plugin.set_enabled(true);
    assert_eq!(answer(), Ok(0));
    for _ in 0..10 {
        host.replace(&plugin, &spec(builtin("greedy"), "{}")).unwrap();
        assert_eq!(answer(), Ok(5));
    }
    assert_eq!(plugin.stats().versions.get(), 2, "the present one and the one before it");
}

#[test]
fn a_failed_component_is_replaced_without_its_rest() {
    let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let trap = file(&dir, &golden::hostile(&root(), "trap.wat"));
    let plugin = host.load::<Batcher>(&spec(trap, "{}")).unwrap();
    let mut instance = plugin.instance();
    assert_eq!(instance.decide(&VIEW), Err(Refusal::Trap));
    assert_eq!(instance.decide(&VIEW), Err(Refusal::Unavailable));
    host.replace(&plugin, &spec(builtin("greedy"), "{}")).unwrap();
    // The clock stands still: the rest of the old one is not over.
    let _ = instance.decide(&VIEW);
    assert!(instance.wait_ready(WAIT));
    assert_eq!(instance.decide(&VIEW), Ok(Decision { take: 5, wait_us: 0 }));
    assert!(!plugin.is_breaker_open());
}

/// Components that were built when version 0.1.0 of the interface was frozen: never build these
/// anew, they stand for what users have.
#[test]
fn frozen_components_are_loaded_and_answer() {
    fn answers<K: crate::Rehearse>(settings: &str) {
        let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
        let folder = root().join("tests/golden/plugins/frozen/since_v0.1.0");
        let source = PluginSource::File(folder.join(format!("{}.wasm", K::NAME)));
        // A machine that is busy otherwise takes its time.
        let (memory_bytes, deadline_us) = (64 << 20, 60_000_000);
        let limits = PluginLimits { memory_bytes, deadline_us };
        let plugin = host.load::<K>(&PluginSpec { limits, ..spec(source, settings) }).unwrap();
        assert!(plugin.manifest().is_none(), "they are older than manifests");
        crate::rehearse(&mut [plugin.instance(), plugin.instance()]).unwrap();
    }
    answers::<crate::Aggregator>(r#"{"policy": "fedbuff", "buffer": 5}"#);
    answers::<Batcher>(r#"{"policy": "deadline"}"#);
    answers::<Kernel>("{}");
    answers::<crate::Placer>(r#"{"policy": "balanced", "cost_weight": 0.5}"#);
    answers::<crate::Router>(r#"{"policy": "latency"}"#);
    answers::<crate::Selector>(r#"{"policy": "guide-score", "ratio": 0.3}"#);
    answers::<crate::Tuner>(r#"{"policy": "guide-runtime"}"#);
}

/// The same for what a component was frozen with when manifests came.
#[test]
fn a_frozen_component_with_a_manifest_is_loaded_and_holds_its_settings() {
    let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
    let file = root().join("tests/golden/plugins/frozen/since_v0.1.0/router-with-manifest.wasm");
    let load = |settings: &str| {
        host.load::<crate::Router>(&spec(PluginSource::File(file.clone()), settings))
    };
    let plugin = load(r#"{"attempts_max": 2}"#).unwrap();
    assert_eq!(plugin.manifest().unwrap().settings["attempts_max"].minimum, Some(1.0));
    crate::rehearse(&mut [plugin.instance(), plugin.instance()]).unwrap();
    let error = load(r#"{"attempts_max": 0}"#).unwrap_err().to_string();
    assert!(error.contains("`attempts_max` is 0; it must be a whole number from 1"), "{error}");
    let error = load(r#"{"attempts": 2}"#).unwrap_err().to_string();
    assert!(error.contains("unknown setting `attempts`; known: attempts_max"), "{error}");
}

#[test]
fn built_in_components_pass_their_rehearsal() {
    fn rehearsed<K: crate::Rehearse>() {
        let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
        let of_kind = crate::builtins().filter(|builtin| builtin.kind == K::NAME);
        for policy in of_kind {
            // Not to depend on how busy the machine is.
            let limits = PluginLimits { deadline_us: 60_000_000, ..PluginLimits::default() };
            let spec = PluginSpec { limits, ..spec(builtin(policy.name), "{}") };
            let plugin = host.load::<K>(&spec).unwrap();
            let result = crate::rehearse(&mut [plugin.instance(), plugin.instance()]);
            assert!(result.is_ok(), "{}: {result:?}", policy.name);
        }
    }
    rehearsed::<crate::Aggregator>();
    rehearsed::<Batcher>();
    rehearsed::<crate::Placer>();
    rehearsed::<crate::Router>();
    rehearsed::<crate::Selector>();
    rehearsed::<crate::Tuner>();
}

#[test]
fn a_snapshot_without_end_stops_no_worker() {
    let frame = std::fs::read_to_string(root().join("tests/golden/plugins/hostile/frame.wat"));
    let looping = frame
        .unwrap()
        .replace(
            "snapshot\") (result i32) (i32.const 64)",
            "snapshot\") (result i32) (loop $more (br $more)) unreachable",
        )
        .replace(";; DECIDE", "(i32.store (i32.const 128) (i32.const 1)) (i32.const 128)");
    assert!(looping.contains("loop"));
    let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
    let dir = tempfile::tempdir().unwrap();
    // A deadline longer than the clock takes to rest by itself.
    let limits = PluginLimits { deadline_us: 300_000, ..PluginLimits::default() };
    let source = file(&dir, &golden::component(&root(), &looping));
    let plugin = host.load::<Batcher>(&PluginSpec { limits, ..spec(source, "{}") }).unwrap();
    let mut instance = plugin.instance();
    assert_eq!(instance.decide(&VIEW), Ok(Decision { take: 1, wait_us: 0 }));
    host.replace(&plugin, &spec(builtin("greedy"), "{}")).unwrap();
    let _ = instance.decide(&VIEW);
    assert!(instance.wait_ready(WAIT));
    assert_eq!(instance.decide(&VIEW), Ok(Decision { take: 5, wait_us: 0 }));
}

#[test]
fn compiled_code_is_kept_and_never_trusted_when_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("compiled");
    let load = || {
        let clock = Arc::new(ManualClock::at(0));
        let host = Host::with_cache(clock, Some(cache.clone())).unwrap();
        let plugin = host.load::<Batcher>(&spec(builtin("greedy"), "{}")).unwrap();
        assert_eq!(plugin.instance().decide(&VIEW), Ok(Decision { take: 5, wait_us: 0 }));
        host.close().unwrap();
    };
    load();
    let files: Vec<PathBuf> =
        std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let written = std::fs::read(file).unwrap();
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(file).unwrap());
    let first = inode();
    load();
    assert_eq!(inode(), first, "it is read, not written again");
    let mut damaged = written.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for bytes in [&damaged[..], &written[..middle], b""] {
        std::fs::write(file, bytes).unwrap();
        load();
        assert_eq!(std::fs::read(file).unwrap().len(), written.len());
        assert_ne!(std::fs::read(file).unwrap(), bytes);
    }
}

#[test]
fn each_kind_of_failure_is_contained_counted_and_rested_from() {
    let clock = Arc::new(ManualClock::at(0));
    let host = Host::new(clock.clone()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, refusal: Refusal, counter: fn(&PluginStats) -> &Counter| {
        let spec = spec(file(&dir, &golden::hostile(&root(), name)), "{}");
        let plugin = host.load::<Batcher>(&spec).unwrap();
        assert_eq!(plugin.info().name, "hostile");
        let mut instance = plugin.instance();
        for failures in 1..=3 {
            assert!(instance.wait_ready(WAIT));
            assert_eq!(instance.decide(&VIEW), Err(refusal), "{name}");
            assert_eq!(counter(plugin.stats()).get(), failures);
            assert!(plugin.is_breaker_open());
            assert_eq!(instance.decide(&VIEW), Err(Refusal::Unavailable), "{name} rests");
            assert_eq!(plugin.stats().calls.get(), failures);
            clock.advance(1_000_000 << failures);
        }
        drop(instance);
        assert!(!plugin.is_breaker_open());
    };
    check("trap.wat", Refusal::Trap, |stats| &stats.traps);
    check("loop.wat", Refusal::Deadline, |stats| &stats.deadlines);
    check("memory.wat", Refusal::Memory, |stats| &stats.memory);
    check("nonsense.wat", Refusal::Nonsense, |stats| &stats.nonsense);
}

#[test]
fn an_instance_that_failed_once_is_used_again() {
    // Traps on its first call only: the second instance is told apart by a longer rest.
    let wat = "(if (i32.eq (local.get $queued) (i32.const 1)) (then unreachable))
        (i32.store (i32.const 128) (local.get $queued)) (i32.const 128)";
    let frame = std::fs::read_to_string(root().join("tests/golden/plugins/hostile/frame.wat"));
    let component = golden::component(&root(), &frame.unwrap().replace(";; DECIDE", wat));
    let clock = Arc::new(ManualClock::at(0));
    let host = Host::new(clock.clone()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let plugin = host.load::<Batcher>(&spec(file(&dir, &component), "{}")).unwrap();
    let mut instance = plugin.instance();
    let good = Ok(Decision { take: 5, wait_us: 0 });
    assert_eq!(instance.decide(&VIEW), good);
    assert_eq!(instance.decide(&Moment { queued: 1, ..VIEW }), Err(Refusal::Trap));
    assert_eq!(instance.decide(&VIEW), Err(Refusal::Unavailable));
    assert!(instance.wait_ready(WAIT));
    assert_eq!(instance.decide(&VIEW), Err(Refusal::Unavailable), "it still rests");
    clock.advance(1_000_000);
    assert_eq!(instance.decide(&VIEW), good);
    assert!(!plugin.is_breaker_open());
}

#[test]
fn what_is_no_batcher_is_refused_by_name() {
    let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let check = |source: PluginSource, settings: &str, expected: &str| {
        let error: PolicyError = host.load::<Batcher>(&spec(source, settings)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(builtin("greedy"), r#"{"wait": 1}"#, "unknown setting `wait`; known: min_batch, policy");
    check(builtin("greedy"), r#"{"wait_us": -1}"#, "a whole number from 0 to 4294967295");
    check(builtin("greedy"), r#"{"wait_us": 1}"#, "belong to the policy `deadline`");
    check(builtin("greedy"), r#"{"policy": "deadline"}"#, "said by `builtin` already");
    check(builtin("greedy"), "[]", "one JSON object");
    check(builtin("fedavg"), "{}", "no built-in batcher is named `fedavg`; known: greedy");
    check(PluginSource::File(dir.path().join("none")), "{}", "cannot read");
    check(file(&dir, b"MZ"), "{}", "not a WASM component");
    check(file(&dir, b"\0asm\x01\0\0\0"), "{}", "not a WASM component");
    check(file(&dir, b"(component)"), "{}", "not a WASM component");
    let component = |wat: &str| wat::parse_str(wat).unwrap();
    let empty = component("(component)");
    check(file(&dir, &empty), "{}", "does not export `truststram:policy/lifecycle@0.1.0`");
    let wasi = component(r#"(component (import "wasi:cli/stdout@0.2.0" (instance)))"#);
    check(file(&dir, &wasi), "{}", "imports `wasi:cli/stdout@0.2.0`");
    let later = component(r#"(component (import "truststram:policy/files@0.1.0" (instance)))"#);
    check(file(&dir, &later), "{}", "imports `truststram:policy/files@0.1.0`");
    let next = component(
        r#"(component (instance $i)
          (export "truststram:policy/lifecycle@0.2.0" (instance $i)))"#,
    );
    check(file(&dir, &next), "{}", "made for version 0.2.0 of `truststram:policy`");
    let mut future = empty.clone();
    let manifest = r#"{"api":"0.2.0","name":"a","kind":"batcher","version":"1"}"#;
    future.extend_from_slice(&[0, 20 + manifest.len() as u8, 19]);
    future.extend_from_slice(b"truststram:manifest");
    future.extend_from_slice(manifest.as_bytes());
    check(file(&dir, &future), "{}", "made for version 0.2.0 of `truststram:policy`");
    let path = dir.path().join("large.wasm");
    std::fs::File::create(&path).unwrap().set_len((32 << 20) + 1).unwrap();
    check(PluginSource::File(path), "{}", "more than 33554432");
}
