"""Decoded audio as users get it: by this project's command line."""
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Setting:
    """What a row of the table is about. precision None: the command line is not asked for one."""

    name: str
    model: str
    codebooks: int
    precision: str | None = None

    @property
    def label(self) -> str:
        return self.name if self.precision is None else f"{self.name} {self.precision}"


def mimi(*arguments: str) -> str:
    program = ["node", "--import", "tsx", "src/cli/main.ts", *arguments]
    return subprocess.run(program, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def transcode(audio: Path, setting: Setting, out: Path) -> Path:
    """Encodes and decodes a folder of WAV files; the folder of what came back, with the same names."""
    folder = out / f"{setting.label}-{setting.codebooks}".replace(" ", "-")
    codes, decoded = folder / "codes", folder / "audio"
    more = ["--model", setting.model, "--jobs", "1"]
    if setting.precision is not None:
        more += ["--precision", setting.precision]
    mimi("encode", str(audio), "-o", str(codes), "--codebooks", str(setting.codebooks), *more)
    mimi("decode", str(codes), "-o", str(decoded), *more)
    return decoded


def bitrate(setting: Setting) -> int:
    """Bits a second."""
    config = json.loads((Path(setting.model) / "config.json").read_text())
    return round(setting.codebooks * (config["codebook_size"] - 1).bit_length() * 12.5)
