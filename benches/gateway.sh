#!/usr/bin/env bash
# Owns the installs of the comparison of gateways, and starts it: this binary, Debian's nginx and
# HAProxy in turn on one core, clients and the server behind them on the other.
# Refuses to measure: benches/gateway/run.py does. Bound: what it writes stays below BENCH_WORK, by
# default target/gateway, besides Debian packages; twelve minutes. BENCH_SECONDS shortens the windows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
command -v wrk >/dev/null || missing+=(wrk)
command -v h2load >/dev/null || missing+=(nghttp2-client)
command -v openssl >/dev/null || missing+=(openssl)
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi
cargo build --locked --quiet --release
driver=$(scripts/bench-driver.sh http)

# 10,000 connections take 20,000 descriptors of HAProxy; where fewer are allowed, there are fewer.
ulimit -n "$(ulimit -Hn)"
exec python3 benches/gateway/run.py --driver "$driver" --work "${BENCH_WORK:-target/gateway}" "$@"
