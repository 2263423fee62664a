#!/usr/bin/env bash
# Installs what tests/openapi needs into .venv-openapi at the root of the project, or beside
# $CHATKIT_REST_VENV, and prints the path of that environment's interpreter.
#
# Needs CPython 3.10 or newer with venv and pip ($PYTHON, else python3), and a package index the
# first time. Does nothing, in a few milliseconds, while requirements.txt stays the same.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
requirements=$here/requirements.txt
venv=${CHATKIT_REST_VENV:-$root/.venv}-openapi
python=$venv/bin/python
# A copy of the requirements that were installed; the last thing an installation writes.
stamp=$venv/.requirements

installed() {
    [[ -x $python ]] && cmp -s "$requirements" "$stamp"
}

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
        "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
            echo "CPython 3.10 or newer is needed; set PYTHON to its interpreter" >&2
            exit 1
        }
        # Not --clear, which would also remove the lock.
        "${PYTHON:-python3}" -m venv "$venv" >&2
        "$python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2
        cp "$requirements" "$stamp"
    fi
fi
echo "$python"
