"""Averages models that are near each other, such as snapshots of a run and of what went on from it.

    python average.py OUT.pt SNAPSHOT.pt... MODEL/...

Weights of one training path often average to a better model than the last of them ("model soups", Wortsman et al. 2022,
arXiv:2203.05482). All have the same shapes; codebooks are averaged entry by entry. export.py takes OUT.pt.
"""
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from export import entries


def read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    """Configuration and tensors of a snapshot, or of a folder that export.py wrote."""
    if path.is_dir():
        return json.loads((path / "config.json").read_text()), entries(load_file(path / "model.safetensors"))
    saved = torch.load(path, map_location="cpu")
    return saved["config"], entries(saved["tensors"])


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("models", type=Path, nargs="+")
    given = arguments.parse_args()
    (config, first), *others = map(read, given.models)
    mean = {name: sum((other[name] for _, other in others), tensor) / len(given.models) for name, tensor in first.items()}
    torch.save({"config": config, "tensors": mean}, given.out)
