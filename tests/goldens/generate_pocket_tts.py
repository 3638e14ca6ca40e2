"""Makes the goldens of examples/pocket-tts from Kyutai's own package: `python generate_pocket_tts.py`.

    pip install torch==2.15.0 pocket-tts==4.0.1

Weights are random: of a tiny model, whose decoder has settings of its own, they lie in ../models/pocket-tts-tiny as the
package names them; of the published size they follow from ../models/pocket-tts-spec.json. The input is that of
full_14s.safetensors. See README.md for what the files hold.
"""
import contextlib, json, os
import numpy as np
import torch
import torch.nn.functional as F
from deterministic import deterministic
from pocket_tts.models.mimi import build_mimi
from pocket_tts.modules.stateful_module import StatefulModule, increment_steps, init_states
from pocket_tts.utils.config import CONFIGS_DIR, MimiConfig, load_config
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "..", "models")
torch.set_grad_enabled(False)
torch.set_num_threads(1)

SEANET = dict(dimension=24, channels=1, n_filters=4, n_residual_layers=1, ratios=[6, 5, 4], kernel_size=7,
              residual_kernel_size=3, last_kernel_size=3, dilation_base=2, pad_mode="constant", compress=2)
TRANSFORMER = dict(d_model=24, input_dimension=24, output_dimensions=[24], num_heads=2, num_layers=2, layer_scale=0.01,
                   context=20, dim_feedforward=48)
TINY = dict(
    dtype="float32", sample_rate=24000, channels=1, frame_rate=12.5, inner_dim=32, outer_dim=16, seanet=SEANET,
    transformer=TRANSFORMER, quantizer=dict(dimension=32, output_dimension=16),
    decoder_seanet={**SEANET, "dimension": 16, "n_filters": 3, "kernel_size": 3},
    decoder_transformer={**TRANSFORMER, "d_model": 16, "input_dimension": 16, "output_dimensions": [16], "num_layers": 1,
                         "context": 18, "dim_feedforward": 32},
)


def scale(name, shape):
    """Half the range of a tensor's values and their middle, such that activations keep their size."""
    if ".norm" in name and name.endswith("weight"):
        return 0.2, 1.0
    if name.endswith("bias"):
        return 0.05, 0.0
    if "layer_scale" in name:
        return 0.05, 0.15
    fan_in = shape[0] * 2 if "decoder.model" in name and "convtr" in name else int(np.prod(shape[1:]))
    return (0.5, 0.0) if "upsample" in name else (1.7 / np.sqrt(fan_in), 0.0)


def named(model):
    """Modules must know their names to find their state; TTSModel tells them when it loads a model."""
    for name, module in model.named_modules():
        if isinstance(module, StatefulModule):
            module._module_absolute_name = name
    return model.eval()


def decode(model, latents):
    """As TTSModel does: one frame after the other."""
    steps = int(model.encoder_frame_rate / model.frame_rate)
    state, out = init_states(model, 1, latents.shape[1] * steps), []
    for frame in latents.split(1, dim=1):
        out.append(model.decode_from_latent(frame, state))
        increment_steps(model, state, steps)
    return torch.cat(out, dim=-1)


@contextlib.contextmanager
def exact_gelu():
    """With GELU by erf, as Mimi and pocket-tts 2.1.0 have it; 4.0.1 approximates it by tanh."""
    gelu = F.gelu
    F.gelu = lambda x, approximate: gelu(x)
    try:
        yield
    finally:
        F.gelu = gelu


def samples(first, count):
    pcm = load_file(os.path.join(HERE, "full_14s.safetensors"))["pcm16"]
    return (pcm[first:first + count].float() / 32768)[None, None]


def save(name, tensors):
    save_file({key: value.contiguous() for key, value in tensors.items()}, os.path.join(HERE, f"{name}.safetensors"))
    print(name, {key: (tuple(value.shape), round(value.std().item(), 4)) for key, value in tensors.items()})


def tiny():
    torch.manual_seed(7)
    model = named(build_mimi(MimiConfig(**TINY)))
    for name, p in model.named_parameters():
        a, b = scale(name, p.shape)
        p.copy_((torch.rand_like(p) * 2 - 1).mul_(a).add_(b).bfloat16())
    folder = os.path.join(MODELS, "pocket-tts-tiny")
    os.makedirs(folder, exist_ok=True)
    weights = {f"mimi.{key}": value.bfloat16().contiguous() for key, value in model.state_dict().items()}
    weights["flow_lm.emb_mean"] = torch.zeros(32)  # stands for the language model, which lies in the same file
    save_file(weights, os.path.join(folder, "model.safetensors"))
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(TINY, file, indent=2)
        file.write("\n")
    x = samples(24000, 5 * 1920 + 700)
    with exact_gelu():
        latents = model.encode_to_latent(x)
        audio = decode(model, latents)
    save("pocket_tts_tiny", {"latents": latents, "audio": audio, "latents_tanh": model.encode_to_latent(x),
                             "audio_tanh": decode(model, latents)})


def full():
    """The published size; 20 frames go past the 250 positions that a query sees."""
    model = named(build_mimi(load_config(CONFIGS_DIR / "english.yaml").mimi))
    recipes = []
    for key, p in model.named_parameters():
        name, (a, b) = f"mimi.{key}", scale(key, p.shape)
        a = round(float(a), 6)
        recipes.append(dict(name=name, shape=list(p.shape), kind="uniform", a=a, b=b))
        value = b + a * deterministic(name, p.numel())
        p.copy_(torch.from_numpy(value.astype(np.float32).reshape(p.shape)))
    with open(os.path.join(MODELS, "pocket-tts-spec.json"), "w") as file:
        lines = ",\n".join(json.dumps(recipe, separators=(",", ":")) for recipe in recipes)
        file.write('{"tensors":[\n' + lines + "\n]}\n")
    x, last = samples(0, 20 * 1920), slice(-2 * 1920, None)
    with exact_gelu():
        latents = model.encode_to_latent(x)
        audio = decode(model, latents)[..., last]
    save("pocket_tts_full", {"latents": latents, "audio_last2": audio, "latents_tanh": model.encode_to_latent(x),
                             "audio_tanh_last2": decode(model, latents)[..., last]})


if __name__ == "__main__":
    tiny()
    full()
