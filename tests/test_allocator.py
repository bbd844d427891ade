"""Memory that calls need again and again is taken from the kernel once."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Eight large bodies at a time, again and again; prints how often the kernel had to give a page of memory.
SCRIPT = """
import resource, sys
from gateway.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()


def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        bodies = [b"x" * 900_000 for _ in range(8)]
        del bodies
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


faults(10)
print(faults(100))
"""


def page_faults(how: str) -> int:
    """Return those of a hundred times eight bodies."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other rules")
def test_large_blocks_are_not_given_back_to_the_kernel_between_two_calls() -> None:
    assert page_faults("keep") < 100 < page_faults("as it is")
