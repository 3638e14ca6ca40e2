"""What a model does with what is no speech: silence, offsets, square waves, clipping, noise, music.

Prints, for each signal, levels and peaks before and after 8 codebooks, and how rough the decoded audio is at frame borders
compared with elsewhere; stress.png in the folder of --out shows the spectrograms.
"""
import argparse
from pathlib import Path

import numpy as np
import soundfile

from codec import ROOT, Setting, transcode
from held_out import RATE
from report import spectrograms

FRAME = 1920
SECONDS = 4


def signals() -> dict[str, np.ndarray]:
    """4 s each, from a fixed seed."""
    random = np.random.default_rng(1)
    time = np.arange(SECONDS * RATE) / RATE
    tone = lambda frequency: np.sin(2 * np.pi * frequency * time)
    # Four chords of three decaying, slightly detuned sawtooth-like notes.
    music = np.zeros_like(time)
    for chord, root in enumerate((220.0, 174.6, 261.6, 196.0)):
        since = time - chord
        envelope = np.where((since >= 0) & (since < 1), np.exp(-3 * np.maximum(since, 0)), 0)
        for interval in (1, 1.26, 1.498):
            music += envelope * sum(tone(root * interval * k * (1 + 0.001 * k)) / k for k in range(1, 9))
    return {
        "silence": np.zeros_like(time),
        "silence after noise": np.where(time < 1, 0.2 * random.standard_normal(len(time)), 0),
        "offset 0.5": np.full_like(time, 0.5),
        "white noise -14 dBFS": 0.2 * random.standard_normal(len(time)),
        "square 100 Hz 0 dBFS": np.sign(tone(100)),
        "square 1 kHz 0 dBFS": np.sign(tone(1000)),
        "sine 440 Hz clipped": np.clip(4 * tone(440), -1, 1),
        "music": 0.3 * music / np.abs(music).max(),
        "impulses": (np.arange(len(time)) % 7919 == 0).astype(float),
    }


def decibels(x: np.ndarray) -> str:
    power = np.mean(x**2)
    return f"{10 * np.log10(power):.1f}" if power > 0 else "-inf"


def border_roughness(x: np.ndarray) -> float:
    """The mean size of second differences in the 8 samples around frame borders, over that of all samples."""
    rough = np.abs(np.diff(x, 2, prepend=0, append=0))
    places = np.arange(len(x)) % FRAME
    mean = rough.mean()
    return float(rough[(places < 4) | (places >= FRAME - 4)].mean() / mean) if mean > 0 else 1.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", type=Path, default=ROOT / "models/mini")
    arguments.add_argument("--speech", type=Path, nargs="*", default=[])
    arguments.add_argument("--out", type=Path, default=ROOT / ".tools/quality/stress")
    given = arguments.parse_args()
    originals = given.out / "original"
    originals.mkdir(parents=True, exist_ok=True)
    before = {**signals(), **{path.stem: soundfile.read(path)[0] for path in given.speech}}
    for name, samples in before.items():
        soundfile.write(originals / f"{name}.wav", samples, RATE, subtype="FLOAT")
    decoded = transcode(originals, Setting("stress", str(given.model.resolve()), 8), given.out)
    after = {name: soundfile.read(decoded / f"{name}.wav")[0] for name in before}
    print("| signal | level in, dBFS | level out | peak in | peak out | roughness at borders in | out |")
    print("|---|---|---|---|---|---|---|")
    for name in before:
        x, y = before[name], after[name]
        cells = [decibels(x), decibels(y), f"{np.abs(x).max():.2f}", f"{np.abs(y).max():.2f}"]
        print(f"| {name} | {' | '.join(cells)} | {border_roughness(x):.2f} | {border_roughness(y):.2f} |")
    spectrograms({name: (before[name], after[name]) for name in before}, given.out / "stress.png")


if __name__ == "__main__":
    main()
