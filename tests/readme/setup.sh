#!/usr/bin/env bash
# Installs zsh, whose interactive shell is what macOS opens, and prints its path: $ZSH_PROGRAM, else
# what is in PATH, else Debian's package, which root or a sudo that asks for no password installs
# (a download of about 3 MB) where CHATKIT_REST_TESTS_INSTALL is set, as tests/run.sh does. Where none
# can be had it says what to do.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Test processes may start together: one installs, the others wait and find it done.
if command -v flock >/dev/null; then
    exec 9>>"$here/.lock"
    flock 9
fi

shell() {
    command -v "${ZSH_PROGRAM:-zsh}"
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo --non-interactive "$@"; fi
}

if ! shell >/dev/null && [[ ${CHATKIT_REST_TESTS_INSTALL:-} ]] && command -v apt-get >/dev/null && as_root true 2>/dev/null; then
    echo "installing the package zsh" >&2
    # Fails below, where it says what to do.
    { as_root apt-get update --quiet=2 &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install --quiet=2 --yes --no-install-recommends zsh; } >&2 || true
fi
command -v python3 >/dev/null || {
    echo "python3 is needed for a terminal to paste at: install the package python3" >&2
    exit 1
}
if ! shell; then
    echo "zsh is needed, to paste into: install the package zsh, or set ZSH_PROGRAM to the program" >&2
    exit 1
fi
