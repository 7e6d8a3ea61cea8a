#!/usr/bin/env bash
# What simulated federations of the digits take: virtual time to 95 %, bytes of each encoding, accuracy
# with a fifth of the clients hostile, accuracy by epsilon. Writes benches/results/federate.txt. SEED chooses the seed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=${TRUSTSTRAM_BIN:-target/release/truststram}
seed=${SEED:-1}

# Prints one line of figures for a name and the options of one federation.
line() {
    local name=$1
    shift
    "$binary" federate simulate --json --seed "$seed" "$@" 2>/dev/null | python3 -c '
import json, sys
found = json.load(sys.stdin)
reached, last = found["reached"], found["rounds"][-1]
where = "{version} versions, {seconds:.0f} s".format(**reached) if reached else "-"
refused = sum(found["updates_refused"].values())
print("  %-36s %-20s %8.4f %9.3f %9.0f %8d" % (sys.argv[1], where, last["accuracy"],
      found["bytes_up"] / 1e6, found["bytes_up"] / found["updates_accepted"], refused))' "$name"
}
heads() {
    printf '\n%s\n  %-36s %-20s %8s %9s %9s %8s\n' "$1" "" "95 % after" accuracy "MB up" "B/update" refused
}

# The same for what privacy costs.
private() {
    local name=$1
    shift
    "$binary" federate simulate --json --seed "$seed" --hidden 32 --rounds 60 --target 1.1 --clients 500 \
        --ratio 0.2 --delta 1e-3 "$@" 2>/dev/null | python3 -c '
import json, sys
found = json.load(sys.stdin)
epsilon = "none" if found["epsilon"] is None else "%.3f" % found["epsilon"]
print("  %-36s %-20s %8.4f" % (sys.argv[1], epsilon, found["rounds"][-1]["accuracy"]))' "$name"
}

mkdir -p benches/results
{
    echo "Simulated federations of the digits: 20 clients, 10 asked in a round and 8 waited for, seed $seed."
    echo "Virtual seconds: a task takes 10 s times 1 + |N(0, 0.5)|; training is real. $("$binary" --version)."
    heads "Dense net 64-32-10; buffered: all 20 at work, a version of every 10 updates, at most 300"
    for split in iid shards; do
        line "$split FedAvg" --hidden 32 --rounds 300 --split $split
        line "$split FedAdam" --hidden 32 --rounds 300 --split $split --server-optimiser adam
        line "$split FedBuff" --hidden 32 --rounds 300 --split $split --mode buffered --buffer 10
        line "$split FedBuff, server rate 1.5" --hidden 32 --rounds 300 --split $split \
            --mode buffered --buffer 10 --server-learning-rate 1.5
    done
    heads "Encodings with error feedback, dense net 64-512-256-10, two classes a client, FedAvg"
    for encoding in f32 bf16 int8 top-0.1-f32 top-0.1-int8 top-0.02-int8 top-0.01-int8; do
        line "$encoding" --hidden 512,256 --split shards --encoding $encoding
    done
    heads "4 of 20 clients hostile (10 times the length), iid, 64-32-10, all clients in each of 15 rounds"
    for attack in none sign-flip noise label-flip nan; do
        for rule in "fedavg" "median" "trimmed-mean" "multi-krum" "fedavg --clip-norm 0.5"; do
            # shellcheck disable=SC2086 # the rule is options
            line "$attack, $rule" --hidden 32 --attack $attack --rule $rule \
                --ratio 1 --rounds 15 --target 1.1
        done
    done
    printf '\n%s\n  %-36s %-20s %8s\n' \
        "500 clients of 2 or 3 rows, iid, 64-32-10, each in a round by a coin of 0.2, 60 versions, delta 0.001" \
        "" epsilon accuracy
    private "no privacy, FedAvg"
    private "clipped to 1.0, no noise" --clip-norm 1.0
    for noise in 0.5 1 2 4 8; do
        private "clip 0.5, noise $noise" --clip-norm 0.5 --noise-multiplier "$noise"
    done
    private "clip 1.0, noise 1" --clip-norm 1.0 --noise-multiplier 1
    private "adaptive clip to the median, noise 1" --clip-norm 1.0 --clip-quantile 0.5 --noise-multiplier 1
} | tee benches/results/federate.txt
