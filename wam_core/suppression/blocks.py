"""Blocks of a signal put in another order, or turned in place: segments, squares and cubes.

Sizes that the grid does not divide need a rule, because blocks of unequal sizes cannot trade
places. Ours keeps every value exactly once and interpolates nothing. A block's edge is rounded
down, and as many whole blocks as fit along each axis are the main part. What is left along an
axis is thinner than one block; it is cut by the same edges along the other axes and treated as a
part of its own, so that a signal falls into at most 2^d parts within each of which all blocks are
equal. Blocks move within their part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Shaped
from numpy.typing import NDArray
from torch import Tensor

IndexArray = NDArray[np.int64]
Move = Callable[[IndexArray, np.random.Generator], IndexArray]
"""From blocks, shape (block, *edges), to what stands in their places."""


def shuffle_blocks(
    signal: Shaped[Tensor, "batch channel *space"],
    grid: int,
    generators: Sequence[np.random.Generator],
) -> Shaped[Tensor, "batch channel *space"]:
    """Put the blocks of a grid into a random order, other than the one they have.

    What is inside a block stays as it is; where the blocks lie is lost. All channels move alike.

    Args:
        signal: Any sizes of at least `grid` points.
        grid: Blocks along each axis. Along an axis of n points a block has n // grid of them;
            where another whole block fits into what is left, there is one more.
        generators: One per sample.

    Raises:
        ValueError: If an axis has fewer points than `grid`.
    """
    _check(signal, grid, least=grid)
    edges = [points // grid for points in signal.shape[2:]]
    return _moved(signal, edges, _shuffled, generators)


def turn_blocks(
    signal: Shaped[Tensor, "batch channel *space"],
    grid: int,
    generators: Sequence[np.random.Generator],
) -> Shaped[Tensor, "batch channel *space"]:
    """Turn every block of a grid where it stands.

    Squares are turned by random multiples of 90 degrees, cubes by one of the 24 rotations of a
    cube, all equally likely and so none at all among them. In one dimension there is one turn, and
    every segment is reversed. Blocks at the border that are no squares or cubes get those turns
    that keep their shape.

    Args:
        signal: Any sizes of at least twice `grid` points.
        grid: Blocks along the shortest axis. Their edge is the same along all axes, the shortest
            axis over `grid`, rounded down.
        generators: One per sample.

    Raises:
        ValueError: If an axis has fewer points than twice `grid`.
    """
    _check(signal, grid, least=2 * grid)
    space = signal.shape[2:]
    return _moved(signal, [min(space) // grid] * len(space), _turned, generators)


def _check(signal: Tensor, grid: int, least: int) -> None:
    if grid < 1 or min(signal.shape[2:]) < least:
        raise ValueError(
            f"a grid of {grid} needs at least {least} points along every axis, got a signal of "
            f"{tuple(signal.shape[2:])}; use a coarser grid"
        )


def _moved(
    signal: Tensor, edges: Sequence[int], move: Move, generators: Sequence[np.random.Generator]
) -> Tensor:
    space = signal.shape[2:]
    indices = np.arange(math.prod(space)).reshape(space)
    moved = []
    for sample, generator in zip(signal.flatten(2), generators, strict=True):
        source = indices.copy()
        for part in _parts(space, edges):
            cells = [_cell(place, edge) for place, edge in zip(part, edges, strict=True)]
            blocks = _blocks_of(indices[part], cells)
            source[part] = _put_together(move(blocks, generator), indices[part].shape, cells)
        order = torch.from_numpy(source.reshape(-1)).to(signal.device)
        moved.append(sample[:, order])
    return torch.stack(moved).reshape(signal.shape)


def _parts(space: Sequence[int], edges: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Places of the main part and of what is left along one or more axes; none is empty."""
    choices = []
    for points, edge in zip(space, edges, strict=True):
        whole = points - points % edge
        choices.append([slice(0, whole), slice(whole, points)][: 2 if whole < points else 1])
    yield from itertools.product(*choices)


def _cell(place: slice, edge: int) -> int:
    return min(edge, place.stop - place.start)


def _blocks_of(values: IndexArray, cells: Sequence[int]) -> IndexArray:
    """Shape (block, *cells); the blocks in the order of their places."""
    ndim = values.ndim
    folded = values.reshape(_folded_shape(values.shape, cells))
    blocks_first = [2 * axis for axis in range(ndim)] + [2 * axis + 1 for axis in range(ndim)]
    return folded.transpose(blocks_first).reshape(-1, *cells)


def _put_together(blocks: IndexArray, shape: Sequence[int], cells: Sequence[int]) -> IndexArray:
    """The inverse of `_blocks_of`."""
    ndim = len(shape)
    counts = [points // cell for points, cell in zip(shape, cells, strict=True)]
    interleaved = [place for axis in range(ndim) for place in (axis, ndim + axis)]
    return blocks.reshape(*counts, *cells).transpose(interleaved).reshape(shape)


def _folded_shape(shape: Sequence[int], cells: Sequence[int]) -> list[int]:
    pairs = zip(shape, cells, strict=True)
    return [length for points, cell in pairs for length in (points // cell, cell)]


def _shuffled(blocks: IndexArray, generator: np.random.Generator) -> IndexArray:
    n_blocks = len(blocks)
    order = np.arange(n_blocks)
    while n_blocks > 1 and np.array_equal(order, np.arange(n_blocks)):
        order = generator.permutation(n_blocks)
    return blocks[order]


def _turned(blocks: IndexArray, generator: np.random.Generator) -> IndexArray:
    turns = [turn for turn in _turns(blocks.ndim - 1) if _keeps_shape(turn, blocks.shape[1:])]
    chosen = generator.integers(0, len(turns), len(blocks))
    turned = blocks.copy()
    for number, (axes, signs) in enumerate(turns):
        here = chosen == number
        permuted = blocks[here].transpose(0, *(axis + 1 for axis in axes))
        turned[here] = permuted[(slice(None), *(slice(None, None, sign) for sign in signs))]
    return turned


_Turn = tuple[tuple[int, ...], tuple[int, ...]]
"""A permutation of the axes, and the direction (1 or -1) along each of them afterwards."""


def _turns(ndim: int) -> list[_Turn]:
    """Rotations of a cube onto itself; in one dimension the reversal."""
    if ndim == 1:
        return [((0,), (-1,))]
    turns = itertools.product(
        itertools.permutations(range(ndim)), itertools.product((1, -1), repeat=ndim)
    )
    return [
        (axes, signs)
        for axes, signs in turns
        if round(np.linalg.det(np.eye(ndim)[list(axes)] * signs)) == 1
    ]


def _keeps_shape(turn: _Turn, shape: tuple[int, ...]) -> bool:
    return all(shape[axis] == points for axis, points in zip(turn[0], shape, strict=True))
