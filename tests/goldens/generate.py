"""Makes the goldens from Hugging Face transformers: `python generate.py [tiny] [full] [variants] [mini]`, all by default.

    pip install torch==2.15.0 transformers==5.23.0 safetensors numpy scipy

Models: ../models/tiny-hf and ../models/variants/* as they lie there (variants are made anew from a seed), the full size from
../models/full-spec.json, the embedded model with its sample. Other inputs are synthetic and come from seeds. See README.md for what the files hold.
"""
import json, os, sys, wave
import numpy as np
import torch
from safetensors.numpy import save_file
from scipy.signal import lfilter
from deterministic import deterministic
from transformers import EncodecFeatureExtractor, MimiConfig, MimiModel

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "..", "models")
torch.set_grad_enabled(False)
torch.set_num_threads(1)


def speech_like(seconds, seed, rate=24000):
    """Syllables of a gliding pulse train through three formants, bursts of noise, pauses; exact in 16 bits."""
    rng, n = np.random.RandomState(seed), int(round(seconds * rate))
    out, at = np.zeros(n), 0
    while at < n:
        d = int(rate * rng.uniform(0.09, 0.28))
        kind, envelope = rng.rand(), np.sin(np.pi * np.linspace(0, 1, d)) ** 0.6
        if kind < 0.68:
            f0 = rng.uniform(95, 230)
            f1 = f0 * rng.uniform(0.8, 1.25)
            phase = np.cumsum(2 * np.pi * np.linspace(f0, f1, d) / rate)
            y = ((phase / (2 * np.pi)) % 1.0) ** 2 - 0.33 + 0.02 * rng.randn(d)
            for f, width in ((rng.uniform(280, 850), 80), (rng.uniform(900, 2300), 110), (rng.uniform(2300, 3400), 160)):
                r = np.exp(-np.pi * width / rate)
                y = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * f / rate), r * r], y)
            y /= np.abs(y).max() + 1e-9
            y *= envelope * rng.uniform(0.25, 0.6)
        elif kind < 0.86:
            y = lfilter([1, -0.9], [1], rng.randn(d)) * envelope * rng.uniform(0.02, 0.08)
        else:
            y = rng.randn(d) * 0.0008
        m = min(d, n - at)
        out[at:at + m] += y[:m]
        at += d - int(0.01 * rate)
    return (np.clip(np.round(out * 32768), -32768, 32767) / 32768).astype(np.float32)


def margins(model, latent):
    """(second best - best) / best of the squared distances in float64, [codebooks, frames]."""
    out = []
    for quantizer in (model.quantizer.semantic_residual_vector_quantizer, model.quantizer.acoustic_residual_vector_quantizer):
        x = latent if quantizer.input_proj is None else quantizer.input_proj(latent)
        residual = x[0].T.double()
        for layer in quantizer.layers:
            entries = layer.codebook.embed.double()
            near = (torch.cdist(residual, entries) ** 2).topk(2, largest=False)
            out.append((near.values[:, 1] - near.values[:, 0]) / near.values[:, 0].clamp_min(1e-12))
            residual = residual - entries[near.indices[:, 0]]
    return torch.stack(out).float()


def encode(model, x):
    """Stages of the encoder."""
    out = {"seanet_encoder": model.encoder.encoder_seanet(x)}
    hidden = model.encoder.encoder_transformer(out["seanet_encoder"].transpose(1, 2)).last_hidden_state
    out["encoder_transformer"] = hidden.transpose(1, 2)
    out["downsample"] = model.encoder.downsample(out["encoder_transformer"])
    out["codes"] = model.encode(x).audio_codes
    out["code_margin"] = margins(model, out["downsample"])
    return out


def decode(model, codes):
    """Stages of the decoder."""
    out = {"rvq_decode": model.quantizer.decode(codes)}
    out["upsample"] = model.decoder.upsample(out["rvq_decode"])
    hidden = model.decoder.decoder_transformer(out["upsample"].transpose(1, 2)).last_hidden_state
    out["decoder_transformer"] = hidden.transpose(1, 2)
    out["audio"] = model.decode(codes).audio_values
    return out


