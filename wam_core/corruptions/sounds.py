"""Corruptions of sounds: noise by signal-to-noise ratio, channels, rooms, recorders and codecs.

There is no accepted benchmark of damaged sounds; the vocabulary and the five severities follow
those that robustness studies share. Frequencies are in Hz and lengths in seconds, so that a sound
is damaged alike at any sample rate; a limit above half the sample rate leaves the sound as it is.
"""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from wam_core.corruptions.contract import Corruption, Operator, Parameters, Surroundings
from wam_core.corruptions.filters import draw, normal

Sound = Float[Tensor, "batch channel sample"]
Generators = Sequence[np.random.Generator]

_BLOCK = 4096
"""Samples handed to the encoder at a time."""

_RATE = frozenset({"sample_rate"})


def _add_at(sound: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    """The sound and a noise whose mean power lies `snr_db` below the sound's."""
    power = sound.square().mean((1, 2), keepdim=True)
    own = noise.square().mean((1, 2), keepdim=True).clamp(min=1e-20)
    return sound + noise * (power / own).sqrt() * 10 ** (-snr_db / 20)


def _white(sound: Tensor, at: Parameters, draws: Generators, _: Surroundings) -> Tensor:
    return _add_at(sound, normal(draws, sound.shape[1:], sound), at["snr_db"])


def _pink(sound: Tensor, at: Parameters, draws: Generators, _: Surroundings) -> Tensor:
    """Noise with the same power in every octave: white noise, divided by the root of frequency."""
    spectrum = torch.fft.rfft(normal(draws, sound.shape[1:], sound))
    places = torch.arange(spectrum.shape[-1], device=sound.device, dtype=sound.dtype)
    spectrum = spectrum / places.clamp(min=1).sqrt()
    spectrum[..., 0] = 0
    return _add_at(sound, torch.fft.irfft(spectrum, n=sound.shape[-1]), at["snr_db"])


def _clip_noise(sound: Tensor, at: Parameters, _: Generators, around: Surroundings) -> Tensor:
    """Another recording in the background; silence has nothing to add."""
    assert around.others is not None
    return _add_at(sound, around.others.to(sound), at["snr_db"])


def _gain_of(frequency: Tensor, at: Parameters) -> Tensor:
    """Magnitude of Butterworth filters of the fourth order, with no shift of phase."""
    gain = torch.ones_like(frequency)
    safe = frequency.clamp(min=1e-9)
    if "low_hz" in at and "high_hz" in at:
        centre = math.sqrt(at["low_hz"] * at["high_hz"])
        width = at["high_hz"] - at["low_hz"]
        ratio = width * safe / (safe.square() - centre**2).abs().clamp(min=1e-9)
        return (1 + ratio.pow(8)).rsqrt()
    if "below_hz" in at:
        gain = gain * (1 + (frequency / at["below_hz"]).pow(8)).rsqrt()
    if "above_hz" in at:
        gain = gain * (1 + (at["above_hz"] / safe).pow(8)).rsqrt()
    return gain


def _filter(sound: Tensor, at: Parameters, _: Generators, around: Surroundings) -> Tensor:
    """Cut frequencies away; the sound is followed by silence, so that its ends do not meet."""
    assert around.sample_rate is not None
    if at.get("below_hz", 0.0) >= around.sample_rate / 2:
        return sound.clone()
    n, size = sound.shape[-1], _even(2 * sound.shape[-1])
    frequency = torch.fft.rfftfreq(size, 1 / around.sample_rate, device=sound.device)
    spectrum = torch.fft.rfft(sound, n=size) * _gain_of(frequency.to(sound.dtype), at)
    return torch.fft.irfft(spectrum, n=size)[..., :n]


def _clipping(sound: Tensor, at: Parameters, _: Generators, __: Surroundings) -> Tensor:
    """Whatever is louder than a percentile of the sound's magnitude is cut off there."""
    limit = _percentile(sound.abs().flatten(1), at["percentile"])[:, None, None]
    return torch.maximum(torch.minimum(sound, limit), -limit)


def _percentile(values: Tensor, percent: float) -> Tensor:
    place = percent / 100 * (values.shape[1] - 1)
    ordered = values.sort(1).values
    low = int(place)
    high = min(low + 1, values.shape[1] - 1)
    return torch.lerp(ordered[:, low], ordered[:, high], place - low)


def _gain(sound: Tensor, at: Parameters, _: Generators, __: Surroundings) -> Tensor:
    return sound * 10 ** (at["gain_db"] / 20)


def _reverberation(
    sound: Tensor, at: Parameters, draws: Generators, around: Surroundings
) -> Tensor:
    """A room: the direct sound, and noise that falls by 60 dB within the reverberation time.

    The room's answer has the energy of the direct sound; the result has the sound's own power.
    """
    assert around.sample_rate is not None
    length = max(2, round(at["seconds"] * around.sample_rate))
    n = sound.shape[-1]
    decay = torch.exp(
        -3 * math.log(10) * torch.arange(length, device=sound.device, dtype=sound.dtype) / length
    )
    room = normal(draws, (length,), sound) * decay
    room = room / room.square().sum(1, keepdim=True).sqrt()
    room[:, 0] += 1.0
    size = _even(n + length)
    spectrum = torch.fft.rfft(sound, n=size) * torch.fft.rfft(room, n=size)[:, None]
    heard = torch.fft.irfft(spectrum, n=size)[..., :n]
    power = heard.square().mean((1, 2), keepdim=True).clamp(min=1e-20)
    return heard * (sound.square().mean((1, 2), keepdim=True) / power).sqrt()


def _resample(sound: Tensor, at: Parameters, _: Generators, around: Surroundings) -> Tensor:
    """To a lower sample rate and back: nothing above half of it is left, sharply cut."""
    assert around.sample_rate is not None
    if at["rate_hz"] >= around.sample_rate:
        return sound.clone()
    n, size = sound.shape[-1], _even(2 * sound.shape[-1])
    frequency = torch.fft.rfftfreq(size, 1 / around.sample_rate, device=sound.device)
    spectrum = torch.fft.rfft(sound, n=size)
    spectrum = torch.where(frequency < at["rate_hz"] / 2, spectrum, torch.zeros_like(spectrum))
    return torch.fft.irfft(spectrum, n=size)[..., :n]


def _time_masking(sound: Tensor, at: Parameters, draws: Generators, _: Surroundings) -> Tensor:
    """One stretch of silence, of the same place at every severity."""
    n = sound.shape[-1]
    length = round(at["part"] * n)
    places = draw(draws, lambda generator: generator.random(1), sound)
    start = (places * (n - length + 1)).floor().clamp(max=n - length)[..., None]
    time = torch.arange(n, device=sound.device)
    silent = (time >= start) & (time < start + length)
    return torch.where(silent, torch.zeros_like(sound), sound)


def _mu_law(sound: Tensor, at: Parameters, _: Generators, __: Surroundings) -> Tensor:
    """Companded to a few bits and back (ITU-T G.711's law, mu = 255), about the sound's peak."""
    peak = sound.abs().amax((1, 2), keepdim=True).clamp(min=1e-12)
    scaled = sound / peak
    companded = scaled.sign() * torch.log1p(255 * scaled.abs()) / math.log(256)
    levels = 2 ** at["bits"] - 1
    stored = ((companded + 1) / 2 * levels).round() / levels * 2 - 1
    return stored.sign() * torch.expm1(stored.abs() * math.log(256)) / 255 * peak


def _vorbis(sound: Tensor, at: Parameters, _: Generators, around: Surroundings) -> Tensor:
    """Encoded by libsndfile's Vorbis and decoded again, every channel by itself."""
    import soundfile

    assert around.sample_rate is not None
    rate = round(around.sample_rate)
    decoded = []
    for series in sound.flatten(0, 1).clamp(-1, 1).float().cpu().numpy():
        buffer = io.BytesIO()
        with soundfile.SoundFile(
            buffer, "w", rate, 1, "VORBIS", format="OGG", compression_level=at["compression"]
        ) as file:
            for start in range(0, len(series), _BLOCK):  # long blocks overflow its stack
                file.write(series[start : start + _BLOCK])
        buffer.seek(0)
        heard, _rate = soundfile.read(buffer, dtype="float32")
        whole = np.zeros_like(series)
        whole[: len(heard)] = heard[: len(series)]
        decoded.append(torch.from_numpy(whole))
    return torch.stack(decoded).unflatten(0, sound.shape[:2]).to(sound)


def _quantise(sound: Tensor, at: Parameters, _: Generators, __: Surroundings) -> Tensor:
    """Samples in steps of one full scale over 2 to the number of bits."""
    step = 2.0 ** (1 - at["bits"])
    return (sound / step).round() * step


def _smear(sound: Tensor, at: Parameters, _: Generators, around: Surroundings) -> Tensor:
    """A cheap speaker: magnitudes are averaged over neighbouring instants by a moving mean."""
    assert around.sample_rate is not None
    width = 2 * round(at["milliseconds"] / 2000 * around.sample_rate) + 1
    padded = functional.pad(sound, (width // 2, width // 2))
    return functional.avg_pool1d(padded, width, stride=1)


def _even(size: int) -> int:
    """The next length that is quick to transform."""
    quick = 1 << math.ceil(math.log2(size))
    return min(candidate for candidate in (quick, quick // 4 * 3) if candidate >= size)


def _corruption(
    name: str,
    family: str,
    parameter: str,
    values: Sequence[float],
    operator: Operator,
    needs: frozenset[str] = frozenset(),
) -> Corruption:
    severities = tuple({parameter: value} for value in values)
    return Corruption(name, family, severities, operator, needs=needs)


_SNR = (20.0, 15.0, 10.0, 5.0, 0.0)

_CODECS = (
    (
        _corruption(
            "vorbis_compression", "codec", "compression", (0.2, 0.4, 0.6, 0.8, 1.0), _vorbis, _RATE
        ),
    )
    if importlib.util.find_spec("soundfile")
    else ()
)
"""With the extra `audio` only, which brings the encoder."""

SOUND_CORRUPTIONS: tuple[Corruption, ...] = (
    _corruption("white_noise", "noise", "snr_db", _SNR, _white),
    _corruption("pink_noise", "noise", "snr_db", _SNR, _pink),
    _corruption("clip_noise", "noise", "snr_db", _SNR, _clip_noise, frozenset({"others"})),
    _corruption("low_pass", "channel", "below_hz", (12e3, 8e3, 4e3, 2e3, 1e3), _filter, _RATE),
    _corruption(
        "high_pass", "channel", "above_hz", (100.0, 300.0, 600.0, 1200.0, 2400.0), _filter, _RATE
    ),
    Corruption(
        "band_stop",
        "channel",
        # About 1 kHz, one to five octaves wide.
        tuple(
            {"low_hz": 1000 * 2 ** (-width / 2), "high_hz": 1000 * 2 ** (width / 2)}
            for width in (1.0, 2.0, 3.0, 4.0, 5.0)
        ),
        _filter,
        needs=_RATE,
    ),
    _corruption("clipping", "recorder", "percentile", (99.5, 98.0, 95.0, 90.0, 80.0), _clipping),
    _corruption("gain", "recorder", "gain_db", (-6.0, -12.0, -18.0, -24.0, -30.0), _gain),
    _corruption(
        "reverberation", "room", "seconds", (0.2, 0.4, 0.6, 0.9, 1.2), _reverberation, _RATE
    ),
    _corruption("resampling", "codec", "rate_hz", (22e3, 16e3, 11e3, 8e3, 4e3), _resample, _RATE),
    _corruption("time_masking", "recorder", "part", (0.05, 0.1, 0.2, 0.3, 0.4), _time_masking),
    _corruption("mu_law", "codec", "bits", (8.0, 7.0, 6.0, 5.0, 4.0), _mu_law),
    _corruption("bit_depth", "codec", "bits", (10.0, 8.0, 7.0, 6.0, 5.0), _quantise),
    _corruption("smearing", "channel", "milliseconds", (0.1, 0.2, 0.4, 0.8, 1.6), _smear, _RATE),
    *_CODECS,
)
"""Severities 1 to 5 of every corruption; `docs/corruptions.md` says what each does."""
