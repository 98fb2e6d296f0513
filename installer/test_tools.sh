#!/usr/bin/env bash
# Installs what the tests need beside Python when it is missing: Debian's chromium and libatomic for the browser tests,
# libfaketime for those that step the clock, and prometheus, a sender whose remote-write has to be understood.
set -euo pipefail
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
compgen -G "/usr/lib/*/faketime/libfaketimeMT.so.1" >/dev/null || missing+=(libfaketime)
command -v prometheus >/dev/null || missing+=(prometheus) # One of the tests lets it send what it scrapes.
compgen -G "/usr/lib/*/libatomic.so.1" >/dev/null || missing+=(libatomic1) # What drives the browser is linked with it.
[ ${#missing[@]} -eq 0 ] && exit 0
if ! { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1; then
  echo "test-tools: the tests need ${missing[*]}, and apt-get could not install it; run 'apt-get install ${missing[*]}' and try again" >&2
  exit 1
fi