def layers(model, x):
    """The output of every layer."""
    out, h, blocks = {"input": x}, x, []
    for i, layer in enumerate(model.encoder.encoder_seanet.layers):
        out[f"enc.{i}"] = h = layer(h)
    transformer = model.encoder.encoder_transformer
    hooks = [layer.register_forward_hook(lambda _m, _i, o: blocks.append(o)) for layer in transformer.layers]
    out["enc_tr_out_btc"] = transformer(h.transpose(1, 2)).last_hidden_state
    for hook in hooks:
        hook.remove()
    out.update({f"enc_tr.{i}": block for i, block in enumerate(blocks)})
    latent = model.encoder.downsample(out["enc_tr_out_btc"].transpose(1, 2))
    out["code_margin"], out["codes"] = margins(model, latent), model.encode(x).audio_codes
    out["dec_in"] = h = decode(model, out["codes"])["decoder_transformer"]
    for i, layer in enumerate(model.decoder.decoder_seanet.layers):
        out[f"dec.{i}"] = h = layer(h)
    return out


def save(name, tensors):
    def array(v):
        v = v if isinstance(v, np.ndarray) else v.numpy()
        return np.ascontiguousarray(v.astype(np.int32) if v.dtype == np.int64 else v)
    save_file({k: array(v) for k, v in tensors.items()}, os.path.join(HERE, f"{name}.safetensors"))
    print(name, {k: tuple(v.shape) for k, v in tensors.items()})


def row(samples):
    return torch.from_numpy(np.ascontiguousarray(samples))[None, None]


def tiny():
    folder = os.path.join(MODELS, "tiny-hf")
    model = MimiModel.from_pretrained(folder).eval()
    lengths = {"main_2s": 48000, "notmult_30000": 30000, "short_1000": 1000, "one": 1, "just_961": 961, "frame_1920": 1920,
               "frame_plus1": 1921, "window_3s": 72000}
    for name, n in lengths.items():
        x = row(speech_like(4, 21)[:n])
        out = {"input": x, **encode(model, x)}
        out.update(decode(model, out["codes"]), forward_audio=model(x).audio_values)
        if name == "window_3s":
            out = {k: out[k] for k in ("input", "codes", "audio", "downsample", "code_margin")}
        if name == "main_2s":
            for k in (1, 2, 3):
                out[f"codes_nq{k}"] = model.encode(x, num_quantizers=k).audio_codes
                out[f"audio_nq{k}"] = model.decode(out[f"codes_nq{k}"]).audio_values
        save(f"tiny_{name}", out)
    save("tiny_layers", layers(model, row(speech_like(1, 5)[:3840])))

    a, b = speech_like(4, 31)[:20000], speech_like(4, 32)[:9000]
    batch = EncodecFeatureExtractor.from_pretrained(folder)(raw_audio=[a, b], sampling_rate=24000, return_tensors="pt")
    values, mask = batch["input_values"], batch["padding_mask"]
    codes = model.encode(values, mask).audio_codes
    save("tiny_batch2", {
        "input_values": values, "padding_mask": mask.long(), "codes": codes, "raw0": a, "raw1": b,
        "forward_audio": model(values, mask).audio_values, "decode_audio": model.decode(codes).audio_values,
        "decode_audio_pm": model.decode(codes, mask).audio_values, "codes_mask": model.get_audio_codes_mask(mask).long(),
        **{f"code_margin_row{i}": encode(model, values[i:i + 1])["code_margin"] for i in (0, 1)},
    })


