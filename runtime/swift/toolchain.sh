#!/usr/bin/env bash
# Runs a command with a Swift toolchain of at least 6.0: the machine's own, or else Debian's, which is put once into a
# folder below the cache (2.5 GB, some three minutes; needs root and mmdebstrap) and entered with chroot.
#
#   toolchain.sh COMMAND...   run it; says on standard error which toolchain it was
#   toolchain.sh              only say which toolchain there is, making it if need be
#
# Exit code 3: there is none, and none can be made here.
set -euo pipefail

SUITE=trixie
REPOSITORY=$(cd "$(dirname "$0")/../.." && pwd)
ROOT=${VLMPRUNE_SWIFT_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/vlmprune/swift-$SUITE}

# `swift` is also the name of OpenStack's client, so the version has to be Swift's.
own_swift() { swift --version 2>/dev/null | grep -qE 'Swift version ([6-9]|[1-9][0-9])\.'; }

# The mirrors that this machine's apt takes Debian from.
mirrors() { apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 2>/dev/null | sort -u; }

make_root() {
  local sources partial="$ROOT.partial.$$"
  sources=$(mirrors | sed "s|.*|deb & $SUITE main|")
  [ -n "$sources" ] || { apt-get update -qq && sources=$(mirrors | sed "s|.*|deb & $SUITE main|"); }
  command -v mmdebstrap >/dev/null || apt-get install -y -qq mmdebstrap >/dev/null
  mkdir -p "$(dirname "$ROOT")"
  trap 'rm -rf "$partial"' EXIT
  mmdebstrap --quiet --mode=root --variant=apt --include=swiftlang,libc6-dev,ca-certificates \
    "$SUITE" "$partial" <<<"$sources" >&2 || return 1
  rm -rf "$partial"/var/cache/apt/archives/*.deb "$partial"/var/lib/apt/lists/*
  mv "$partial" "$ROOT"
  trap - EXIT
}

# In the folder the machine's own folders are seen at their own paths, all but those of the system.
enter() {
  unshare --mount --propagation private bash -c '
    root=$1 repo=$2; shift 2
    for folder in /*; do
      case ${folder#/} in bin|boot|dev|etc|lib|lib32|lib64|libx32|lost+found|proc|run|sbin|sys|usr|var) continue;; esac
      [ -d "$folder" ] && [ ! -L "$folder" ] && mkdir -p "$root$folder" && mount --rbind "$folder" "$root$folder"
    done
    [ -e "$root$repo/runtime/swift/toolchain.sh" ] || { mkdir -p "$root$repo" && mount --rbind "$repo" "$root$repo"; }
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    here=$PWD
    exec chroot "$root" /usr/bin/env PATH="/usr/libexec/swift/bin:$PATH" /bin/bash -c "cd \"\$0\" && exec \"\$@\"" "$here" "$@"
  ' enter "$ROOT" "$REPOSITORY" "$@"
}

if own_swift; then
  echo "Swift: $(swift --version 2>/dev/null | head -1), this machine's own" >&2
  [ $# -eq 0 ] || exec "$@"
  exit 0
fi
unshare --mount true 2>/dev/null || { echo "Swift: this machine lets nobody mount folders for a toolchain" >&2; exit 3; }
if [ ! -d "$ROOT" ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Swift: none of 6.0 or newer on this machine, and Debian's can only be brought by root on a Debian" >&2
    exit 3
  fi
  echo "Swift: none on this machine; putting Debian $SUITE's swiftlang into $ROOT (2.5 GB, some three minutes)" >&2
  make_root || { echo "Swift: Debian's could not be fetched" >&2; exit 3; }
fi
echo "Swift: swiftlang $(chroot "$ROOT" dpkg-query -W -f '${Version}' swiftlang) of Debian $SUITE, in $ROOT" >&2
[ $# -eq 0 ] || enter "$@"
