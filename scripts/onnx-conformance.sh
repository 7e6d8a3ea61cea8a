#!/usr/bin/env bash
# Writes the test cases of ONNX's own operators to target/onnx-conformance/cases, with the package
# onnx in an environment beside them. Does nothing, quickly, where they are there; any failure ends
# it, so that no operator goes untested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Pillow makes the cases that decode images.
wheels=(onnx==1.23.2 numpy==2.4.6 pillow==12.3.0)
script=scripts/onnx_conformance.py

folder=target/onnx-conformance
stamp=$folder/written
state="${wheels[*]} $(cksum <"$script")"

fail() { printf 'onnx-conformance: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

[ "$(cat "$stamp" 2>/dev/null)" != "$state" ] || exit 0

if ! python3 -c 'import ensurepip' 2>/dev/null; then
    have apt-get || fail "this is no Debian host; install python3-venv yourself"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || fail "run as root, or install python3-venv first"
        as_root=(sudo)
    fi
    echo "onnx-conformance: installing python3-venv"
    "${as_root[@]}" apt-get update --quiet --quiet
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet --quiet --no-install-recommends python3-venv </dev/null \
        >/dev/null || fail "apt-get could not install python3-venv"
fi

echo "onnx-conformance: installing ${wheels[*]} into $folder/venv"
rm -rf "$folder"
mkdir -p "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "${wheels[@]}" ||
    fail "pip could not install ${wheels[*]}"
# Cases with infinities warn while they are made.
"$folder/venv/bin/python" -W ignore "$script" "$folder/cases" || fail "the cases could not be written"
printf '%s\n' "$state" >"$stamp"
