"""Freed memory stays in the process: passes after the first take no new pages from the system."""

import os
import subprocess
import sys

import pytest

PROBE = """
import resource, sys
from tasks.allocator import keep_freed_memory

told = keep_freed_memory() if sys.argv[1] == "told" else False

def touch():
    for _ in range(20):
        bytearray(b"x") * 40_000_000

touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(told, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def probe(mode, **variables):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, mode],
        env=clean | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    told, faults = done.stdout.split()
    return told == "True", int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="only the GNU C library can be told")
def test_freed_blocks_are_used_again_without_new_pages():
    told, faults = probe("told")
    if not told:
        pytest.skip("this C library has no mallopt")
    assert faults < 100
    assert probe("untold")[1] > 1000


def test_the_environment_has_the_last_word():
    assert probe("told", MALLOC_TRIM_THRESHOLD_="131072")[0] is False
