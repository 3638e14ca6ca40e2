#!/usr/bin/env bash
# usage: training/run.sh RECIPE
# Everything from nothing to a model: installs, fetches speech, prepares it, trains by recipes/RECIPE.toml in steps of 8
# minutes, exports. Interrupt it when you like; the same command goes on. Debian 12, Python 3.11.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tools=$here/../.tools
work=$tools/speech run=$tools/runs/$1 python=$tools/training-venv/bin/python

"$here/prepare.sh"
code=3
while [ $code = 3 ]; do
  code=0
  "$python" "$here/train.py" "$work" "$here/recipes/$1.toml" "$run" --minutes 8 || code=$?
done
[ $code = 0 ] || exit $code
last=$(ls "$run"/snapshots/*.pt | tail -1)
"$python" "$here/export.py" "$last" "$run/model" --check "$work"
echo "The model is in $run/model"
