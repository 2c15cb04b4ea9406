#!/usr/bin/env bash
# Checks what can be checked of the app without a Mac: style, that every view parses, and the model's tests.
# The views themselves are not type-checked: there is no SwiftUI outside of Apple's systems.
set -euo pipefail
cd "$(dirname "$0")"
swift() { ../runtime/swift/toolchain.sh swift "$@" 2> >(grep -v '^Swift: ' >&2); }
../runtime/swift/toolchain.sh
swift format lint --recursive --strict --configuration ../runtime/swift/.swift-format App AppTests \
  DemoModel/Package.swift DemoModel/Sources DemoModel/Tests
find App AppTests -name '*.swift' -print0 | xargs -0 ../runtime/swift/toolchain.sh swiftc -frontend -parse
cd DemoModel
# Swift 6.0 for Linux ships an Observation library that misses one symbol which nothing calls.
FLAGS=(-Xlinker --allow-shlib-undefined)
[ "$(uname)" = Linux ] || FLAGS=()
swift() { ../../runtime/swift/toolchain.sh swift "$@" 2> >(grep -v '^Swift: ' >&2); }
swift test "${FLAGS[@]}"
