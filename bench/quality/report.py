"""Scores as a Markdown table and as curves."""
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

COLUMNS = {"STOI": ".3f", "ESTOI": ".3f", "PESQ-wb": ".2f", "mel": ".3f", "WER": ".2f", "WER of the originals": ".2f"}


def table(rows: list[dict]) -> str:
    shown = {column: form for column, form in COLUMNS.items() if any(column in row for row in rows)}
    lines = ["| speech | n | model | codebooks | kbps | " + " | ".join(shown) + " |", "|---" * (5 + len(shown)) + "|"]
    for row in sorted(rows, key=lambda row: [r["set"] for r in rows].index(row["set"])):
        cells = [row["set"], row["files"], row["label"], row["codebooks"], f"{row['bitrate'] / 1000:.2f}"]
        cells += [format(row[column], form) if column in row else "" for column, form in shown.items()]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def plot(rows: list[dict], path: Path, along: str) -> None:
    """A panel for each score, a line for each model and set, over each row's `at`, which is called `along`."""
    shown = [column for column in ("STOI", "ESTOI", "PESQ-wb", "mel", "WER") if any(column in row for row in rows)]
    figure, axes = plt.subplots(1, len(shown), figsize=(4 * len(shown), 4), squeeze=False, layout="constrained")
    labels, sets = (list(dict.fromkeys(row[key] for row in rows)) for key in ("label", "set"))
    for axis, score in zip(axes[0], shown):
        for style, label in zip(("-", "--", ":", "-.") * len(labels), labels):
            for i, name in enumerate(sets):
                line = [(row["at"], row[score]) for row in rows if row["label"] == label and row["set"] == name and score in row]
                if line:
                    axis.plot(*zip(*sorted(line)), f"C{i}.{style}", label=f"{label} {name}".strip())
        if score == "WER":
            axis.axhline(next(row["WER of the originals"] for row in rows if "WER" in row), color="grey", lw=1, label="originals")
        axis.set(title=score, xlabel=along)
        axis.legend(fontsize=6)
    figure.savefig(path)
    plt.close(figure)


def spectrograms(pairs: dict[str, tuple[np.ndarray, np.ndarray]], path: Path, top: float = 12000) -> None:
    """A row for each pair: original, decoded, up to `top` Hz, 90 dB deep."""
    figure, axes = plt.subplots(len(pairs), 2, figsize=(14, 2.4 * len(pairs)), squeeze=False, layout="constrained")
    for row, (name, pair) in zip(axes, pairs.items()):
        for axis, samples, what in zip(row, pair, ("original", "decoded")):
            samples = np.asarray(samples) + 1e-9 * np.random.default_rng(0).standard_normal(len(samples))
            axis.specgram(samples, NFFT=1024, Fs=24000, noverlap=896, vmin=-120, vmax=-30, cmap="magma")
            axis.set(title=f"{name}: {what}", ylim=(0, top))
    figure.savefig(path, dpi=70)
    plt.close(figure)
