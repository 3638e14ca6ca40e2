"""Makes the files beside it: the same 3 s of random codes in every format, by NumPy, safetensors and the description in
docs/format.md, so that the tests read and compare bytes that this library did not write: `python generate.py`.

    pip install numpy==2.4.6 safetensors==0.8.0
"""
import json, os, random, struct, zlib
import numpy as np
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
RATE, SIZE, BITS, CODEBOOKS, SAMPLES = 24000, 1920, 11, 8, 72000
FINGERPRINT = "0123456789abcdef"

rng = random.Random(1)
frames = [[rng.randrange(1 << BITS) for _ in range(CODEBOOKS)] for _ in range(-(-SAMPLES // SIZE))]
codes = np.array(frames, dtype="<u2").T[None].copy()


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(data)


def checked(data, before=0):
    return data + struct.pack("<I", zlib.crc32(data, before))


header = struct.pack("<4sBBHII", b"MIMI", 1, BITS, CODEBOOKS, RATE, SIZE) + bytes.fromhex(FINGERPRINT)
flat = [code for frame in frames for code in frame]
packed = sum(code << i * BITS for i, code in enumerate(flat)).to_bytes(-(-len(flat) * BITS // 8), "little")
block = struct.pack("<2sII", b"\x4a\xe3", 0, SAMPLES) + packed
write("codes.mimi", checked(header) + checked(block, zlib.crc32(header)))

write("codes.jsonl", "".join(json.dumps(frame, separators=(",", ":")) + "\n" for frame in frames).encode())
np.save(os.path.join(HERE, "codes.npy"), codes)
metadata = {"fingerprint": FINGERPRINT, "sampling_rate": RATE, "frame_size": SIZE, "codebooks": CODEBOOKS, "bits": BITS,
            "samples": SAMPLES}
save_file({"audio_codes": codes.astype("<i8")}, os.path.join(HERE, "codes.safetensors"),
          {key: str(value) for key, value in metadata.items()})
