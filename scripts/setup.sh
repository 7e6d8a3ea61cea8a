#!/usr/bin/env bash
# Installs what a build of TrustStram needs and this host lacks: Debian packages, the wasm target,
# rustfmt and clippy. Does nothing, quickly, where all is there. Rust itself is the user's choice
# to install: this script only says how.
set -euo pipefail

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Each command that a build calls, with the Debian package that brings it.
packages=()
have cmake || packages+=(cmake)
have gcc || packages+=(gcc)
have g++ || packages+=(g++)
have make || packages+=(make)
[ -e /usr/include/stdio.h ] || packages+=(libc6-dev)
have pkg-config || packages+=(pkg-config)
have curl || packages+=(curl)
have nghttp || packages+=(nghttp2-client)
[ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)

if [ ${#packages[@]} -gt 0 ]; then
    have apt-get || fail "this is no Debian host; install these yourself: ${packages[*]}"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || fail "run as root, or install these first: ${packages[*]}"
        as_root=(sudo)
    fi
    echo "setup: installing ${packages[*]}"
    "${as_root[@]}" apt-get update --quiet
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet --no-install-recommends "${packages[@]}" </dev/null
fi

have cargo || fail "no cargo found. Install Rust, then run this again:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y
    . \"\$HOME/.cargo/env\""

# Adds a part of the toolchain through rustup, the only way that fits the compiler in use.
add() {
    have rustup || fail "no rustup found: add $1 '$2' to the Rust at $(command -v cargo) yourself"
    echo "setup: adding $1 $2"
    rustup "$1" add "$2"
}
[ -d "$(rustc --print target-libdir --target wasm32-unknown-unknown)" ] ||
    add target wasm32-unknown-unknown
cargo fmt --version >/dev/null 2>&1 || add component rustfmt
cargo clippy --version >/dev/null 2>&1 || add component clippy
