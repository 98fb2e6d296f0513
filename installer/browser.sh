#!/usr/bin/env bash
# Installs Debian's chromium for the browser tests when it is missing.
set -euo pipefail
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

command -v chromium >/dev/null && exit 0
if ! { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1; then
  echo "browser: the browser tests need chromium, and apt-get could not install it; run 'apt-get install chromium' and try again" >&2
  exit 1
fi
