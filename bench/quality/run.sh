#!/usr/bin/env bash
# usage: bench/quality/run.sh PROGRAM [options]        PROGRAM: main.py or stress.py
# Installs what the scores need into .tools/quality-venv and the held-out speech into .tools/speech, once, and runs a program.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tools=$(cd "$here/../.." && pwd)/.tools
python=$tools/quality-venv/bin/python
if [ ! -x "$python" ]; then
  python3 -m venv "$tools/quality-venv"
  "$python" -m pip install --quiet --requirement "$here/requirements.txt"
fi
"$here/../../training/prepare.sh"
exec "$python" "$here/$1" "${@:2}"
