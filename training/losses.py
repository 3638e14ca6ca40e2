"""How far decoded audio is from its original, by spectra at several resolutions.

Audio is [batch, samples] at 24 kHz.
"""
import math

import numpy as np
import torch
from torch import Tensor, nn

RATE = 24000
#: Window, hop and mel bands of each resolution.
RESOLUTIONS = [(2048, 512, 80), (1024, 256, 64), (512, 128, 48), (256, 64, 24)]
#: Resolutions at which phase counts, and up to which frequency: above, no code of this rate can hold it.
PHASE_WINDOWS, PHASE_LIMIT = (1024, 512), 2000


def mel_filters(window: int, bands: int) -> Tensor:
    """Triangles on the mel scale (O'Shaughnessy) from 0 to 12 kHz, each with a sum of 1: [bands, window / 2 + 1]."""
    top = 2595 * math.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    bins = np.linspace(0, RATE / 2, window // 2 + 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = np.maximum(0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))
    return torch.from_numpy((filters / np.maximum(filters.sum(1, keepdims=True), 1e-6)).astype(np.float32))
#: The resolution at which envelopes are compared, and how many of its frames are a segment (0.38 s).
ENVELOPE_WINDOW, SEGMENT = 1024, 36


def envelope_distance(decoded: Tensor, original: Tensor) -> Tensor:
    """1 - the mean correlation of band envelopes within short segments, over time and over time and frequency.

    What STOI and ESTOI measure (Jensen and Taal, 2016), on mel bands. decoded, original: [batch, bands, frames] magnitudes.
    """
    y, x = (bands.unfold(2, SEGMENT, SEGMENT // 3).movedim(2, 1) for bands in (decoded, original))
    loud = x.square().mean((2, 3))
    # Segments 30 dB below the loudest are pauses.
    y, x = (bands[loud > 1e-3 * loud.max()] for bands in (y, x))

    def unit(z: Tensor, dim: int) -> Tensor:
        z = z - z.mean(dim, keepdim=True)
        return z / (z.norm(dim=dim, keepdim=True) + 1e-3)

    y, x = unit(y, 2), unit(x, 2)
    over_time = (y * x).sum(2).mean()
    over_both = (unit(y, 1) * unit(x, 1)).sum(1).mean()
    return 1 - (over_time + over_both) / 2


class SpectralLoss(nn.Module):
    def __init__(self):
        super().__init__()
        for window, _, bands in RESOLUTIONS:
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)
            self.register_buffer(f"mel_{window}", mel_filters(window, bands), persistent=False)

    def spectrum(self, audio: Tensor, window: int, hop: int) -> Tensor:
        weights = getattr(self, f"window_{window}")
        # Noise of unit variance gives unit power in every bin: the mean square of a Hann window is 0.375.
        return torch.stft(audio, window, hop, window=weights, pad_mode="constant", return_complex=True) / math.sqrt(0.375 * window)

    def forward(self, decoded: Tensor, original: Tensor) -> dict[str, Tensor]:
        """envelope: see above; mel: log mel bands; magnitude: square roots of bins; phase: complex bins over the square root of their size."""
        mel, magnitude, phase, envelope = [], [], [], []
        for window, hop, _ in RESOLUTIONS:
            y, x = self.spectrum(decoded, window, hop), self.spectrum(original, window, hop)
            y_size, x_size = (torch.sqrt(z.real**2 + z.imag**2 + 1e-9) for z in (y, x))
            filters = getattr(self, f"mel_{window}")
            y_bands, x_bands = filters @ y_size, filters @ x_size
            mel.append((torch.log(y_bands + 2e-3) - torch.log(x_bands + 2e-3)).abs().mean())
            y_root, x_root = y_size.sqrt(), x_size.sqrt()
            magnitude.append((y_root - x_root).abs().mean())
            if window in PHASE_WINDOWS:
                low = PHASE_LIMIT * window // RATE
                gap = y[:, :low] / y_root[:, :low] - x[:, :low] / x_root[:, :low]
                phase.append(torch.sqrt(gap.real**2 + gap.imag**2 + 1e-7).mean())
            if window == ENVELOPE_WINDOW:
                envelope.append(envelope_distance(y_bands, x_bands))
        terms = {"mel": mel, "magnitude": magnitude, "phase": phase, "envelope": envelope}
        return {name: torch.stack(values).mean() for name, values in terms.items()}
