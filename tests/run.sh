#!/usr/bin/env bash
# Runs every test: unit, integration, documentation, and the live tests against real ChatKit
# servers, which are installed first (see tests/live/setup.sh). Arguments are passed to `cargo test`.
#
# A test that fails doesn't keep the others from being run; the last lines say what failed. Where
# Python, Node.js, Chromium, zsh, PgBouncer or their packages are missing, what needs them is skipped and said to be: a test
# panics with `skipped: WHAT: WHY`, which is no failure here, unless CI is set, as CI systems do.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A plain `cargo test` puts no package into the system.
export CHATKIT_REST_TESTS_INSTALL=1
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
for server in python python-1.4 node openai-node better-auth; do
    install "$server" tests/live/setup.sh "$server"
done
# What checks the OpenAPI document.
install openapi tests/openapi/setup.sh
# What reads its page.
install chromium tests/browser/setup.sh
# What the manual is pasted into.
install zsh tests/readme/setup.sh
# A database for many gateways, and what stands between.
for server in postgres pgbouncer; do
    install "$server" tests/postgres/setup.sh "$server"
done
# What makes the packages.
install packages packaging/setup.sh
# The tests with these don't try again.
export CHATKIT_REST_TESTS_WITHOUT=$missing

printf '[%4ds] cargo test --all-features --no-fail-fast %s\n' "$SECONDS" "$*"
cargo test --all-features --no-fail-fast "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

# What failed and isn't excused, one a line; then what was skipped, and its reason.
report=$(awk -v status="$status" -f tests/report/report.awk "$log") ||
    report+=$'\nfailed\tcargo test ended with status '"$status, and awk could not read more"
failed=$(sed -n 's/^failed\t//p' <<<"$report")
skipped=$(sed -n 's/^skipped\t//p' <<<"$report" | sort | uniq -c)

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
