#!/usr/bin/env bash
# Owns the installs of the comparison of predictions, and starts it: this binary, the guide's own
# stack and an nginx that answers with fixed bytes, in one run on the same core.
# Refuses to measure: benches/predict/run.py does. Bound: what it installs stays in benches/.work,
# besides Debian packages; BENCH_SECONDS shortens the windows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=${BENCH_WORK:-benches/.work}
venv=$work/venv

missing=()
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
command -v wrk >/dev/null || missing+=(wrk)
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
command -v setpriv >/dev/null || missing+=(util-linux)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi

if ! "$venv/bin/python" -c 'import asyncpg, fastapi, httptools, torch, uvicorn, uvloop' 2>/dev/null
then
  echo "installing the guide's stack into $venv" >&2
  mkdir -p "$work"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q fastapi uvicorn uvloop httptools asyncpg numpy torch
fi

exec python3 benches/predict/run.py "$@"
