"""Waveforms as WAV files: those of an audit folder, and what a listener is given."""

from __future__ import annotations

import base64
import io
import re
import wave
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

SOUNDS = "sounds"
"""Folder of an audit that holds sounds."""

_LOUDEST = 0.9


def sound_file(mixture: str, row: int, what: str) -> str:
    """Path below the audit folder of one version of a mixture.

    Example:
        >>> sound_file("overlap at 0.2", 7, "random 0.05")
        'sounds/overlap-at-0.2/000007-random-0.05.wav'
    """
    return f"{SOUNDS}/{file_name(mixture)}/{row:06d}-{file_name(what)}.wav"


def audible(sounds: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The same sounds with the one gain at which the loudest of them just does not clip."""
    peak = max(float(np.abs(sound).max(initial=0.0)) for sound in sounds.values())
    gain = _LOUDEST / peak if peak else 1.0
    return {caption: gain * sound for caption, sound in sounds.items()}


def wav_bytes(signal: FloatArray, rate: int) -> bytes:
    """A 16-bit WAV file of amplitudes in [-1, 1], shape (channel, sample); beyond, it clips."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(len(signal))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(_pcm16(signal).tobytes())
    return buffer.getvalue()


def read_wav(content: bytes) -> FloatArray:
    """The amplitudes that `wav_bytes` wrote, shape (channel, sample), in float32."""
    with wave.open(io.BytesIO(content)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return np.asarray(samples.reshape(-1, file.getnchannels()).T / 32767, dtype=np.float32)


def sound_uri(signal: FloatArray, rate: int) -> str:
    """A data URI of 16-bit samples: FLAC, which every browser plays, or WAV without soundfile."""
    try:
        import soundfile
    except (ImportError, OSError):
        content, form = wav_bytes(signal, rate), "wav"
    else:
        buffer = io.BytesIO()
        soundfile.write(buffer, _pcm16(signal), rate, format="FLAC", subtype="PCM_16")
        content, form = buffer.getvalue(), "flac"
    return f"data:audio/{form};base64,{base64.b64encode(content).decode('ascii')}"


def _pcm16(signal: FloatArray) -> npt.NDArray[np.int16]:
    """Samples as both formats take them, shape (sample, channel)."""
    return np.rint(np.clip(signal, -1, 1) * 32767).astype("<i2").T


def loudest_stretch(signal: FloatArray, length: int) -> tuple[int, int]:
    """First and last sample of the stretch with the most energy."""
    n_samples = signal.shape[1]
    if n_samples <= length:
        return 0, n_samples
    energy = np.cumsum(np.square(signal, dtype=np.float64).sum(axis=0))
    within = energy[length - 1 :] - np.concatenate([[0.0], energy[:-length]])
    start = int(within.argmax())
    return start, start + length


def file_name(words: str) -> str:
    """Words as a part of a file name, whatever a dataset puts into them.

    Example:
        >>> file_name("dogs/../a b.ogg")
        'dogs-..-a-b.ogg'
    """
    return re.sub(r"[^A-Za-z0-9_.]+", "-", words)
