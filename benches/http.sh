#!/usr/bin/env bash
# Owns the installs of the measurement of latency under load, and starts it: this binary on one core,
# an open loop of requests over 1,000 connections from another, and 10,000 open connections.
# Refuses to measure: benches/http/run.py does. Bound: what it installs stays below BENCH_WORK, by
# default target/http, about 100 MB; eight minutes. BENCH_SECONDS shortens the windows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(realpath -m "${BENCH_WORK:-target/http}")
python=$work/venv/bin/python

python3 -c 'import ensurepip' 2>/dev/null || {
  echo "installing python3-venv" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
}
"$python" -c 'import numpy, safetensors' 2>/dev/null || {
  mkdir -p "$work"
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q numpy safetensors
}
cargo build --locked --quiet --release
driver=$(scripts/bench-driver.sh http)

exec "$python" benches/http/run.py --driver "$driver" --work "$work" "$@"
