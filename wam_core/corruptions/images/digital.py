"""What displays, lenses, storage and dirt do: contrast, warping, pixels, JPEG, spatter, colour."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wam_core.corruptions.contract import Corruption, Parameters, Surroundings
from wam_core.corruptions.filters import draw, gaussian_filter, normal, size_factor

_WATER = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)


def _contrast(
    image: Tensor, at: Parameters, _: Sequence[np.random.Generator], __: Surroundings
) -> Tensor:
    mean = image.mean((2, 3), keepdim=True)
    return ((image - mean) * at["factor"] + mean).clamp(0, 1)


def _elastic(
    image: Tensor, at: Parameters, generators: Sequence[np.random.Generator], _: Surroundings
) -> Tensor:
    """A random affine map, then a smooth random displacement of every point.

    Published lengths are in units of 244 points, for images of 224.
    """
    factor = size_factor(image)
    height, width = image.shape[-2:]
    corners = draw(generators, lambda each: each.uniform(-1, 1, (3, 2)), image.double())
    warped = _affine(image, at["affine"] * factor * corners)
    noise = draw(generators, lambda each: each.uniform(-1, 1, (2, height, width)), image)
    shift = (
        at["strength"]
        * factor
        * gaussian_filter(noise, at["sigma"] * factor, 2, edge="reflect", truncate=3.0)
    )
    rows = torch.arange(height, device=image.device, dtype=image.dtype)[:, None] + shift[:, 1]
    columns = torch.arange(width, device=image.device, dtype=image.dtype) + shift[:, 0]
    return _sampled(warped, rows, columns, mirrored_edge=True).clamp(0, 1)


def _affine(image: Tensor, moves: Tensor) -> Tensor:
    """Move three points around the middle by some points each, and everything else with them."""
    height, width = image.shape[-2:]
    side = min(height, width) // 3
    middle = image.new_tensor([width // 2, height // 2], dtype=torch.float64)
    signs = image.new_tensor([[1, 1], [1, -1], [-1, -1]], dtype=torch.float64)
    before = (middle + side * signs).expand(len(image), 3, 2)
    after = before + moves
    ones = torch.ones_like(after[..., :1])
    # Where each point of the result comes from: the inverse map, solved from three pairs.
    matrix = torch.linalg.solve(torch.cat([after, ones], 2), before)
    grid = torch.meshgrid(
        torch.arange(height, device=image.device, dtype=torch.float64),
        torch.arange(width, device=image.device, dtype=torch.float64),
        indexing="ij",
    )
    points = torch.stack([grid[1], grid[0], torch.ones_like(grid[0])], -1)
    origin = torch.einsum("hwk,nkd->nhwd", points, matrix).to(image.dtype)
    return _sampled(image, origin[..., 1], origin[..., 0], mirrored_edge=False)


def _sampled(image: Tensor, rows: Tensor, columns: Tensor, *, mirrored_edge: bool) -> Tensor:
    """Values between points, linearly; outside, the image is mirrored.

    Args:
        mirrored_edge: About the edge of the outermost points, or about their centres.
    """
    height, width = image.shape[-2:]
    if mirrored_edge:
        grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], -1)
    else:
        grid = torch.stack(
            [2 * columns / max(1, width - 1) - 1, 2 * rows / max(1, height - 1) - 1], -1
        )
    return functional.grid_sample(
        image, grid, mode="bilinear", padding_mode="reflection", align_corners=not mirrored_edge
    )


def _by_pillow(
    change: Callable[[object, float], object], parameter: str
) -> Callable[[Tensor, Parameters, Sequence[np.random.Generator], Surroundings], Tensor]:
    """An operation on 8-bit images, one after another."""

    def operator(
        image: Tensor, at: Parameters, _: Sequence[np.random.Generator], __: Surroundings
    ) -> Tensor:
        from PIL import Image

        bytes_of = (image.clamp(0, 1) * 255).round().byte().cpu()
        changed = []
        for sample in bytes_of:
            planes = [sample] if len(sample) in (1, 3) else [plane[None] for plane in sample]
            done = []
            for plane in planes:
                array = plane[0].numpy() if len(plane) == 1 else plane.permute(1, 2, 0).numpy()
                result = np.asarray(change(Image.fromarray(array), at[parameter]))
                done.append(torch.from_numpy(result.reshape(*plane.shape[1:], -1).copy()))
            changed.append(torch.cat(done, 2).permute(2, 0, 1))
        return torch.stack(changed).to(image) / 255

    return operator


def _jpeg(picture: object, quality: float) -> object:
    from PIL import Image

    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(quality))  # type: ignore[attr-defined]
    return Image.open(buffer)


def _pixelate(picture: object, factor: float) -> object:
    from PIL import Image

    width, height = picture.size  # type: ignore[attr-defined]
    small = (max(1, int(width * factor)), max(1, int(height * factor)))
    reduced = picture.resize(small, Image.Resampling.BOX)  # type: ignore[attr-defined]
    return reduced.resize((width, height), Image.Resampling.BOX)


def _spatter(
    image: Tensor, at: Parameters, generators: Sequence[np.random.Generator], _: Surroundings
) -> Tensor:
    """Water with bright rims, or mud, in drops."""
    factor, space = size_factor(image), image.shape[-2:]
    drops = at["mean"] + at["deviation"] * normal(generators, space, image)
    drops = gaussian_filter(drops, at["sigma"] * factor, 2)
    wet = drops > at["threshold"]
    if at["mud"]:
        cover = gaussian_filter(wet.to(image), at["strength"] * factor, 2)
        cover = torch.where(cover < 0.8, torch.zeros_like(cover), cover)[:, None]
        return (image * (1 - cover) + _colour(_MUD, image) * cover).clamp(0, 1)
    rims = _rims(torch.where(wet, drops, torch.zeros_like(drops)))
    cover = rims * drops.clamp(min=0) * wet
    cover = cover / cover.amax((1, 2), keepdim=True).clamp(min=1e-12) * at["strength"]
    return (image + cover[:, None] * _colour(_WATER, image)).clamp(0, 1)


def _rims(drops: Tensor) -> Tensor:
    """Light that breaks at the rims of drops.

    The published code finds rims by an edge detector and a distance transform; here they are where
    the surface slopes, lit from one side.
    """
    slope_rows, slope_columns = torch.gradient(gaussian_filter(drops, 1.0, 2), dim=(1, 2))
    lit = (slope_rows + slope_columns).clamp(min=0)
    return 0.3 + lit / lit.amax((1, 2), keepdim=True).clamp(min=1e-12)


def _colour(values: tuple[float, ...], image: Tensor) -> Tensor:
    if image.shape[1] != 3:
        values = (sum(values) / 3,) * image.shape[1]
    return image.new_tensor(values)[:, None, None]


def _saturate(
    image: Tensor, at: Parameters, _: Sequence[np.random.Generator], __: Surroundings
) -> Tensor:
    """The saturation of hue, saturation and value changes; grey takes the hue 0, which is red."""
    value = image.amax(1, keepdim=True)
    depth = value - image.amin(1, keepdim=True)
    before = torch.where(value > 0, depth / value.clamp(min=1e-12), torch.zeros_like(value))
    after = (before * at["factor"] + at["added"]).clamp(0, 1)
    coloured = value - (value - image) * after / before.clamp(min=1e-12)
    red = torch.cat([value, value * (1 - after), value * (1 - after)], 1)
    return torch.where(before > 0, coloured, red).clamp(0, 1)


DIGITAL = (
    Corruption(
        "contrast",
        "digital",
        tuple({"factor": value} for value in (0.4, 0.3, 0.2, 0.1, 0.05)),
        _contrast,
    ),
    Corruption(
        "elastic_transform",
        "digital",
        tuple(
            {"strength": 244 * strength, "sigma": 244 * sigma, "affine": 244 * affine}
            for strength, sigma, affine in (
                (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02),
                (0.12, 0.01, 0.02),
            )
        ),
        _elastic,
        # Wide warps at the first two severities, narrow ones at the others.
        monotone=False,
    ),
    Corruption(
        "pixelate",
        "digital",
        tuple({"factor": value} for value in (0.6, 0.5, 0.4, 0.3, 0.25)),
        _by_pillow(_pixelate, "factor"),
    ),
    Corruption(
        "jpeg_compression",
        "digital",
        tuple({"quality": value} for value in (25.0, 18.0, 15.0, 10.0, 7.0)),
        _by_pillow(_jpeg, "quality"),
    ),
    Corruption(
        "spatter",
        "digital",
        tuple(
            dict(
                zip(
                    ("mean", "deviation", "sigma", "threshold", "strength", "mud"),
                    values,
                    strict=True,
                )
            )
            for values in (
                (0.65, 0.3, 4, 0.69, 0.6, 0),
                (0.65, 0.3, 3, 0.68, 0.6, 0),
                (0.65, 0.3, 2, 0.68, 0.5, 0),
                (0.65, 0.3, 1, 0.65, 1.5, 1),
                (0.67, 0.4, 1, 0.65, 1.5, 1),
            )
        ),
        _spatter,
        # Water, then mud.
        monotone=False,
        extra=True,
    ),
    Corruption(
        "saturate",
        "digital",
        tuple(
            {"factor": factor, "added": added}
            for factor, added in ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))
        ),
        _saturate,
        # Two severities take colour away, three add some.
        monotone=False,
        extra=True,
        n_channels=(3,),
    ),
)  # fmt: skip
