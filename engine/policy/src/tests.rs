//! The host against real components: the built-in batcher, hostile ones, and files that are none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use truststram_base::{Counter, ManualClock};

use crate::{
    BatchDecision, BatchView, Host, PluginLimits, PluginSource, PluginSpec, PluginStats,
    PolicyError, Refusal,
};

#[path = "../../../tests/golden/plugins/component.rs"]
mod golden;

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

const VIEW: BatchView = BatchView { queued: 5, oldest_us: 10, batch_max: 32, target_us: 10_000 };
const WAIT: Duration = Duration::from_secs(60);

#[test]
fn the_built_in_batcher_decides_as_documented() {
    let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
    let check = |settings: &str, view: BatchView, take: u32, wait_us: u32| {
        let spec = spec(PluginSource::Builtin("batcher"), settings);
        let plugin = host.load_batcher(&spec).unwrap();
        assert_eq!(plugin.info().name, "batcher");
        let decision = plugin.instance().decide(&view);
        assert_eq!(decision, Ok(BatchDecision { take, wait_us }), "{settings} {view:?}");
        assert_eq!(plugin.stats().calls.get(), 1);
    };
    check("{}", VIEW, 5, 0);
    check("{}", BatchView { queued: 40, ..VIEW }, 32, 0);
    check(r#"{"wait_us": 100}"#, VIEW, 0, 90);
    check(r#"{"wait_us": 100, "min_batch": 5}"#, VIEW, 5, 0);
    host.close().unwrap();
}

#[test]
fn each_kind_of_failure_is_contained_counted_and_rested_from() {
    let clock = Arc::new(ManualClock::at(0));
    let host = Host::new(clock.clone()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, refusal: Refusal, counter: fn(&PluginStats) -> &Counter| {
        let spec = spec(file(&dir, &golden::hostile(&root(), name)), "{}");
        let plugin = host.load_batcher(&spec).unwrap();
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
    let plugin = host.load_batcher(&spec(file(&dir, &component), "{}")).unwrap();
    let mut instance = plugin.instance();
    let good = Ok(BatchDecision { take: 5, wait_us: 0 });
    assert_eq!(instance.decide(&VIEW), good);
    assert_eq!(instance.decide(&BatchView { queued: 1, ..VIEW }), Err(Refusal::Trap));
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
        let error: PolicyError = host.load_batcher(&spec(source, settings)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let batcher = || PluginSource::Builtin("batcher");
    check(batcher(), r#"{"wait": 1}"#, "unknown field `wait`");
    check(batcher(), "[]", "one JSON object");
    check(PluginSource::Builtin("oracle"), "{}", "no built-in component is named `oracle`");
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
    let path = dir.path().join("large.wasm");
    std::fs::File::create(&path).unwrap().set_len((32 << 20) + 1).unwrap();
    check(PluginSource::File(path), "{}", "more than 33554432");
}
