#!/usr/bin/env bash
# Installs maturin, which makes wheels, into .venv-packaging at the root of the project, or beside
# $CHATKIT_REST_VENV, and prints the path of that environment's interpreter.
#
# Needs CPython 3.10 or newer with venv and pip ($PYTHON, else python3), Node.js 20 or newer with npm for what
# is done with it, and a package index the first time. Does nothing, in a few milliseconds, while
# requirements.txt stays the same.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
# shellcheck source=../tests/install.sh
source "$root/tests/install.sh"

node=$(find_node "for the packages")
check_node "$node"
install_python "${CHATKIT_REST_VENV:-$root/.venv}-packaging" "$here/requirements.txt"
