"""Attribution methods over the input, by name: Captum's, and any with the same signature.

A method is a function from an `Explained` to the importance of every point, shape (batch, point),
the larger the more important. What is explained may be the signal, or what a front end makes of it,
such as a mel spectrogram. Constants are those of the published evaluation: 50 steps by the
trapezoid rule for integrated gradients, 50 copies for SmoothGrad, noise of a quarter of the range
for images and volumes and of a thousandth for sounds.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.errors import ConfigError, ModelError
from wam_core.faithfulness.feature_map import last_feature_map
from wam_core.scores import Head, class_logits

N_STEPS, N_COPIES = 50, 50
NOISE_FRACTION = {1: 0.001, 2: 0.25, 3: 0.25}
"""Of SmoothGrad, by number of spatial dimensions of the signal."""


@dataclass(frozen=True)
class Explained:
    """What a method explains, and of what.

    Attributes:
        forward: From rows of `points` to the model's output; differentiable.
        module: Holds the layers; passed through by `forward`.
        points: Shape (batch, channel, *space), on the model's device.
        targets: Class explained, shape (batch,), on the same device.
        support: 1 where a point is part of the signal and 0 in its padding, broadcast to `points`.
        noise_fraction: Standard deviation of SmoothGrad's noise over each sample's range.
        layer: Name of the layer of GradCAM; None for the last feature map (`last_feature_map`).
    """

    forward: Callable[[Tensor], Tensor]
    module: nn.Module
    head: Head
    points: Tensor
    targets: Tensor
    support: Tensor
    sample_ids: Sequence[str]
    seed: int
    max_batch: int
    noise_fraction: float
    layer: str | None = None

    def logits(self, points: Tensor, support: Tensor) -> Tensor:
        """Logits of all classes, shape (row, class)."""
        return class_logits(self.forward(points * support), self.head)


InputMethod = Callable[[Explained], Tensor]


@dataclass(frozen=True)
class NamedMethod:
    """A method, what the published table calls it, and its cost.

    Attributes:
        n_backward: Passes forward and backward per sample.
    """

    title: str
    method: InputMethod
    n_backward: int


def saliency(explained: Explained) -> Tensor:
    """|gradient| at the input (Simonyan et al. 2014)."""
    from captum.attr import Saliency

    found = Saliency(explained.logits).attribute(
        explained.points.clone(),
        target=explained.targets,
        additional_forward_args=(explained.support,),
    )
    return _size(found)


def integrated_gradients(explained: Explained) -> Tensor:
    """|input times the path's mean gradient| from zero (Sundararajan et al. 2017)."""
    from captum.attr import IntegratedGradients

    found = IntegratedGradients(explained.logits).attribute(
        explained.points,
        target=explained.targets,
        additional_forward_args=(explained.support,),
        n_steps=N_STEPS,
        method="riemann_trapezoid",
        internal_batch_size=max(explained.max_batch, len(explained.points)),
    )
    return _size(found)


def smoothgrad(explained: Explained) -> Tensor:
    """|mean gradient| over noisy copies (Smilkov et al. 2017).

    Captum draws from the global generator: each sample is explained alone, from a seed of its own.
    """
    from captum.attr import NoiseTunnel, Saliency

    tunnel = NoiseTunnel(Saliency(explained.logits))
    spread = explained.points.flatten(1)
    spread = spread.amax(1) - spread.amin(1)
    devices = [explained.points.device] if explained.points.is_cuda else []
    parts = []
    for place, sample_id in enumerate(explained.sample_ids):
        row = slice(place, place + 1)
        with torch.random.fork_rng(devices):
            torch.manual_seed(_seed(explained.seed, sample_id))
            parts.append(
                tunnel.attribute(
                    explained.points[row].clone(),
                    nt_type="smoothgrad",
                    nt_samples=N_COPIES,
                    nt_samples_batch_size=min(N_COPIES, explained.max_batch),
                    stdevs=explained.noise_fraction * float(spread[place]),
                    target=explained.targets[row],
                    additional_forward_args=(explained.support[row],),
                    abs=False,
                )
            )
    return _size(torch.cat(parts))


def gradcam(explained: Explained) -> Tensor:
    """Positive part of a layer's activations weighted by their mean gradients, interpolated.

    Selvaraju et al. 2017, at the last feature map unless another layer is named. Axes that
    the layer has and the points have not are averaged away: frequencies of a spectrogram where the
    waveform is explained.
    """
    from captum.attr import LayerGradCam

    layer = _layer(explained)
    found = LayerGradCam(explained.logits, layer).attribute(
        explained.points.clone(),
        target=explained.targets,
        additional_forward_args=(explained.support,),
        relu_attributions=True,
    )
    space = tuple(explained.points.shape[2:])
    if found.ndim - 2 < len(space):
        raise ModelError(
            f"GradCAM needs a layer with the signal's {len(space)} axes; the layer's output has "
            f"the shape {tuple(found.shape)}. Name another in analyses.benchmark.gradcam_layer"
        )
    while found.ndim - 2 > len(space):
        found = found.mean(2)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(space)]
    return functional.interpolate(found.float(), size=space, mode=mode).flatten(1).detach()


CAPTUM = {
    "captum_integrated_gradients": NamedMethod("IG", integrated_gradients, N_STEPS),
    "captum_smoothgrad": NamedMethod("SmoothGrad", smoothgrad, N_COPIES),
    "captum_gradcam": NamedMethod("GradCAM", gradcam, 1),
    "captum_saliency": NamedMethod("Saliency", saliency, 1),
}


def input_method(name: str) -> NamedMethod:
    """A method by its name, or one of the user's by `module:function`.

    Raises:
        ConfigError: If there is none, or Captum is not installed.
    """
    if name in CAPTUM:
        _require_captum()
        return CAPTUM[name]
    module, separator, function = name.partition(":")
    if not separator:
        raise ConfigError(
            f"analyses.benchmark.methods has '{name}'; known are {', '.join(CAPTUM)}, and "
            "functions of your own as module:function"
        )
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"analyses.benchmark.methods has '{name}', which cannot be imported: {error}. It must "
            "be module:function, on the Python path"
        ) from error
    return NamedMethod(function, found, int(getattr(found, "n_backward", 1)))


def _layer(explained: Explained) -> nn.Module:
    name = explained.layer or last_feature_map(
        explained.forward,
        explained.module,
        explained.points[:1],
        n_axes=explained.points.ndim - 2,
    )
    if name is None:
        raise ConfigError(
            "GradCAM needs a convolution whose output has the signal's axes, and no pass of the "
            "model shows one: name a layer in analyses.benchmark.gradcam_layer, or leave "
            "captum_gradcam out of methods"
        )
    try:
        return explained.module.get_submodule(name)
    except AttributeError as error:
        raise ConfigError(
            f"analyses.benchmark.gradcam_layer is '{name}', which the model does not have: {error}"
        ) from error


def _require_captum() -> None:
    try:
        importlib.import_module("captum")
    except ImportError as error:
        raise ConfigError(
            "the benchmark's methods over the input are Captum's, which is not installed; run "
            "pip install 'wam-audit[benchmark]'"
        ) from error


def _size(attribution: Tensor) -> Tensor:
    return attribution.detach().abs().sum(1).flatten(1)


def _seed(seed: int, sample_id: str) -> int:
    digest = hashlib.blake2b(f"{seed}\0{sample_id}\0captum".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little")
