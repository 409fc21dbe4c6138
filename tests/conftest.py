"""Settings that hold for every test."""

from hypothesis import settings

# No deadline: the first transform of a shape is slow. The same examples in every run.
settings.register_profile("wam-audit", deadline=None, derandomize=True)
settings.load_profile("wam-audit")
