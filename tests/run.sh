#!/usr/bin/env bash
# Runs every test: unit, integration, documentation, and the live tests against real ChatKit
# servers, which are installed first (see tests/live/setup.sh). Arguments are passed to `cargo test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for server in python python-1.4 node openai-node; do
    tests/live/setup.sh "$server" >/dev/null
done
# What checks the OpenAPI document.
tests/openapi/setup.sh >/dev/null
# What reads its page. Without a browser it says so, and the test decides what that means.
tests/browser/setup.sh >/dev/null || (($? == 77))
exec cargo test --all-features "$@"
