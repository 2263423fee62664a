#!/usr/bin/env bash
# Runs every test: unit, integration, documentation, and the live tests against real ChatKit
# servers, which are installed first (see tests/live/setup.sh). Arguments are passed to `cargo test`.
#
# A test that fails doesn't keep the others from being run; the last lines say what failed. Where
# Python, Node.js, Chromium, zsh or their packages are missing, what needs them is skipped and said to be: a test
# panics with `skipped: WHAT: WHY`, which is no failure here, unless CI is set, as CI systems do.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# One line for each of what is missing: WHAT: WHY.
missing=
install() {
    local what=$1 said
    shift
    printf '[%4ds] installing what the tests with %s need, unless it is there\n' "$SECONDS" "$what"
    if ! said=$("$@" 2>&1 >/dev/null); then
        printf '%s\n' "$said" >&2
        # The first line that is about it, or the last.
        said=$(grep -m 1 -iE 'needed|error|no browser' <<<"$said" || tail -n 1 <<<"$said")
        missing+="$what: ${said:-cannot be installed}"$'\n'
    fi
}
for server in python python-1.4 node openai-node; do
    install "$server" tests/live/setup.sh "$server"
done
# What checks the OpenAPI document.
install openapi tests/openapi/setup.sh
# What reads its page.
install chromium tests/browser/setup.sh
# What the manual is pasted into.
install zsh tests/readme/setup.sh
# What makes the packages.
install packages packaging/setup.sh
# The tests with these don't try again.
export CHATKIT_REST_TESTS_WITHOUT=$missing

printf '[%4ds] cargo test --all-features --no-fail-fast %s\n' "$SECONDS" "$*"
cargo test --all-features --no-fail-fast "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

# What failed and isn't excused, one a line; then, after a tab, what was skipped, and its reason.
report=$(awk '
    function ended() { if (target != "" && !result) print "failed\t" target ": no result (did it crash?)" }
    /^     Running / { ended(); target = $2 == "unittests" ? $3 : $2; result = 0 }
    /^   Doc-tests / { ended(); target = "doc-tests of " $2; result = 0 }
    /^test result: / { result = 1; test = "" }
    /^---- .* stdout ----$/ { test = $2; for (i = 3; $i != "stdout"; i++) test = test " " $i }
    # Also where the output is not captured.
    /^thread .* panicked at / { split($0, part, "\047"); thread = part[2] }
    /^skipped: / && index(ENVIRON["CHATKIT_REST_TESTS_WITHOUT"], substr($0, 10) "\n") { name = test == "" ? thread : test; why[target SUBSEP name] = $0; next }
    /^test .* \.\.\. FAILED$/ { name = $0; sub(/^test /, "", name); sub(/( - should panic)? \.\.\. FAILED$/, "", name)
                                failed[++count] = target SUBSEP name }
    END {
        ended()
        for (i = 1; i <= count; i++) {
            split(failed[i], part, SUBSEP)
            if (failed[i] in why) print "skipped\t" substr(why[failed[i]], 10)
            else print "failed\t" part[1] ": " part[2]
        }
    }' "$log")
failed=$(sed -n 's/^failed\t//p' <<<"$report")
skipped=$(sed -n 's/^skipped\t//p' <<<"$report" | sort | uniq -c)
# Whatever cargo reports beside tests: what doesn't compile, an option that isn't there.
if [[ $status != 0 && ! $report ]]; then
    failed="cargo test ended with status $status"
fi

printf '\n[%4ds] ' "$SECONDS"
if [[ $failed ]]; then
    printf 'FAILED:\n%s\n' "$failed"
    status=1
else
    printf 'nothing failed\n'
    status=0
fi
if [[ $missing ]]; then
    printf 'MISSING:\n%s' "$missing"
    printf 'SKIPPED for it, so many tests:\n%s\n' "${skipped:-      0, of those that were run}"
    if [[ ${CI:-} && ${CI:-} != false ]]; then
        echo 'That is a failure, because CI is set.'
        status=1
    fi
fi
exit "$status"
