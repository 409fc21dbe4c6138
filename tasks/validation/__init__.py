"""Ground truth: audits of models whose use of the input is known by construction."""

from tasks.validation.suite import Validation as Validation
from tasks.validation.suite import planned_experiments as planned_experiments
from tasks.validation.suite import run_suite as run_suite
