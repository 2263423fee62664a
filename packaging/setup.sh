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
requirements=$here/requirements.txt
venv=${CHATKIT_REST_VENV:-$root/.venv}-packaging
python=$venv/bin/python
# A copy of the requirements that were installed; the last thing an installation writes.
stamp=$venv/.requirements

fail() {
    echo "$*" >&2
    exit 1
}

installed() {
    [[ -x $python ]] && cmp -s "$requirements" "$stamp"
}

node=$(command -v node) && command -v npm >/dev/null || fail "Node.js 20 or newer with npm is needed for the packages"
"$node" -e 'process.exit(Number(parseInt(process.versions.node) < 20))' ||
    fail "Node.js 20 or newer is needed, and $node is $("$node" --version)"

if ! installed; then
    mkdir -p "$venv"
    # Test processes may start together: one installs, the others wait and find it done.
    if command -v flock >/dev/null; then
        exec 9>"$venv/.lock"
        flock 9
    fi
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
