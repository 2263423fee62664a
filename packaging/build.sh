#!/usr/bin/env bash
# Makes the packages for people without Rust, for the platform it runs on, from the files here:
#
#   target/packages/chatkit_rest-VERSION-*.whl         for pip, pipx and uvx
#   target/packages/chatkit-rest-VERSION.tgz           for npm and npx, and what it needs beside it:
#   target/packages/chatkit-rest-PLATFORM-VERSION.tgz
#   target/packages/chatkit-rest                       the program in them
#   target/packages/chatkit-rest.debug                 its names and line tables: whoever puts this file
#                                                      beside the program has them in backtraces
#
# Builds the program in the profile `dist`, which takes minutes; BINARY names one that is built already. FOLDER names
# another folder than target/packages. Packages and programs that were made there before are replaced. What it builds has at
# most LIMIT bytes, below; a BINARY has at most as many as AT_MOST says, if it is set.
#
# Needs Rust, Python and Node.js; packaging/setup.sh installs maturin. On Linux the program runs with the glibc of
# where it was built, and newer ones, which the wheel's name tells.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
# What goes to users: the program itself, and each package, which is smaller.
LIMIT=25000000

fail() {
    echo "$*" >&2
    exit 1
}

# Both are of where the script is called from.
built=${BINARY:-}
if [[ $built ]]; then
    [[ -x $built && -f $built ]] || fail "BINARY is $built, which is no program"
    built=$(cd "$(dirname "$built")" && pwd)/$(basename "$built")
fi
folder=${FOLDER:-}
if [[ $folder ]]; then
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
fi
python=$("$here/setup.sh")
cargo=$(command -v "${CARGO:-cargo}") || fail "cargo is needed, for its metadata as well"
cd "$root"
# Prints a member of what cargo says of this crate, or of the workspace around it.
about() {
    "$cargo" metadata --no-deps --offline --locked --format-version 1 |
        "$python" -c 'import json, sys; all = json.load(sys.stdin); print({**all, **all["packages"][0]}[sys.argv[1]])' "$1"
}
target=$(about target_directory)
folder=${folder:-$target/packages}

if [[ ! $built ]]; then
    "$cargo" build --locked --profile dist --bin chatkit-rest
    built=$target/dist/chatkit-rest
fi
mkdir -p "$folder"
rm -f "$folder"/chatkit-rest "$folder"/chatkit-rest.debug "$folder"/chatkit-rest-*.tgz "$folder"/chatkit_rest-*.whl
program=$folder/chatkit-rest

# macOS keeps line tables apart by itself.
if command -v objcopy >/dev/null; then
    objcopy --only-keep-debug --compress-debug-sections=zlib "$built" "$program.debug"
    objcopy --strip-all --add-gnu-debuglink="$program.debug" "$built" "$program"
else
    strip -o "$program" "$built"
fi
chmod 755 "$program"
chmod 644 "$program".*

# maturin has cargo build what it packs. This one is built, and taken apart: so it is asked for by way of a cargo
# that says where it is. All else is the real cargo's.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" - "$(about id)" "$root/src/main.rs" "$program" >"$work/artifact" <<'EOF'
import json, sys
package, source, program = sys.argv[1:]
kind = ["bin"]
target = {"name": "chatkit-rest", "kind": kind, "crate_types": kind, "src_path": source}
profile = {"opt_level": "3", "debug_assertions": False, "overflow_checks": False, "test": False}
print(json.dumps({
    "reason": "compiler-artifact", "package_id": package, "target": target, "profile": profile,
    "features": [], "filenames": [program], "executable": program, "fresh": True,
}))
EOF
cat >"$work/cargo" <<EOF
#!/bin/sh
case \$1 in
    rustc) exec cat '$work/artifact' ;;
    *) exec '$cargo' "\$@" ;;
esac
EOF
chmod +x "$work/cargo"
cd "$here/python"
CARGO=$work/cargo PATH=$work:$PATH "${python%/*}/maturin" build \
    --profile dist --locked --out "$folder" >"$work/said" 2>&1 || fail "maturin failed: $(cat "$work/said")"

node "$here/npm/pack.js" "$program" "$folder" < <("$cargo" metadata --no-deps --offline --locked --format-version 1)

most=${BINARY:+${AT_MOST:-$((1 << 62))}}
most=${most:-$LIMIT}
cd "$folder"
for file in chatkit-rest *.whl *.tgz; do
    size=$(wc -c <"$file")
    printf '%10d %s\n' "$size" "$folder/$file"
    ((size <= most)) || fail "$file has more than $most bytes"
done
