"""Scores of decoded audio against its original, both 24 kHz."""
import re

import jiwer
import numpy as np
import soxr
from pesq import PesqError, pesq
from pocketsphinx import Decoder
from pystoi import stoi
from scipy.signal import stft

RATE, WIDE = 24000, 16000
#: Scores of one recording, and whether more is better.
SCORES = {"STOI": True, "ESTOI": True, "PESQ-wb": True, "mel": False}


def mel_filters(bands: int = 64, top: float = 8000) -> np.ndarray:
    """Triangles on the mel scale (O'Shaughnessy), each with a sum of 1: [bands, 513]."""
    edges = 700 * (10 ** (np.linspace(0, np.log10(1 + top / 700), bands + 2)) - 1)
    bins = np.linspace(0, RATE / 2, 513)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = np.maximum(0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))
    return filters / filters.sum(1, keepdims=True)


FILTERS = mel_filters()


def log_mel(samples: np.ndarray) -> np.ndarray:
    """log10 of 64 mel bands up to 8 kHz, windows of 1024, hops of 256, with a floor of 0.001 (white noise of RMS 1 is 1)."""
    _, _, spectrum = stft(samples, RATE, nperseg=1024, noverlap=768, boundary=None, padded=False)
    # scipy divides by the sum of the window.
    return np.log10(FILTERS @ (np.abs(spectrum) * 512 / np.sqrt(0.375 * 1024)) + 1e-3)


def compare(original: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """STOI and ESTOI (0 to 1), PESQ-wb (1 to 4.6), mel: mean distance of log10 mel bands. NaN: PESQ found no speech."""
    x, y = (soxr.resample(samples, RATE, WIDE) for samples in (original, decoded))
    try:
        quality = pesq(WIDE, x, y, "wb")
    except PesqError:
        quality = float("nan")
    return {
        "STOI": stoi(x, y, WIDE),
        "ESTOI": stoi(x, y, WIDE, extended=True),
        "PESQ-wb": quality,
        "mel": np.abs(log_mel(original) - log_mel(decoded)).mean(),
    }


class Recogniser:
    """pocketsphinx with the American English model that comes with it."""

    def __init__(self):
        self.decoder = Decoder(samprate=WIDE, loglevel="FATAL")

    def words(self, samples: np.ndarray) -> str:
        wide = np.clip(soxr.resample(samples, RATE, WIDE), -1, 1)
        self.decoder.start_utt()
        self.decoder.process_raw((wide * 32767).astype(np.int16).tobytes(), full_utt=True)
        self.decoder.end_utt()
        hypothesis = self.decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""


def word_error_rate(texts: list[str], heard: list[str]) -> float:
    def plain(text: str) -> str:
        return " ".join(re.sub(r"[^a-z' ]", " ", text.lower().replace("-", " ")).split())

    return jiwer.wer([plain(text) for text in texts], [plain(words) for words in heard])
