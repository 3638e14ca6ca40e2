#!/usr/bin/env bash
# usage: training/prepare.sh
# Installs the Python packages into .tools/training-venv, fetches the Debian packages and leaves training data in .tools/speech.
# What is there already is not made again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tools=$here/../.tools
work=$tools/speech python=$tools/training-venv/bin/python

if [ ! -x "$python" ]; then
  python3 -m venv "$tools/training-venv"
  "$python" -m pip install --quiet --requirement "$here/requirements.txt"
fi
[ ! -e "$work/index.json" ] || exit 0

names() { PYTHONPATH=$here "$python" -c "import sources; print(*sources.$1)"; }
mkdir -p "$work/packages"
as_root=$([ "$(id -u)" = 0 ] || echo sudo)
$as_root apt-get install --yes --no-install-recommends $(names INSTALLED)
for package in $(names RECORDED); do
  (cd "$work/packages" && apt-get download "$package")
  dpkg --extract "$work/packages/$package"_*.deb "$work/packages/$package"
  rm "$work/packages/$package"_*.deb
done
"$python" "$here/prepare.py" "$work"
