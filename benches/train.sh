#!/usr/bin/env bash
# Owns the installs of the comparison of training, and starts it: this engine and PyTorch, the same
# networks on the same cores in one run.
# Refuses to measure: benches/train/run.py does. Bound: all that it installs stays below
# BENCH_WORK, by default target/inference, which benches/inference.sh shares; about fifteen minutes
# once that is there. BENCH_PYTHON names a Python that has torch already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(realpath -m "${BENCH_WORK:-target/inference}")
python=${BENCH_PYTHON:-$work/venv/bin/python}

if ! "$python" -c 'import torch' 2>/dev/null; then
  python3 -c 'import ensurepip' 2>/dev/null || {
    echo "installing python3-venv" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
  }
  echo "installing PyTorch into $work/venv" >&2
  mkdir -p "$work"
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q torch
  python=$work/venv/bin/python
fi

driver=$(scripts/bench-driver.sh train -p truststram-train)

exec "$python" benches/train/run.py --driver "$driver" "$@"
