# shellcheck shell=bash
# How the setup.sh of tests, and of packaging, install things: functions for them to source, after
# `set -euo pipefail`.

fail() {
    echo "$*" >&2
    exit 1
}

# lock FILE: test processes may start together: one installs, the others wait and find it done.
lock() {
    if command -v flock >/dev/null; then
        exec 9>>"$1"
        flock 9
    fi
}

# install_python VENV REQUIREMENTS: prints the path of the environment's interpreter. Needs CPython 3.10
# or newer with venv and pip ($PYTHON, else python3).
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

# find_node PURPOSE: prints the path of Node.js, which has its npm beside it.
find_node() {
    command -v node && command -v npm >/dev/null ||
        fail "Node.js 20 or newer with npm is needed $1: install the packages nodejs and npm"
}

# check_node NODE: fails where it is too old.
check_node() {
    "$1" -e 'process.exit(Number(parseInt(process.versions.node) < 20))' ||
        fail "Node.js 20 or newer is needed, and $1 is $("$1" --version)"
}

# install_node FOLDER PURPOSE: prints the path of Node.js, with what package-lock.json has in the folder's
# node_modules.
install_node() {
    local folder=$1 node
    node=$(find_node "$2")
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
            check_node "$node"
            npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
            cp "$folder/package-lock.json" "$stamp"
        fi
    fi
    echo "$node"
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo --non-interactive "$@"; fi
}

# install_package NAME...: Debian's packages, which root or a sudo that asks for no password installs,
# where CHATKIT_REST_TESTS_INSTALL is set, as tests/run.sh does. Never fails: whoever calls it looks for
# what it needs once more, and says what to do.
install_package() {
    if [[ ${CHATKIT_REST_TESTS_INSTALL:-} ]] && command -v apt-get >/dev/null && as_root true 2>/dev/null; then
        echo "installing the package $*" >&2
        { as_root apt-get update --quiet=2 &&
            as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get install --quiet=2 --yes --no-install-recommends "$@"; } >&2 || true
    fi
}
