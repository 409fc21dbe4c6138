"""Measures under which energy alone cannot win.

Ranking coefficients by their own magnitude needs no model, and yet scores as high on insertion and
deletion against zero as any explanation: a photograph's energy lies in few coefficients, and
without them there is nothing left to recognise. Energy alone does not win by these:

* Faith gain: Faith of a map minus Faith of |z|, sample by sample; also where removed coefficients
  are replaced by what other samples have there (`replacements`), which takes some of the reward
  for energy away, but not all;
* Faith over the fraction of energy instead of the count (`curves`);
* class contrast, below: an order by energy is the same for every class;
* randomised-model gap: Faith of a map minus Faith of the map of the same model with random weights,
  both scored on the model itself.
"""

from __future__ import annotations

from jaxtyping import Float64, Int
from torch import Tensor

from wam_core.faithfulness.curves import Curves
from wam_core.faithfulness.outputs import Outputs


def runner_up(outputs: Outputs, target: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """The class with the largest logit other than the explained one, on the CPU."""
    explained = target.cpu().long()[:, None]
    others = outputs.logits.scatter(1, explained, -float("inf"))
    return others.argmax(1)


def class_contrast(explained: Curves, other: Curves) -> Float64[Tensor, " batch"]:
    """How much better each map serves its own class than the other class's.

    With F_c(m) the Faith of a map m for class c, c the explained class and r the runner-up,

        contrast = ((F_c(m_c) - F_c(m_r)) + (F_r(m_r) - F_r(m_c))) / 2.

    It is 0 for every order that is the same for all classes, such as that by |z|. Take curves over
    the count: over the energy an order pays for strong coefficients, whichever class they serve.

    Args:
        explained: Curves of the map of the explained class, for both classes: it, then the other.
        other: Curves of the map of the other class, for the same two.

    Raises:
        ValueError: If the curves are not for two classes.
    """
    own, others = explained.faith, other.faith
    if own.shape[1] != 2 or others.shape[1] != 2:
        raise ValueError(
            f"a contrast is between two classes; got curves for {own.shape[1]} and "
            f"{others.shape[1]}"
        )
    return ((own[:, 0] - others[:, 0]) + (others[:, 1] - own[:, 1])) / 2
