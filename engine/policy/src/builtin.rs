//! Owns the policies that ship inside the binary: their names, and which component each is.
//!
//! There is one component for each kind; a name stands for it with the setting `policy`. Refuses to
//! know what a policy does. Bound: the table below.

macro_rules! component {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".wasm"))
    };
}

/// A policy that ships.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its name, which is also the value of the setting `policy`.
    pub name: &'static str,
    /// Its kind.
    pub kind: &'static str,
    pub(crate) component: &'static [u8],
}

const AGGREGATORS: [&str; 8] =
    ["fedavg", "fedbuff", "fedadam", "fedyogi", "fedavgm", "median", "trimmed-mean", "multi-krum"];

const PLACERS: [&str; 3] = ["cost-optimal", "performance-optimal", "balanced"];

/// The names of each kind, and its component.
const KINDS: [(&str, &[&str], &[u8]); 6] = [
    ("aggregator", &AGGREGATORS, component!("aggregator")),
    ("batcher", &["greedy", "deadline"], component!("batcher")),
    ("placer", &PLACERS, component!("placer")),
    ("router", &["least-conn", "weighted", "round-robin", "latency"], component!("router")),
    ("selector", &["guide-score", "random"], component!("selector")),
    ("tuner", &["guide-host", "guide-runtime"], component!("tuner")),
];

/// Every policy that ships.
pub fn builtins() -> impl Iterator<Item = Builtin> {
    KINDS.iter().flat_map(|&(kind, names, component)| {
        names.iter().map(move |&name| Builtin { name, kind, component })
    })
}

/// The policy of this kind with this name.
pub(crate) fn of_kind(kind: &str, name: &str) -> Option<Builtin> {
    builtins().find(|builtin| builtin.kind == kind && builtin.name == name)
}

/// The names of the policies of a kind, for messages.
pub(crate) fn names(kind: &str) -> String {
    let names: Vec<&str> =
        builtins().filter(|builtin| builtin.kind == kind).map(|builtin| builtin.name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
