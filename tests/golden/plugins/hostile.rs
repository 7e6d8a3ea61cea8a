//! Components that do harm: one for each way that is known, each built from a frame that is good.
//!
//! Owns the corpus that the tests of the whole run against a serving binary. Refuses to say how
//! each is met: it only tells those that start from those that are refused.

use std::path::Path;

use super::golden;

/// A hostile component.
pub struct Hostile {
    /// What it does.
    pub name: &'static str,
    /// Its bytes.
    pub component: Vec<u8>,
    /// What the refusal says of it, where it never gets to decide.
    pub refusal: Option<&'static str>,
}

const FRAME: &str = r#"(module
  IMPORTS
  (memory (export "memory") PAGES)
  (table $table 2 funcref)
  (data (i32.const 0) "\20\00\00\00\07\00\00\00\27\00\00\00\05\00\00\00\20\00\00\00\07\00\00\00")
  (data (i32.const 32) "hostile0.0.1")
  (global $calls (mut i32) (i32.const 0))
  MORE
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "truststram:policy/lifecycle@0.1.0#describe") (result i32) DESCRIBE)
  (func (export "truststram:policy/lifecycle@0.1.0#configure") (param i32 i32) (result i32)
    CONFIGURE)
  (func (export "truststram:policy/lifecycle@0.1.0#snapshot") (result i32) SNAPSHOT)
  (func (export "truststram:policy/lifecycle@0.1.0#restore") (param i32 i32) (result i32) RESTORE)
  (func (export "truststram:policy/batching@0.1.0#decide")
    (param $bucket i32) (param $queued i32) (param $oldest i32) (param $most i32)
    (param $target i32)
    (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    DECIDE))"#;

/// Takes all that waits, up to the most.
const GOOD: &str = "(i32.store (i32.const 128) (select (local.get $queued) (local.get $most)
    (i32.lt_u (local.get $queued) (local.get $most)))) (i32.store (i32.const 132) (i32.const 0))
    (i32.const 128)";
const FOR_EVER: &str = "(loop $more (br $more)) unreachable";
const LOG: &str =
    r#"(import "truststram:policy/host@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
const SEED: &str = r#"(import "truststram:policy/host@0.1.0" "seed" (func $seed (result i64)))"#;

/// The frame with these parts in it; the others are good.
fn wat(parts: &[(&str, &str)]) -> String {
    let usual = [
        ("IMPORTS", ""),
        ("PAGES", "1"),
        ("MORE", ""),
        ("DESCRIBE", "(i32.const 0)"),
        ("CONFIGURE", "(i32.const 64)"),
        ("SNAPSHOT", "(i32.const 64)"),
        ("RESTORE", "(i32.const 64)"),
        ("DECIDE", GOOD),
    ];
    usual.iter().fold(FRAME.to_owned(), |text, (place, usual)| {
        let part = parts.iter().find(|(name, _)| name == place).map_or(*usual, |(_, part)| part);
        text.replacen(place, part, 1)
    })
}

fn answer(take: &str, wait_us: &str) -> String {
    format!(
        "(i32.store (i32.const 128) {take}) (i32.store (i32.const 132) {wait_us}) (i32.const 128)"
    )
}

