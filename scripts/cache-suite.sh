#!/usr/bin/env bash
# Runs the public suite of tests for HTTP caches (http-cache-tests, cache-tests.fyi) against the
# cache of a built truststram, and prints its counts beside those that the suite's authors published
# of others. Fails where a required case fails. Needs node and npm; CACHE_SUITE_PORT is the first of
# the three ports that it takes (default 18000), CACHE_SUITE_VERBOSE=1 names all that did not pass.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.4.5
work=target/cache-suite
port=${CACHE_SUITE_PORT:-18000}
binary=$(realpath -m "${TRUSTSTRAM_BIN:-target/release/truststram}")
suite=$work/node_modules/http-cache-tests

fail() { printf 'cache-suite: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

have node && have npm ||
    fail "node (14.8 or newer) and npm are needed. On Debian: apt-get install nodejs npm"
[ -x "$binary" ] || fail "$binary is not there; build it first: make build"

mkdir -p "$work"
if ! grep -qs "\"version\": \"$version\"" "$suite/package.json"; then
    echo "cache-suite: installing http-cache-tests $version into $work"
    npm install --prefix "$work" --silent --no-audit --no-fund --ignore-scripts \
        "http-cache-tests@$version" || fail "npm could not install http-cache-tests"
fi

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for taken in "$port" "$((port + 1))" "$((port + 2))"; do
    ! answers "$taken" || fail "port $taken is in use; set CACHE_SUITE_PORT to the first of three"
done

started=()
trap 'kill "${started[@]}" 2>/dev/null || true; wait 2>/dev/null || true' EXIT

# Waits until something listens there: port, name, log.
listening() {
    for _ in $(seq 100); do
        answers "$1" && return
        kill -0 "${started[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    tail -5 "$3" >&2
    fail "$2 does not listen on port $1"
}

(cd "$suite" && exec env npm_config_pidfile=origin.pid npm_config_protocol=http \
    npm_config_port="$port" node server/server.mjs) >"$work/origin.log" 2>&1 &
started+=($!)
listening "$port" "the suite's origin" "$work/origin.log"

cat >"$work/truststram.toml" <<END
[server]
listen = "127.0.0.1:$((port + 1))"
admin_listen = "127.0.0.1:$((port + 2))"
data_dir = "$PWD/$work/data"
[cache]
memory_mib = 64
[[upstreams]]
name = "origin"
servers = [{ address = "127.0.0.1:$port" }]
[[routes]]
name = "all"
path = "/"
upstream = "origin"
cache = true
END
rm -rf "$work/data"
"$binary" serve --config "$work/truststram.toml" >"$work/truststram.log" 2>&1 &
started+=($!)
listening "$((port + 1))" truststram "$work/truststram.log"

node --no-warnings scripts/cache-suite.mjs "$suite" "http://127.0.0.1:$((port + 1))"
