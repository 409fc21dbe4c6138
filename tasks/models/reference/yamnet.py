"""YAMNet, a classifier of 521 kinds of sound (AudioSet), as an embedding with a linear head.

MobileNet-v1 on log-mel patches of 0.96 s (Plakal and Ellis, Google; TensorFlow models, Apache-2.0),
with the weights and constants of `yamnet_torch.safetensors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from tasks.errors import ModelError
from tasks.locations import expand
from tasks.models.reference.mel import Resampler, spectrogram

RATE = 16_000
EMBEDDING = 1024
N_CLASSES = 521

_N_FFT, _HOP = 512, 160
_PATCH, _PATCH_HOP = 96, 48
_SEPARABLE = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME does: where it is odd, one more at the end."""

    def forward(self, features: Tensor) -> Tensor:
        """From (batch, channel, height, width) to sizes divided by the stride, rounded up."""
        padding: list[int] = []
        for size, kernel, stride in reversed(
            list(zip(features.shape[2:], self.kernel_size, self.stride, strict=True))
        ):
            total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            padding += [total // 2, total - total // 2]
        return super().forward(functional.pad(features, padding))


class YamnetEmbedding(nn.Module):
    """From waveforms to one mean embedding each.

    Args:
        sample_rate: Of the waveforms; they are resampled to 16 kHz first.

    Attributes:
        mel: Weights of the bands, shape (mel, frequency).
        win: The window of a frame.
        off: Added to each band before the logarithm.
    """

    mel: Tensor
    win: Tensor
    off: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.resampler = Resampler(sample_rate, RATE)
        self.register_buffer("mel", torch.zeros(64, _N_FFT // 2 + 1))
        self.register_buffer("win", torch.zeros(400))
        self.register_buffer("off", torch.zeros(64))
        layers: list[nn.Module] = [SameConv2d(1, 32, 3, 2), nn.ReLU()]
        current = 32
        for channels, stride in _SEPARABLE:
            layers += [SameConv2d(current, current, 3, stride, groups=current), nn.ReLU()]
            layers += [nn.Conv2d(current, channels, 1), nn.ReLU()]
            current = channels
        self.body = nn.Sequential(*layers)

    def forward(self, waveform: Tensor) -> Tensor:
        """Mean over patches, shape (batch, 1024), for waveforms (batch, 1, sample)."""
        return self.patches(waveform).mean(1)

    def patches(self, waveform: Tensor) -> Tensor:
        """The embedding of every patch, shape (batch, patch, 1024)."""
        bands = self.log_mel(self.resampler(waveform[:, 0]))
        if bands.shape[-1] < _PATCH:
            raise ValueError(
                f"YAMNet needs at least {_PATCH} frames of 10 ms, got {bands.shape[-1]}"
            )
        patches = bands.unfold(-1, _PATCH, _PATCH_HOP).permute(0, 2, 3, 1)
        images = patches.flatten(0, 1)[:, None].contiguous(memory_format=torch.channels_last)
        return self.body(images).mean((2, 3)).unflatten(0, patches.shape[:2])

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Log-mel spectrogram (batch, mel, frame) of waveforms (batch, sample) at 16 kHz."""
        magnitude = spectrogram(waveform, self.win, _N_FFT, _HOP, power=1, centred=False)
        return (self.mel @ magnitude + self.off[:, None]).log()


class YamnetClassifier(nn.Module):
    """A linear head on the mean embedding.

    Attributes:
        sample_rate: Of the waveforms it takes, in Hz; an audit compares it with the dataset's.
    """

    def __init__(self, embedding: YamnetEmbedding, sample_rate: int, num_classes: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.embedding = embedding
        self.head = nn.Linear(EMBEDDING, num_classes)

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits of shape (batch, class) for waveforms (batch, 1, sample)."""
        return self.head(self.embedding(waveform))


class YamnetTagger(nn.Module):
    """The original classifier: probabilities of 521 classes, averaged over patches, as logits."""

    def __init__(self, embedding: YamnetEmbedding, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.embedding = embedding
        self.head = nn.Linear(EMBEDDING, N_CLASSES)

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits of shape (batch, 521) for waveforms (batch, 1, sample)."""
        patches = self.head(self.embedding.patches(waveform))
        # The logit of a mean of sigmoids, without leaving the logarithm where sigmoids saturate.
        yes = functional.logsigmoid(patches).logsumexp(1)
        no = functional.logsigmoid(-patches).logsumexp(1)
        return yes - no


def yamnet(
    backbone: str = "${WAM_MODEL_ROOT}/yamnet_torch.safetensors",
    head: str | None = None,
    num_classes: int = 10,
    sample_rate: int = 44_100,
) -> YamnetClassifier:
    """YAMNet's embedding with a linear head, to be named as a factory in a configuration.

    Args:
        backbone: Weights of YAMNet; placeholders may stand in the path.
        head: Weights of the head; None for random ones, to be trained.
        sample_rate: Of the waveforms.
    """
    model = YamnetClassifier(YamnetEmbedding(sample_rate), sample_rate, num_classes)
    state = _read(backbone)
    _load(model.embedding, {name: state[name] for name in state if not name.startswith("fc.")})
    model.to(memory_format=torch.channels_last)
    if head is not None:
        _load(model.head, _read(head))
    return model


def yamnet_tagger(
    backbone: str = "${WAM_MODEL_ROOT}/yamnet_torch.safetensors", sample_rate: int = 44_100
) -> YamnetTagger:
    """YAMNet with its own 521 classes; read it with `head: multilabel`."""
    model = YamnetTagger(YamnetEmbedding(sample_rate), sample_rate)
    state = _read(backbone)
    _load(model.embedding, {name: state[name] for name in state if not name.startswith("fc.")})
    _load(model.head, {name: state[f"fc.{name}"] for name in ("weight", "bias")})
    return model.to(memory_format=torch.channels_last)


def _read(location: str) -> dict[str, Tensor]:
    path = Path(expand(location))
    if not path.is_file():
        raise ModelError(f"there are no weights {path}; set model.arguments to where they are")
    return load_file(path)


def _load(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"the weights do not fit {type(module).__name__}: {error}") from error
