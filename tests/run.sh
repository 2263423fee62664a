#!/usr/bin/env bash
# Runs every test: unit, integration, documentation, and the live tests against the real ChatKit
# server, which is installed first (see tests/live/setup.sh). Arguments are passed to `cargo test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tests/live/setup.sh >/dev/null
exec cargo test --all-features "$@"
