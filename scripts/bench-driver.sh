#!/usr/bin/env bash
# Builds the program of a bench and prints where it is: bench-driver.sh NAME [ARGUMENTS OF CARGO].
# Refuses to run it. Bound: one build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=$1
shift
cargo bench --locked --quiet --no-run "$@" --bench "$name" --message-format=json | python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == sys.argv[1]:
        print(message["executable"])' "$name"
