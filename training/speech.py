"""Batches of training speech, augmented."""
import json
from pathlib import Path

import numpy as np
import soxr
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

RATE, FRAME = 24000, 1920


class Speech:
    """Draws speakers by the square root of their minutes, recordings by length, and cuts and changes them."""

    def __init__(self, work: Path, seed: int | list[int]):
        self.audio = np.load(work / "audio.npy", mmap_mode="r")
        self.random = np.random.default_rng(seed)
        self.recordings: dict[str, list[dict]] = {}
        for entry in json.loads((work / "index.json").read_text()):
            if entry["split"] == "train":
                self.recordings.setdefault(entry["speaker"], []).append(entry)
        self.speakers = list(self.recordings)
        self.lengths = {speaker: np.cumsum([entry["length"] for entry in entries]) for speaker, entries in self.recordings.items()}
        # Synthetic voices count less: they are all alike in what makes them easy.
        share = np.array([self.lengths[s][-1] ** 0.5 * (0.6 if s.startswith(("flite", "fest")) else 1) for s in self.speakers])
        self.share = share / share.sum()

    def cut(self, length: int) -> np.ndarray:
        """At most `length` samples of one recording."""
        speaker = self.speakers[self.random.choice(len(self.speakers), p=self.share)]
        ends = self.lengths[speaker]
        entry = self.recordings[speaker][np.searchsorted(ends, self.random.integers(ends[-1]), side="right")]
        begin = entry["start"] + int(self.random.integers(max(1, entry["length"] - length)))
        return self.audio[begin : min(begin + length, entry["start"] + entry["length"])].astype(np.float32) / 32768

    def talk(self, length: int) -> np.ndarray:
        """`length` samples, of several recordings with pauses between where one is too short."""
        pieces = [self.cut(length)]
        while (have := sum(map(len, pieces))) < length:
            pieces += [np.zeros(self.random.integers(4800), np.float32), self.cut(length - have)]
        return np.concatenate(pieces)[:length]

    def odd(self, length: int) -> np.ndarray:
        """What is no speech, so that the codec stays calm: noise, square waves and tones, offsets, impulses."""
        time = np.arange(length) / RATE
        frequency = np.exp(self.random.uniform(np.log(60), np.log(4000)))
        tone = np.sin(2 * np.pi * frequency * time)
        kind = self.random.integers(5)
        if kind == 0:
            return self.random.standard_normal(length).astype(np.float32) * 0.2
        if kind == 1:
            return np.sign(tone).astype(np.float32) * 0.9
        if kind == 2:
            return tone.astype(np.float32) * 0.5
        if kind == 3:
            return np.full(length, 0.5, np.float32)
        return (self.random.random(length) < 0.0005).astype(np.float32) * 0.9

    def example(self, length: int) -> np.ndarray:
        """`length` samples of a voice: other speed and pitch, tilt, pauses, noise, level and sign."""
        random = self.random
        if random.random() < 0.03:
            x = self.odd(length)
        else:
            speed = np.exp(random.uniform(np.log(0.8), np.log(1.25))) if random.random() < 0.7 else 1.0
            x = self.talk(int(length * speed) + 64)
            if speed != 1:
                x = soxr.resample(x, RATE * speed, RATE, "LQ")
            x = np.pad(x[:length], (0, max(0, length - len(x))))
        if random.random() < 0.25:
            x[1:] = x[1:] + random.uniform(-0.6, 0.6) * x[:-1]
        if random.random() < 0.15:
            begin = random.integers(length - 2400)
            x[begin : begin + random.integers(2400, 14400)] = 0
        if random.random() < 0.2:
            noise = random.standard_normal(length).astype(np.float32)
            if random.random() < 0.5:
                noise = np.convolve(noise, np.ones(8) / 8, "same")
            x = x + noise * 0.09 * 10 ** (-random.uniform(25, 50) / 20)
        x = x * 10 ** (random.uniform(-14, 4) / 20) * random.choice([-1, 1])
        return (x * min(1, 0.98 / max(np.abs(x).max(), 1e-9))).astype(np.float32)

    def batch(self, size: int, frames: int) -> torch.Tensor:
        """[size, 1, frames * 1920]"""
        return torch.from_numpy(np.stack([self.example(frames * FRAME) for _ in range(size)]))[:, None]


class Batches(IterableDataset):
    """Batches without end; each worker has a seed of its own."""

    def __init__(self, work: Path, seed: int, size: int, frames: int):
        self.work, self.seed, self.size, self.frames = work, seed, size, frames

    def __iter__(self):
        worker = get_worker_info()
        speech = Speech(self.work, [self.seed, worker.id if worker else 0])
        while True:
            yield speech.batch(self.size, self.frames)


def batches(work: Path, seed: int, size: int, frames: int, workers: int):
    """An iterator, made in this process where workers is 0."""
    return iter(DataLoader(Batches(work, seed, size, frames), batch_size=None, num_workers=workers))
