"""Random changes of training signals: functions (values, generator, **arguments) -> values.

Values have shape (sample, channel, *space); every sample is changed on its own. All randomness
comes from the generator, which lives on the CPU.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tasks.errors import ConfigError
from tasks.training.config import AugmentationConfig

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def shift(values: Tensor, generator: torch.Generator, *, fraction: float, axis: int = -1) -> Tensor:
    """Roll each sample along an axis by up to a fraction of its length, either way."""
    reach = int(fraction * values.shape[axis])
    steps = torch.randint(-reach, reach + 1, (len(values),), generator=generator).tolist()
    axis = axis if axis < 0 else axis - 1
    return torch.stack(
        [value.roll(step, dims=axis) for value, step in zip(values, steps, strict=True)]
    )


def flip(
    values: Tensor,
    generator: torch.Generator,
    *,
    axes: Sequence[int],
    probability: float = 0.5,
) -> Tensor:
    """Turn each sample around, along each of the axes on its own."""
    for axis in axes:
        chosen = torch.rand(len(values), generator=generator) < probability
        shape = (-1, *[1] * (values.ndim - 1))
        values = torch.where(chosen.reshape(shape).to(values.device), values.flip(axis), values)
    return values


def gain(values: Tensor, generator: torch.Generator, *, decibels: float) -> Tensor:
    """Scale each sample by up to so many decibels, either way."""
    level = decibels * (2 * torch.rand(len(values), generator=generator) - 1)
    factor = torch.exp(level * math.log(10) / 20)
    return values * factor.reshape(-1, *[1] * (values.ndim - 1)).to(values)


def noise(values: Tensor, generator: torch.Generator, *, deviation: float) -> Tensor:
    """Add Gaussian noise of a standard deviation drawn up to the given one for each sample."""
    level = deviation * torch.rand(len(values), generator=generator)
    drawn = torch.randn(values.shape, generator=generator)
    return values + (level.reshape(-1, *[1] * (values.ndim - 1)) * drawn).to(values)


def low_pass(
    values: Tensor,
    generator: torch.Generator,
    *,
    lowest: float,
    highest: float,
    probability: float = 1.0,
    order: int = 8,
) -> Tensor:
    """Filter samples with a Butterworth gain, 1 / sqrt(1 + (f / cutoff)^(2 order)).

    Frequencies are radial over all axes of space, as fractions of each axis's Nyquist frequency;
    phase and mean stay, and the end of a signal runs into its beginning.

    Args:
        lowest: Of the cut-offs, which are drawn log-uniformly for each sample.
        highest: Of the cut-offs.
        probability: That a sample is filtered at all.
        order: Steepness: 6 dB per octave each.

    Raises:
        ConfigError: If the bounds are not positive and in order.
    """
    if not 0 < lowest <= highest:
        raise ConfigError(
            "augmentations: low_pass needs cut-offs with 0 < lowest <= highest, as fractions of "
            f"the Nyquist frequency; got lowest {lowest} and highest {highest}"
        )
    place = torch.rand(len(values), generator=generator)
    chosen = torch.rand(len(values), generator=generator) < probability
    cutoff = torch.where(chosen, lowest * (highest / lowest) ** place, torch.inf)
    axes = tuple(range(2, values.ndim))
    radius = _radial_frequency(values.shape[2:])
    ratio = radius / cutoff.reshape(-1, *[1] * (values.ndim - 1))
    response = (1 + ratio ** (2 * order)).rsqrt().to(values)
    filtered = torch.fft.irfftn(
        torch.fft.rfftn(values, dim=axes) * response, s=values.shape[2:], dim=axes
    )
    return torch.where(
        chosen.reshape(-1, *[1] * (values.ndim - 1)).to(values.device), filtered, values
    )


def _radial_frequency(space: Sequence[int]) -> Tensor:
    """Distance from the mean of each coefficient of a real Fourier transform; 1: Nyquist."""
    along = [2 * torch.fft.fftfreq(size) for size in space[:-1]]
    along.append(2 * torch.fft.rfftfreq(space[-1]))
    return torch.stack(torch.meshgrid(*along, indexing="ij")).square().sum(0).sqrt()


def mask(
    values: Tensor,
    generator: torch.Generator,
    *,
    axis: int,
    width: int,
    count: int = 1,
) -> Tensor:
    """Set stripes across an axis to the sample's mean: SpecAugment (Park et al. 2019).

    Args:
        width: Largest width of a stripe.
        count: Stripes per sample.
    """
    length = values.shape[axis]
    places = torch.arange(length)
    covered = torch.zeros(len(values), length, dtype=torch.bool)
    for _ in range(count):
        widths = torch.randint(0, width + 1, (len(values), 1), generator=generator)
        starts = (torch.rand(len(values), 1, generator=generator) * (length - widths)).long()
        covered |= (places >= starts) & (places < starts + widths)
    shape = [len(values), *[1] * (values.ndim - 1)]
    shape[axis] = length
    mean = values.flatten(1).mean(1).reshape(-1, *[1] * (values.ndim - 1))
    return torch.where(covered.reshape(shape).to(values.device), mean, values)


def signal_augmentation(configs: Sequence[AugmentationConfig]) -> Augmentation:
    """All changes of the signals, one after the other."""
    steps = [find_augmentation(config) for config in configs if config.at is None]

    def change(values: Tensor, generator: torch.Generator) -> Tensor:
        for step in steps:
            values = step(values, generator)
        return values

    return change


@contextlib.contextmanager
def attach(
    model: nn.Module, configs: Sequence[AugmentationConfig], generator: torch.Generator
) -> Iterator[None]:
    """Change the outputs of submodules while the model is trained.

    Raises:
        ConfigError: If there is no such submodule or augmentation.
    """
    handles = []
    known = dict(model.named_modules())
    for config in configs:
        if config.at is None:
            continue
        if config.at not in known:
            children = ", ".join(name for name, _ in model.named_children())
            raise ConfigError(
                f"augmentations: the model has no submodule '{config.at}'; it has {children}"
            )
        step = find_augmentation(config)

        def hook(
            module: nn.Module, _inputs: Any, output: Tensor, step: Augmentation = step
        ) -> Tensor:
            return step(output, generator) if module.training else output

        handles.append(known[config.at].register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def find_augmentation(config: AugmentationConfig) -> Augmentation:
    """The function a name stands for, with its arguments filled in.

    Raises:
        ConfigError: If there is no such function.
    """
    module_name, _, function = config.name.rpartition(":")
    own: dict[str, Callable[..., Tensor]] = {
        "flip": flip,
        "gain": gain,
        "low_pass": low_pass,
        "mask": mask,
        "noise": noise,
        "shift": shift,
    }
    if not module_name:
        if function not in own:
            raise ConfigError(
                f"augmentations: there is no '{function}'; known are {', '.join(own)}, and "
                "functions of your own as package.module:function"
            )
        return partial(own[function], **config.arguments)
    try:
        found = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"augmentations: '{config.name}' cannot be imported: {error}") from error
    return partial(found, **config.arguments)
