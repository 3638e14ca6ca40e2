"""Scores of a training run against its steps.

Exports at most so many snapshots of RUN (a folder that training/train.py made), evenly chosen and with the last, scores each as
main.py does and draws curve.svg in the folder of --out. --start: the model that the run went on from, as step 0.
Other options, such as --sets, are main.py's.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from codec import ROOT
from report import plot

TRAINING = ROOT / ".tools/training-venv/bin/python"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--python", default=TRAINING, help="with PyTorch, for export.py")
    arguments.add_argument("--codebooks", type=int, default=8)
    arguments.add_argument("--most", type=int, default=8)
    arguments.add_argument("--start", type=Path)
    arguments.add_argument("--out", type=Path, default=ROOT / ".tools/quality/curve")
    given, more = arguments.parse_known_args()

    snapshots = sorted((given.run / "snapshots").glob("*.pt"))
    chosen = {round(place) for place in np.linspace(0, len(snapshots) - 1, min(given.most, len(snapshots)))}
    models = {"0": given.start} if given.start else {}
    for place in sorted(chosen):
        folder = given.out / "models" / snapshots[place].stem
        if not (folder / "model.safetensors").exists():
            subprocess.run([given.python, ROOT / "training/export.py", snapshots[place], folder], check=True)
        models[str(int(snapshots[place].stem))] = folder

    program = Path(__file__).with_name("main.py")
    options = ["--codebooks", str(given.codebooks), "--out", given.out, *more]
    named = [f"{step}={folder}" for step, folder in models.items()]
    subprocess.run([sys.executable, program, *options, "--models", *named], check=True)
    rows = json.loads((given.out / "scores.json").read_text())
    plot([{**row, "label": "", "at": int(row["label"])} for row in rows], given.out / "curve.svg", "steps")


if __name__ == "__main__":
    main()
