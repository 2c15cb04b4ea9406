#!/usr/bin/env bash
# Builds a signed APK and AAB without Gradle or an Android SDK, from the parts that Maven and npm serve, and checks them.
set -euo pipefail
exec python3 "$(dirname "$0")/ci/package.py"
