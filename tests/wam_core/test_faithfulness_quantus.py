"""Deletion and sparseness against Quantus 0.6.0, whose numbers are kept here.

Quantus needs OpenCV and other packages that nothing else does. They were computed by
`PixelFlipping(features_in_step=4, perturb_baseline=0.0, abs=False, normalise=False)` with softmax
and `Sparseness(abs=True, normalise=False)`, on the model and the maps below.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wam_core.faithfulness.concentration import gini
from wam_core.faithfulness.curves import insertion_deletion
from wam_core.faithfulness.domains import InputDomain
from wam_core.faithfulness.outputs import OutputReader, read_ends

PIXEL_FLIPPING = [
    [0.390617, 0.389781, 0.32731, 0.265287, 0.228032, 0.248522, 0.295987, 0.304492,
     0.300072, 0.295134, 0.262637, 0.344778, 0.301968, 0.377724, 0.334218, 0.330821],
    [0.211668, 0.172373, 0.109693, 0.162307, 0.173379, 0.249722, 0.314761, 0.297365,
     0.251481, 0.205452, 0.237356, 0.279246, 0.316074, 0.345288, 0.313886, 0.256522],
]  # fmt: skip
SPARSENESS = [0.272649, 0.271842]


class WaveNet(nn.Module):
    """A smooth network whose parameters are sines: the same everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.local, self.head = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(3 * 64, 3)
        with torch.no_grad():
            for place, parameter in enumerate(self.parameters()):
                gain = 0.6 if place < 2 else 0.35
                parameter.copy_(gain * _wave(parameter.shape, 1.7 + place, place, torch.sin))

    def forward(self, signal: Tensor) -> Tensor:
        return self.head(torch.tanh(self.local(signal)).flatten(1))


def _wave(shape, step, start, function):
    size = torch.Size(shape).numel()
    points = torch.arange(size, dtype=torch.float64) * step + start
    return function(points).reshape(shape).float()


def test_deletion_of_pixels_is_quantus_pixel_flipping():
    signal = _wave((2, 1, 8, 8), 0.37, 0.0, torch.sin)
    importance = _wave((2, 64), 1.13, 0.0, torch.cos)
    domain = InputDomain.of(signal, torch.zeros_like(signal))
    reader = OutputReader(WaveNet())
    curves = insertion_deletion(
        reader, domain, read_ends(reader, domain), importance, torch.tensor([[0], [2]]),
        sample_ids=["a", "b"], seed=0, n_steps=16,
    )  # fmt: skip
    expected = torch.tensor(PIXEL_FLIPPING, dtype=torch.float64)
    torch.testing.assert_close(curves.deletion[:, 0, 1:], expected, atol=2e-6, rtol=0)


def test_gini_index_is_quantus_sparseness():
    found = gini(_wave((2, 64), 1.13, 0.0, torch.cos))
    expected = torch.tensor(SPARSENESS, dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)
