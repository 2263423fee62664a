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
# shellcheck source=../install.sh
source "$here/../install.sh"

# A command that is there may still be none: a stand-in for a package of another kind.
browser() {
    local name
    for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome; do
        name=$(command -v "$name") && "$name" --version >/dev/null 2>&1 && echo "$name" && return
    done
    return 1
}

lock "$here/.lock"
if ! chromium=$(browser); then
    install_package chromium
    chromium=$(browser) ||
        fail "no browser to read /docs with: install the package chromium, or set CHROMIUM to the program"
fi
install_node "$here" "to drive the browser" >/dev/null
echo "$chromium"
