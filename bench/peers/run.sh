#!/usr/bin/env bash
# usage: npm run bench:peers -- [--plot FILE.svg] [--rounds N]
# Installs the Python peers into .tools/peers-venv, once, and measures.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$(cd "$here/../.." && pwd)/.tools/peers-venv
if [ ! -e "$venv/ready" ]; then
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
  # Its requirements ask for an older huggingface-hub than transformers, and for what its codec does not use.
  "$venv/bin/python" -m pip install --quiet --no-deps moshi==0.2.13
  touch "$venv/ready"
fi
PEERS_PYTHON="$venv/bin/python" exec npx tsx "$here/main.ts" "$@"
