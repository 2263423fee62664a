#!/usr/bin/env bash
# Runs every test: unit, integration, documentation, and the live tests against the real ChatKit
# server, which is installed first (see tests/live/setup.sh), as is what checks the OpenAPI document
# (tests/openapi/setup.sh). Arguments are passed to `cargo test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tests/live/setup.sh >/dev/null
tests/openapi/setup.sh >/dev/null
exec cargo test --all-features "$@"
