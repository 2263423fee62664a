#!/usr/bin/env bash
# Installs zsh, whose interactive shell is what macOS opens, and prints its path: $ZSH_PROGRAM, else
# what is in PATH, else Debian's package, which root or a sudo that asks for no password installs
# (a download of about 3 MB) where CHATKIT_REST_TESTS_INSTALL is set, as tests/run.sh does. Where none
# can be had it says what to do.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../install.sh
source "$here/../install.sh"

shell() {
    command -v "${ZSH_PROGRAM:-zsh}"
}

lock "$here/.lock"
shell >/dev/null || install_package zsh
command -v python3 >/dev/null ||
    fail "python3 is needed for a terminal to paste at: install the package python3"
shell || fail "zsh is needed, to paste into: install the package zsh, or set ZSH_PROGRAM to the program"