def full_model():
    with open(os.path.join(MODELS, "full-spec.json")) as file:
        recipes = json.load(file)["tensors"]
    weights = {}
    for t in recipes:
        u = deterministic(t["name"], int(np.prod(t["shape"]))).reshape(t["shape"])
        value = (t.get("b", 0) + t.get("a", 0) * u).astype(np.float32)
        if t["kind"] == "embed_sum":
            value = (value.astype(np.float64) * weights[t["usage"]].astype(np.float64)[:, None]).astype(np.float32)
        weights[t["name"]] = value
    folder = os.environ.get("FULL_MODEL", "/tmp/mimi-full")
    os.makedirs(folder, exist_ok=True)
    save_file(weights, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    MimiConfig().save_pretrained(folder)
    return MimiModel.from_pretrained(folder).eval()


def full():
    model = full_model()
    x = row(speech_like(4.5, 41)[:4 * 24000 + 777])
    stages = encode(model, x)
    codes = stages["codes"]
    save("full_4s", {"input": x, "codes": codes, "code_margin": stages["code_margin"], "latent": stages["downsample"],
                     "audio": model.decode(codes).audio_values, "audio_nq8": model.decode(codes[:, :8]).audio_values})
    x = x[..., :9600]
    stages = encode(model, x)
    save("full_400ms_stages", {"input": x, **stages, **decode(model, stages["codes"])})
    x = row(speech_like(15, 42)[:14 * 24000])
    stages = encode(model, x)
    audio = model.decode(stages["codes"][:, :8]).audio_values
    save("full_14s", {"pcm16": np.round(x.numpy()[0, 0] * 32768).astype(np.int16), "code_margin": stages["code_margin"],
                      "codes": stages["codes"].to(torch.int16), "audio_nq8_last1s": audio[..., -24000:]})


BASE = dict(hidden_size=24, num_filters=6, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, head_dim=12,
            intermediate_size=40, sliding_window=7, codebook_size=32, codebook_dim=12, num_quantizers=5, upsample_groups=24,
            vector_quantization_hidden_dimension=12, upsampling_ratios=[5, 4])
# Without any resampling (frame_rate equal to the SEANet's) transformers itself fails: it calls the layer that is not there.
VARIANTS = {
    "ratios": dict(upsampling_ratios=[4, 3, 2], kernel_size=5, last_kernel_size=5, residual_kernel_size=5, compress=3,
                   frame_rate=500.0),
    "residual": dict(num_residual_layers=3, use_conv_shortcut=True, num_semantic_quantizers=2, num_quantizers=6),
    "attention": dict(num_attention_heads=4, num_key_value_heads=2, head_dim=6, attention_bias=True, sliding_window=5,
                      rope_parameters=dict(rope_theta=500.0, rope_type="default")),
    "latent": dict(frame_rate=300.0, upsample_groups=4, vector_quantization_hidden_dimension=24, codebook_dim=24,
                   pad_mode="replicate"),
}


def variants():
    """Small models whose configurations nobody has published, with random weights whose activations keep their size."""
    for number, (name, fields) in enumerate(VARIANTS.items()):
        torch.manual_seed(number)
        model = MimiModel(MimiConfig(**{**BASE, **fields})).eval()
        for key, p in model.named_parameters():
            if "norm.weight" in key:
                p.uniform_(0.8, 1.2)
            elif key.endswith("bias"):
                p.uniform_(-0.05, 0.05)
            elif "layer_scale" in key:
                p.uniform_(0.1, 0.2)
            else:
                p.uniform_(-1, 1).mul_(1.7 / np.sqrt(p[0].numel()))
        x = row(speech_like(0.5, 100 + number)[2000:2000 + 40 * model.config.frame_size - 13])
        latent = encode(model, x)["downsample"]
        for quantizer in (model.quantizer.semantic_residual_vector_quantizer, model.quantizer.acoustic_residual_vector_quantizer):
            residual = latent if quantizer.input_proj is None else quantizer.input_proj(latent)
            for layer in quantizer.layers:
                book = layer.codebook
                book.cluster_usage.copy_(torch.rand_like(book.cluster_usage) * 2.5 + 0.5)
                entries = torch.randn_like(book.embed_sum) * residual.std() + residual.mean()
                book.embed_sum.copy_(entries * book.cluster_usage[:, None])
                book._embed = None
                residual = residual - layer.decode(layer.encode(residual))
        folder = os.path.join(MODELS, "variants", name)
        model.save_pretrained(folder)
        model = MimiModel.from_pretrained(folder).eval()
        stages = encode(model, x)
        codes = stages["codes"]
        some = model.config.num_semantic_quantizers + 1
        save(f"variant_{name}", {"input": x, **{k: stages[k] for k in ("codes", "code_margin", "downsample")},
                                 "audio": model.decode(codes).audio_values, f"audio_nq{some}": model.decode(codes[:, :some]).audio_values})


def mini():
    """The embedded model and its sample."""
    folder = os.path.join(HERE, "..", "..", "models", "mini")
    model = MimiModel.from_pretrained(folder, dtype=torch.float32).eval()
    with wave.open(os.path.join(folder, "it-cannot-complete.wav")) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    stages = encode(model, row(pcm.astype(np.float32) / 32768))
    codes = stages["codes"]
    save("mini_sample", {"codes": codes, "code_margin": stages["code_margin"],
                         "audio_nq8": model.decode(codes[:, :8]).audio_values})


if __name__ == "__main__":
    for part in sys.argv[1:] or ["tiny", "full", "variants", "mini"]:
        {"tiny": tiny, "full": full, "variants": variants, "mini": mini}[part]()
