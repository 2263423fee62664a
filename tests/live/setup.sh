#!/usr/bin/env bash
# Installs a ChatKit server that the live tests run against, and prints the path of the interpreter
# that runs it. Which one is the argument's say:
#
#   python (default)  examples/openai_chatkit_server, into .venv at the root of the project or into
#                     $CHATKIT_REST_VENV
#   python-1.4        old_server, on an older release of the same SDK, into .venv-1.4 beside it
#   node              node_server, on the third-party Node SDK, into its own node_modules
#   openai-node       no server but the programs of examples/openai_clients, into its node_modules
#
# Needs CPython 3.10 or newer with venv and pip ($PYTHON, else python3), or Node.js 20 or newer with
# npm, and a package index the first time. Does nothing, in a few milliseconds, while the pinned
# versions stay the same.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
server=${1:-python}

fail() {
    echo "$*" >&2
    exit 1
}

# Test processes may start together: one installs, the others wait and find it done.
lock() {
    if command -v flock >/dev/null; then
        exec 9>>"$1"
        flock 9
    fi
}

# install_python VENV REQUIREMENTS
install_python() {
    local venv=$1 requirements=$2 python=$1/bin/python
    # A copy of the requirements that were installed; the last thing an installation writes.
    local stamp=$venv/.requirements

    installed() {
        [[ -x $python ]] && cmp -s "$requirements" "$stamp"
    }

    if ! installed; then
        mkdir -p "$venv"
        lock "$venv/.lock"
        if ! installed; then
            echo "installing $requirements into $venv" >&2
            rm -f "$stamp"
            "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
                fail "CPython 3.10 or newer is needed; set PYTHON to its interpreter"
            # Not --clear, which would also remove the lock.
            "${PYTHON:-python3}" -m venv "$venv" >&2
            "$python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2
            cp "$requirements" "$stamp"
        fi
    fi
    echo "$python"
}

# install_node FOLDER
install_node() {
    local folder=$1 node
    node=$(command -v node) && command -v npm >/dev/null ||
        fail "Node.js 20 or newer with npm is needed for the live tests: install the packages nodejs and npm"
    # A copy of the versions that were installed; the last thing an installation writes.
    local stamp=$folder/node_modules/.installed

    installed() {
        cmp -s "$folder/package-lock.json" "$stamp"
    }

    if ! installed; then
        # Beside node_modules, which an installation removes.
        lock "$folder/.lock"
        if ! installed; then
            echo "installing $folder/package.json" >&2
            "$node" -e 'process.exit(Number(parseInt(process.versions.node) < 20))' ||
                fail "Node.js 20 or newer is needed, and $node is $("$node" --version)"
            npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
            cp "$folder/package-lock.json" "$stamp"
        fi
    fi
    echo "$node"
}

venv=${CHATKIT_REST_VENV:-$root/.venv}
case $server in
    python) install_python "$venv" "$root/examples/openai_chatkit_server/requirements.txt" ;;
    python-1.4) install_python "$venv-1.4" "$here/old_server/requirements.txt" ;;
    node) install_node "$here/node_server" ;;
    openai-node) install_node "$root/examples/openai_clients" ;;
    *) fail "no server $server: expected python, python-1.4, node or openai-node" ;;
esac
