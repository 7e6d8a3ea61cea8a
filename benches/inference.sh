#!/usr/bin/env bash
# Owns the installs of the comparison of inference, and starts it: this engine, ONNX Runtime through
# its C interface and PyTorch, the same models on the same cores in one run.
# Refuses to measure: benches/inference/run.py does. Bound: all that it installs stays below
# BENCH_WORK, by default target/inference, about 6 GB; about six minutes once that is there.
# `--quick` takes two and leaves benches/results alone. Needs a C compiler for the peak of a core.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(realpath -m "${BENCH_WORK:-target/inference}")
python=$work/venv/bin/python

python3 -c 'import ensurepip' 2>/dev/null || {
  echo "installing python3-venv" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
}
if ! "$python" -c 'import numba, onnx, onnxruntime, safetensors, skl2onnx, sympy, torch' 2>/dev/null
then
  echo "installing ONNX Runtime, PyTorch, scikit-learn and Numba into $work/venv" >&2
  mkdir -p "$work"
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q onnxruntime==1.32.0 onnx torch skl2onnx scikit-learn safetensors \
    numba
fi
library=$(echo "$work"/venv/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*)

driver=$(scripts/bench-driver.sh inference -p truststram-model)
cargo build --locked --quiet --release --manifest-path benches/inference/peer/Cargo.toml \
  --target-dir "$work/peer"
cc -O2 -march=native -o "$work/peak" benches/inference/peak.c
"$python" -W ignore benches/inference/models.py "$work/models"

exec "$python" benches/inference/run.py --models "$work/models" --driver "$driver" \
  --peer "$work/peer/release/onnxruntime-peer" --library "$library" --peak "$work/peak" "$@"
