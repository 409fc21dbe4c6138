"""Levels of a signal removed, kept alone, and in every combination: a game that levels play.

A signal is taken apart into one component per level (or band) beside a baseline; a coalition keeps
some of the components and gives up the others for the baseline's. What a model makes of all
coalitions says what each level is worth: Shapley's value (1953) shares the change from nothing to
everything out among the levels, and the interaction index of Grabisch and Roubens (1999) says how
much more two levels are worth together than apart. With J levels and the approximation there are
2^(J+1) coalitions, few enough to be counted all: the values are exact.

A coalition is a whole number: bit l - 1 stands for level l, bit J for the approximation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import factorial

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from wam_core.basis import Band
from wam_core.selection import keep_bands
from wam_core.transform import WaveletCoefficients, reconstruct

MOST_PLAYERS = 10
"""Most levels, approximation included, of which all coalitions are counted: 1024."""

FloatArray = NDArray[np.float64]


def full(n_players: int) -> int:
    """The coalition of all."""
    return (1 << n_players) - 1


def without(player: int, n_players: int) -> int:
    """All but one.

    Example:
        >>> bin(without(0, 3)), bin(only(0)), bin(finest(2))
        ('0b110', '0b1', '0b11')
    """
    return full(n_players) & ~only(player)


def only(player: int) -> int:
    """One alone."""
    return 1 << player


def finest(n_levels: int) -> int:
    """The finest levels."""
    return (1 << n_levels) - 1


def components(
    coefficients: WaveletCoefficients, groups: Sequence[Sequence[Band]]
) -> Float[Tensor, "batch group channel *space"]:
    """The part of a signal that each group of bands holds, from the signal's coefficients.

    The parts of groups that together are all bands sum to the signal.
    """
    return torch.stack([reconstruct(keep_bands(coefficients, bands)) for bands in groups], dim=1)


def shapley_values(values: FloatArray, n_players: int) -> NDArray[np.float64]:
    """Exact Shapley values.

    phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S)); they sum to v(all)
    less v(nothing).

    Args:
        values: v of every coalition, shape (sample, 2^n).

    Returns:
        Shape (sample, player).

    Raises:
        ValueError: If there are not 2^n values.

    Example:
        >>> shapley_values(np.array([[0.0, 1.0, 2.0, 5.0]]), 2)
        array([[2., 3.]])
    """
    return _checked(values, n_players) @ _shapley_weights(n_players).T


def shapley_interactions(values: FloatArray, n_players: int) -> NDArray[np.float64]:
    """Pairwise interaction indices: positive where two are worth more together than apart.

    I_ij = sum over S without i and j of |S|! (n - |S| - 2)! / (n - 1)!
    (v(S + i + j) - v(S + i) - v(S + j) + v(S)); Grabisch and Roubens 1999.

    Returns:
        Shape (sample, pair), pairs (i, j) with i < j in the order of `pairs`.

    Raises:
        ValueError: If there are not 2^n values.
    """
    return _checked(values, n_players) @ _interaction_weights(n_players).T


def pairs(n_players: int) -> list[tuple[int, int]]:
    """All pairs of players, the smaller first.

    Example:
        >>> pairs(3)
        [(0, 1), (0, 2), (1, 2)]
    """
    return [(i, j) for i in range(n_players) for j in range(i + 1, n_players)]


def _checked(values: FloatArray, n_players: int) -> FloatArray:
    if values.shape[-1] != 1 << n_players:
        raise ValueError(
            f"{n_players} players form {1 << n_players} coalitions, but there are "
            f"{values.shape[-1]} values"
        )
    return values


@lru_cache(maxsize=16)
def _shapley_weights(n_players: int) -> FloatArray:
    weights = np.zeros((n_players, 1 << n_players))
    for coalition in range(1 << n_players):
        size = coalition.bit_count()
        for player in range(n_players):
            if coalition >> player & 1:
                weight = factorial(size - 1) * factorial(n_players - size)
            else:
                weight = -factorial(size) * factorial(n_players - size - 1)
            weights[player, coalition] = weight / factorial(n_players)
    return weights


@lru_cache(maxsize=16)
def _interaction_weights(n_players: int) -> FloatArray:
    rows = pairs(n_players)
    weights = np.zeros((len(rows), 1 << n_players))
    for coalition in range(1 << n_players):
        for row, members in enumerate(rows):
            present = sum(coalition >> player & 1 for player in members)
            others = coalition.bit_count() - present
            weight = factorial(others) * factorial(n_players - others - 2)
            sign = -1 if present == 1 else 1
            weights[row, coalition] = sign * weight / factorial(n_players - 1)
    return weights
