#!/usr/bin/env bash
# Owns the installs of the measurement of a well-behaved client beside hostile ones, and starts it.
# Refuses to measure: benches/hostile/run.py does. Bound: what it writes stays below BENCH_WORK, by
# default target/hostile, besides Debian packages; eight minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
command -v slowhttptest >/dev/null || missing+=(slowhttptest)
{ [ -x /usr/sbin/nginx ] || command -v nginx >/dev/null; } || missing+=(nginx-light)
command -v openssl >/dev/null || missing+=(openssl)
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi
cargo build --locked --quiet --release
driver=$(scripts/bench-driver.sh http)

ulimit -n "$(ulimit -Hn)"
exec python3 benches/hostile/run.py --driver "$driver" --work "${BENCH_WORK:-target/hostile}" "$@"
