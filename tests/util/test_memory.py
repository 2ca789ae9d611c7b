"""Memory that networks free is kept by the processes."""

import platform
import subprocess
import sys

import pytest
from paths import ROOT

PAGES = """
import resource
import torch
from util.memory import keep_freed_memory

keep_freed_memory()
for number in range(25):
    if number == 20:
        first = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(9 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - first)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_freed_memory_is_used_again():
    done = subprocess.run([sys.executable, "-c", PAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    # Five times 36 MB would be 46080 new pages; the first twenty let the holes between them settle.
    assert int(done.stdout) < 2000
