#!/usr/bin/env bash
# Installs the packages of packaging/build.sh from their files, into folders made for it, and uses them: no package
# index is asked. Takes those in target/packages, or in FOLDER; with BINARY, a program that is built
# already, makes them of it first, which takes seconds.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
work=$(mktemp -d)
running=
leave() {
    [[ ! $running ]] || kill -KILL -- "-$running" 2>/dev/null || true
    rm -rf "$work"
}
trap leave EXIT

fail() {
    echo "$*" >&2
    exit 1
}

folder=${FOLDER:-${CARGO_TARGET_DIR:-$root/target}/packages}
if [[ ${BINARY:-} ]]; then
    folder=$work/packages
    FOLDER=$folder "$here/build.sh" >&2
fi
version=$(sed -n '/^\[package\]$/,/^\[/s/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml")

# Fails unless `"$@" --version` is that of Cargo.toml.
has_version() {
    local said
    said=$("$@" --version) || fail "$* --version failed"
    [[ $said == "chatkit-rest $version" ]] || fail "$* is $said, and Cargo.toml says $version"
}

# Prints a line of a demo that begins with this, without it, and drops those before.
line() {
    local line
    while IFS= read -r -t 30 -u 3 line; do
        [[ $line != "$1"* ]] || { printf '%s' "${line#"$1"}"; return; }
    done
    fail "the demo printed no $1"
}

# Fails unless a demo started by `"$@"` answers, and then ends when who started it is told to.
demo_works() {
    local token base session answer
    rm -f "$work/lines"
    mkfifo "$work/lines"
    # With a process group of its own, of which nothing is left here in the end.
    set -m
    "$@" demo --listen 127.0.0.1:0 </dev/null >"$work/lines" 2>"$work/log" &
    running=$!
    set +m
    exec 3<"$work/lines"
    token=$(line TOKEN=)
    base=$(line BASE=)
    session=$(curl -sS -m 30 -X POST "$base/sessions" -H "authorization: Bearer $token" | sed -n 's/.*"data":{"id":"\([^"]*\)".*/\1/p')
    answer=$(curl -sS -m 30 -N "$base/sessions/$session/threads/$session/runs" \
        -H "authorization: Bearer $token" -H "content-type: application/json" -d '{"message": "Hello there"}')
    [[ $answer == *"You said: Hello there"* ]] || fail "$*: a run was answered with $answer"
    kill -TERM "$running"
    # The lines end when nobody holds their other end any more: the program, and what started it.
    local status=0
    while IFS= read -r -t 30 -u 3 _ || { status=$? && false; }; do :; done
    ((status == 1)) || fail "$*: SIGTERM didn't end it"
    wait "$running" || fail "$*: ended with $?: $(cat "$work/log")"
    running=
    exec 3<&-
}

step() {
    printf '[%4ds] %s\n' "$SECONDS" "$*"
}

step "pip installs the wheel"
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index "$folder/chatkit_rest-$version"-*.whl
has_version "$work/venv/bin/chatkit-rest"
if [[ ! ${BINARY:-} ]]; then
    # The limit of what is built for users.
    limit=$(sed -n 's/^LIMIT=//p' "$here/build.sh")
    size=$(wc -c <"$work/venv/bin/chatkit-rest")
    ((size <= limit)) || fail "the program has $size bytes, and may have $limit"
fi
demo_works "$work/venv/bin/chatkit-rest"

step "npm installs the tarballs"
mkdir "$work/npm"
cd "$work/npm"
echo '{"private": true}' >package.json
# The packages of other platforms are nowhere, and needn't be.
platform=$(node -p 'process.platform + "-" + process.arch')
tarballs=("$folder/chatkit-rest-$version.tgz" "$folder/chatkit-rest-$platform-$version.tgz")
npm install --offline --no-audit --no-fund --loglevel=error "${tarballs[@]}" >&2
node -e '
    const { version, optionalDependencies } = require("./node_modules/chatkit-rest/package.json");
    const all = [version, ...Object.values(optionalDependencies)];
    process.exit(all.length > 1 && all.every((it) => it === process.argv[1]) ? 0 : 1);
' "$version" || fail "the npm package is not of version $version, or is content with another program"
has_version npx --no-install chatkit-rest
demo_works node_modules/.bin/chatkit-rest

step "the launcher passes on how the program ended"
status=0
npx --no-install chatkit-rest no-such-command 2>"$work/log" || status=$?
((status == 2)) || fail "a wrong command ended with $status: $(cat "$work/log")"

step "the launcher says what is missing"
rm -r "node_modules/chatkit-rest-$platform"
status=0
npx --no-install chatkit-rest --version 2>"$work/log" || status=$?
((status == 1)) && grep -q "chatkit-rest-$platform is not installed" "$work/log" || fail "it ended with $status: $(cat "$work/log")"
step "it works"
