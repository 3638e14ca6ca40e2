"""Turns the Debian packages of sources.py into training data.

usage: prepare.py WORK

Writes WORK/audio.npy (int16, 24 kHz mono, recordings end to end), WORK/index.json (where each recording lies, its speaker,
its split, what is said where that is known) and WORK/ATTRIBUTION.md. Splits: "train"; "test", recordings of training speakers kept back; "voice", a
synthetic voice that nothing is trained on; "stranger", real speakers and microphones that nothing is trained on.
"""
import json
import random
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from sources import ATTRIBUTION, SYNTHETIC, recordings, sentence_of, text_of

RATE = 24000
HELD_OUT_VOICE = "flite_awb"
HELD_OUT_SHARE = 0.03


def read(path: Path) -> tuple[np.ndarray, int]:
    """Mono samples in [-1, 1] and their rate."""
    if path.suffix == ".g722":
        with av.open(str(path), format="g722") as container:
            frames = list(container.decode(audio=0))
        if not frames:
            return np.zeros(0, np.float32), RATE
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
        return samples.astype(np.float32) / 32768, frames[0].sample_rate
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(1), rate


def shorten_pauses(samples: np.ndarray) -> np.ndarray | None:
    """Keeps 12 blocks of 240 samples around all that is within 38 dB of the loud parts. None: nothing but silence."""
    block, around = 240, 12
    blocks = len(samples) // block
    if blocks < 20:
        return None
    samples = samples[: blocks * block]
    level = np.sqrt((samples.reshape(blocks, block) ** 2).mean(1) + 1e-12)
    loud = np.percentile(level, 95)
    active = level > loud * 10 ** (-38 / 20)
    if loud < 1e-3 or not active.any():
        return None
    near = np.convolve(active.astype(float), np.ones(2 * around + 1))[around : around + blocks] > 0
    return samples[np.repeat(near, block)]


def normalise(samples: np.ndarray) -> np.ndarray:
    """No offset, an RMS of 0.09 (-21 dBFS) unless the peak would pass 0.95."""
    samples = samples - samples.mean()
    rms = np.sqrt((samples**2).mean())
    return samples * min(0.09 / rms, 0.95 / np.abs(samples).max())


def speak(work: Path) -> None:
    """Has Debian's synthesisers speak sentences.txt, each voice others of them."""
    for voice in SYNTHETIC:
        folder = work / "synthetic" / voice.name
        folder.mkdir(parents=True, exist_ok=True)
        missing = [i for i in range(voice.count) if not (folder / f"{i:04d}.wav").exists()]
        if not missing:
            continue
        if voice.program == "flite":
            for i in missing:
                subprocess.run(
                    ["flite", "-voice", voice.voice, "-t", sentence_of(voice, i), "-o", folder / f"{i:04d}.wav"], check=True
                )
        else:
            script = [f"(voice_{voice.voice})"] + [
                f'(utt.save.wave (utt.synth (Utterance Text "{sentence_of(voice, i)}")) "{folder}/{i:04d}.wav" \'riff)'
                for i in missing
            ]
            (folder / "speak.scm").write_text("\n".join(script))
            subprocess.run(["festival", "-b", folder / "speak.scm"], check=True)


def main() -> None:
    work = Path(sys.argv[1])
    speak(work)
    # One draw a recording of a training speaker, in the order of recordings(): the split is the same on every machine.
    draw = random.Random(7)
    index, chunks, position = [], [], 0
    for speaker, path, stranger in recordings(work):
        samples, rate = read(path)
        samples = shorten_pauses(samples)
        if samples is None or len(samples) < rate * 0.25:
            continue
        if rate != RATE:
            samples = soxr.resample(samples, rate, RATE, "HQ")
        samples = normalise(samples)
        if stranger:
            split = "stranger"
        elif speaker == HELD_OUT_VOICE:
            split = "voice"
        else:
            split = "test" if draw.random() < HELD_OUT_SHARE else "train"
        entry = {"speaker": speaker, "file": str(path.relative_to(work)), "start": position, "length": len(samples)}
        index.append({**entry, "split": split, "text": text_of(speaker, path)})
        chunks.append((samples * 32767).round().astype(np.int16))
        position += len(samples)
    np.save(work / "audio.npy", np.concatenate(chunks))
    (work / "index.json").write_text(json.dumps(index))
    (work / "ATTRIBUTION.md").write_text(ATTRIBUTION)
    minutes: dict[str, float] = {}
    for entry in index:
        key = entry["split"] if entry["split"] == "stranger" else f"{entry['split']} {entry['speaker']}"
        minutes[key] = minutes.get(key, 0) + entry["length"] / RATE / 60
    for key, value in sorted(minutes.items()):
        print(f"{value:7.1f} min  {key}")


if __name__ == "__main__":
    main()
