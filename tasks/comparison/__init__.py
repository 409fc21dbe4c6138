"""Two finished audits compared: what changed, with tests and intervals.

Both folders are only read; the comparison has a folder of its own.
"""

from tasks.comparison.comparing import Comparison, compare_audits, publish_comparison

__all__ = ["Comparison", "compare_audits", "publish_comparison"]
