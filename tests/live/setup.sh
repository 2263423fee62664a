#!/usr/bin/env bash
# Installs a ChatKit server that the live tests run against, and prints the path of the interpreter
# that runs it. Which one is the argument's say:
#
#   python (default)  examples/openai_chatkit_server, into .venv at the root of the project or into
#                     $CHATKIT_REST_VENV
#   python-1.4        old_server, on an older release of the same SDK, into .venv-1.4 beside it
#   node              node_server, on the third-party Node SDK, into its own node_modules
#   openai-node       no server but the programs of examples/openai_clients, into its node_modules
#   better-auth       better_auth, an identity provider in place of a ChatKit server, into its node_modules
#
# Needs CPython 3.10 or newer with venv and pip ($PYTHON, else python3), or Node.js 20 or newer with
# npm, and a package index the first time. Does nothing, in a few milliseconds, while the pinned
# versions stay the same.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=../install.sh
source "$root/tests/install.sh"

server=${1:-python}
venv=${CHATKIT_REST_VENV:-$root/.venv}
case $server in
    python) install_python "$venv" "$root/examples/openai_chatkit_server/requirements.txt" ;;
    python-1.4) install_python "$venv-1.4" "$here/old_server/requirements.txt" ;;
    node) install_node "$here/node_server" "for the live tests" ;;
    openai-node) install_node "$root/examples/openai_clients" "for the live tests" ;;
    better-auth) install_node "$here/better_auth" "for the live tests" ;;
    *) fail "no server $server: expected python, python-1.4, node, openai-node or better-auth" ;;
esac
