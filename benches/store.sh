#!/usr/bin/env bash
# Owns the installs of the comparison of stores, and starts it: this store, PostgreSQL with the
# guide's indexes and SQLite, the same rows on the same disk in one run.
# Refuses to measure: benches/store/run.py does. Bound: databases stay below BENCH_WORK, by default
# target/bench-store, and are removed at the end; about 40 GB and an hour. `--quick` takes three
# minutes and leaves benches/results alone. BENCH_STORE_DRIVER names a driver that is built already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
compgen -G '/usr/lib/postgresql/*/bin/pgbench' >/dev/null || missing+=(postgresql)
command -v setpriv >/dev/null || missing+=(util-linux)
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi

if [ -z "${BENCH_STORE_DRIVER:-}" ]; then
  BENCH_STORE_DRIVER=$(scripts/bench-driver.sh store)
fi
export BENCH_STORE_DRIVER
exec python3 benches/store/run.py "$@"
