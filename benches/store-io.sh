#!/usr/bin/env bash
# Owns the comparison of the two ways to reach month files (store.io): the page cache and io_uring.
# Refuses to choose: it prints whichever wins. Bound: some minutes and 2 GB below BENCH_WORK, by
# default target/bench-store-io.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=${BENCH_WORK:-target/bench-store-io}
mkdir -p "$work" benches/results
work=$(cd "$work" && pwd)
cargo bench --locked --quiet --bench store-io -- "$work" | tee benches/results/store-io.txt
rm -rf "$work"
