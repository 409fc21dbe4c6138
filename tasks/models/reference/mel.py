"""From a waveform to a log-mel spectrogram, differentiable, as the first layers of a model.

The front end is part of the audited model, so that explanations are about the waveform. Every
constant is an argument; nothing is computed per waveform that does not depend on it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class Resampler(nn.Module):
    """Lower the sample rate by a windowed-sinc filter, evaluated at the new sample times only.

    Rates are reduced to up / down; the signal is filtered by `up` phases of one kernel with a
    stride of `down` samples. Output sample n lies at the time of input sample n * down / up.

    Args:
        rate: Of the input, in Hz.
        wanted: Of the output; not above `rate`.
        n_zeros: Zero crossings of the sinc on either side.
        rolloff: Cut-off as a fraction of the lower Nyquist frequency.
        beta: Of the Kaiser window.
    """

    kernel: Tensor

    def __init__(
        self,
        rate: int,
        wanted: int,
        n_zeros: int = 24,
        rolloff: float = 0.945,
        beta: float = 10.0,
    ) -> None:
        super().__init__()
        if not 0 < wanted <= rate:
            raise ValueError(f"the wanted rate must be 1 to {rate} Hz, got {wanted}")
        divisor = math.gcd(rate, wanted)
        self.up, self.down = wanted // divisor, rate // divisor
        cutoff = rolloff * wanted / rate  # in units of the input's Nyquist frequency
        self.reach = math.ceil(n_zeros / cutoff)
        offsets = np.arange(-self.reach, self.reach + self.down + 1)
        phases = np.arange(self.up) * self.down / self.up
        times = offsets[None, :] - phases[:, None]
        window = np.i0(beta * np.sqrt(np.clip(1 - (times / self.reach) ** 2, 0, None))) / np.i0(
            beta
        )
        window[np.abs(times) > self.reach] = 0
        kernel = cutoff * np.sinc(cutoff * times) * window
        kernel /= kernel.sum(axis=1, keepdims=True)
        self.register_buffer(
            "kernel", torch.tensor(kernel[:, None], dtype=torch.float32), persistent=False
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """From (batch, sample) to (batch, round-up of sample * up / down)."""
        if self.up == self.down:
            return waveform
        n_samples = waveform.shape[-1]
        n_wanted = -(-n_samples * self.up // self.down)
        n_blocks = -(-n_wanted // self.up)
        right = (n_blocks - 1) * self.down + self.kernel.shape[-1] - self.reach - n_samples
        padded = functional.pad(waveform[:, None], (self.reach, max(0, right)))
        phases = functional.conv1d(padded, self.kernel, stride=self.down)
        return phases.transpose(1, 2).flatten(1)[:, :n_wanted]


class LogMel(nn.Module):
    """Log of the mel-band energies (or magnitudes) of a short-time Fourier transform.

    Args:
        rate: Sample rate of the waveform, in Hz.
        n_fft: Points of the Fourier transform.
        window: Samples of the Hann window (periodic).
        hop: Samples between frames.
        n_mels: Triangular bands, equally spaced on the mel scale of O'Shaughnessy (HTK).
        low: Lower edge of the first band, in Hz.
        high: Upper edge of the last band.
        power: 2 for energies, 1 for magnitudes.
        offset: Added before the logarithm.
        centred: Frames are centred on multiples of the hop, the ends padded with zeros; otherwise
            only whole frames count.
    """

    taper: Tensor
    bands: Tensor

    def __init__(
        self,
        rate: int,
        n_fft: int = 1024,
        window: int = 1024,
        hop: int = 512,
        n_mels: int = 64,
        low: float = 20.0,
        high: float | None = None,
        power: int = 2,
        offset: float = 1e-5,
        *,
        centred: bool = True,
    ) -> None:
        super().__init__()
        self.n_fft, self.window, self.hop = n_fft, window, hop
        self.power, self.offset, self.centred = power, offset, centred
        bands = mel_bands(rate, n_fft, n_mels, low, high or rate / 2)
        self.register_buffer("taper", torch.hann_window(window), persistent=False)
        self.register_buffer("bands", torch.tensor(bands, dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """From (batch, sample) to (batch, mel, frame)."""
        magnitude_power = spectrogram(
            waveform, self.taper, self.n_fft, self.hop, self.power, centred=self.centred
        )
        return (self.bands @ magnitude_power + self.offset).log()


def spectrogram(
    waveform: Tensor, taper: Tensor, n_fft: int, hop: int, power: int, *, centred: bool
) -> Tensor:
    """|STFT| to a power, shape (batch, frequency, frame); the derivative at silence is 0.

    Frames hold `len(taper)` samples, followed by zeros up to `n_fft`.
    """
    if centred:
        waveform = functional.pad(waveform, (len(taper) // 2, len(taper) // 2))
    frames = waveform.unfold(-1, len(taper), hop) * taper
    spectrum = torch.view_as_real(torch.fft.rfft(frames, n=n_fft))
    energy = spectrum.square().sum(-1).transpose(1, 2)
    if power == 2:
        return energy
    # The square root has no derivative at 0; what is silent stays without one.
    audible = energy > 0
    root = torch.where(audible, energy, 1.0).sqrt()
    return torch.where(audible, root, 0.0)


def mel_bands(
    rate: int, n_fft: int, n_mels: int, low: float, high: float
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Weights of triangular bands with peak 1, shape (mel, frequency).

    Triangles are linear in mel, as in TensorFlow's `linear_to_mel_weight_matrix`.
    """
    frequencies = _mel(np.linspace(0, rate / 2, n_fft // 2 + 1))
    edges = np.linspace(_mel(np.array(low)), _mel(np.array(high)), n_mels + 2)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    weights: np.ndarray[tuple[int, int], np.dtype[np.float64]] = np.clip(
        np.minimum(rising, falling), 0, None
    )
    weights[:, 0] = 0  # The mean is not heard.
    return weights


def _mel(frequency: np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(frequency / 700.0)
