"""The recordings that scores are taken of: what prepare.py of training/ kept back, always the same ones.

A recording is a name, its samples (24 kHz, mono, [-1, 1]) and its text where it is known.
"""
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATE = 24000
LONGEST = 8 * RATE
FILES, STRANGERS, SENTENCES = 6, 16, 40


@dataclass(frozen=True)
class Recording:
    name: str
    samples: np.ndarray
    text: str | None = None


def in_turns(entries: list[dict], count: int) -> list[dict]:
    """The first recording of each speaker, then the second of each, until there are enough."""
    speakers: dict[str, list[dict]] = {}
    for entry in entries:
        speakers.setdefault(entry["speaker"], []).append(entry)
    turns = max(map(len, speakers.values()), default=0)
    return [said[turn] for turn in range(turns) for said in speakers.values() if turn < len(said)][:count]


def held_out(work: Path) -> dict[str, list[Recording]]:
    """Sets by name. Of "sentences" only the words count."""
    audio = np.load(work / "audio.npy", mmap_mode="r")
    index = json.loads((work / "index.json").read_text())

    def samples(entry: dict) -> np.ndarray:
        return audio[entry["start"] : entry["start"] + entry["length"]].astype(np.float32) / 32768

    def recording(entry: dict) -> Recording:
        name = f"{entry['speaker']}-{Path(entry['file']).stem}"
        return Recording(name, samples(entry)[:LONGEST], entry["text"])

    test = [entry for entry in index if entry["split"] == "test" and entry["length"] > 2 * RATE]
    real = [entry for entry in test if entry["text"] is None]
    synthetic = [entry for entry in test if entry["text"] is not None]
    voice = [entry for entry in index if entry["split"] == "voice"]
    return {
        "seen speakers": [recording(entry) for entry in in_turns(real, FILES)],
        "seen voices": [recording(entry) for entry in in_turns(synthetic, FILES)],
        "unseen voice": [recording(entry) for entry in voice[:FILES]],
        "unseen speakers": unseen_speakers(index, samples),
        "sentences": [recording(entry) for entry in voice if entry["length"] < LONGEST][:SENTENCES],
    }


def unseen_speakers(index: list[dict], samples) -> list[Recording]:
    """Single words, so some of each speaker one after the other: 3 to 7 s."""
    random = np.random.default_rng(5)
    speakers: dict[str, list[dict]] = {}
    for entry in index:
        if entry["split"] == "stranger" and entry["length"] > 0.3 * RATE:
            speakers.setdefault(entry["speaker"], []).append(entry)
    found = []
    for speaker in sorted(speakers):
        words, length = speakers[speaker], 0
        random.shuffle(words)
        pieces = []
        for entry in words:
            if length > 5 * RATE:
                break
            pieces += [samples(entry), np.zeros(2400, np.float32)]
            length += entry["length"]
        if length > 3 * RATE:
            found.append(Recording(speaker, np.concatenate(pieces)[: 7 * RATE]))
    random.shuffle(found)
    return found[:STRANGERS]
