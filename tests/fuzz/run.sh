#!/usr/bin/env bash
# Fuzzes: every target for ten seconds, or TARGET (or "all") for SECONDS.
#
#   tests/fuzz/run.sh                  what CI does
#   tests/fuzz/run.sh stream 3600      one target for an hour
#   tests/fuzz/run.sh all 600          each for ten minutes
#
# Needs Rust and a C++ compiler: the instrumentation is LLVM's, which stable Rust has, and the
# driver is libFuzzer, which is built with it. What is learnt stays in target/fuzz/corpus; what
# breaks a promise is written to tests/fuzz/found, and its run ends with an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

targets=(validate ownership stream token cursor config gateway)
only=${1:-all}
seconds=${2:-10}
if [[ $only != all ]]; then
    [[ " ${targets[*]} " == *" $only "* ]] || {
        printf 'no target %q; there are: %s\n' "$only" "${targets[*]}" >&2
        exit 2
    }
    targets=("$only")
fi

work=${CARGO_TARGET_DIR:-$PWD/../../target}/fuzz
work=$(mkdir -p "$work" && cd "$work" && pwd)
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target, build scripts and what they link are not instrumented.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing" \
    cargo build --locked --release --target "$host" --target-dir "$work"

mkdir -p found
for target in "${targets[@]}"; do
    corpus=$work/corpus/$target
    mkdir -p "$corpus"
    printf '%s, %s seconds\n' "$target" "$seconds"
    # One input may take 10 seconds at most, and the process 2 GiB.
    "$work/$host/release/$target" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 \
        -dict=dictionary -artifact_prefix="found/$target-" -print_final_stats=1 \
        -verbosity=0 "$corpus" "seeds/$target"
done
rmdir --ignore-fail-on-non-empty found
