#!/usr/bin/env bash
# Runs one named step of the Makefile and prints how long it took: step.sh NAME COMMAND...
set -uo pipefail

name=$1
shift
printf '== %s: %s\n' "$name" "$*"
if "$@"; then
    printf '== %s: done in %d s\n' "$name" "$SECONDS"
else
    code=$?
    printf '== %s: FAILED after %d s; alone: %s\n' "$name" "$SECONDS" "$*" >&2
    exit "$code"
fi
