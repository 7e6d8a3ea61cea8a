#!/usr/bin/env bash
# Owns the start of the measurement of what training costs predictions: p99 of an open loop with and
# without a training job on the server's core.
# Refuses to measure: benches/training/run.py does. Bound: files below BENCH_WORK, by default
# target/training; under three minutes once it is built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(realpath -m "${BENCH_WORK:-target/training}")
cargo build --locked --quiet --release
driver=$(scripts/bench-driver.sh http)

exec python3 benches/training/run.py --driver "$driver" --work "$work" "$@"
