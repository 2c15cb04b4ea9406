#!/usr/bin/env bash
# Checks the types of what only Apple's platforms compile, against stub modules with the part of the interface that is used.
set -euo pipefail
cd "$(dirname "$0")"
modules=$(mktemp -d)
trap 'rm -rf "$modules"' EXIT
swiftc -swift-version 6 -parse-as-library -emit-module -module-name CoreML -o "$modules/CoreML.swiftmodule" Stubs/CoreML/CoreML.swift
# shellcheck disable=SC2046
swiftc -swift-version 6 -warnings-as-errors -package-name swift -typecheck -I "$modules" -module-name VLMPrune \
  $(find Sources/VLMPrune -name '*.swift')
grep -q 'canImport(CoreML)' Sources/VLMPrune/CoreML/CoreMLEngine.swift
echo "Core ML engine: the types fit the stub of Core ML; it has never run on a device"
