#!/usr/bin/env bash
# Owns the comparison of the levels of compression that the store could use for its records.
# Refuses to choose. Bound: half a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdir -p benches/results
digits=$(mktemp)
trap 'rm -f "$digits"' EXIT
zcat engine/train/data/digits.csv.gz >"$digits"
cargo bench --locked --quiet --bench store -- compression --digits "$digits" |
  tee benches/results/store-compression.txt
