"""One sample as it reaches the computation: a signal, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

SampleStatus = Literal[
    "ok", "decode_error", "shape_error", "nonfinite", "degenerate", "quarantined"
]

Array = npt.NDArray[Any]
Signal = npt.NDArray[np.float32]

Payload = bytes | tuple[bytes, ...] | Array
"""What a source stores for one sample: an encoded file, the files of a folder, or an array."""

Fetch = Callable[[str], Payload]
"""From a manifest's `source` to what is stored there."""


@dataclass(frozen=True)
class LoadedSample:
    """A sample as the model takes it.

    Attributes:
        signal: Shape (channel, *space), values in [0, 1]; None unless the status is ok.
        detail: Empty when ok; otherwise the path, what was expected and what came.
        n_valid: Length of a series before the padding that follows it; None where nothing is
            padded.
    """

    signal: Signal | None
    status: SampleStatus
    detail: str
    n_valid: int | None = None


class BadSampleError(Exception):
    """A sample that becomes a row with a status instead of a signal; it never stops an audit."""

    def __init__(self, status: SampleStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
