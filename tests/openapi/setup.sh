#!/usr/bin/env bash
# Installs what tests/openapi needs into .venv-openapi at the root of the project, or beside
# $CHATKIT_REST_VENV, and prints the path of that environment's interpreter.
#
# Needs CPython 3.10 or newer with venv and pip ($PYTHON, else python3), and a package index the
# first time. Does nothing, in a few milliseconds, while requirements.txt stays the same.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=../install.sh
source "$root/tests/install.sh"

install_python "${CHATKIT_REST_VENV:-$root/.venv}-openapi" "$here/requirements.txt"
