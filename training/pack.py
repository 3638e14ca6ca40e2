"""Training data small enough to send to another machine: Opus in a zip file, at the bit rate that fits."""
import argparse
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import soundfile

RATE = 24000
CHUNK = 60 * RATE
#: libsndfile's compression level 1 is 6 kbps a channel, 0 is 250 kbps more.
LOWEST, RANGE = 6000, 250000
#: What Ogg adds, and how far a variable bit rate may stray.
MARGIN = 0.9


def pack(work: Path, file: Path, mebibytes: float) -> None:
    audio = np.load(work / "audio.npy", mmap_mode="r")
    index, position, chosen = [], 0, []
    for entry in json.loads((work / "index.json").read_text()):
        if entry["split"] == "train":
            chosen.append(audio[entry["start"] : entry["start"] + entry["length"]])
            index.append({**entry, "start": position})
            position += entry["length"]
    samples = np.concatenate(chosen)
    bits = MARGIN * mebibytes * 2**20 * 8 * RATE / len(samples)
    level = 1 - min(max((bits - LOWEST) / RANGE, 0), 1)
    opus = io.BytesIO()
    with soundfile.SoundFile(opus, "w", RATE, 1, "OPUS", format="OGG", compression_level=level) as out:
        for begin in range(0, len(samples), CHUNK):
            out.write(samples[begin : begin + CHUNK])
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("audio.opus", opus.getvalue())
        archive.writestr("index.json", json.dumps(index), zipfile.ZIP_DEFLATED)
        archive.write(work / "ATTRIBUTION.md", "ATTRIBUTION.md")
    print(f"{len(samples) / RATE / 60:.0f} minutes in {file.stat().st_size / 2**20:.1f} MiB")


def unpack(file: Path, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file) as archive:
        samples, _ = soundfile.read(io.BytesIO(archive.read("audio.opus")), dtype="int16")
        np.save(work / "audio.npy", samples)
        for name in ("index.json", "ATTRIBUTION.md"):
            (work / name).write_bytes(archive.read(name))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = arguments.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("work", type=Path)
    packing.add_argument("file", type=Path)
    packing.add_argument("--mebibytes", type=float, default=50)
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("file", type=Path)
    unpacking.add_argument("work", type=Path)
    given = arguments.parse_args()
    if given.command == "pack":
        pack(given.work, given.file, given.mebibytes)
    else:
        unpack(given.file, given.work)
