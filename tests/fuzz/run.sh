#!/usr/bin/env bash
# Fuzzes everything that reads a model, each target for so many seconds: run.sh [SECONDS [TARGET..]]
# The compiler is the stable one: libFuzzer needs coverage, which LLVM gives without a sanitizer.
# A crash is left in target/crashes; run the target with that file to see it again.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-60}
targets=("${@:2}")
[[ ${#targets[@]} -gt 0 ]] || targets=(onnx artifact graph-text encoder)

command -v c++ >/dev/null || { echo "fuzzing needs a C++ compiler: install g++ or clang" >&2; exit 1; }
host=$(rustc -vV | sed -n 's/^host: //p')

# What cargo-fuzz passes, without what is for sanitizers. They hold for the target alone, not for
# build scripts, since a target is named.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions \
-Coverflow-checks --cfg fuzzing"
fuzzers=()
for target in "${targets[@]}"; do fuzzers+=(--bin "$target"); done
cargo build --locked --release --target "$host" "${fuzzers[@]}"

# The cases of ONNX's own operators are there after `make conformance-data`.
export FUZZ_CORPUS=target/corpus
export FUZZ_ENCODERS=../golden/encoder
export FUZZ_MODELS=../golden/sklearn:../../target/onnx-conformance/cases
mkdir -p target/crashes
# The names of operators and the keys of descriptions as words to try.
grep -rhoE '"[A-Za-z_][A-Za-z0-9_.]{2,30}"' --include='*.rs' ../../engine/model/src/ops \
    ../../engine/model/src/artifact | sort -u >target/words.dict

failed=0
for target in "${targets[@]}"; do
    echo "== $target: $seconds s"
    mkdir -p "$FUZZ_CORPUS/$target"
    "target/$host/release/$target" "$FUZZ_CORPUS/$target" -dict=target/words.dict \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=8192 \
        -artifact_prefix="target/crashes/$target-" -print_final_stats=1 \
        >"target/$target.log" 2>&1 || failed=1
    grep -E '^(stat::|SUMMARY|thread .* panicked)|DONE' "target/$target.log" || true
    ls target/crashes/"$target"-* 2>/dev/null || true
done
exit "$failed"
