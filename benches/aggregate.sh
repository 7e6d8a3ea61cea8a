#!/usr/bin/env bash
# Owns the installs of the comparison of aggregation, and starts it: this engine's kernels beside
# Flower's own strategies (flwr), on the same updates.
# Refuses to measure: benches/aggregate/run.py does. Bound: 2 GB of updates below BENCH_WORK, by
# default target/aggregate, and 12 GB of memory, which Flower needs for 50 clients; ten minutes.
# `--quick` takes one and leaves benches/results alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(realpath -m "${BENCH_WORK:-target/aggregate}")
python=$work/venv/bin/python

python3 -c 'import ensurepip' 2>/dev/null || {
  echo "installing python3-venv" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
}
if ! "$python" -c 'import flwr, numpy, safetensors' 2>/dev/null; then
  echo "installing flwr and safetensors into $work/venv" >&2
  mkdir -p "$work"
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q flwr==1.42.0 safetensors
fi

driver=$(scripts/bench-driver.sh aggregate -p truststram-federate)

exec "$python" -W ignore benches/aggregate/run.py --driver "$driver" --work "$work/updates" "$@"
