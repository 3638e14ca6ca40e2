"""How decoded speech sounds, by number.

--work is where training/prepare.py left its data. Every model, precision and number of codebooks is a row: held-out recordings go
through this project's command line and are scored against their originals. Prints a table as Markdown and leaves scores.json,
scores.svg and the decoded audio in the folder of --out.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import soundfile

from codec import ROOT, Setting, bitrate, transcode
from held_out import RATE, Recording, held_out
from report import plot, table
from scores import SCORES, Recogniser, compare, word_error_rate


def settings(models: list[str], precisions: list[str], codebooks: list[int]) -> list[Setting]:
    named = [model.partition("=") for model in models]
    return [
        Setting(name, str(Path(folder).resolve()), count, precision)  # the command line takes a bare name for a repository
        for name, _, folder in named
        for precision in (precisions or [None])
        for count in codebooks
    ]


def read(path: Path, length: int) -> np.ndarray:
    samples, _ = soundfile.read(path, dtype="float32")
    assert len(samples) == length, f"{path} has {len(samples)} samples, its original {length}"
    return samples


def mean_scores(recordings: list[Recording], decoded: list[np.ndarray]) -> dict[str, float]:
    scores = [compare(recording.samples, samples) for recording, samples in zip(recordings, decoded)]
    return {name: float(np.nanmean([score[name] for score in scores])) for name in SCORES}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--work", type=Path, default=ROOT / ".tools/speech")
    arguments.add_argument("--models", nargs="+", default=[f"mini={ROOT / 'models/mini'}"])
    arguments.add_argument("--codebooks", nargs="+", type=int, default=[4, 8, 16, 32])
    arguments.add_argument("--precisions", nargs="+", default=[], help="what --precision of the command line takes")
    arguments.add_argument("--sets", nargs="+", default=[])
    arguments.add_argument("--out", type=Path, default=ROOT / ".tools/quality")
    given = arguments.parse_args()
    sets = {name: recordings for name, recordings in held_out(given.work).items() if name in given.sets or not given.sets}

    originals = given.out / "original"
    for name, recordings in sets.items():
        folder = originals / name.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        for recording in recordings:
            soundfile.write(folder / f"{recording.name}.wav", recording.samples, RATE, subtype="PCM_16")

    recogniser = Recogniser()
    rows = []
    heard = [recogniser.words(recording.samples) for recording in sets.get("sentences", [])]
    for setting in settings(given.models, given.precisions, given.codebooks):
        decoded_folder = transcode(originals, setting, given.out)
        for name, recordings in sets.items():
            folder = decoded_folder / name.replace(" ", "-")
            decoded = [read(folder / f"{recording.name}.wav", len(recording.samples)) for recording in recordings]
            row = {"label": setting.label, "codebooks": setting.codebooks, "bitrate": bitrate(setting), "set": name, "files": len(decoded)}
            if name == "sentences":
                texts = [recording.text for recording in recordings]
                row["WER"] = word_error_rate(texts, [recogniser.words(samples) for samples in decoded])
                row["WER of the originals"] = word_error_rate(texts, heard)
            else:
                row |= mean_scores(recordings, decoded)
            rows.append(row)
        (given.out / "scores.json").write_text(json.dumps(rows, indent=1))
    print(table(rows))
    plot([{**row, "at": row["bitrate"] / 1000} for row in rows], given.out / "scores.svg", "kbps")


if __name__ == "__main__":
    main()
