#!/usr/bin/env bash
# Checks the style of the Swift runtime, builds it and tests it. Exit code 3: there is no toolchain, and none can be had.
set -euo pipefail
cd "$(dirname "$0")"
./toolchain.sh
swift() { ./toolchain.sh swift "$@" 2> >(grep -v '^Swift: ' >&2); }
swift format lint --recursive --strict Package.swift Sources Tests Stubs
./toolchain.sh ./typecheck_apple.sh 2> >(grep -v '^Swift: ' >&2)
swift build --build-tests
swift test --skip-build
