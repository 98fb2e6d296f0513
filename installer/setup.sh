#!/usr/bin/env bash
# Makes the virtual environment of a checkout: every dependency at the locked version, checked by hash.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv}
python=${PYTHON:-python3.11}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: Python 3.11 or newer is needed; found $("$python" --version)" >&2; exit 1; }

if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  echo "setup: installing python3-venv (Debian keeps it apart from Python)"
  as_root apt-get update -q >/dev/null
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3-venv >/dev/null
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$venv/bin/python" -m pip install -q --require-hashes -r requirements.lock
"$venv/bin/python" -m pip install -q --no-deps --no-build-isolation -e .
echo "setup: ready, $("$venv/bin/henge" --version)"
