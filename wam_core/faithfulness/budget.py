"""How many steps and subsets a number of passes allows: one cap for all methods and measures."""

from __future__ import annotations

from dataclasses import dataclass

from wam_core.faithfulness.curves import curve_passes
from wam_core.faithfulness.outputs import END_PASSES

FEWEST_STEPS, FEWEST_SUBSETS = 2, 8


@dataclass(frozen=True)
class Effort:
    """What one sample costs in forward passes.

    Attributes:
        n_domains: Domains, or replacements in one, each with ends of its own.
        n_curves: Rankings that get an insertion and a deletion curve, over all domains and axes.
        n_games: Domains in which subsets are removed.
        n_steps: Steps of every curve; even, so that there is a middle.
        n_subsets: Subsets in each of those domains.
    """

    n_domains: int
    n_curves: int
    n_games: int
    n_steps: int = 64
    n_subsets: int = 128

    @property
    def passes(self) -> int:
        """Forward passes of one sample, known before any is made."""
        return (
            END_PASSES * self.n_domains
            + curve_passes(self.n_steps) * self.n_curves
            + self.n_subsets * self.n_games
        )

    def within(self, budget: int | None) -> Effort:
        """The same with as many steps and subsets as a budget allows, both cut by one factor.

        Args:
            budget: Most forward passes per sample; None for no cap.

        Raises:
            ValueError: If not even the fewest steps and subsets fit; says how many passes they are.

        Example:
            >>> Effort(n_domains=1, n_curves=4, n_games=1).within(330)
            Effort(n_domains=1, n_curves=4, n_games=1, n_steps=32, n_subsets=64)
        """
        if budget is None or self.passes <= budget:
            return self
        for half in range(self.n_steps // 2, 0, -1):
            steps = 2 * half
            subsets = max(FEWEST_SUBSETS, self.n_subsets * steps // self.n_steps)
            found = Effort(self.n_domains, self.n_curves, self.n_games, steps, subsets)
            if found.passes <= budget:
                return found
        fewest = Effort(
            self.n_domains, self.n_curves, self.n_games, FEWEST_STEPS, FEWEST_SUBSETS
        ).passes
        raise ValueError(
            f"a budget of {budget} passes per sample does not hold {self.n_curves} rankings with "
            f"two steps each: they need {fewest}. Raise it, or ask for fewer methods or measures."
        )
