#!/usr/bin/env bash
# Installs what the tests need beside Python when it is missing: Debian's chromium and libatomic for the browser tests,
# libfaketime for those that step the clock, and prometheus, a sender whose remote-write has to be understood. Then PyPI's
# graphite-web, of which the appliance has to be a cluster member, and npm's StatsD clients, outside the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
compgen -G "/usr/lib/*/faketime/libfaketimeMT.so.1" >/dev/null || missing+=(libfaketime)
command -v prometheus >/dev/null || missing+=(prometheus) # One of the tests lets it send what it scrapes.
compgen -G "/usr/lib/*/libatomic.so.1" >/dev/null || missing+=(libatomic1) # What drives the browser is linked with it.
if [ ${#missing[@]} -gt 0 ] && ! { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1; then
  echo "test-tools: the tests need ${missing[*]}, and apt-get could not install it; run 'apt-get install ${missing[*]}' and try again" >&2
  exit 1
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/henge
graphite_web=$cache/graphite-web
if ! cmp -s tests/graphite_web.lock "$graphite_web/.locked"; then
  rm -rf "$graphite_web"
  if "${PYTHON:-python3.11}" -m venv "$graphite_web" && "$graphite_web/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r tests/graphite_web.lock; then
    cp tests/graphite_web.lock "$graphite_web/.locked"
  else
    echo "test-tools: graphite-web could not be installed; the tests beside it are skipped" >&2
  fi
fi

node=$cache/node
if command -v npm >/dev/null && ! cmp -s tests/node/package-lock.json "$node/.locked"; then
  rm -rf "$node"
  mkdir -p "$node"
  cp tests/node/package.json tests/node/package-lock.json "$node"
  if (cd "$node" && npm ci --omit=optional --ignore-scripts --no-audit --no-fund >/dev/null 2>&1); then
    cp tests/node/package-lock.json "$node/.locked"
  else
    echo "test-tools: the StatsD clients of npm could not be installed; their tests are skipped" >&2
  fi
fi
