#!/usr/bin/env bash
# usage: npm run bench:peers -- [--plot FILE.svg] [--rounds N]
# Installs the Python peers into .tools/peers-venv, once, and measures.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$(cd "$here/../.." && pwd)/.tools/peers-venv
if [ ! -e "$venv/ready" ]; then
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
  touch "$venv/ready"
fi
PEERS_PYTHON="$venv/bin/python" exec npx tsx "$here/main.ts" "$@"
