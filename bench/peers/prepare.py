"""usage: prepare.py FOLDER CODEBOOKS

FOLDER has model.safetensors and config.json in transformers' layout and audio.f32, 10 s of samples. Writes beside them what
other engines read: kyutai.safetensors in Kyutai's layout, and encoder.onnx and decoder.onnx, which are transformers' model as
PyTorch exports it for that length.
"""

import re
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import MimiModel, masking_utils
from transformers.models.mimi.modeling_mimi import MimiEuclideanCodebook

warnings.filterwarnings("ignore")

RENAMED = [
    (r"^(encoder|decoder)\.layers\.(\d+)\.(conv|shortcut\.conv|block\.\d+\.conv)\.(\w+)$", r"\1.model.\2.\3.conv.\4"),
    (r"^(\w+_transformer)\.layers\.", r"\1.transformer.layers."),
    (r"\.self_attn\.o_proj\.", ".self_attn.out_proj."),
    (r"\.mlp\.fc(\d)\.", r".linear\1."),
    (r"\.input_layernorm\.", ".norm1."),
    (r"\.post_attention_layernorm\.", ".norm2."),
    (r"\.self_attn_layer_scale\.", ".layer_scale_1."),
    (r"\.mlp_layer_scale\.", ".layer_scale_2."),
    (r"^downsample\.conv\.", "downsample.conv.conv.conv."),
    (r"^upsample\.conv\.", "upsample.convtr.convtr.convtr."),
    (r"^quantizer\.semantic_residual_vector_quantizer\.", "quantizer.rvq_first."),
    (r"^quantizer\.acoustic_residual_vector_quantizer\.", "quantizer.rvq_rest."),
    (r"\.layers\.(\d+)\.codebook\.cluster_usage$", r".vq.layers.\1._codebook.cluster_usage"),
    (r"\.layers\.(\d+)\.codebook\.embed_sum$", r".vq.layers.\1._codebook.embedding_sum"),
    (r"\.layers\.(\d+)\.codebook\.initialized$", r".vq.layers.\1._codebook._initialized"),
]
HEADS, HEAD = 8, 64


def interleaved(rows: np.ndarray) -> np.ndarray:
    """Rows of queries or keys from halves (j, j + 32) to rotary pairs (2j, 2j + 1)."""
    return rows.reshape(HEADS, 2, HEAD // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def to_kyutai(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    out = {}
    for name, values in weights.items():
        part = re.match(r"(.*\.self_attn)\.([qkv])_proj\.weight$", name)
        if part and part[2] != "q":
            continue  # with the queries
        if part:
            keys, values_ = (weights[f"{part[1]}.{p}_proj.weight"] for p in "kv")
            name, values = f"{part[1]}.in_proj_weight", np.concatenate([interleaved(values), interleaved(keys), values_])
        for pattern, to in RENAMED:
            name = re.sub(pattern, to, name)
        # The decoder's transposed convolutions have a name of their own.
        name = re.sub(r"^(decoder\.model\.(?:2|5|8|11))\.conv\.conv\.(\w+)$", r"\1.convtr.convtr.\2", name)
        out[name] = np.ascontiguousarray(values)
    return out


class Encoder(torch.nn.Module):
    def __init__(self, model: MimiModel, codebooks: int):
        super().__init__()
        self.model, self.codebooks = model, codebooks

    def forward(self, audio):
        return self.model.encode(audio, num_quantizers=self.codebooks).audio_codes


class Decoder(torch.nn.Module):
    def __init__(self, model: MimiModel):
        super().__init__()
        self.model = model

    def forward(self, codes):
        return self.model.decode(codes).audio_values


def main() -> None:
    folder, codebooks = Path(sys.argv[1]), int(sys.argv[2])
    weights = load_file(folder / "model.safetensors")
    for name in [n for n in weights if n.endswith(".embed_sum")]:
        weights[name.replace("embed_sum", "initialized")] = np.ones(1, np.float32)
    save_file(to_kyutai(weights), folder / "kyutai.safetensors")
    torch.set_grad_enabled(False)
    # Looks for several sequences in one, of which there is none; what it does cannot be exported.
    masking_utils.find_packed_sequence_indices = lambda position_ids: None
    # torch.cdist cannot be exported for sizes that tracing leaves open; the nearest entry by products is faster, too.
    MimiEuclideanCodebook.quantize = lambda self, x: (x @ self.embed.T - self.embed.square().sum(1) / 2).argmax(-1)
    model = MimiModel.from_pretrained(folder, attn_implementation="eager").eval()
    audio = torch.from_numpy(np.fromfile(folder / "audio.f32", np.float32))[None, None]
    codes = model.encode(audio, num_quantizers=codebooks).audio_codes
    for name, module, example in [("encoder", Encoder(model, codebooks), audio), ("decoder", Decoder(model), codes)]:
        # By tracing: torch.export cannot follow the model's masks (PyTorch 2.9, transformers 5.23).
        torch.onnx.export(module.eval(), (example,), str(folder / f"{name}.onnx"), input_names=["x"], output_names=["y"],
                          dynamo=False, opset_version=18)


main()
