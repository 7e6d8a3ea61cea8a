#!/usr/bin/env bash
# What decisions of plugins cost: each kind against its native twin, a kernel over updates in memory,
# and predictions with a plugin as batcher against none, in one server that is switched between two
# windows. Needs wrk; builds the kernel of plugins/examples. Writes benches/results/policy.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v wrk >/dev/null || {
    echo "installing wrk" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq wrk >/dev/null
}
binary=${TRUSTSTRAM_BIN:-target/release/truststram}
"$binary" plugin build plugins/examples/rust-kernel >&2
kernel=$PWD/plugins/examples/rust-kernel/target/rust-kernel.wasm
mkdir -p benches/results
{
    echo "What decisions of plugins cost."
    lscpu | sed -n 's/^Model name: *//p' | tr '\n' ',' | sed 's/,$//'
    echo ", $(nproc) cores, Linux $(uname -r), $("$binary" --version), wasmtime 48.0.8"
    echo
    cargo bench --locked --quiet --bench policy -- "$kernel"
    echo
    python3 benches/policy/requests.py "$binary"
} | tee benches/results/policy.txt
