"""Sound files to waveforms, by rules that are stated here and in `dataset.audio`.

=================== ==============================================================================
formats             WAV (with RF64), FLAC, Ogg (Vorbis, Opus), MP3; nothing else is opened
amplitudes          integers over their full scale, floats as they are (they may pass 1)
truncated file      a decode error, never half a recording (WAV, FLAC and Ogg say how long they are)
order of the rules  channels, rate, length, padding, level
resampling          soxr at high quality (linear phase); N samples become round(N x rate / old rate)
padding             zeros at the end; `Clip.n_valid` says where they begin
silence             stays silence under every level rule; downstream it is `degenerate`
=================== ==============================================================================
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from tasks.audio_config import AudioConfig
from tasks.datasets.array_files import NPY_MAGIC, channel_first, read_npy
from tasks.datasets.sample import Array, BadSampleError, Payload, Signal
from tasks.errors import ConfigError

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"})
FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3")

_END_OF_STREAM = 4


@dataclass(frozen=True)
class Clip:
    """A waveform of the model's length.

    Attributes:
        signal: Shape (channel, sample).
        n_valid: Samples before the padding.
    """

    signal: Signal
    n_valid: int


def read_clip(
    payload: Payload, config: AudioConfig, input_shape: tuple[int, ...], segment: int = 0
) -> Clip:
    """From a file or an array to the model's input.

    Args:
        input_shape: (channel, sample).
        segment: Which stretch of the input's length is wanted.

    Raises:
        BadSampleError: If it cannot be decoded, does not fit, or is not finite.
    """
    waveform, rate = _decoded(payload, config, input_shape)
    if not np.isfinite(waveform).all():
        bad = int((~np.isfinite(waveform)).sum())
        raise BadSampleError(
            "nonfinite", f"expected finite amplitudes, got {bad} that are NaN or infinite"
        )
    waveform = _with_channels(waveform, config, input_shape[0])
    waveform = resample(waveform, rate, config.sample_rate)
    length = input_shape[1]
    _check_length(waveform.shape[1], length, config)
    heard = waveform[:, segment * length : (segment + 1) * length]
    n_valid = _audible(heard, config.silent_tail)
    signal = np.zeros((input_shape[0], length), dtype=np.float32)
    signal[:, :n_valid] = _levelled(heard[:, :n_valid], config)
    return Clip(signal, n_valid or length)


def resample(waveform: Signal, rate: int, wanted: int) -> Signal:
    """Band-limited conversion between sample rates; the phase is kept.

    Args:
        waveform: Shape (channel, sample).
    """
    if rate == wanted or not waveform.shape[1]:
        return waveform
    soxr = _library("soxr")
    converted: Array = soxr.resample(np.ascontiguousarray(waveform.T), rate, wanted, quality="HQ")
    return np.ascontiguousarray(converted.T)


def n_segments(content: bytes, config: AudioConfig, length: int) -> int:
    """Number of stretches of `length` samples in a file, at least 1; its header is read alone.

    The last, shorter one counts where clips are padded.
    """
    try:
        with _library("soundfile").SoundFile(io.BytesIO(content)) as file:
            n_samples = round(file.frames * config.sample_rate / file.samplerate)
    except (RuntimeError, TypeError):
        return 1  # Reading it will say what is wrong with it.
    whole, rest = divmod(n_samples, length)
    return max(1, whole + (1 if rest and config.shorter == "pad" else 0))


def _decoded(
    payload: Payload, config: AudioConfig, input_shape: tuple[int, ...]
) -> tuple[Signal, int]:
    if isinstance(payload, tuple):
        raise BadSampleError("shape_error", f"expected one sound, got {len(payload)} files")
    if isinstance(payload, np.ndarray):
        return _amplitudes(channel_first(payload, input_shape)), config.sample_rate
    if payload.startswith(NPY_MAGIC):
        return _amplitudes(channel_first(read_npy(payload), input_shape)), config.sample_rate
    return _decode_file(payload, config)


def _decode_file(content: bytes, config: AudioConfig) -> tuple[Signal, int]:
    soundfile = _library("soundfile")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.format not in FORMATS:
                raise BadSampleError(
                    "decode_error", f"expected one of {', '.join(FORMATS)}, got {file.format}"
                )
            if file.frames > config.max_duration_s * file.samplerate:
                raise BadSampleError(
                    "decode_error",
                    f"expected at most {config.max_duration_s:g} s (dataset.audio.max_duration_s), "
                    f"got {file.frames / file.samplerate:.1f} s",
                )
            _refuse_truncated(content, file.format)
            frames = file.read(dtype="float32", always_2d=True)
            # The length of an MP3 is an estimate where its header does not state it.
            if len(frames) < file.frames and file.format != "MP3":
                raise BadSampleError(
                    "decode_error", f"expected {file.frames} samples, got {len(frames)}: truncated"
                )
            return np.ascontiguousarray(frames.T), int(file.samplerate)
    except RuntimeError as error:
        raise BadSampleError(
            "decode_error",
            f"expected a sound file ({', '.join(FORMATS)}), got {len(content)} bytes that "
            f"libsndfile refuses: {error}",
        ) from error


def _refuse_truncated(content: bytes, form: str) -> None:
    if form in ("WAV", "WAVEX") and content.startswith(b"RIFF"):
        stated = int.from_bytes(content[4:8], "little")
        # Streams that were never finished state 0 or the largest number.
        if len(content) - 8 < stated < 0xFFFFFF00:
            raise BadSampleError(
                "decode_error",
                f"expected {stated + 8} bytes as the header says, got {len(content)}: truncated",
            )
    if form == "OGG":
        last = content.rfind(b"OggS")
        if not content[last + 5] & _END_OF_STREAM:
            raise BadSampleError(
                "decode_error", "expected a last page that ends the Ogg stream, got none: truncated"
            )


def _amplitudes(values: Array) -> Signal:
    if values.dtype.kind == "i":
        return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    raise BadSampleError(
        "decode_error", f"expected amplitudes as floats or signed integers, got {values.dtype}"
    )


def _with_channels(waveform: Signal, config: AudioConfig, wanted: int) -> Signal:
    if config.channels == "mono":
        waveform = waveform.mean(axis=0, keepdims=True, dtype=np.float32)
    elif config.channels == "first":
        waveform = waveform[:1]
    if len(waveform) not in (1, wanted):
        raise BadSampleError(
            "shape_error",
            f"expected {wanted} channels for the model, got {len(waveform)} "
            f"(dataset.audio.channels: {config.channels}); only a single one is repeated",
        )
    return waveform


def _check_length(n_samples: int, length: int, config: AudioConfig) -> None:
    rejected = (n_samples < length and config.shorter == "reject") or (
        n_samples > length and config.longer == "reject"
    )
    if rejected or not n_samples:
        raise BadSampleError(
            "shape_error",
            f"expected {length} samples at {config.sample_rate} Hz, got {n_samples} "
            f"(dataset.audio has shorter: {config.shorter}, longer: {config.longer})",
        )


def _audible(waveform: Signal, threshold: float) -> int:
    """Samples up to the last whose amplitude passes the threshold; all of them for threshold 0."""
    if threshold == 0:
        return waveform.shape[1]
    loud = np.flatnonzero(np.abs(waveform).max(axis=0) > threshold)
    return int(loud[-1]) + 1 if len(loud) else 0


def _levelled(waveform: Signal, config: AudioConfig) -> Signal:
    if config.level == "as_is" or not waveform.any():
        return waveform
    if config.level == "peak":
        return waveform / np.abs(waveform).max()
    rms = np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))
    return (waveform * (config.rms_level / rms)).astype(np.float32)


def _library(name: str) -> ModuleType:
    try:
        if name == "soxr":
            import soxr

            return soxr
        import soundfile
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"sound files need the package {name}, which cannot be loaded ({error}). Install the "
            "audio extra: pip install 'wam-audit[audio]'."
        ) from error
    return soundfile
