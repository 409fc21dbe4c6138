"""Noise is standard normal and depends on (seed, sample id, draw) alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from wam_core.noise import standard_normal


@pytest.mark.parametrize(("seed", "sample_id", "draw"), [(0, "a", 0), (42, "photo/7", 24)])
def test_is_standard_normal(seed, sample_id, draw):
    values = standard_normal((100, 200), seed=seed, sample_id=sample_id, draw=draw).flatten()
    assert values.dtype == torch.float32
    assert stats.kstest(values.numpy(), "norm").pvalue > 0.01


def test_over_samples_and_draws_is_standard_normal_too():
    """The first value of every stream: keys that resemble each other give unrelated numbers."""
    values = [
        float(standard_normal((1,), seed=seed, sample_id=str(sample), draw=draw))
        for seed, sample, draw in itertools.product(range(4), range(50), range(10))
    ]
    assert stats.kstest(values, "norm").pvalue > 0.01
    assert len(set(values)) > 1990


def test_streams_of_seeds_samples_and_draws_are_uncorrelated():
    keys = [(0, "a", 0), (0, "a", 1), (0, "b", 0), (1, "a", 0), (1, "a", 1)]
    streams = np.stack(
        [standard_normal((4000,), seed=s, sample_id=i, draw=d).numpy() for s, i, d in keys]
    )
    correlation = np.corrcoef(streams) - np.eye(len(keys))
    assert np.abs(correlation).max() < 4 / np.sqrt(4000)


def test_is_the_same_at_every_call_and_prefix_free():
    first = standard_normal((3, 5), seed=1, sample_id="x", draw=2)
    standard_normal((50,), seed=1, sample_id="y", draw=2)
    assert torch.equal(first, standard_normal((3, 5), seed=1, sample_id="x", draw=2))
    # "1" + "2x" and "12" + "x" must not be one key.
    other = standard_normal((3, 5), seed=12, sample_id="x", draw=2)
    assert not torch.equal(other, standard_normal((3, 5), seed=1, sample_id="2x", draw=2))


def test_is_frozen_for_all_time():
    """Stored audits are resumed and compared across versions: the stream must not change."""
    values = standard_normal((2,), seed=0, sample_id="sample", draw=3)
    np.testing.assert_allclose(values.numpy(), [1.0621717, 0.8300324], rtol=1e-5)


def test_w7_global_generators_are_neither_read_nor_written():
    """W7: the reference reseeds NumPy's global generator at each call."""
    np.random.seed(1)  # noqa: NPY002 - the global state is what is tested
    torch.manual_seed(1)
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    first = standard_normal((8,), seed=3, sample_id="a", draw=0)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before[1])  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    assert torch.equal(standard_normal((8,), seed=3, sample_id="a", draw=0), first)