/// Those that start and then do harm when they are asked.
#[allow(clippy::too_many_lines, reason = "a table with a line for each")]
fn deciding() -> Vec<(&'static str, String)> {
    let decide = |body: &str| wat(&[("DECIDE", body)]);
    let with = |more: &str, body: &str| wat(&[("MORE", more), ("DECIDE", body)]);
    let log = |body: &str| wat(&[("IMPORTS", LOG), ("DECIDE", &format!("{body} {GOOD}"))]);
    let repeat = |times: u32, body: &str| {
        format!(
            "(local.set $bucket (i32.const {times})) (loop $more {body}
               (br_if $more (local.tee $bucket (i32.sub (local.get $bucket) (i32.const 1)))))"
        )
    };
    let every_second =
        format!("(if (i32.and (global.get $calls) (i32.const 1)) (then unreachable)) {GOOD}");
    let grow = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    vec![
        ("traps", decide("unreachable")),
        ("traps on every second call", decide(&every_second)),
        ("loops for ever", decide(FOR_EVER)),
        (
            "loops over memory",
            decide(&format!(
                "{} {GOOD}",
                repeat(u32::MAX, "(memory.fill (i32.const 2048) (i32.const 0) (i32.const 60000))")
            )),
        ),
        (
            "recurses without end",
            with("(func $deep (result i32) (i32.add (call $deep) (i32.const 1)))", "(call $deep)"),
        ),
        ("divides by zero", decide("(i32.div_u (i32.const 1) (i32.const 0))")),
        ("makes a number of none", decide("(i32.trunc_f32_s (f32.const nan))")),
        ("reads beyond its memory", decide("(i32.load (i32.const -8))")),
        (
            "writes beyond its memory",
            decide("(i32.store (i32.const -8) (i32.const 1)) (i32.const 0)"),
        ),
        ("calls nothing", decide("(call_indirect (result i32) (i32.const 1))")),
        ("calls beyond its table", decide("(call_indirect (result i32) (i32.const 99))")),
        ("takes all memory and traps", decide(&format!("{grow} unreachable"))),
        ("takes all memory and goes on", decide(&format!("{grow} {GOOD}"))),
        (
            "takes a huge table",
            decide(&format!(
                "(drop (table.grow $table (ref.null func) (i32.const 100000000))) {GOOD}"
            )),
        ),
        ("answers from beyond its memory", decide("(i32.const 0x7ffffff0)")),
        ("answers from between two words", decide("(i32.const 129)")),
        (
            "takes more than there is",
            decide(&answer("(i32.add (local.get $queued) (i32.const 1))", "(i32.const 0)")),
        ),
        (
            "takes the most there is of a number",
            decide(&answer("(i32.const -1)", "(i32.const -1)")),
        ),
        ("neither takes nor waits", decide(&answer("(i32.const 0)", "(i32.const 0)"))),
        ("waits beyond the target", decide(&answer("(i32.const 0)", "(i32.const -1)"))),
        ("always waits", decide(&answer("(i32.const 0)", "(local.get $target)"))),
        ("takes one at a time", decide(&answer("(i32.const 1)", "(i32.const 0)"))),
        (
            "floods the log",
            log(&repeat(10_000, "(call $log (i32.const 2) (i32.const 32) (i32.const 7))")),
        ),
        (
            "logs what is not in its memory",
            log("(call $log (i32.const 2) (i32.const 0) (i32.const -1))"),
        ),
        ("logs at no level", log("(call $log (i32.const 77) (i32.const 32) (i32.const 7))")),
        (
            "logs what is no text",
            log("(i32.store (i32.const 256) (i32.const -1))
            (call $log (i32.const 2) (i32.const 256) (i32.const 4))"),
        ),
        (
            "asks for seeds without end",
            wat(&[
                ("IMPORTS", SEED),
                ("DECIDE", &format!("{} {GOOD}", repeat(u32::MAX, "(drop (call $seed))"))),
            ]),
        ),
        ("gives a snapshot without end", wat(&[("SNAPSHOT", FOR_EVER)])),
        (
            "gives a snapshot of 100 MB",
            wat(&[(
                "SNAPSHOT",
                "(i32.store (i32.const 256) (i32.const 0))
             (i32.store (i32.const 260) (i32.const 100000000))
             (i32.const 256)",
            )]),
        ),
        ("traps when it is given a snapshot", wat(&[("RESTORE", "unreachable")])),
    ]
}

/// Those that are refused, with what the refusal says.
fn refused() -> Vec<(&'static str, String, &'static str)> {
    vec![
        ("traps when it is described", wat(&[("DESCRIBE", "unreachable")]), "cannot be started"),
        ("describes itself without end", wat(&[("DESCRIBE", FOR_EVER)]), "cannot be started"),
        (
            "is described by what is no text",
            wat(&[("DESCRIBE", "(i32.store (i32.const 32) (i32.const -1)) (i32.const 0)")]),
            "cannot be started",
        ),
        (
            "is described from beyond its memory",
            wat(&[("DESCRIBE", "(i32.const -4)")]),
            "cannot be started",
        ),
        ("traps when it is configured", wat(&[("CONFIGURE", "unreachable")]), "cannot be started"),
        ("configures itself without end", wat(&[("CONFIGURE", FOR_EVER)]), "cannot be started"),
        (
            "begins with more memory than it may have",
            wat(&[("PAGES", "2000")]),
            "cannot be started",
        ),
        (
            "traps at its start",
            wat(&[("MORE", "(func $start unreachable) (start $start)")]),
            "cannot be started",
        ),
        (
            "starts without end",
            wat(&[("MORE", "(func $start (loop $more (br $more))) (start $start)")]),
            "cannot be started",
        ),
    ]
}

/// The corpus; `root` is the root of the repository.
pub fn corpus(root: &Path) -> Vec<Hostile> {
    let component = |wat: &str| golden::component(root, wat);
    let plain = |wat: &str| wat::parse_str(wat).unwrap();
    let mut corpus: Vec<Hostile> = deciding()
        .into_iter()
        .map(|(name, wat)| Hostile { name, component: component(&wat), refusal: None })
        .collect();
    corpus.extend(refused().into_iter().map(|(name, wat, refusal)| Hostile {
        name,
        component: component(&wat),
        refusal: Some(refusal),
    }));
    let good = component(&wat(&[]));
    let others: [(&str, Vec<u8>, &str); 6] = [
        ("is empty", Vec::new(), "not a WASM component"),
        ("is cut off", good[..good.len() / 2].to_vec(), "not a WASM component"),
        ("is native code", b"\x7fELF".to_vec(), "not a WASM component"),
        ("is a module", plain("(module)"), "not a WASM component"),
        ("exports nothing", plain("(component)"), "does not export"),
        (
            "wants files",
            plain(r#"(component (import "wasi:filesystem/preopens@0.2.0" (instance)))"#),
            "imports `wasi:filesystem/preopens@0.2.0`",
        ),
    ];
    corpus.extend(others.into_iter().map(|(name, component, refusal)| Hostile {
        name,
        component,
        refusal: Some(refusal),
    }));
    corpus
}
