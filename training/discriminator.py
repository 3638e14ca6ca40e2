"""A multi-scale STFT discriminator (Défossez et al., High Fidelity Neural Audio Compression, 2022), small enough for a CPU.

It sees complex spectra up to 8 kHz at three window lengths; the longest resolves the harmonics of a voice.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

RATE, LIMIT = 24000, 8000


class StftDiscriminator(nn.Module):
    def __init__(self, window: int, channels: int):
        super().__init__()
        self.window = window
        self.bins = LIMIT * window // RATE
        self.register_buffer("weights", torch.hann_window(window), persistent=False)
        shapes = [(2, channels, (9, 3), 2), (channels, channels, (9, 3), 2), (channels, 2 * channels, (9, 3), 2), (2 * channels, 2 * channels, (3, 3), 1)]
        self.convolutions = nn.ModuleList(
            weight_norm(nn.Conv2d(inputs, outputs, kernel, (stride, 1), (kernel[0] // 2, kernel[1] // 2)))
            for inputs, outputs, kernel, stride in shapes
        )
        self.score = weight_norm(nn.Conv2d(2 * channels, 1, 3, padding=1))

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores of all places in time and frequency, and the features of each layer."""
        spectrum = torch.stft(audio.float(), self.window, self.window // 4, window=self.weights, return_complex=True)
        spectrum = spectrum[:, : self.bins] / math.sqrt(0.375 * self.window)
        # Square roots of magnitudes: quiet harmonics count too.
        root = (spectrum.real**2 + spectrum.imag**2 + 1e-6) ** 0.25
        x = torch.stack([spectrum.real / root, spectrum.imag / root], 1)
        features = []
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), 0.2)
            features.append(x)
        return self.score(x), features


class Discriminator(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.scales = nn.ModuleList(StftDiscriminator(window, channels) for window in (2048, 1024, 512))

    def forward(self, audio: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        return [scale(audio) for scale in self.scales]


def discriminator_loss(real: list, fake: list) -> Tensor:
    """Hinge loss."""
    return sum(F.relu(1 - r).mean() + F.relu(1 + f).mean() for (r, _), (f, _) in zip(real, fake)) / len(real)


def adversarial_losses(real: list, fake: list) -> tuple[Tensor, Tensor]:
    """The generator's hinge loss, and feature matching: L1 relative to the size of each real feature map."""
    adversarial = sum(-score.mean() for score, _ in fake) / len(fake)
    gaps = [
        (f - r.detach()).abs().mean() / r.detach().abs().mean().clamp(min=1e-4)
        for (_, real_maps), (_, fake_maps) in zip(real, fake)
        for r, f in zip(real_maps, fake_maps)
    ]
    return adversarial, sum(gaps) / len(gaps)
