#!/usr/bin/env bash
# What simulated federations of the digits take: rounds to 95 %, bytes of each encoding, accuracy with
# a fifth of the clients hostile. Writes benches/results/federate.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=${TRUSTSTRAM_BIN:-target/release/truststram}
hidden=${HIDDEN:-32}

# Prints one line of figures for a name and the options of one federation.
line() {
    local name=$1
    shift
    "$binary" federate simulate --json --hidden "$hidden" "$@" 2>/dev/null | python3 -c '
import json, sys
found = json.load(sys.stdin)
reached, last = found["reached"], found["rounds"][-1]
where = "{version} rounds, {seconds:.0f} s".format(**reached) if reached else "-"
refused = sum(found["updates_refused"].values())
print("  %-30s %-20s %8.4f %8.2f %8.2f %8d" % (sys.argv[1], where, last["accuracy"],
      found["bytes_up"] / 1e6, found["bytes_down"] / 1e6, refused))' "$name"
}
heads() {
    printf '\n%s\n  %-30s %-20s %8s %8s %8s %8s\n' "$1" "" "95 % after" accuracy "MB up" "MB down" refused
}

mkdir -p benches/results
{
    echo "Simulated federations of the digits: 20 clients, half of them in a round, seed 1; a dense net"
    echo "64-$(tr , - <<<"$hidden")-10; virtual seconds, real training. $("$binary" --version)."
    heads "Rounds to 95 %, at most 100"
    for split in iid shards; do
        line "$split FedAvg" --split $split
        line "$split FedAdam" --split $split --server-optimiser adam
        line "$split FedBuff (buffered)" --split $split --mode buffered
    done
    heads "Bytes by encoding, iid, FedAvg"
    for encoding in f32 f16 bf16 int8 top-0.1-f32 top-0.1-int8; do
        line "$encoding" --encoding $encoding
    done
    heads "4 of 20 clients hostile, iid, all clients in each of 15 rounds"
    for attack in sign-flip noise label-flip nan; do
        for rule in fedavg median trimmed-mean multi-krum; do
            line "$attack, $rule" --attack $attack --rule $rule --ratio 1 --rounds 15 --target 1.1
        done
    done
} | tee benches/results/federate.txt
