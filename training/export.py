"""Writes averaged weights in the official Hugging Face layout, as f16, and checks them against transformers.

FOLDER gets config.json, preprocessor_config.json and model.safetensors. --check has transformers' MimiModel load it, and
compares its codes and audio of held-out speech with those of model.py.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model import Mimi

#: What config.json has besides the recipe's [model]: the rest of the architecture, which never changes here.
FIXED = {
    "architectures": ["MimiModel"],
    "model_type": "mimi",
    "dtype": "float16",
    "sampling_rate": 24000,
    "_frame_rate": 12.5,
    "audio_channels": 1,
    "use_causal_conv": True,
    "pad_mode": "constant",
    "trim_right_ratio": 1.0,
    "use_conv_shortcut": False,
    "hidden_act": "gelu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "max_position_embeddings": 8000,
    "initializer_range": 0.02,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "tie_word_embeddings": True,
    "use_cache": False,
    "use_streaming": False,
}
PREPROCESSOR = {
    "chunk_length_s": None,
    "feature_extractor_type": "EncodecFeatureExtractor",
    "feature_size": 1,
    "overlap": None,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": 24000,
}


def entries(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """In f32, codebooks divided by their usage, which is one from then on: f16 has not its range, averages need it gone."""
    result = {name: tensor.float().cpu() for name, tensor in tensors.items()}
    for name in [name for name in result if name.endswith("embed_sum")]:
        usage = name.replace("embed_sum", "cluster_usage")
        result[name] = result[name] / result[usage].clamp(min=1e-5)[:, None]
        result[usage] = torch.ones_like(result[usage])
    return result


def export(snapshot: Path, folder: Path) -> None:
    saved = torch.load(snapshot, map_location="cpu")
    config = saved["config"]
    head_width = config["hidden_size"] // config["num_attention_heads"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**FIXED, **config, "head_dim": head_width}, indent=1) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=1) + "\n")
    tensors = {name: tensor.half().contiguous() for name, tensor in entries(saved["tensors"]).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@torch.no_grad()
def check(folder: Path, work: Path) -> None:
    """Prints how far model.py and transformers agree on 10 s of held-out speech."""
    from transformers import AutoFeatureExtractor, MimiModel

    audio = np.load(work / "audio.npy", mmap_mode="r")
    entries = [entry for entry in json.loads((work / "index.json").read_text()) if entry["split"] == "test"]
    speech = np.concatenate([audio[entry["start"] : entry["start"] + entry["length"]] for entry in entries])[:240000] / 32768
    reference = MimiModel.from_pretrained(folder, dtype=torch.float32).eval()
    features = AutoFeatureExtractor.from_pretrained(folder)(raw_audio=speech, sampling_rate=24000, return_tensors="pt")
    own = Mimi(json.loads((folder / "config.json").read_text())).eval()
    own.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()})

    codebooks = own.config["num_quantizers"]
    codes = reference.encode(features["input_values"], num_quantizers=codebooks).audio_codes
    expected = reference.decode(codes).audio_values
    latents = own.encode(features["input_values"])
    got_codes = own.quantizer.codes(latents)
    got = own.decode(own.quantizer.lookup(codes))
    noise = (got - expected).pow(2).sum()
    print(f"codes {tuple(codes.shape)}: {(codes == got_codes).float().mean():.4%} as in transformers")
    print(f"audio from these codes: {10 * torch.log10(expected.pow(2).sum() / noise):.1f} dB")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("snapshot", type=Path)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--check", type=Path, metavar="WORK")
    given = arguments.parse_args()
    export(given.snapshot, given.folder)
    if given.check:
        check(given.folder, given.check)
