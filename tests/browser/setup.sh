#!/usr/bin/env bash
# Installs what the test of /docs in a browser needs, and prints the path of the browser:
#
#   - Chromium: $CHROMIUM, else what is in PATH, else Debian's package, which root or a sudo that
#     asks for no password installs (a download of about 110 MB) where CHATKIT_REST_TESTS_INSTALL is set,
#     as tests/run.sh does
#   - playwright-core, which drives it, and axe-core, which judges the page, into node_modules here
#
# Needs Node.js 20 or newer with npm, and a package index the first time. Does nothing, in a second,
# while everything is there. Where no browser can be had it says what to do.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    echo "$*" >&2
    exit 1
}

# Test processes may start together: one installs, the others wait and find it done.
if command -v flock >/dev/null; then
    exec 9>>"$here/.lock"
    flock 9
fi

# A command that is there may still be none: a stand-in for a package of another kind.
browser() {
    local name
    for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome; do
        name=$(command -v "$name") && "$name" --version >/dev/null 2>&1 && echo "$name" && return
    done
    return 1
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo --non-interactive "$@"; fi
}

if ! chromium=$(browser); then
    if [[ ${CHATKIT_REST_TESTS_INSTALL:-} ]] && command -v apt-get >/dev/null && as_root true 2>/dev/null; then
        echo "installing the package chromium" >&2
        # Fails below, where it says what to do.
        { as_root apt-get update --quiet=2 &&
            as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get install --quiet=2 --yes --no-install-recommends chromium; } >&2 || true
    fi
    if ! chromium=$(browser); then
        fail "no browser to read /docs with: install the package chromium, or set CHROMIUM to the program"
    fi
fi

node=$(command -v node) && command -v npm >/dev/null ||
    fail "Node.js 20 or newer with npm is needed to drive the browser: install the packages nodejs and npm"
# A copy of the versions that were installed; the last thing an installation writes.
stamp=$here/node_modules/.installed
if ! cmp -s "$here/package-lock.json" "$stamp"; then
    echo "installing $here/package.json" >&2
    "$node" -e 'process.exit(Number(parseInt(process.versions.node) < 20))' ||
        fail "Node.js 20 or newer is needed, and $node is $("$node" --version)"
    npm ci --prefix "$here" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    cp "$here/package-lock.json" "$stamp"
fi
echo "$chromium"
