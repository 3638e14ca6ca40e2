"""usage: engine.py moshi|rustymimi|transformers FOLDER CODEBOOKS

One engine in a process: reads a command a line and answers each with a line of JSON, as engine.ts does.
"""

import json
import os
import sys
import time
import warnings
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", RAYON_NUM_THREADS="1", NO_TORCH_COMPILE="1")
os.environ.update(TRANSFORMERS_VERBOSITY="error")
warnings.filterwarnings("ignore")

import numpy as np

FRAME = 1920
NAME, FOLDER, CODEBOOKS = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what libraries print is no answer

if NAME != "rustymimi":
    import torch

    torch.set_grad_enabled(False)
    torch.set_num_threads(1)


class Moshi:
    def __init__(self):
        from moshi.models import loaders

        load = lambda: loaders.get_mimi(FOLDER / "kyutai.safetensors", device="cpu", num_codebooks=CODEBOOKS)
        self.whole, self.stream = load(), load()
        self.stream.streaming_forever(1)

    def encode(self, audio):
        return self.whole.encode(torch.from_numpy(audio)).numpy()

    def decode(self, codes):
        return self.whole.decode(torch.from_numpy(codes.astype(np.int64))).numpy()

    def step(self, audio):
        self.stream.decode(self.stream.encode(torch.from_numpy(audio)))


class Rusty:
    def __init__(self):
        import rustymimi

        load = lambda: rustymimi.Tokenizer(str(FOLDER / "kyutai.safetensors"), num_codebooks=CODEBOOKS)
        self.whole, self.stream = load(), load()

    def encode(self, audio):
        return np.asarray(self.whole.encode(audio))

    def decode(self, codes):
        return np.asarray(self.whole.decode(codes.astype(np.uint32)))

    def step(self, audio):
        self.stream.decode_step(self.stream.encode_step(audio))


class Transformers:
    """Has no streaming decoder."""

    def __init__(self):
        from transformers import MimiModel

        self.model = MimiModel.from_pretrained(FOLDER).eval()

    def encode(self, audio):
        return self.model.encode(torch.from_numpy(audio), num_quantizers=CODEBOOKS).audio_codes.numpy()

    def decode(self, codes):
        return self.model.decode(torch.from_numpy(codes.astype(np.int64))).audio_values.numpy()


def timed(run) -> dict:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def main() -> None:
    from importlib.metadata import version

    engine = {"moshi": Moshi, "rustymimi": Rusty, "transformers": Transformers}[NAME]()
    audio = np.fromfile(FOLDER / "audio.f32", np.float32)[None, None]
    codes = np.fromfile(FOLDER / "codes.u16", np.uint16).reshape(1, CODEBOOKS, -1)
    frames, at = audio.shape[2] // FRAME, 0

    def live(count: int) -> None:
        nonlocal at
        for _ in range(count):
            engine.step(np.ascontiguousarray(audio[..., at * FRAME:(at + 1) * FRAME]))
            at = (at + 1) % frames

    def answer(value) -> None:
        print(json.dumps(value), file=answers, flush=True)

    answer({"version": version(NAME), "live": hasattr(engine, "step")})
    for line in sys.stdin:
        command, *rest = line.split()
        if command == "check":
            engine.encode(audio).astype(np.uint16).tofile(FOLDER / f"{rest[0]}.codes")
            engine.decode(codes).astype(np.float32).tofile(FOLDER / f"{rest[0]}.audio")
            answer({})
        elif command == "live":
            answer(timed(lambda: live(int(rest[0]))))
        else:
            answer({"encode": timed(lambda: engine.encode(audio)), "decode": timed(lambda: engine.decode(codes))})


main()
